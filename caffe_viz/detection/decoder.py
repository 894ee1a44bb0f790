"""A value that says how to read boxes from the blobs of a net."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from caffe_viz.detection.boxes import Array, Found, Values
from caffe_viz.images import Labels
from caffe_viz.netdef import LayerParameter
from caffe_viz.network import Network


@dataclass(frozen=True)
class Classes:
    """`count` classes by number; one may be the `background`, which no box has."""

    count: int
    background: int | None = None

    def names(self, labels: Labels) -> dict[int, str]:
        """Map numbers to names, if `labels` has one for each class, with or without the background."""
        if named := labels.of(self.count):
            return dict(enumerate(named))
        things = [n for n in range(self.count) if n != self.background]
        return dict(zip(things, labels.of(len(things)), strict=False))

    @property
    def counts(self) -> tuple[int, ...]:
        """The numbers of labels that fit: without the background, and with it."""
        return (self.count,) if self.background is None else (self.count - 1, self.count)


@dataclass(frozen=True)
class Decoder:
    """How to read boxes: `said` names what holds them, `decode` reads them from `blobs` for one image.

    `alone` means that the net itself leaves one box for each object. `inputs` are default values of inputs
    besides the image.
    """

    said: str
    blobs: tuple[str, ...]
    classes: Classes
    decode: Callable[[Values], Found]
    alone: bool = False
    inputs: Values = field(default_factory=dict)


def input_size(network: Network) -> tuple[int, int]:
    """Return height and width of the image's input."""
    return network.shape[-2], network.shape[-1]


def last_layer(network: Network, *types: str) -> LayerParameter | None:
    """Return the last layer of one of these types."""
    return next((x for x in reversed(network.message.layer) if x.type in types and x.top), None)


def maker(network: Network, blob: str) -> LayerParameter | None:
    """Return the last layer with `blob` as a top, apart from in-place layers."""
    layers = reversed(network.message.layer)
    return next((x for x in layers if blob in x.top and blob not in x.bottom), None)


def rows_of(values: Array, columns: int | None = None) -> Array:
    """Reshape a blob to (R, columns) if its other axes are 1, such as (1, 1, R, columns)."""
    return np.asarray(values.reshape(-1, columns or int(np.prod(values.shape[1:]))))
