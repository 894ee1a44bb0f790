"""Questions about photographs: the places in them that activate a unit most."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

import numpy as np

from caffe_viz.report.shelf import Shot
from caffe_viz.report.showing import enlarged, file_name, json_number
from caffe_viz.server import asked as questions
from caffe_viz.server.messages import Answer, Step
from caffe_viz.server.questions.bench import Bench
from caffe_viz.server.questions.opened import need_unit
from caffe_viz.top import Top


def places(bench: Bench, asked: questions.Places) -> Iterator[Step]:
    """The search of the layer until it is done, then the places of the unit."""
    searching = bench.searching(asked.net, asked.layer)
    search = searching.search
    need_unit(asked.layer, asked.unit, len(search.filters))
    total = len(search.collection) + 1
    for progress in searching:
        yield Step(progress.done, total)  # the last is the crops
    yield Step(total, total, _answer(search.result(cut=[asked.unit]), asked.unit))


def _answer(top: Top, unit: int) -> Answer:
    found = list(top.places(unit))
    facts = {
        "seen": top.seen, "failed": list(top.failed), "dead": unit in top.dead, "state": top.state,
        "places": [
            {
                "image": _short(p.image),
                "value": json_number(p.value),
                "unit": list(p.unit),
                "box": list(p.box),
            }
            for p in found
        ],
    }  # fmt: skip
    crops = top.crops[0][: len(found)] if top.shown else top.crops[:0]
    shots = [
        Shot(
            enlarged(crop / np.float32(255), 96),
            f"place {n} of {top.layer} {unit}, in {_short(place.image)}",
            file_name(f"{top.layer}_{unit}", f"place_{n}"),
            photo=True,
        )
        for n, (place, crop) in enumerate(zip(found, crops, strict=True), 1)
    ]
    row = top.filters.index(unit)
    arrays = {"values": top.values[row], "boxes": top.boxes[row], "crops": crops}
    return Answer(facts, tuple(shots), arrays)


def _short(path: str) -> str:
    """A photograph's name, with the folder that often says what it shows."""
    return "/".join(PurePath(path).parts[-2:])
