"""What in an image activates a unit: the gradient of this unit alone, by one of three rules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from caffe_viz.errors import InputError, near
from caffe_viz.network import Network
from caffe_viz.probe import Probe

Array = NDArray[np.float32]
Unit = tuple[int, tuple[int, int]]  # a filter, and where (y, x) in its map

GRADIENTS = {"gradient": "plain", "guided-backprop": "guided", "deconvnet": "deconvnet"}
"""Name, as of `attribute`, -> what a gradient becomes at a ReLU. See `probe.RULES` for the sources."""


class UnitGradients:
    """Gradients of single units of `blob` with respect to the image, by `method`.

    Raises:
        InputError: No such method.
    """

    def __init__(self, part: Network, blob: str, method: str) -> None:
        if method not in GRADIENTS:
            raise InputError(f"gradient {method!r} is unknown.{near(method, GRADIENTS)}")
        self._rule = GRADIENTS[method]
        self._probe, self._blob = Probe(part), blob

    def __call__(self, pixels: Array, units: Sequence[Unit]) -> Iterator[Array]:
        """Return the gradient (C, H, W) of each unit in one image (C, H, W).

        Raises:
            RunError: The blob has no gradient with respect to the image.
        """
        shape = self._probe.shape(self._blob)
        across = shape[-1] if len(shape) > 1 else 1
        for start in range(0, len(units), self._probe.batch):
            part = units[start : start + self._probe.batch]
            seeds = np.zeros((len(part), shape[0], int(np.prod(shape[1:]))), np.float32)
            for seed, (number, (y, x)) in zip(seeds, part, strict=True):
                seed[number, y * across + x] = 1
            images = np.repeat(pixels[None], len(part), axis=0)
            seeds = seeds.reshape(len(part), *shape)
            yield from self._probe.pull(images, self._blob, seeds, [self._probe.image], self._rule)[1][
                self._probe.image
            ]
