"""Measure the test net of a training: the mean of its scalar outputs over its batches."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from caffe_viz.errors import InputError
from caffe_viz.netdef import SolverParameter

# Test nets of these wait for arrays; DummyData may draw from the random numbers of the training.
NOT_BY_ITSELF = ("Input", "MemoryData", "DummyData")


class Feed(Protocol):
    """Puts batches into a net; `epoch` is the number of iterations that show every image once."""

    epoch: int

    def fill(self, iteration: int) -> None:
        """Put the batches of iteration `iteration`, from 0, into the net."""


class TestNet:
    """`net`, in phase TEST, run over `count` batches, which `feed` puts into it unless it has its own data.

    At each measurement its weights are set to those of the net in training; no random numbers are drawn.
    """

    __test__ = False  # no test of pytest

    def __init__(self, net: Any, count: int, feed: Feed | None = None) -> None:
        self._net, self._count, self._feed = net, count, feed

    @classmethod
    def of(cls, solver: Any, settings: SolverParameter) -> TestNet | None:
        """Return the solver's first test net; None if there is none, or if its data come from outside."""
        if not len(solver.test_nets):
            return None
        net = solver.test_nets[0]
        return (
            None
            if {layer.type for layer in net.layers} & set(NOT_BY_ITSELF)
            else cls(net, settings.test_iter[0])
        )

    def scores(self, trained: Any) -> dict[str, float]:
        """Return the mean of each scalar output, such as accuracy and loss, with the weights of `trained`.

        Raises:
            InputError: A parameter of the same layer has another shape.
        """
        self._take(trained)
        names = [name for name in self._net.outputs if self._net.blobs[name].data.size == 1]
        sums = np.zeros(len(names))
        for batch in range(self._count):
            if self._feed is not None:
                self._feed.fill(batch)
            self._net.forward()
            sums += [float(self._net.blobs[name].data.sum()) for name in names]
        return dict(zip(names, (sums / self._count).tolist(), strict=True))

    def _take(self, trained: Any) -> None:
        for name, blobs in self._net.params.items():
            for mine, theirs in zip(blobs, trained.params.get(name, ()), strict=False):
                if mine.data.shape != theirs.data.shape:
                    raise InputError(
                        f"layer {name!r} has parameters of {theirs.data.shape} in training, and of "
                        f"{mine.data.shape} in the test net."
                    )
                mine.data[...] = theirs.data
