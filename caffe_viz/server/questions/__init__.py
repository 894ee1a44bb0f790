"""The table of all questions about a network, and the functions that answer them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from caffe_viz.server import asked
from caffe_viz.server.messages import Answer, Step
from caffe_viz.server.questions import ascents, attributions, images, maps, pages, places, units
from caffe_viz.server.questions.bench import Bench

__all__ = ["QUESTIONS", "Bench", "Question"]


@dataclass(frozen=True)
class Question:
    """How to ask and how to answer it.

    If it takes long, `answer` is an iterator whose last Step has the Answer. Such questions are `patient`:
    the worker may turn to others between two steps. Those in the `background` wait until nothing else is
    asked.
    """

    asked: type[asked.Asked]
    answer: Callable[[Bench, Any], Answer | Iterator[Step]]
    patient: bool = False
    background: bool = False


QUESTIONS: Mapping[str, Question] = {
    "image": Question(asked.Thumbnail, images.image),
    "answer": Question(asked.OfImage, images.answer),
    "maps": Question(asked.OfLayer, maps.maps),
    "difference": Question(asked.Difference, maps.difference),
    "unit": Question(asked.OfUnit, units.unit),
    "kernel": Question(asked.Weights, units.kernel),
    "attribution": Question(asked.Attribution, attributions.attribution),
    "attribution-long": Question(asked.Attribution, attributions.long_attribution, patient=True),
    "ascent": Question(asked.Ascent, ascents.ascent, patient=True),
    "places": Question(asked.Places, places.places, patient=True, background=True),
    "training": Question(asked.Asked, pages.training),
    "report": Question(asked.Report, pages.report, patient=True),
}
