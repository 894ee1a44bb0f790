"""Draw inputs that are not pictures: data with any number of channels, frames, vectors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from caffe_viz.figures.blocks import as_slices, block, columns_for, side_by_side, tile_of
from caffe_viz.images import Preprocess
from caffe_viz.images.pixels import Floats
from caffe_viz.tiling import grid

SIDE, WIDER = 288, 600  # pixels that small data are enlarged to, and a volume's slices
LEAST = 12  # pixels of the thin side of a channel
GAP = 2
FEW = 24  # wide channels that are below each other
HEIGHT, LONGEST = 96, 1200  # of the bars of a vector
BAR, LINE, GROUND = (0.0, 0.45, 0.7), 0.6, 1.0  # as in plots, blue on white, and a grey line at 0


def draw_input(image: Floats, colours: Preprocess | None, toned: Callable[[Floats], Floats]) -> Floats:
    """(C, ..) in units of the input -> (h, w, 3) RGB in 0..1: an image, or the frames of a volume.

    Without `colours`, channels are tiles; a vector is bars. `toned` brings values (.., H, W, 3 or 1) to 0..1.
    """
    if image.ndim == 1:
        return bars(image)
    if colours is None:
        return channels(toned(image.reshape(-1, 1, 1)).reshape(image.shape))
    if image.ndim == 3:
        return toned(colours.in_rgb(image))
    shown = colours.in_rgb(image.swapaxes(0, 1))
    return frames(toned(shown.reshape(-1, *shown.shape[2:])).reshape(shown.shape))


def channels(values: Floats) -> Floats:
    """Draw (C, ..) in 0..1 in grey, as RGB (h, w, 3): a tile for each channel, small ones enlarged.

    The channels of planes (C, H, W) are tiles, those of volumes (C, D, H, W) rows of slices; a sequence (C,
    T) is one tile with a line for each channel.
    """
    array = np.asarray(values, np.float32)
    if array.ndim == 2:
        array = array[None]
    count, slices = len(array), as_slices(array.shape[1:])
    tile = tile_of(slices)
    columns = columns_for(count, tile, LEAST, SIDE)
    if tile[1] >= 2 * tile[0] and count <= FEW:
        columns = 1  # so that the channels are counted from above
    rows = -(-count // columns)
    side = SIDE if slices[0] == 1 else WIDER
    factor = max(1, side // max(rows * tile[0], columns * tile[1]))
    size = block(tile, factor, (LEAST, LEAST), LEAST)
    tiles = side_by_side(array.reshape(count, *slices), size)
    return np.repeat(grid(tiles, rows, columns, padding=(GAP, GAP))[..., None], 3, axis=2)


def frames(rgb: Floats) -> Floats:
    """Frames (D, H, W, 3) in 0..1 beside each other, small ones enlarged."""
    depth, _, width, _ = rgb.shape
    factor = max(1, WIDER // (depth * (width + 1)))
    return np.asarray(side_by_side(np.asarray(rgb, np.float32)[None], factor)[0])


def bars(values: Floats) -> Floats:
    """Draw a vector (K,) as RGB (h, w, 3): bars up or down from 0; the largest is half the height.

    If there are more values than pixels, a bar spans its neighbours from the lowest to the highest.
    """
    vector = np.asarray(values, np.float32).ravel()
    parts = np.array_split(vector, min(len(vector), LONGEST))
    low, high = np.array([(min(0, part.min()), max(0, part.max())) for part in parts]).T
    most = max(float(np.abs(vector).max()), np.finfo(np.float32).tiny)
    middle = HEIGHT // 2
    rows = (middle - np.arange(HEIGHT + 1))[:, None] / middle * most
    filled = (rows >= low) & (rows <= high) & (rows != 0)
    wide = max(1, SIDE // len(parts))
    out = np.full((*filled.shape, 3), GROUND, np.float32)
    out[filled] = BAR
    out = out.repeat(wide, axis=1)
    if wide > 2:
        out[:, wide - 1 :: wide] = GROUND  # so that bars can be counted
    out[middle] = LINE
    return out
