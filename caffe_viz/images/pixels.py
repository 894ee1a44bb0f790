"""Pictures in every module are RGB, (H, W, 3) float32 in 0..1; and how they are resized."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caffe_viz.errors import InputError
from caffe_viz.tiling import finite

Floats = NDArray[np.float32]

# Channel order of a blob -> the blob's channel that is red, green, blue.
RED_GREEN_BLUE = {"BGR": (2, 1, 0), "RGB": (0, 1, 2), "GRAY": (0, 0, 0)}


def display_rgb(rgb: ArrayLike) -> Floats:
    """`rgb` as a float32 picture (H, W, 3) in 0..1; uint8 is divided by 255.

    Raises:
        InputError: another shape, or values outside 0..1.
    """
    image = finite(rgb, "image")
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise InputError(f"an image of shape {image.shape} was given: (H, W, 3) is expected.")
    if image.dtype == np.uint8:
        return np.asarray(image / np.float32(255), np.float32)
    if image.min() < -1e-4 or image.max() > 1 + 1e-4:
        raise InputError(
            f"image: values of {image.min():g} to {image.max():g} are given; 0 to 1 is expected."
        )
    return np.asarray(image, np.float32)


def resized(image: Floats, size: tuple[int, ...], *, antialias: bool = False) -> Floats:
    """Resize (h, w, C) to (*size, C) bilinearly, as scikit-image's resize does at order 1.

    There may be any number of axes before the channels, as many as `size` has.
    """
    if image.shape[: len(size)] == tuple(size):
        return image
    if antialias:
        from skimage.transform import resize

        smooth: Any = resize
        return np.asarray(smooth(image, size, order=1, anti_aliasing=True), np.float32)
    for axis, (old, new) in enumerate(zip(image.shape, size, strict=False)):
        # Pixel centres of the new axis in pixels of the old one; the border pixels reach outward.
        place = np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0, old - 1)
        first = np.minimum(place.astype(int), max(old - 2, 0))
        part = np.asarray(place - first, np.float32).reshape(-1, *[1] * (image.ndim - axis - 1))
        second = np.minimum(first + 1, old - 1)
        image = np.asarray(image.take(first, axis) * (1 - part) + image.take(second, axis) * part, np.float32)
    return image


def stretched(images: Floats) -> Floats:
    """Stretch (..., H, W, 3) of any range: the mean becomes mid-grey, the deviation 0.18, clipped to 0..1.

    Source: the Keras notebook "How convolutional neural networks see the world", 2016, with 0.1.
    """
    axes = (-3, -2, -1)
    centred = images - images.mean(axis=axes, keepdims=True)
    deviation = centred.std(axis=axes, keepdims=True)
    return np.asarray(np.clip(0.5 + 0.18 * centred / np.where(deviation > 0, deviation, 1), 0, 1), np.float32)
