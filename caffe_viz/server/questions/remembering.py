"""A probe that does not compute again what it has just said."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

from caffe_viz.network import Array
from caffe_viz.probe import Probe


class RememberingProbe(Probe):
    """`forward` of the last single image is looked up: all attributions of a unit begin with its score."""

    _digest = b""
    _known: dict[str, Array]

    def forward(self, images: Array, blobs: Iterable[str]) -> dict[str, Array]:
        """As of `Probe`; arrays are not to be written to."""
        if len(images) != 1:
            return super().forward(images, blobs)
        names = list(blobs)
        digest = hashlib.sha256(np.ascontiguousarray(images).tobytes()).digest()
        if digest != self._digest:
            self._digest, self._known = digest, {}
        if missing := [name for name in names if name not in self._known]:
            self._known.update(super().forward(images, missing))
        return {name: self._known[name] for name in names}
