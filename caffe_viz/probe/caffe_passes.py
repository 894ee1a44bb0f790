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
        for image, values in inputs.items():
            self._put(image, values)
        self._net._forward(0, max(last_writer(self._net, name) for name in names))
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

    def _put(self, image: str, values: Array) -> None:
        memory = self._net.params[self._layer][0]
        if memory.data.shape != values.shape:
            for blob in (memory, self._net.blobs[image]):
                blob.reshape(*values.shape)
            self._net.reshape()
        memory.data[...] = values
