"""Questions about photographs: the places in them that activate a unit most."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

import numpy as np

from caffe_viz.report.part_cache import Figure
from caffe_viz.report.showing import enlarged, file_name, json_number
from caffe_viz.server import queries as questions
from caffe_viz.server.handlers.loaded_network import need_unit
from caffe_viz.server.handlers.resources import Resources
from caffe_viz.server.messages import Answer, Step
from caffe_viz.top import Top


def places(resources: Resources, query: questions.Places) -> Iterator[Step]:
    """The progress of the search of the layer, then the places of the unit."""
    searching = resources.searching(query.net, query.layer)
    search = searching.search
    need_unit(query.layer, query.unit, len(search.filters))
    total = len(search.collection) + 1
    for progress in searching:
        yield Step(progress.done, total)  # the last is the crops
    yield Step(total, total, _answer(search.result(cut=[query.unit]), query.unit))


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
    figures = [
        Figure(
            enlarged(crop / np.float32(255), 96),
            f"place {n} of {top.layer} {unit}, in {_short(place.image)}",
            file_name(f"{top.layer}_{unit}", f"place_{n}"),
            photo=True,
        )
        for n, (place, crop) in enumerate(zip(found, crops, strict=True), 1)
    ]
    row = top.filters.index(unit)
    arrays = {"values": top.values[row], "boxes": top.boxes[row], "crops": crops}
    return Answer(facts, tuple(figures), arrays)


def _short(path: str) -> str:
    """A photograph's name, with the folder that often says what it shows."""
    return "/".join(PurePath(path).parts[-2:])
