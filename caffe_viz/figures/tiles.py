"""Draw kernels, maps and images as labelled tiles."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from caffe_viz.errors import InputError, near
from caffe_viz.figures.blocks import as_slices, block, columns_for, is_flat, side_by_side, tile_of
from caffe_viz.figures.picture import Picture, Text, plain_style, shorten, text_width, write_on
from caffe_viz.images import display_rgb, resized
from caffe_viz.images.pixels import RED_GREEN_BLUE, Floats
from caffe_viz.tiling import enlarge, finite, grid, normalise

WIDTH = 1200  # pixels that a picture of small tiles is enlarged to, at most, each way
LINE = 14  # pixels from one line of text to the next
MARGIN = 10
MIN_TILE, LARGEST = 9, 96  # pixels of the thin side of a kernel, where there is room, and of its long side
LARGEST_ALONE = 112  # pixels of the long side of a kernel of one channel, or of colours
MIN_MAP = 24  # pixels of the thin side of a map or image, where there is room
SATURATED = 0.995  # the share of the weights between black and white, where both signs share one scale
SHOWN = 48  # filters and channels that one picture of kernels shows
MOST_PIXELS = 24_000_000  # of the maps that one picture shows


def kernel_tiles(
    weights: ArrayLike,
    *,
    channel_order: str = "BGR",
    filters: Sequence[int] | None = None,
    unit: str = "filter",
) -> Picture:
    """Kernels (O, I, kh, kw) as tiles, their smallest weight black and their largest white.

    I = 3: in colour, by `channel_order`; I = 1: in grey, a square of tiles. Other I: one row for each
    filter and one column for each channel, the first 48 where there are more (few filters of many
    channels take several rows each), mid-grey where a weight is 0; the largest 0.5 % of the weights
    may be beyond black and white, and the caption says so. `filters`: the numbers of the O filters,
    `unit`: what the caption calls one.

    Kernels of lines (O, I, k) are strips and never colours; those of volumes (O, I, kd, kh, kw) are slices
    beside each other. Weights of very flat kernels are higher or wider than square.

    Raises:
        InputError: another rank, nothing to draw, values that are not finite, an unknown order.
    """
    array = finite(weights, "weights")
    if array.ndim < 3 or array.size == 0:
        raise InputError(f"weights of shape {array.shape} are not kernels: (O, I, kh, kw) is expected.")
    if channel_order not in RED_GREEN_BLUE:
        raise InputError(f"channel_order is {channel_order!r}.{near(channel_order, RED_GREEN_BLUE)}")
    numbers = list(range(len(array)) if filters is None else filters)
    if len(numbers) != len(array):
        raise InputError(f"filters: {len(numbers)} numbers are given for {len(array)} filters.")
    count, inputs, *kernel = array.shape
    caption = f"{_count(count, unit)} of {_sizes(kernel)} on"
    if inputs == 3 and channel_order != "GRAY" and len(kernel) > 1:
        array = np.moveaxis(array, 1, -1)[..., list(RED_GREEN_BLUE[channel_order])]
        slices = array.reshape(count, -1, *array.shape[-3:])
        return _square(slices, numbers, f"{caption} 3 channels, as colours{_slices(kernel)}")
    slices = array.reshape(count, inputs, *as_slices(kernel))
    if inputs == 1:
        return _square(slices[:, 0], numbers, f"{caption} 1 channel{_slices(kernel)}")
    return _kernel_rows(slices, numbers, _sizes(kernel) + _slices(kernel), unit)


def map_tiles(maps: ArrayLike, *, numbered: bool = True) -> Picture:
    """Maps (C, H, W) as grey tiles, the smallest value black and the largest white, small ones enlarged.

    Sequences (C, T) are strips, volumes (C, D, H, W) slices beside each other. The number left of each line
    is that of its first map; numbered=False: nothing but the tiles.

    Raises:
        InputError: another rank, nothing to draw, or values that are not finite.
    """
    array = np.asarray(maps)
    if array.ndim < 2:
        raise InputError(f"maps of shape {array.shape} were given: (C, H, W) is expected.")
    count, *sizes = array.shape
    shown = max(1, min(count, MOST_PIXELS // max(math.prod(sizes), 1)))
    first = f"the first {shown} of " if shown < count else ""
    caption = f"{first}{_count(count, 'map')} of {_sizes(sizes)}{_slices(sizes)}"
    slices = array[:shown].reshape(-1, *as_slices(sizes)) if array.size else array[:, None]
    numbers = range(shown) if numbered else None
    return _square(slices, numbers, caption, largest=360, least=MIN_MAP)


def _sizes(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))


def _slices(sizes: Sequence[int]) -> str:
    return ", slices side by side" if len(sizes) > 2 else ""


def strip(images: Sequence[Floats], side: int) -> Floats:
    """Images (h, w, 3) of any sizes beside each other, each brought to a square of `side`, on white."""
    out = []
    for image in images:
        scale = side / max(image.shape[:2])
        size = (max(round(image.shape[0] * scale), 1), max(round(image.shape[1] * scale), 1))
        tile = np.ones((side, side, 3), np.float32)
        top, left = ((side - n) // 2 for n in size)
        tile[top : top + size[0], left : left + size[1]] = resized(np.asarray(image, np.float32), size)
        out.append(tile)
    return grid(np.stack(out), 1, len(out), padding=(2, 2))


def contact_sheet(
    images: Sequence[Any] | Floats, titles: Sequence[str], columns: int | None = None
) -> Picture:
    """Images (K, H, W, 3) RGB in 0..1 as tiles, each with its title below; small ones are enlarged.

    Raises:
        InputError: no images, images of several sizes, values outside 0..1, another number of titles.
    """
    pictures = [display_rgb(image) for image in images]
    if not pictures or len({picture.shape for picture in pictures}) > 1:
        shapes = sorted({picture.shape for picture in pictures})
        raise InputError(f"a contact sheet takes images of one size, not {shapes or 'none at all'}.")
    if len(titles) != len(pictures):
        raise InputError(f"{len(titles)} titles are given for {len(pictures)} images.")
    if columns is not None and columns < 1:
        raise InputError(f"columns is {columns}: 1 or more is expected.")
    tiles = np.stack(pictures)
    columns = min(columns or columns_for(len(tiles), tiles.shape[1:3], 4 * MIN_MAP, WIDTH), len(tiles))
    rows = -(-len(tiles) // columns)
    down = rows if is_flat(tiles.shape[1:3]) else columns  # a last row may be missing to the square
    tiles = enlarge(tiles, _block(tiles.shape[1:3], down, columns, 200, MIN_MAP))
    height, width = tiles.shape[1:3]
    # A cell is wider than its tile where the titles are, within reason; longer titles keep their last word.
    cell = max(width, min(int(max(map(text_width, titles))) + 1, 200))
    side, gap = (cell - width) // 2, 8
    sides = [(0, 0), (0, LINE + 4), (side, cell - width - side), (0, 0)]
    sheet = grid(np.pad(tiles, sides, constant_values=1), rows, columns, padding=(gap, gap))
    texts = []
    for k, title in enumerate(titles):
        x = MARGIN + k % columns * (cell + gap) + cell / 2
        y = MARGIN + k // columns * (height + LINE + 4 + gap) + height + LINE / 2 + 2
        texts.append(
            Text(x, y, shorten(title, cell, keep=len(title) - title.rfind(" ")), "center", color="0")
        )
    return write_on(_framed(sheet, MARGIN, MARGIN, MARGIN), texts)


def _square(
    array: Any,
    numbers: Sequence[int] | None,
    caption: str,
    largest: int = LARGEST_ALONE,
    least: int = MIN_TILE,
) -> Picture:
    """(N, D, h, w[, 3]) of any range as a square of tiles; without `numbers`, nothing but the tiles."""
    array = finite(array, "images")
    if array.size == 0:
        raise InputError(f"images of shape {array.shape}: there is nothing to draw.")
    count, depth, height, width = array.shape[:4]
    tile = tile_of((depth, height, width))
    columns = columns_for(count, tile, least, WIDTH)
    rows = -(-count // columns)
    # Of a square a last row may be missing; strips may be long.
    down, longer = (rows, max(3, depth)) if is_flat(tile) else (columns, depth)
    tiles = side_by_side(normalise(array), _block(tile, down, columns, longer * largest, least))
    gap = _gap(tiles.shape[1])
    sheet = _colours(grid(tiles, rows, columns, padding=(gap, gap)))
    if numbers is None:
        return Picture(sheet)
    labels = [(str(numbers[row * columns]), row * (tiles.shape[1] + gap)) for row in range(rows)]
    low, high = array.min(), array.max()
    caption += f";  black {low:.3g}, white {high:.3g}" if low < high else f";  all {low:.3g}"
    return _labelled(sheet, labels, [], tiles.shape[1:3], caption)


def _kernel_rows(array: Any, numbers: Sequence[int], sizes: str, unit: str) -> Picture:
    """(O, I, D, kh, kw): one row for each filter, a few where its channels are many or its kernels flat."""
    count, inputs, depth, height, width = array.shape
    tile = tile_of((depth, height, width))
    lines, columns = _lines((count, inputs, *tile))
    filters, channels = min(count, SHOWN), min(inputs, lines * columns)
    array, said = saturated(array[:filters, :channels])
    tiles = np.ones((filters, lines * columns, depth, height, width), np.float32)
    tiles[:, :channels] = array
    tiles = side_by_side(
        tiles.reshape(-1, depth, height, width), _block(tile, filters * lines, columns, LARGEST, MIN_TILE)
    )
    high, wide = tiles.shape[1:3]
    padding = (max(_gap(high), LINE - 1 - high), _gap(wide))  # flat kernels still leave room for labels
    sheet = _colours(grid(tiles, filters * lines, columns, padding=padding))
    rows = [
        (str(numbers[k // lines]) if k % lines == 0 else f"+{k % lines * columns}", k * (high + padding[0]))
        for k in range(filters * lines)
    ]
    heads = [(str(k), k * (wide + padding[1])) for k in range(columns)]
    caption = (
        f"rows: {_of(filters, count, unit)};  columns: {_of(channels, inputs, 'channel')};  "
        f"each {sizes};  {said}"
    )
    return _labelled(sheet, rows, heads, (high, wide), caption)


def saturated(weights: ArrayLike) -> tuple[Floats, str]:
    """Weights of any shape in 0..1, 0 mid-grey, and in words which are black and white."""
    sizes = np.abs(weights)
    most = float(sizes.max())
    # A few large weights would leave all the others grey.
    limit = float(np.quantile(sizes, SATURATED, method="higher")) or most or 1.0
    said = f"black {-limit:.3g}, grey 0, white {limit:.3g}"
    said += f" (largest weight {most:.3g})" if most > limit else ""
    return np.asarray(np.clip(np.asarray(weights) / (2 * limit) + 0.5, 0, 1), np.float32), said


def _of(shown: int, count: int, what: str) -> str:
    return f"the first {shown} of {_count(count, what)}" if shown < count else _count(count, what)


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' if count > 1 else ''}"


def _lines(shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows of tiles that one filter takes, and columns: the fewest that show all channels, large enough."""
    count, inputs, *kernel = shape

    def worth(lines: int) -> tuple[int, int]:
        columns = min(-(-inputs // lines), SHOWN)
        factor = _factor(tuple(kernel), min(count, SHOWN) * lines, columns, LARGEST)
        return min(lines * columns, inputs), min(factor * min(kernel), MIN_TILE)

    lines = max(range(1, max(SHOWN // count, 1) + 1), key=worth)
    return lines, min(-(-inputs // lines), SHOWN)


def _gap(tile: int) -> int:
    return min(max(tile // 10, 2), 6)


def _factor(tile: tuple[int, ...], rows: int, columns: int, largest: int) -> int:
    """How often the pixels of a tile fit into its share of the picture, and into `largest` pixels."""
    height, width = tile
    return max(1, min((WIDTH // columns - 2) // width, (WIDTH // rows - 2) // height, largest // max(tile)))


def _block(tile: tuple[int, ...], rows: int, columns: int, largest: int, least: int) -> tuple[int, int]:
    """Pixels (down, across) of one value of a tile, which its thin side may need more of."""
    room = (WIDTH // rows - 2, WIDTH // columns - 2)
    return block(tile, _factor(tile, rows, columns, largest), room, least)


def _colours(sheet: Floats) -> Floats:
    return sheet if sheet.ndim == 3 else np.repeat(sheet[..., None], 3, axis=2)


def _framed(sheet: Floats, left: int, top: int, bottom: int, width: int = 0) -> Floats:
    right = max(MARGIN, width - left - sheet.shape[1])
    return np.pad(sheet, [(top, bottom), (left, right), (0, 0)], constant_values=1)


@plain_style()  # many texts are measured
def _labelled(
    sheet: Floats,
    rows: Sequence[tuple[str, int]],
    columns: Sequence[tuple[str, int]],
    tile: tuple[int, ...],
    caption: str,
) -> Picture:
    """`sheet` with labels (words, first pixel) left of its rows and above its columns, a caption below."""
    left = int(max(text_width(words) for words, _ in rows)) + MARGIN + 6
    top = MARGIN + (LINE if columns else 0)
    width = left + int(text_width(caption)) + MARGIN
    canvas = _framed(sheet, left, top, LINE + MARGIN + 4, width)
    texts = [Text(left, top + sheet.shape[0] + 6 + LINE / 2, caption)]
    texts += [Text(left - 6, top + at + tile[0] / 2, words, "right") for words, at in _spaced(rows, _line)]
    texts += [
        Text(left + at + tile[1] / 2, MARGIN + LINE / 2 - 2, words, "center")
        for words, at in _spaced(columns, text_width)
    ]
    return write_on(canvas, texts)


def _line(_: str) -> float:
    return LINE - 4


def _spaced(labels: Sequence[tuple[str, int]], room: Callable[[str], float]) -> Sequence[tuple[str, int]]:
    """As many of the labels as have room: all, every second, every fourth, fifth, tenth, ..."""
    if len(labels) < 2:
        return labels
    pitch = labels[1][1] - labels[0][1]
    need = max(room(words) for words, _ in labels) + 3
    steps = (step * 10**power for power in range(9) for step in (1, 2, 4, 5))
    return labels[:: next(step for step in steps if step * pitch >= need)]
