"""The table of all questions about a network, and the functions that answer them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from caffe_viz.server import queries
from caffe_viz.server.handlers import ascents, attributions, images, maps, pages, places, units
from caffe_viz.server.handlers.resources import Resources
from caffe_viz.server.messages import Answer, Step

__all__ = ["HANDLERS", "Handler", "Resources"]


@dataclass(frozen=True)
class Handler:
    """How to ask and how to answer it.

    If it takes long, `answer` is an iterator whose last Step has the Answer. Such questions are `patient`:
    the worker may turn to others between two steps. Those in the `background` wait until nothing else is
    asked.
    """

    query: type[queries.Query]
    answer: Callable[[Resources, Any], Answer | Iterator[Step]]
    patient: bool = False
    background: bool = False


HANDLERS: Mapping[str, Handler] = {
    "image": Handler(queries.Thumbnail, images.image),
    "answer": Handler(queries.ImageQuery, images.answer),
    "maps": Handler(queries.LayerQuery, maps.maps),
    "difference": Handler(queries.Difference, maps.difference),
    "unit": Handler(queries.UnitQuery, units.unit),
    "kernel": Handler(queries.Weights, units.kernel),
    "attribution": Handler(queries.Attribution, attributions.attribution),
    "attribution-long": Handler(queries.Attribution, attributions.long_attribution, patient=True),
    "ascent": Handler(queries.Ascent, ascents.ascent, patient=True),
    "places": Handler(queries.Places, places.places, patient=True, background=True),
    "training": Handler(queries.Query, pages.training),
    "report": Handler(queries.Report, pages.report, patient=True),
}
