"""Questions about the whole network: the record of its training, and the report as a page to send."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

from caffe_viz.errors import InputError
from caffe_viz.report import RunningReport, parts
from caffe_viz.report.context import Image, ReportContext, files_of
from caffe_viz.server import queries as questions
from caffe_viz.server.handlers.resources import Resources
from caffe_viz.server.messages import Answer, Step
from caffe_viz.server.queries import Query


def training(resources: Resources, query: Query) -> Answer:
    """The record of a training: its curves, and the kernels at each step."""
    record = resources.setup.record
    if record is None:
        raise InputError("there is not the record of a training: start the server with --record FILE.")
    made = parts.training(ReportContext(resources.open(query.net).network, record=record))
    return Answer(made.facts, made.figures)


def report(resources: Resources, query: questions.Report) -> Iterator[Step]:
    """The report as a page: about the images on the screen, beginning with the layer that is open."""
    opened, record = resources.open(query.net), resources.setup.record
    network = opened.network
    if query.layer:
        network.geometry.layer(query.layer)  # says the near ones
    images = [Image(resources.uploads.name(one), opened.pixels(one, network)) for one in query.images]
    context = ReportContext(network, tuple(images), record=record, files=files_of(network, record))
    with tempfile.TemporaryDirectory(prefix="caffe-viz-") as folder:
        reporting = RunningReport(context, folder, budget=query.budget, first=query.layer)
        for progress in reporting:
            yield Step(progress.done, progress.total)
        yield Step(1, 1, Answer({"name": reporting.path.name}, page=reporting.path.read_bytes()))
