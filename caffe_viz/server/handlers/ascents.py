"""Questions about what a unit looks for: an ascent that you can watch."""

from __future__ import annotations

from collections.abc import Iterator

from caffe_viz.errors import InputError
from caffe_viz.objectives import Objective, files
from caffe_viz.report.parts import ascended
from caffe_viz.report.showing import json_number
from caffe_viz.server import queries as questions
from caffe_viz.server.handlers.loaded_network import LoadedNetwork
from caffe_viz.server.handlers.resources import Resources
from caffe_viz.server.messages import Answer, Step
from caffe_viz.views.maximized import Maximized, climbing_of
from caffe_viz.views.objectives import read_objective


def ascent(resources: Resources, query: questions.Ascent) -> Iterator[Step]:
    """Inputs that maximise an objective, as they develop."""
    opened = resources.open(query.net)
    network, climbing = climbing_of(
        opened.given, _objective(opened, query.objective), method=query.method, steps=query.steps,
        pictures=query.pictures, seed=query.seed, jobs=1,
    )  # fmt: skip
    for progress in climbing.watched():
        yield Step(progress.done, progress.total, _answer(Maximized(climbing.result, network)))


def _objective(opened: LoadedNetwork, text: str) -> Objective:
    """Parse the text. Raises InputError if it names files: a URL must not open any."""
    objective = read_objective(opened.given, text)
    if named := files(objective):
        raise InputError(f"objective {text!r}: the file {named[0]!r} is not read here; use caffe-viz ascend.")
    return objective


def _answer(shown: Maximized) -> Answer:
    found, made = shown.ascent, ascended(shown)
    facts = {
        **made.facts,
        "curve": [[json_number(value) for value in curve] for curve in found.curve],
        "faded": list(found.faded), "engine": found.engine, "size": list(found.images.shape[2:]),
    }  # fmt: skip
    return Answer(facts, made.figures, {"images": found.images, "curve": found.curve, "values": found.values})
