"""How values become pixels: blocks large enough that flat shapes can be seen, and slices of volumes."""

from __future__ import annotations

import math

import numpy as np

from caffe_viz.tiling import Floats, enlarge

FLAT = 6  # a tile so many times longer than thick is made thicker than it is


def block(tile: tuple[int, ...], factor: int, room: tuple[int, int], least: int) -> tuple[int, int]:
    """Pixels (down, across) of one value of a tile (h, w): `factor`, and more where the tile is flat.

    Its thin side gets `least` pixels, if there is `room` (h, w) for them.
    """
    if not is_flat(tile):
        return factor, factor
    thin = int(np.argmin(tile))
    sizes = [factor, factor]
    sizes[thin] = max(factor, min(math.ceil(least / tile[thin]), room[thin] // tile[thin]))
    return sizes[0], sizes[1]


def is_flat(tile: tuple[int, ...]) -> bool:
    """Whether a tile (h, w) is many times longer than thick."""
    return max(tile) > FLAT * min(tile)


def columns_for(count: int, tile: tuple[int, ...], least: int, most: int) -> int:
    """In how many columns `count` tiles (h, w) are drawn: as many as rows, if they are not flat.

    Strips are in one column, or in one row, where `most` pixels have room for `least` of each, so that the
    same time is at the same place; else about a square.
    """
    height, width = tile
    if not is_flat(tile):
        return int(np.ceil(np.sqrt(count)))
    if count * (max(min(tile), least) + 2) <= most:
        return 1 if width > height else count
    ratio = max(height, least) / max(width, least)
    return int(np.clip(round(math.sqrt(count * ratio)), 1, count))


def visible(image: Floats, factor: int, least: int) -> Floats:
    """(h, w, 3) enlarged, so that flat ones are `least` pixels thick at least."""
    size = image.shape[:2]
    return np.asarray(enlarge(image[None], block(size, factor, (least, least), least))[0])


def side_by_side(slices: Floats, gap: int = 1) -> Floats:
    """(N, D, h, w, ..) -> (N, h, W, ..): the D slices of each beside each other, white between them."""
    count, depth, height, width, *channels = slices.shape
    out = np.ones((count, height, depth, width + gap, *channels), np.float32)
    out[:, :, :, :width] = slices.swapaxes(1, 2)
    return out.reshape(count, height, depth * (width + gap), *channels)[:, :, : depth * (width + gap) - gap]
