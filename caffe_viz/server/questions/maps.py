"""Questions about a layer: all its maps for an image, and how they differ between two."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from caffe_viz.errors import InputError
from caffe_viz.figures import map_sheet
from caffe_viz.network import Array
from caffe_viz.probe import relu_state
from caffe_viz.report.shelf import Shot
from caffe_viz.report.showing import file_name, json_number
from caffe_viz.server.asked import Difference, OfLayer
from caffe_viz.server.messages import Answer
from caffe_viz.server.questions.bench import Bench
from caffe_viz.server.questions.opened import Opened
from caffe_viz.views.streams import statistics, strengths

STATISTICS = ("min", "mean", "max", "rms", "nonzero")


def maps(bench: Bench, asked: OfLayer) -> Answer:
    """All maps of a layer, as one sheet that the browser takes apart."""
    opened = bench.open(asked.net)
    array = opened.maps(asked.image, asked.layer)
    return _sheet(opened, asked.layer, array, strengths(array), "maps")


def difference(bench: Bench, asked: Difference) -> Answer:
    """The maps of a layer minus those of another image, or of the same image on another network."""
    opened, other = bench.open(asked.net), bench.open(asked.other_net)
    array, less = opened.maps(asked.image, asked.layer), other.maps(asked.other_image, asked.layer)
    if array.shape != less.shape:
        raise InputError(
            f"layer {asked.layer!r} is {array.shape} here and {less.shape} there: no difference."
        )
    change = array - less
    strength = np.sqrt(strengths(np.square(change, dtype=np.float64)))
    limit = float(np.abs(change).max()) or 1.0
    return _sheet(opened, asked.layer, change, strength, "differences", limit)


def _sheet(
    opened: Opened, layer: str, array: Array, strength: Iterable[Any], what: str, limit: float | None = None
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
    shot = Shot(sheet.rgb, f"{what} of {blob} {state}".strip(), file_name(blob, what))
    return Answer(facts, (shot,), {blob: array})
