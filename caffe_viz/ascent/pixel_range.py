"""The values of black, grey and white in the input blob."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caffe_viz.images import Preprocess
from caffe_viz.images.decoding import LUMA
from caffe_viz.images.pixels import RED_GREEN_BLUE

Array = NDArray[np.float32]
WHITE, GREY = 255.0, 128.0
DATA_UNIT = 1 / 64  # the pixel step of input that is not a picture: pixels of pictures deviate by about 64


def spread(values: Array, axes: int) -> Array:
    """Reshape (C,) so that it broadcasts with (N, C, ...) of that many axes."""
    return values.reshape(-1, *[1] * (axes - 2))


@dataclass(frozen=True)
class PixelRange:
    """The values of `black` and `white` (C,) in the input blob; `pixel` is a step of 1 in 0..255.

    `rgb` maps each channel of the blob to its place in RGB; it is empty if the input is not a colour picture.
    `picture` says whether the input is an image of any colours.

    If the mean is an image, black differs from place to place. An ascent then works on images with the
    average mean subtracted, and `offsets` leads from these to the input.
    """

    black: Array
    white: Array
    pixel: float
    rgb: tuple[int, ...] = ()
    picture: bool = False
    uneven: Preprocess | None = None

    @classmethod
    def of(cls, preprocess: Preprocess | None, channels: int) -> PixelRange:
        """Return the units of a net's preprocessing; None means that the input is no picture, and 0 grey."""
        if preprocess is None:
            zero = np.zeros(channels, np.float32)
            return cls(zero - GREY * DATA_UNIT, zero + (WHITE - GREY) * DATA_UNIT, DATA_UNIT)
        mean = np.asarray(np.broadcast_to(preprocess.mean.average, (channels,)), np.float32)
        scale = np.float32(preprocess.scale)
        order = RED_GREEN_BLUE[preprocess.channel_order]
        rgb = (
            tuple(int(np.argsort(order)[c]) for c in range(channels))
            if channels == len(set(order)) == 3
            else ()
        )
        uneven = None if preprocess.mean.size is None else preprocess
        return cls((0 - mean) * scale, (WHITE - mean) * scale, float(scale), rgb, True, uneven)

    def offsets(self, shape: tuple[int, ...]) -> Array | None:
        """Return what to subtract from such images to get the input of `shape`: (1 or C, .., H, W).

        None if the mean is the same at all places.
        """
        if self.uneven is None:
            return None
        mean = self.uneven.mean
        values = self.uneven.mean_at((shape[-2], shape[-1])) - mean.averaged.values
        frames = values.reshape(len(values), *[1] * (len(shape) - 3), *values.shape[1:])
        return np.asarray(frames * self.uneven.scale, np.float32)

    def share(self, images: Array) -> Array:
        """Convert (..., C, H, W) in units of the input to 0 for black, 1 for white."""
        low, high = (v.reshape(-1, 1, 1) for v in (self.black, self.white))
        return np.asarray((images - low) / (high - low), np.float32)

    @property
    def grey(self) -> Array:
        """(C,) of the pixel value 128."""
        return np.asarray(self.black + (self.white - self.black) * np.float32(GREY / WHITE), np.float32)

    @property
    def luma(self) -> Array | None:
        """The share (C,) of each channel in the brightness."""
        return LUMA[list(self.rgb)] if self.rgb else None
