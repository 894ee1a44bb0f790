"""Ten crops of an image, as pycaffe's `oversample` takes them (python/caffe/io.py)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from caffe_viz.errors import InputError
from caffe_viz.images import Preprocess

TEN = 10
Array = NDArray[np.float32]


def need_margin(preprocess: Preprocess, shape: tuple[int, ...]) -> None:
    """Raise InputError if the square that images are warped to is not larger than the input (C, H, W)."""
    side = preprocess.resize
    if side is None or side <= min(shape[-2:]):
        wanted = max(shape[-2:]) * 8 // 7  # as 256 to 224
        raise InputError(
            f"ten crops of {shape[-2]} x {shape[-1]} must be cut from a larger square, but resize is "
            f"{side or 'false'} in preprocess.toml: set it to {wanted}, or leave --oversample out."
        )


def ten_crops(preprocess: Preprocess, rgb: Array, shape: tuple[int, ...]) -> Array:
    """Cut an image (h, w, 3) into (10, C, H, W) for an input of `shape`: corners, centre, all mirrored.

    Raises:
        InputError: As `Preprocess.to_caffe`.
    """
    channels, *sides = shape
    size = (sides[0], sides[1])
    square = preprocess.warped(rgb, (channels, *size))
    if preprocess.mean.size == size:  # a mean of crops, which does not move with them
        return np.stack([preprocess.encoded(crop) for crop in _ten(square, size)])
    planes = preprocess.encoded(square).transpose(1, 2, 0)
    return np.stack([crop.transpose(2, 0, 1) for crop in _ten(planes, size)])


def _ten(square: Array, size: tuple[int, int]) -> list[Array]:
    """Cut (h, w, C) into ten (*size, C)."""
    down, across = (whole - part for whole, part in zip(square.shape, size, strict=False))
    places = [(0, 0), (0, across), (down, 0), (down, across), (down // 2, across // 2)]
    five = [square[y : y + size[0], x : x + size[1]] for y, x in places]
    return [*five, *(crop[:, ::-1] for crop in five)]
