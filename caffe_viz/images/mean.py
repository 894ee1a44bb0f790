"""The mean that is subtracted from images: numbers, or an image, such as the mean of a training set."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caffe_viz.errors import InputError
from caffe_viz.images.arrays import load_numbers
from caffe_viz.images.decoding import LUMA
from caffe_viz.images.files import load_image
from caffe_viz.images.pixels import resized
from caffe_viz.netdef import read_blob

Size = tuple[int, int]
Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class Mean:
    """`values` (1 or C, H, W) in pixels 0..255 and the blob's channel order; H and W are 1 for plain numbers.

    `file` is where they come from, if that is a file. Means with equal values are equal.
    """

    values: Values
    file: str = ""

    @classmethod
    def of(cls, given: Mean | ArrayLike, file: str = "") -> Mean:
        """Make a mean of a number, numbers (C,), or an image (H, W), (C, H, W) or (H, W, C).

        Of 3 axes, the first is the channels if its length is 1 or 3, otherwise the last.

        Raises:
            InputError: Another shape, or values that are not finite numbers.
        """
        if isinstance(given, Mean):
            return given
        array = np.asarray(given)
        if array.dtype.kind not in "uif" or not np.isfinite(array).all():
            what = "NaN or infinity" if array.dtype.kind == "f" else f"values of type {array.dtype}"
            raise InputError(f"the mean has {what}; numbers in 0..255 units are expected.")
        while array.ndim > 3 and len(array) == 1:
            array = array[0]
        if array.size == 0 or array.ndim > 3:
            raise InputError(f"the mean has the shape {array.shape}; {SHAPES} is expected.")
        if array.ndim < 2:
            array = array.reshape(-1, 1, 1)
        elif array.ndim == 2:
            array = array[None]
        elif len(array) not in CHANNELS and array.shape[2] in CHANNELS:
            array = array.transpose(2, 0, 1)
        return cls(np.array(array, np.float64, order="C"), file)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mean) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Numbers (C,), or an image (C, H, W)."""
        return np.array(self.average if self.size is None else self.values, dtype)

    def __repr__(self) -> str:
        """The values alone, which distinguish means when an interrupted run continues."""
        if self.size is None:
            return f"Mean({self.average})"
        return f"Mean({self.values.shape}, SHA-256 {self.digest[:16]})"

    def __str__(self) -> str:
        """The numbers; of an image, its name and size."""
        if self.size is None:
            return " ".join(f"{value:g}" for value in self.average)
        return f"{Path(self.file).name or 'an image'} ({self.size[0]} x {self.size[1]})"

    @cached_property
    def digest(self) -> str:
        """A digest of shape and values."""
        return hashlib.sha256(repr(self.values.shape).encode() + self.values.tobytes()).hexdigest()

    @property
    def channels(self) -> int:
        """The number of channels: those of the blob, or 1 for all."""
        return len(self.values)

    @property
    def size(self) -> Size | None:
        """(H, W) of a mean image; None if all places have the same mean."""
        height, width = self.values.shape[1:]
        return None if height == width == 1 else (height, width)

    @property
    def average(self) -> tuple[float, ...]:
        """The average of each channel over all places."""
        return tuple(map(float, self.values.mean(axis=(1, 2))))

    @property
    def averaged(self) -> Mean:
        """Return a mean with this average at all places."""
        return Mean.of(self.average)

    @property
    def grey(self) -> Mean:
        """Return the average of the channels at each place."""
        return self if self.channels == 1 else Mean(self.values.mean(axis=0, keepdims=True))

    def __mul__(self, factor: float) -> Mean:
        return self if factor == 1 else Mean(self.values * factor)

    def at(self, size: Size, frame: Size, *, antialias: bool = False) -> Values:
        """Return (C, *size), or (C, 1, 1) of plain numbers: the part for the centre of a `frame` (h, w).

        A mean of `size` belongs to crops and is returned as it is. Any other belongs to whole images, and is
        treated as they are: warped to `frame`, then cropped.
        """
        if self.size is None or self.size == size:
            return self.values
        whole = _warped(self, frame, antialias)
        top, left = ((n - m) // 2 for n, m in zip(frame, size, strict=True))
        return np.asarray(whole[:, top : top + size[0], left : left + size[1]])


CHANNELS = (1, 3)
SHAPES = "(C,), (C, H, W) or (H, W, C)"


@lru_cache(maxsize=8)  # every image of a folder asks
def _warped(mean: Mean, frame: Size, antialias: bool) -> Values:
    planes = mean.values.transpose(1, 2, 0)
    return np.array(resized(planes, frame, antialias=antialias).transpose(2, 0, 1), np.float64)


def read_mean(path: str | Path, channel_order: tuple[int, ...]) -> Mean:
    """Read a mean from a .binaryproto (BlobProto), a .npy, or an image file.

    Arrays are in the order of the blob; for an image, `channel_order` says which RGB colour each channel is.

    Raises:
        InputError: It cannot be read; names the file.
    """
    path = Path(path)
    read = READERS.get(path.suffix.lower())
    try:
        values = read(path) if read is not None else _colours(path, channel_order)
        return Mean.of(values, str(path))
    except InputError as error:
        text = str(error)
        raise InputError(text if str(path) in text else f"{path}: {text}") from None


def _colours(path: Path, order: tuple[int, ...]) -> NDArray[Any]:
    """Read an image file as (C, H, W) in 0..255."""
    rgb = load_image(path) * 255.0
    return (rgb @ LUMA)[None] if len(set(order)) == 1 else rgb[..., list(order)].transpose(2, 0, 1)


# Suffix of a file -> what reads it; others are images.
READERS: dict[str, Callable[[Path], NDArray[Any]]] = {".binaryproto": read_blob, ".npy": load_numbers}
