"""Where the units of a map lie on the input, and the values of the map at the pixels of an image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caffe_viz.images.window import Window
from caffe_viz.network import Network
from caffe_viz.segmentation.answers import Dense, Meaning

Array = NDArray[np.float32]
Labels = NDArray[np.unsignedinteger]
HALF = 0.5  # above it a sigmoid says yes


@dataclass(frozen=True)
class Axis:
    """The centre of unit u of `units` is at `first + u * step`, in pixels of an input of `pixels`."""

    units: int
    pixels: int
    first: float
    step: float

    def at(self, count: int, start: float, length: float) -> Array:
        """Return the place among the units of each pixel of an image (count); NaN beyond the outermost units.

        The input is `length` pixels from `start` on.
        """
        centres = (np.arange(count) + 0.5 - start) * (self.pixels / length)
        places = (centres - self.first) / self.step
        inside = (
            (centres >= 0) & (centres <= self.pixels) & (abs(places - (self.units - 1) / 2) <= self.units / 2)
        )
        return np.where(inside, places.clip(0, self.units - 1), np.nan)


def axes_of(network: Network, dense: Dense) -> tuple[Axis, Axis]:
    """Return the axes down and across: a map of the input's size lies on it, others by receptive field.

    If receptive fields are not known, the map is taken to cover the input evenly.
    """
    _, height, width = network.shape
    layers = [layer for layer in network.geometry.layers if dense.blob in layer.tops]
    seen = layers[-1].field if layers else None
    found = []
    for axis, (units, pixels) in enumerate(zip(dense.shape[2:], (height, width), strict=True)):
        if units == pixels or seen is None or not seen.stride[axis]:
            step = pixels / units
            found.append(Axis(units, pixels, step / 2, step))
        else:
            step, middle = seen.stride[axis], seen.offset[axis] + seen.size[axis] / 2
            found.append(Axis(units, pixels, float(middle), float(step)))
    return found[0], found[1]


def void_of(classes: int) -> int:
    """Return the number for no class: 255 as in PASCAL VOC, 65535 if there are more classes."""
    return 255 if classes <= 255 else 65535


def label_map(
    values: Array, dense: Dense, axes: tuple[Axis, Axis], image: tuple[int, int], window: Window
) -> Labels:
    """Return the class of each pixel (h, w) of an image, from values (C, H, W) of its `window`.

    Scores are interpolated bilinearly before the highest is taken; class numbers are read at the nearest
    unit. Pixels outside are `void_of`.
    """
    rows = axes[0].at(image[0], window.top, window.height)
    columns = axes[1].at(image[1], window.left, window.width)
    void = void_of(dense.classes)
    kind = np.uint8 if void == 255 else np.uint16
    outside = np.isnan(rows)[:, None] | np.isnan(columns)
    found = _READERS[dense.meaning](values, np.nan_to_num(rows), np.nan_to_num(columns), void)
    return np.where(outside, void, found).astype(kind)


def _highest(values: Array, rows: Array, columns: Array, void: int) -> NDArray[np.int64]:
    return _best(values, rows, columns)[0]


def _masks(values: Array, rows: Array, columns: Array, void: int) -> NDArray[np.int64]:
    best, value = _best(values, rows, columns)
    if len(values) == 1:
        return (value > HALF).astype(np.int64)
    return np.where(value > HALF, best, void)


def _numbers(values: Array, rows: Array, columns: Array, void: int) -> NDArray[np.int64]:
    near = values[0][np.ix_(np.rint(rows).astype(int), np.rint(columns).astype(int))]
    return np.where((near >= 0) & (near < void), np.rint(near), void).astype(np.int64)


_READERS: dict[Meaning, Callable[[Array, Array, Array, int], NDArray[np.int64]]] = {
    Meaning.SCORES: _highest, Meaning.MASKS: _masks, Meaning.NUMBERS: _numbers,
}  # fmt: skip


def _best(values: Array, rows: Array, columns: Array) -> tuple[NDArray[np.int64], Array]:
    """The channel of the highest value at each place, the first of equal ones, and that value."""
    best = np.zeros((len(rows), len(columns)), np.int64)
    highest = np.full(best.shape, -np.inf, np.float32)
    for number, channel in enumerate(values):  # one by one: all together may not fit into memory
        there = _between(_between(channel, rows).T, columns).T
        higher = there > highest
        best[higher] = number
        highest[higher] = there[higher]
    return best, highest


def _between(channel: Array, places: Array) -> Array:
    """(n, ..) read at `places` of its first axis, linear between neighbours."""
    first = np.minimum(places.astype(int), max(len(channel) - 2, 0))
    second = np.minimum(first + 1, len(channel) - 1)
    part = np.asarray(places - first, np.float32)[:, None]
    return np.asarray(channel[first] * (1 - part) + channel[second] * part, np.float32)
