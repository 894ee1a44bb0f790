"""The stored weights of a layer as filters, and the numbers of each."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caffe_viz.errors import InputError
from caffe_viz.netdef import LayerParameter, StoredLayer, blob_shape

Array = NDArray[np.float32]
Doubles = NDArray[np.float64]
DEAD = 0.01  # of the root mean square of the layer's filter norms; a filter of no more is dead
PART = 2**20  # values that are looked at in float64 at a time


@dataclass(frozen=True)
class StoredFilters:
    """A layer of a file, with what its net says about it."""

    layer: StoredLayer
    message: LayerParameter
    path: str
    axes: tuple[int, ...] | None = None  # of the blob that a unit of a fully connected layer sees

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of all blobs, without the 1s with which old files pad them to four axes."""
        return tuple(
            _plain(blob_shape(blob.proto), self.message.type, index)
            for index, blob in enumerate(self.layer.blobs)
        )

    def values(self, index: int) -> Array:
        """Read blob `index`, in its shape of `shapes`; BatchNorm's statistics are divided by their factor.

        Raises:
            InputError: The file is damaged, or can no longer be read.
        """
        array = self._read(index)
        if self.message.type == "BatchNorm" and len(self.layer.blobs) == 3 and index < 2:
            factor = float(self._read(2).sum())
            array = array * np.float32(1 / factor if factor else 0)  # as batch_norm_layer.cpp
        return array

    @property
    def compared(self) -> range:
        """The blobs that mean something by themselves: all except BatchNorm's factor."""
        return range(2 if self.message.type == "BatchNorm" else len(self.layer.blobs))

    def _read(self, index: int) -> Array:
        try:
            return self.layer.blobs[index].array().reshape(self.shapes[index])
        except InputError as error:
            raise InputError(f"{self.path}, layer {self.layer.name!r}: {error}") from None

    @property
    def groups(self) -> int:
        """The groups: filters of different groups see different channels, so they are no duplicates."""
        return max(1, self.message.convolution_param.group)


def as_filters(array: Array, of: StoredFilters) -> Array | None:
    """Reshape weights to (F, I, kh, kw) or (F, K), a row for each output; None if vector or empty."""
    if array.ndim < 2 or not array.size:
        return None
    kind, groups = of.message.type, of.groups
    if kind == "InnerProduct" and of.message.inner_product_param.transpose:
        return np.ascontiguousarray(array.T)
    if kind == "Deconvolution" and len(array) % groups == 0:  # (I, O / groups, kh, kw)
        split = array.reshape(groups, len(array) // groups, *array.shape[1:]).swapaxes(1, 2)
        return np.asarray(split.reshape(-1, split.shape[2], *array.shape[2:]))
    return array


def as_seen(filters: Array, of: StoredFilters) -> Array:
    """Reshape (F, K) to (F, C, H, W), or other axes that the units read; leave others as they are."""
    fits = of.axes is not None and filters.ndim == 2 and math.prod(of.axes) == filters.shape[1]
    return filters.reshape(len(filters), *of.axes) if fits and of.axes else filters


def norms(filters: Array) -> Doubles:
    """Return ||f|| of each of (F, ...), (F,) in float64."""
    rows = filters.reshape(len(filters), -1)
    out = np.empty(len(rows))
    for part in parts(rows):
        double = rows[part].astype(np.float64)
        out[part] = np.sqrt(np.einsum("fk,fk->f", double, double))
    return out


def dead(lengths: Doubles) -> NDArray[np.intp]:
    """Return filters of norm 0, or far below the others': at most `DEAD` of their root mean square."""
    finite = np.isfinite(lengths)
    if not finite.any():
        return np.empty(0, np.intp)
    typical = float(np.sqrt(np.mean(np.square(lengths[finite]))))
    return np.flatnonzero(finite & (lengths <= DEAD * typical))


def parts(rows: Array) -> Iterator[slice]:
    """Split rows (F, K) into slices of about `PART` values each."""
    step = max(1, PART // max(1, rows.shape[1]))
    for start in range(0, len(rows), step):
        yield slice(start, start + step)


def _plain(shape: tuple[int, ...], kind: str, index: int) -> tuple[int, ...]:
    """Old files store a vector as (1, 1, 1, O) and the weights of an InnerProduct as (1, 1, O, I)."""
    if len(shape) != 4 or shape[:2] != (1, 1) or (index == 0 and kind in ("Convolution", "Deconvolution")):
        return shape
    return shape[3:] if shape[2] == 1 else shape[2:]
