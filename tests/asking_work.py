"""Questions and tests that workers of a cluster import for tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from caffe_viz.attribution.queries import Query, QueryProgress, QueryResults
from caffe_viz.attribution.steps import Steps
from caffe_viz.errors import InputError
from caffe_viz.evaluation.sanity import cascade, weighted_layers
from caffe_viz.evaluation.trials import Sample
from caffe_viz.probe import Probe


@dataclass(frozen=True)
class Mortal:
    """A question that ends the first process that it is put to, half answered; a file `mark` says so."""

    question: Query
    mark: Path

    def answers(self, probe: Probe) -> Iterator[QueryProgress | QueryResults]:
        answers = self.question.answers(probe)
        if not self.mark.exists():
            self.mark.touch()
            next(answers)
            os.kill(os.getpid(), signal.SIGKILL)
        yield from answers

    def __str__(self) -> str:
        return str(self.question)


def broken(subject: Sample, rng: np.random.Generator) -> Steps[np.ndarray]:
    """Makes the weights of all layers random, and fails."""
    layers = weighted_layers(subject.probe, subject.target.blob)
    with cascade(subject.probe.net, layers, rng) as stages:
        assert list(stages)
        yield 0.5
        raise InputError("this fails.")
