"""Arrange many small images as tiles of one picture. Pure NumPy; no function changes its input."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caffe_viz.errors import InputError

Floats = NDArray[np.float32]


def vis_square(images: ArrayLike, *, padding: int = 1) -> Floats:
    """Tile images (N, H, W) or (N, H, W, 3) of any range into one picture (h, w) or (h, w, 3).

    The tiles form a square of n x n with n² >= N; missing ones are white. All images are normalised together:
    the smallest value becomes 0, the largest 1 (constant input becomes 0). Between the tiles are `padding`
    white pixels.

    >>> vis_square([[[0, 1]], [[2, 4]]]).tolist()
    [[0.0, 0.25, 1.0, 0.5, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0]]

    Raises:
        InputError: Another shape, no images, or values that are not finite.
    """
    tiles = normalise(tile_array(images))
    side = int(np.ceil(np.sqrt(len(tiles))))
    return grid(tiles, side, side, padding=(padding, padding))


def grid(tiles: Floats, rows: int, columns: int, *, padding: tuple[int, int]) -> Floats:
    """Arrange (N, H, W, ...) in 0..1 as rows x columns tiles, filled line by line; the rest is white.

    `padding` is the (vertical, horizontal) number of white pixels between tiles; there are none around them.
    """
    down, across = padding
    _, height, width, *channels = tiles.shape
    cells = np.ones((rows * columns, height + down, width + across, *channels), np.float32)
    cells[: len(tiles), :height, :width] = tiles
    cells = cells.reshape(rows, columns, *cells.shape[1:]).swapaxes(1, 2)
    picture = cells.reshape(rows * (height + down), columns * (width + across), *channels)
    return np.asarray(picture[: picture.shape[0] - down, : picture.shape[1] - across])


def enlarge(tiles: Floats, factor: int | tuple[int, int]) -> Floats:
    """(N, H, W, ...) -> (N, down H, across W, ...): every pixel becomes a block (down, across)."""
    down, across = (factor, factor) if isinstance(factor, int) else factor
    return tiles.repeat(down, axis=1).repeat(across, axis=2)


def normalise(values: ArrayLike) -> Floats:
    """Any shape: the smallest value becomes 0, the largest 1; constant values become 0."""
    array = np.asarray(values, np.float64)  # the span of float32 values may not fit in float32
    low, high = array.min(), array.max()
    return np.asarray((array - low) / ((high - low) or 1), np.float32)


def tile_array(images: ArrayLike) -> NDArray[Any]:
    """The array of `images` if it is one that `vis_square` can draw.

    Raises:
        InputError: as for `vis_square`.
    """
    array = np.asarray(images)
    if array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[3] != 3):
        raise InputError(f"images of shape {array.shape} cannot be tiled: give (N, H, W) or (N, H, W, 3).")
    if array.size == 0:
        raise InputError(f"images of shape {array.shape}: there is nothing to draw.")
    return finite(array, "images")


def finite(values: ArrayLike, name: str) -> NDArray[Any]:
    """Return `values` as a real array without NaN and infinity; errors call them `name`.

    Raises:
        InputError: Some values are not finite, or they are not numbers.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name}: values of type {array.dtype} are not real numbers.")
    bad = array.size - np.count_nonzero(np.isfinite(array)) if array.dtype.kind == "f" else 0
    if bad:
        raise InputError(f"{name}: {bad:,} of {array.size:,} values are NaN or infinite and cannot be drawn.")
    return array
