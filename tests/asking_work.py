"""Questions and tests that workers of a cluster import for tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from caffe_viz.attribution.asking import Found, Share
from caffe_viz.attribution.steps import Steps
from caffe_viz.errors import InputError
from caffe_viz.evaluation.sanity import cascade, weighted_layers
from caffe_viz.evaluation.trials import Subject
from caffe_viz.probe import Probe


@dataclass(frozen=True)
class Mortal:
    """Finds its number; number 2 ends the process that is asked first."""

    folder: Path
    number: int

    def answers(self, probe: Probe) -> Iterator[Share | Found]:
        mark = self.folder / "begun"
        if self.number == 2 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        yield Found({self.number: probe.engine})

    def __str__(self) -> str:
        return f"number {self.number}"


def broken(subject: Subject, rng: np.random.Generator) -> Steps[np.ndarray]:
    """Makes the weights of all layers random, and fails."""
    layers = weighted_layers(subject.probe, subject.target.blob)
    with cascade(subject.probe.net, layers, rng) as stages:
        assert list(stages)
        yield 0.5
        raise InputError("this fails.")
