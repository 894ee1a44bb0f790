"""Arrange maps as tiles of one picture for programs to take apart: no labels, one pixel for each value."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caffe_viz.errors import InputError
from caffe_viz.figures.blocks import as_slices, columns_for, side_by_side
from caffe_viz.images.pixels import Floats
from caffe_viz.tiling import finite, grid, normalise

GAP = 1  # white pixels between tiles
MOST_PIXELS = 16_000_000
LEAST, WIDTH = 1, 4096  # pixels of the thin side of a strip, and of the sheet, where that can be


@dataclass(frozen=True, eq=False)
class Sheet:
    """Map k is the tile (h, w) in row k // columns, column k % columns of `grey` (H, W), 0..255.

    `gap` pixels are between tiles; `low` is black and `high` white. Of the `count` maps those are `shown`
    that there was room for.
    """

    grey: NDArray[np.uint8]
    count: int
    shown: int
    columns: int
    tile: tuple[int, int]
    low: float
    high: float
    gap: int = GAP

    @property
    def rgb(self) -> NDArray[np.uint8]:
        """(H, W, 3)."""
        return np.broadcast_to(self.grey[..., None], (*self.grey.shape, 3))


def map_sheet(maps: ArrayLike, limit: float | None = None) -> Sheet:
    """Maps (C, H, W) as a sheet, the smallest value black and the largest white, as in `map_tiles`.

    With `limit`, mid-grey is 0, and -limit and limit are black and white. Sequences (C, T) are strips,
    volumes (C, D, H, W) slices beside each other, values (C,) single pixels.

    Raises:
        InputError: nothing to draw, or values that are not finite.
    """
    array = finite(maps, "maps")
    if not array.ndim or not array.size:
        raise InputError(f"maps of shape {array.shape}: there is nothing to draw.")
    count, *sizes = array.shape
    shown = max(1, min(count, MOST_PIXELS // math.prod(sizes)))
    shares = normalise(array[:shown]) if limit is None else _around_zero(array[:shown], limit)
    low, high = (array[:shown].min(), array[:shown].max()) if limit is None else (-limit, limit)
    tiles = side_by_side(shares.reshape(shown, *as_slices(sizes)), 1)
    height, width = tiles.shape[1:3]
    columns = columns_for(shown, (height, width), LEAST, WIDTH)
    picture = grid(tiles, -(-shown // columns), columns, padding=(GAP, GAP))
    grey = np.asarray(np.rint(picture * 255), np.uint8)
    return Sheet(
        grey=grey,
        count=count,
        shown=shown,
        columns=columns,
        tile=(height, width),
        low=float(low),
        high=float(high),
    )


def _around_zero(values: NDArray[np.float32], limit: float) -> Floats:
    return np.asarray(np.clip(values / (2 * limit) + 0.5, 0, 1), np.float32)
