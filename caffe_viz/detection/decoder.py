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
    """`count` classes by number, of which one may be the `background` that no box has."""

    count: int
    background: int | None = None

    def names(self, labels: Labels) -> dict[int, str]:
        """Number -> name, where `labels` has one for each class, with the background or without."""
        if named := labels.of(self.count):
            return dict(enumerate(named))
        things = [n for n in range(self.count) if n != self.background]
        return dict(zip(things, labels.of(len(things)), strict=False))

    @property
    def counts(self) -> tuple[int, ...]:
        """How many labels fit: without the background, and with it."""
        return (self.count,) if self.background is None else (self.count - 1, self.count)


@dataclass(frozen=True)
class Decoder:
    """`said`: what holds the boxes, in words; `decode` reads them from `blobs` for one image.

    `alone`: the net itself leaves one box for each thing. `inputs`: what inputs beside the image must hold
    where nobody says it.
    """

    said: str
    blobs: tuple[str, ...]
    classes: Classes
    decode: Callable[[Values], Found]
    alone: bool = False
    inputs: Values = field(default_factory=dict)


def input_size(network: Network) -> tuple[int, int]:
    """Height and width of the image's input."""
    return network.shape[-2], network.shape[-1]


def last_layer(network: Network, *types: str) -> LayerParameter | None:
    """The last layer of one of these types."""
    return next((x for x in reversed(network.message.layer) if x.type in types and x.top), None)


def maker(network: Network, blob: str) -> LayerParameter | None:
    """The last layer that has `blob` as a top, but those in place."""
    layers = reversed(network.message.layer)
    return next((x for x in layers if blob in x.top and blob not in x.bottom), None)


def rows_of(values: Array, columns: int | None = None) -> Array:
    """(R, columns) of a blob whose further axes are 1; (1, 1, R, columns) too."""
    return np.asarray(values.reshape(-1, columns or int(np.prod(values.shape[1:]))))
