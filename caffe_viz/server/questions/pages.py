"""Questions about the whole: the record of a training, and the report as a page to send."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

from caffe_viz.errors import InputError
from caffe_viz.report import Reporting, making
from caffe_viz.report.subject import Image, Subject, files_of
from caffe_viz.server import asked as questions
from caffe_viz.server.asked import Asked
from caffe_viz.server.messages import Answer, Step
from caffe_viz.server.questions.bench import Bench


def training(bench: Bench, asked: Asked) -> Answer:
    """The record of a training: curves, and kernels at each moment."""
    record = bench.setup.record
    if record is None:
        raise InputError("there is not the record of a training: start the server with --record FILE.")
    made = making.training(Subject(bench.open(asked.net).network, record=record))
    return Answer(made.facts, made.shots)


def report(bench: Bench, asked: questions.Report) -> Iterator[Step]:
    """The report as a page: of the images on the screen, the layer first that is there."""
    opened, record = bench.open(asked.net), bench.setup.record
    network = opened.network
    if asked.layer:
        network.geometry.layer(asked.layer)  # says the near ones
    images = [Image(bench.uploads.name(one), opened.pixels(one, network)) for one in asked.images]
    subject = Subject(network, tuple(images), record=record, files=files_of(network, record))
    with tempfile.TemporaryDirectory(prefix="caffe-viz-") as folder:
        reporting = Reporting(subject, folder, budget=asked.budget, first=asked.layer)
        for progress in reporting:
            yield Step(progress.done, progress.total)
        yield Step(1, 1, Answer({"name": reporting.path.name}, page=reporting.path.read_bytes()))
