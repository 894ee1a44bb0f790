"""Questions about a layer: all its maps for an image, and how they differ between two."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from caffe_viz.errors import InputError
from caffe_viz.figures import map_sheet
from caffe_viz.network import Array
from caffe_viz.probe import relu_state
from caffe_viz.report.part_cache import Figure
from caffe_viz.report.showing import file_name, json_number
from caffe_viz.server.handlers.loaded_network import LoadedNetwork
from caffe_viz.server.handlers.resources import Resources
from caffe_viz.server.messages import Answer
from caffe_viz.server.queries import Difference, LayerQuery
from caffe_viz.views.streams import statistics, strengths

STATISTICS = ("min", "mean", "max", "rms", "nonzero")


def maps(resources: Resources, query: LayerQuery) -> Answer:
    """All maps of a layer, as one sheet that the browser cuts into tiles."""
    opened = resources.open(query.net)
    array = opened.maps(query.image, query.layer)
    return _sheet(opened, query.layer, array, strengths(array), "maps")


def difference(resources: Resources, query: Difference) -> Answer:
    """The maps of a layer minus those of another image, or of the same image on another network."""
    opened, other = resources.open(query.net), resources.open(query.other_net)
    array, less = opened.maps(query.image, query.layer), other.maps(query.other_image, query.layer)
    if array.shape != less.shape:
        raise InputError(
            f"layer {query.layer!r} is {array.shape} here and {less.shape} there: no difference."
        )
    change = array - less
    strength = np.sqrt(strengths(np.square(change, dtype=np.float64)))
    limit = float(np.abs(change).max()) or 1.0
    return _sheet(opened, query.layer, change, strength, "differences", limit)


def _sheet(
    opened: LoadedNetwork,
    layer: str,
    array: Array,
    strength: Iterable[Any],
    what: str,
    limit: float | None = None,
) -> Answer:
    blob = opened.blob(layer)
    sheet = map_sheet(array, limit)
    height, width = sheet.tile
    state = relu_state(opened.network.message, blob)
    facts = {
        "blob": blob, "state": state, "shape": list(array.shape), "count": sheet.count,
        "shown": sheet.shown, "columns": sheet.columns, "rows": -(-sheet.shown // sheet.columns),
        "tile": [width, height], "gap": sheet.gap, "low": json_number(sheet.low),
        "high": json_number(sheet.high),
        "statistics": dict(zip(STATISTICS, map(json_number, statistics(blob, array)[2:7]), strict=True)),
        "strength": [json_number(value) for value in strength],
        "labels": list(opened.labels(layer, len(array))),
    }  # fmt: skip
    figure = Figure(sheet.rgb, f"{what} of {blob} {state}".strip(), file_name(blob, what))
    return Answer(facts, (figure,), {blob: array})
