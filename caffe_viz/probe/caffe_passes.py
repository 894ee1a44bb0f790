"""Passes of real Caffe where the image is a parameter: the counterpart of `engine/functions.py`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from caffe_viz.probe.passes import last_writer
from caffe_viz.probe.walk import Array, Rule, find_path, walk


class CaffePasses:
    """Forward and back through `net`, whose image is the top of `layer`, of type Parameter."""

    def __init__(self, net: Any, layer: str) -> None:
        self._net, self._layer = net, layer

    def forward(self, inputs: Mapping[str, Array], blobs: Iterable[str]) -> dict[str, Array]:
        """Copies of `blobs`; layers behind the last of them do not run."""
        names = list(blobs)
        self._run(inputs, max(last_writer(self._net, name) for name in names))
        return {name: np.array(self._net.blobs[name].data) for name in names}

    def pull(
        self,
        inputs: Mapping[str, Array],
        blob: str,
        seed: Array,
        wrt: Sequence[str],
        change: Rule | None,
        changed: Collection[str],
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """Values of the blobs `wrt`, and gradients with respect to them: `caffe_viz.probe.Probe.pull`."""
        values = self.forward(inputs, [blob, *wrt])
        walk(self._net, find_path(self._net, [blob], wrt), {blob: seed}, change, changed)
        return {name: values[name] for name in wrt}, {n: np.array(self._net.blobs[n].diff) for n in wrt}

    def _run(self, inputs: Mapping[str, Array], last: int) -> None:
        """All layers up to the `last`."""
        for image, values in inputs.items():
            self._put(image, values)
        self._net._forward(0, last)

    def _put(self, image: str, values: Array) -> None:
        memory = self._net.params[self._layer][0]
        if memory.data.shape != values.shape:
            for blob in (memory, self._net.blobs[image]):
                blob.reshape(*values.shape)
            self._net.reshape()
        memory.data[...] = values


class RememberingPasses(CaffePasses):
    """The same, for nets whose parameters stay: what has been computed of the last image is not run again."""

    _given: Mapping[str, Array] = {}
    _ran = -1  # the last layer

    def _run(self, inputs: Mapping[str, Array], last: int) -> None:
        known = inputs.keys() == self._given.keys() and all(
            np.array_equal(values, self._given[name]) for name, values in inputs.items()
        )
        if not known:
            self._ran = -1  # should it fail, nothing is known
            super()._run(inputs, last)
            self._given, self._ran = {name: np.array(values) for name, values in inputs.items()}, last
        elif last > self._ran:
            self._net._forward(self._ran + 1, last)
            self._ran = last
