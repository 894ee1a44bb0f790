"""Cut out what units see of the images, all at one size."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caffe_viz.geometry import ReceptiveField
from caffe_viz.images import Preprocess, resized, stretched
from caffe_viz.images.pixels import RED_GREEN_BLUE

Array = NDArray[np.float32]
Box = tuple[int, int, int, int]

PIXELS = 8_000_000  # of all crops together
SMALLEST, LARGEST = 24, 160  # pixels of a crop's longer side, where the field is larger
SATURATED = 0.995  # the share of a gradient between black and white: it has lone peaks
OUTSIDE = 0.5  # grey, where a field reaches beyond the image


@dataclass(frozen=True)
class Cutter:
    """Cuts the receptive fields of a layer's units out of inputs (C, H, W).

    With `field` None, units see the whole input. Without `preprocess` the input is not a picture; its
    channels are then shown side by side.
    """

    field: ReceptiveField | None
    shape: tuple[int, int, int]
    preprocess: Preprocess | None

    def box(self, unit: tuple[int, int]) -> Box:
        """Return (top, left, bottom, right) in pixels of the input, ends excluded."""
        size = self.shape[1], self.shape[2]
        if self.field is None:
            return 0, 0, *size
        top, left, bottom, right = self.field.box(unit, size)
        return math.floor(top), math.floor(left), math.ceil(bottom), math.ceil(right)

    @property
    def full(self) -> tuple[int, int]:
        """The (h, w) of a field inside the image, or of the image if that is smaller."""
        if self.field is None:
            return self.shape[1], self.shape[2]
        height, width = (min(n, math.ceil(s)) for n, s in zip(self.shape[1:], self.field.size, strict=True))
        return height, width

    def tile(self, places: int) -> tuple[int, int]:
        """Return the (h, w) at which crops are kept, so that `places` of them are not too many pixels."""
        height, width = self.full
        if self.preprocess is None:
            return height, width * self.shape[0]
        side = min(LARGEST, max(SMALLEST, math.isqrt(PIXELS // max(places, 1))))
        factor = min(1.0, side / max(height, width))
        return max(1, round(height * factor)), max(1, round(width * factor))

    def view(self, pixels: Array) -> Array:
        """Convert an input (C, H, W) to (H, W, 3) RGB, or to (H, W, C) if it is not a picture."""
        return np.moveaxis(pixels, 0, -1) if self.preprocess is None else self.preprocess.to_display(pixels)

    def cut(self, view: Array, unit: tuple[int, int], tile: tuple[int, int]) -> NDArray[np.uint8]:
        """Cut the field of `unit` out of a `view` as (*tile, 3) RGB 0..255; grey outside the image."""
        out = self._part(view, unit, OUTSIDE if self.preprocess else 0)
        return _tile(out if self.preprocess else stretched(_side_by_side(out)), tile)

    def cut_gradient(
        self, gradient: Array, unit: tuple[int, int], tile: tuple[int, int]
    ) -> NDArray[np.uint8]:
        """Cut a gradient (C, H, W) in the same way: grey is 0; 0.5 % may be clipped to black and white."""
        out = self._part(np.moveaxis(gradient, 0, -1), unit, 0)
        limit = float(np.quantile(np.abs(out), SATURATED, method="higher")) or float(np.abs(out).max()) or 1.0
        out = np.clip(out / (2 * limit) + 0.5, 0, 1)
        colours = self.preprocess and list(RED_GREEN_BLUE[self.preprocess.channel_order])
        return _tile(out[..., colours] if colours else _side_by_side(out), tile)

    def _part(self, view: Array, unit: tuple[int, int], outside: float) -> Array:
        """The field of `unit` in a view (H, W, C), at its full size."""
        top, left, bottom, right = self.box(unit)
        height, width = self.full
        part = view[top:bottom, left:right][:height, :width]
        out = np.full((height, width, view.shape[-1]), outside, np.float32)
        starts = [0, 0] if self.field is None else self._starts(unit)
        y, x = ((n - m) * (s < 0) for n, m, s in zip(out.shape, part.shape, starts, strict=False))
        out[y : y + part.shape[0], x : x + part.shape[1]] = part
        return out

    def _starts(self, unit: tuple[int, int]) -> list[float]:
        assert self.field is not None
        return [o + u * s for o, u, s in zip(self.field.offset, unit, self.field.stride, strict=True)]


def _side_by_side(out: Array) -> Array:
    """Put the channels of something that is not a picture side by side in grey: (h, w, C) to (h, C w, 3)."""
    flat = np.concatenate(np.moveaxis(out, -1, 0), axis=-1)
    return np.repeat(flat[..., None], 3, axis=-1)


def _tile(rgb: Array, tile: tuple[int, int]) -> NDArray[np.uint8]:
    return np.asarray(np.rint(resized(rgb, tile, antialias=True) * 255).clip(0, 255), np.uint8)
