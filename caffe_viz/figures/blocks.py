"""Turn values into pixels: blocks large enough to see flat shapes, and slices of volumes."""

from __future__ import annotations

import math
from collections.abc import Sequence

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


def as_slices(sizes: Sequence[int]) -> tuple[int, int, int]:
    """The sizes of a line, a plane or a volume as (D, h, w): so many slices."""
    *outer, height, width = [*[1] * (2 - len(sizes)), *sizes]
    return math.prod(outer), height, width


def tile_of(slices: tuple[int, int, int]) -> tuple[int, int]:
    """The size (h, w) of a tile of slices (D, h, w) side by side, each value a pixel."""
    depth, height, width = slices
    return height, depth * (width + 1) - 1


def side_by_side(slices: Floats, factor: int | tuple[int, int]) -> Floats:
    """(N, D, h, w, ..) -> (N, h', w', ..): each value a block, D slices beside each other, white between."""
    count, depth, *shape = slices.shape
    large = enlarge(slices.reshape(count * depth, *shape), factor)
    _, height, width, *channels = large.shape
    out = np.ones((count, height, depth, width + 1, *channels), np.float32)
    out[:, :, :, :width] = large.reshape(count, depth, *large.shape[1:]).swapaxes(1, 2)
    return out.reshape(count, height, depth * (width + 1), *channels)[:, :, :-1]
