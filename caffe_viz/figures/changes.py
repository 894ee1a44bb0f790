"""Draw what changed between two sets of weights: bars for layers, and filters side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caffe_viz.errors import InputError
from caffe_viz.figures.picture import GREY, Picture, Text, shorten, text_width, write_on
from caffe_viz.images.pixels import RED_GREEN_BLUE, Floats
from caffe_viz.tiling import enlarge, finite, grid

ROW, BAR, LEFT, MARGIN = 18, 420, 240, 10  # pixels: of a bar's row, a full bar, names at most, margins
BARS = 80  # layers in one picture
COLOUR = (0, 0x72 / 255, 0xB2 / 255)
CHANNELS = 16  # of a filter that are shown
FOLDED = 128**2  # values of a vector that are shown
SIDE = 132  # pixels that one filter is enlarged to, at most
SATURATED = 0.995  # the share of the weights between black and white
GAINS = tuple(factor * 10**power for power in range(5) for factor in (1, 2, 5))
ROUNDING = 1e-6  # of the scale: no more is shown of a difference than float32 has


def change_bars(
    names: Sequence[str], values: Sequence[float | None], notes: Sequence[str], title: str = ""
) -> Picture:
    """Draw one row for each layer: its name, a bar as long as its value, a note; None means only the note.

    With more than 80 layers, the 80 with the largest values are shown, in their order.

    Raises:
        InputError: Nothing to draw, or lists of different lengths.
    """
    if not names or not len(names) == len(values) == len(notes):
        given = f"{len(names)} names, {len(values)} values, {len(notes)} notes"
        raise InputError(
            f"change bars: {given}: expected one of each for every layer, and at least one layer."
        )
    largest = max((v for v in values if v is not None), default=0.0) or 1.0
    sizes = np.array([np.inf if v is None else v for v in values])
    chosen = np.sort(np.argsort(-sizes, kind="stable")[:BARS])
    if len(chosen) < len(names):
        title = f"{title}; the {BARS} most changed of {len(names)} layers"
    left = MARGIN + int(min(LEFT, max(text_width(names[k]) for k in chosen))) + 8
    room = int(max(text_width(notes[k]) for k in chosen)) + 12
    width = max(left + BAR + room, int(text_width(title)) + MARGIN) + MARGIN
    canvas = np.ones((2 * MARGIN + ROW * (len(chosen) + 1), width, 3), np.float32)
    texts = [Text(MARGIN, MARGIN + ROW / 2 - 2, title, color="0")]
    for row, k in enumerate(chosen, 1):
        y, value = MARGIN + ROW * row, values[k]
        long = 0 if value is None else round(BAR * value / largest)
        canvas[y + 3 : y + ROW - 3, left : left + max(long, 1)] = COLOUR if value is not None else 0.8
        texts.append(Text(left - 8, y + ROW / 2, shorten(names[k], LEFT), "right", color="0"))
        texts.append(Text(left + long + 6, y + ROW / 2, notes[k]))
    return write_on(canvas, texts)


def filters_beside(
    first: ArrayLike,
    second: ArrayLike,
    titles: Sequence[str],
    heads: Sequence[str] = ("A", "B", "B - A"),
    *,
    channel_order: str = "BGR",
    caption: str = "",
) -> Picture:
    """Filters (N, I, kh, kw) or (N, K) in two states and their difference, with a title below each three.

    One scale for all, grey where 0; the difference is amplified where it is small, and its head says how
    much. 3 channels are colours by `channel_order`; of others the 16 that differ most are tiles, in order;
    vectors and 1 x 1 kernels are folded into rows.

    Raises:
        InputError: other shapes, nothing to draw, values that are not finite, another number of titles.
    """
    a, b = (finite(x, "filters").astype(np.float64) for x in (first, second))
    if a.shape != b.shape or a.ndim < 2 or not a.size:
        raise InputError(f"filters of {a.shape} beside {b.shape}: (N, I, kh, kw) or (N, K) of both expected.")
    if len(titles) != len(a):
        raise InputError(f"{len(titles)} titles are given for {len(a)} filters.")
    limit = _limit(np.stack([a, b]))
    change = b - a
    least = max(_limit(change), ROUNDING * limit)
    gain = max((g for g in GAINS if g * least <= limit), default=1) if least > ROUNDING * limit else 1
    blocks, how = _blocks([a / limit, b / limit, change * gain / limit], channel_order)
    heads = [*heads[:2], heads[2] + (f"  x {gain:,}" if gain > 1 else "")]
    said = [caption, how, f"black {-limit:.3g}, grey 0, white {limit:.3g}"]
    return _laid_out(blocks, titles, heads, ";  ".join(filter(None, said)))


def _limit(values: NDArray[np.float64]) -> float:
    sizes = np.abs(values)
    return float(np.quantile(sizes, SATURATED, method="higher")) or float(sizes.max()) or 1.0


def _blocks(states: Sequence[Any], order: str) -> tuple[Floats, str]:
    """Three arrays of -1..1 -> pictures (N, 3, h, w, 3), and in words what of each filter they show."""
    change = states[2]
    count, inputs, *kernel = change.shape
    grey = [np.clip(x / 2 + 0.5, 0, 1) for x in states]
    if len(kernel) == 2 and inputs == 3 and order != "GRAY":
        colours = [x.transpose(0, 2, 3, 1)[..., list(RED_GREEN_BLUE[order])] for x in grey]
        return np.stack(colours, 1).astype(np.float32), f"channels as colours, {order}"
    if len(kernel) == 2 and np.prod(kernel) > 1:
        shown = min(inputs, CHANNELS)
        most = np.sort(np.argsort(-np.square(change).sum((2, 3)), axis=1, kind="stable")[:, :shown], axis=1)
        tiles = [np.take_along_axis(x, most[..., None, None], 1) for x in grey]
        how = f"the {shown} of {inputs} channels that differ most" if shown < inputs else ""
        padding = 1
    else:
        size = change[0].size
        shown = min(size, FOLDED)
        tiles = [x.reshape(count, -1)[:, :shown, None, None] for x in grey]
        how = f"{'the first ' * (shown < size)}{shown:,} weights folded into rows"
        padding = 0
    height, width = tiles[0].shape[2:]
    columns = min(shown, max(1, int(np.ceil(np.sqrt(shown * height / width)))))
    rows = -(-shown // columns)
    made = [
        [grid(one.astype(np.float32), rows, columns, padding=(padding, padding)) for one in x] for x in tiles
    ]
    return np.repeat(np.asarray(made).swapaxes(0, 1)[..., None], 3, axis=-1), how


def _laid_out(blocks: Floats, titles: Sequence[str], heads: Sequence[str], caption: str) -> Picture:
    """Blocks (N, 3, h, w, 3) as threes in one or two columns."""
    count, _, high, wide, _ = blocks.shape
    factor = max(1, SIDE // max(high, wide))
    high, wide, gap, line = high * factor, wide * factor, 12, 20
    three = max(3 * wide + 2 * gap, int(max(map(text_width, titles))), int(sum(map(text_width, heads))) + 40)
    step = max(wide + gap, (three - wide) // 2)
    columns = 1 if count < 4 else 2
    rows = -(-count // columns)
    top, cell = MARGIN + line, (three + 36, high + line + 8)
    width = max(columns * cell[0], int(text_width(caption))) + 2 * MARGIN
    canvas = np.ones((top + rows * cell[1] + line + MARGIN, width, 3), np.float32)
    texts = [Text(MARGIN, top + rows * cell[1] + line / 2, caption, color=GREY)]
    for k, title in enumerate(titles):
        x, y = MARGIN + k // rows * cell[0], top + k % rows * cell[1]
        texts.append(Text(x, y + high + line / 2, title, color="0"))
        for state, block in enumerate(enlarge(blocks[k], factor)):
            canvas[y : y + high, x + state * step : x + state * step + wide] = block
            if k % rows == 0:
                texts.append(Text(x + state * step, MARGIN + line / 2 - 4, heads[state], color="0"))
    return write_on(canvas, texts)
