"""Draw what changes while a net learns: kernels over time, curves of many layers, histograms as ridges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caffe_viz.errors import InputError
from caffe_viz.figures.picture import GREY, Picture, Text, clean, plain_style, rasterise, text_width, write_on
from caffe_viz.figures.plots import BLUE, ORANGE, _figure
from caffe_viz.figures.tiles import LINE, MARGIN
from caffe_viz.images.pixels import RED_GREEN_BLUE
from caffe_viz.tiling import enlarge, finite, grid

SHOWN = 24  # kernels side by side over time
MOMENTS = 16  # rows of them
FRAME = 64  # kernels in a frame of a film
SIDE = 40  # pixels of a kernel
SATURATED = 0.995  # the share of the weights between black and white
NAMED = 18  # layers beside their curves


def kernels_over_time(weights: ArrayLike, moments: Sequence[str], channel_order: str = "BGR") -> Picture:
    """Kernels (T, O, I, kh, kw) of T moments, one row each; all share one scale, 0 is mid-grey.

    In colour where a kernel sees 3 channels. The kernels, one for each filter and channel else, are those
    that change most, in the order of their numbers; of many moments some, evenly chosen.

    Raises:
        InputError: another rank, nothing to draw, values that are not finite, another number of moments.
    """
    array = _checked(weights, moments)
    tiles, numbers = _chosen(array, SHOWN, channel_order)
    rows = np.unique(np.linspace(0, len(tiles) - 1, min(MOMENTS, len(tiles))).round().astype(int))
    tiles, limit = _shaded(tiles[rows])
    count, side = tiles.shape[1], tiles.shape[2:4]
    flat = tiles.reshape(-1, *tiles.shape[2:])
    sheet = grid(flat, len(rows), count, padding=(4, 4))
    words = [moments[k] for k in rows]
    left = int(max(map(text_width, words))) + MARGIN + 6
    top = MARGIN + LINE
    caption = _caption(array.shape, count, limit)
    width = max(left + sheet.shape[1] + MARGIN, left + int(text_width(caption)) + MARGIN)
    canvas = np.ones((top + sheet.shape[0] + LINE + MARGIN, width, 3), np.float32)
    canvas[top : top + sheet.shape[0], left : left + sheet.shape[1]] = sheet
    texts = [
        Text(left - 6, top + k * (side[0] + 4) + side[0] / 2, one, "right") for k, one in enumerate(words)
    ]
    texts += [
        Text(left + k * (side[1] + 4) + side[1] / 2, MARGIN + LINE / 2 - 2, name, "center")
        for k, name in enumerate(numbers)
    ]
    texts.append(Text(left, canvas.shape[0] - MARGIN - 2, caption))
    return write_on(canvas, texts)


def kernel_film(weights: ArrayLike, moments: Sequence[str], channel_order: str = "BGR") -> list[Picture]:
    """Kernels (T, O, I, kh, kw) as T frames of one size, with one scale, each with its moment; see
    `kernels_over_time`.
    """
    array = _checked(weights, moments)
    tiles, _ = _chosen(array, FRAME, channel_order)
    tiles, limit = _shaded(tiles)
    columns = int(np.ceil(np.sqrt(tiles.shape[1])))
    rows = -(-tiles.shape[1] // columns)
    caption = _caption(array.shape, tiles.shape[1], limit)
    frames = []
    for one, moment in zip(tiles, moments, strict=True):
        sheet = grid(one, rows, columns, padding=(4, 4))
        width = max(sheet.shape[1], int(text_width(caption))) + 2 * MARGIN
        canvas = np.ones((sheet.shape[0] + 2 * MARGIN + 2 * LINE, width, 3), np.float32)
        canvas[MARGIN + LINE : MARGIN + LINE + sheet.shape[0], MARGIN : MARGIN + sheet.shape[1]] = sheet
        texts = [
            Text(MARGIN, MARGIN + LINE / 2 - 2, moment, color="0"),
            Text(MARGIN, canvas.shape[0] - MARGIN - 2, caption),
        ]
        frames.append(write_on(canvas, texts))
    return frames


def layer_curves(
    x: ArrayLike, values: ArrayLike, names: Sequence[str], ylabel: str, *, log: bool = True
) -> Picture:
    """Curves (T, K) over x (T,), one for each of K layers, from dark for the first to light for the last.

    NaN interrupts a curve, and so does 0 on the logarithmic axis.

    Raises:
        InputError: another rank or number of names, or nothing to draw.
    """
    array, at = np.array(values, np.float64), np.asarray(x)
    if array.ndim != 2 or array.shape != (len(at), len(names)):
        raise InputError(f"curves of shape {array.shape} over {len(at)} for {len(names)} names do not fit.")
    array[~np.isfinite(array) | ((array <= 0) & log)] = np.nan
    if np.isnan(array).all():
        raise InputError(f"{ylabel}: there is nothing to draw.")
    with plain_style():
        figure, (axes, legend) = _figure(10, 4.5, ncols=2, width_ratios=(5, 1))
        colours = _depth(len(names))
        for column, colour in zip(array.T, colours, strict=True):
            axes.plot(
                at, column, color=colour, linewidth=1.3, marker=_marker(at), markersize=3, clip_on=False
            )
        axes.set(xlabel="iteration", ylabel=ylabel, yscale="log" if log else "linear")
        if log:
            _plain_numbers(axes.yaxis)
        else:
            axes.set_ylim(0, max(1, 1.05 * float(np.nanmax(array))))
        _over_time(axes, at)
        _name_layers(legend, names, colours)
        return rasterise(figure)


def training_curves(
    losses: tuple[ArrayLike, ArrayLike], scores: Sequence[tuple[str, ArrayLike, ArrayLike]]
) -> Picture:
    """Draw the loss of each iteration, pale, with its running mean, and below it scores (name, x, values).

    Raises:
        InputError: There is no loss.
    """
    x, loss = (np.asarray(part, np.float64) for part in losses)
    if not np.isfinite(loss).any():
        raise InputError("losses: there is nothing to draw.")
    losses_too = [one for one in scores if "loss" in one[0].lower()]
    others = [one for one in scores if one not in losses_too and np.isfinite(np.asarray(one[2])).any()]
    with plain_style():
        figure, axes = _figure(10, 3.4 * (1 + bool(others)), nrows=1 + bool(others), squeeze=False)
        top = axes[0, 0]
        top.plot(x, loss, color="#9ecae1", linewidth=0.6, label="training, each batch")
        span = max(1, len(loss) // 50)
        mean = np.convolve(loss, np.ones(span) / span, "valid")
        top.plot(
            np.convolve(x, np.ones(span) / span, "valid"),
            mean,
            color=BLUE,
            linewidth=1.6,
            label=f"mean of {span}",
        )
        for name, at, values in losses_too:
            top.plot(at, values, color=ORANGE, marker="o", markersize=4, label=clean(f"test {name}"))
        top.set(ylabel="loss", xlabel="" if others else "iteration")
        top.legend(frameon=False, labelcolor=GREY)
        for k, (name, at, values) in enumerate(others):
            colour = (BLUE, ORANGE, "#009E73", "#CC79A7")[k % 4]
            axes[1, 0].plot(at, values, color=colour, marker="o", markersize=4, label=clean(f"test {name}"))
        if others:
            axes[1, 0].set(xlabel="iteration", ylabel="score")
            axes[1, 0].legend(frameon=False, labelcolor=GREY)
        for one in axes.ravel():
            _over_time(one, x)
        return rasterise(figure)


def ridges(
    histograms: Sequence[tuple[str, ArrayLike, ArrayLike, ArrayLike]], moments: Sequence[str]
) -> Picture:
    """For each layer (name, counts (T, B), low (T,), high (T,)) its histograms, the first at the top.

    Each ridge has the same height; the bins divide low to high evenly.

    Raises:
        InputError: there is nothing to draw, or another number of moments.
    """
    if not histograms or any(len(np.asarray(c)) != len(moments) for _, c, _, _ in histograms):
        raise InputError(f"ridges need histograms of each of {len(moments)} moments.")
    columns = min(4, len(histograms))
    rows = -(-len(histograms) // columns)
    chosen = np.unique(np.linspace(0, len(moments) - 1, min(MOMENTS, len(moments))).round().astype(int))
    with plain_style():
        figure, axes = _figure(3.1 * columns, 3.2 * rows, nrows=rows, ncols=columns, squeeze=False)
        for place, (name, *histogram) in zip(axes.ravel(), histograms, strict=False):
            counts, low, high = (np.asarray(part)[chosen] for part in histogram)
            _ridge(place, counts, low, high)
            place.set_title(clean(name), parse_math=False, fontsize=9)
            place.set_yticks(-np.arange(len(chosen)), [clean(moments[k]) for k in chosen], fontsize=7)
        for place in axes.ravel()[len(histograms) :]:
            place.set_axis_off()
        return rasterise(figure)


def _ridge(axes: Any, counts: NDArray[Any], low: NDArray[Any], high: NDArray[Any]) -> None:
    colours = _depth(len(counts))
    for row, (count, start, end) in enumerate(zip(counts, low, high, strict=True)):
        if not count.sum():
            continue
        start, end = (start, end) if start < end else (start - 0.5, end + 0.5)
        edges = np.linspace(start, end, len(count) + 1)
        heights = np.concatenate([[0], count / count.max() * 1.6, [0]]) - row
        x = np.concatenate([[start], (edges[:-1] + edges[1:]) / 2, [end]])
        axes.fill_between(x, -row, heights, color=colours[row], alpha=0.75, linewidth=0, zorder=2 * row)
        axes.plot(x, heights, color="white", linewidth=0.8, zorder=2 * row + 1)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _checked(weights: ArrayLike, moments: Sequence[str]) -> NDArray[np.float32]:
    array = finite(weights, "weights")
    if array.ndim != 5 or array.size == 0:
        raise InputError(f"weights of shape {array.shape}: (T, O, I, kh, kw) is expected.")
    if len(moments) != len(array):
        raise InputError(f"{len(moments)} moments are named for {len(array)}.")
    return np.asarray(array, np.float32)


def _chosen(array: NDArray[np.float32], most: int, order: str) -> tuple[NDArray[np.float32], list[str]]:
    """(T, K, kh, kw, 3): up to `most` kernels that change most, and their numbers."""
    times, filters, inputs, *kernel = array.shape
    if inputs == 3 and order != "GRAY":
        tiles = array.transpose(0, 1, 3, 4, 2)[..., list(RED_GREEN_BLUE[order])]
        names = [str(k) for k in range(filters)]
    else:
        tiles = np.repeat(array.reshape(times, filters * inputs, *kernel)[..., None], 3, axis=-1)
        names = [f"{k // inputs}:{k % inputs}" if inputs > 1 else str(k) for k in range(filters * inputs)]
    change = np.abs(tiles[-1] - tiles[0]).sum(axis=(1, 2, 3))
    best = np.sort(np.argsort(-change, kind="stable")[:most])
    return tiles[:, best], [names[k] for k in best]


def _shaded(tiles: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
    """(T, K, kh, kw, 3) -> enlarged, 0..1 with 0 as mid-grey, and the weight that is white."""
    size = np.abs(tiles)
    limit = float(np.quantile(size, SATURATED)) or float(size.max()) or 1.0
    times, count, height, width, _ = tiles.shape
    shaded = np.clip(tiles / (2 * limit) + 0.5, 0, 1).reshape(times * count, height, width, 3)
    large = enlarge(np.asarray(shaded, np.float32), max(1, SIDE // max(height, width)))
    return large.reshape(times, count, *large.shape[1:]), limit


def _caption(shape: tuple[int, ...], count: int, limit: float) -> str:
    _, filters, inputs, height, width = shape
    every = filters if inputs == 3 else filters * inputs
    which = f"all {every} kernels" if count == every else f"the {count} kernels of {every:,} that change most"
    return f"{which}, {height} x {width};  black {-limit:.3g}, grey 0, white {limit:.3g}"


def _depth(count: int) -> list[Any]:
    """Colours from dark to light, that order shows in; the faint end is left out."""
    from matplotlib import colormaps

    return list(colormaps["viridis"](np.linspace(0, 0.85, count)))


def _name_layers(axes: Any, names: Sequence[str], colours: Sequence[Any]) -> None:
    axes.set_axis_off()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    shown = np.unique(np.linspace(0, len(names) - 1, min(NAMED, len(names))).round().astype(int))
    for row, k in enumerate(shown):
        axes.text(0, 0.97 - 0.052 * row, clean(names[k]), color=colours[k], va="center", parse_math=False)


def _marker(x: NDArray[Any]) -> str:
    return "o" if len(x) <= 30 else ""


def _over_time(axes: Any, x: NDArray[Any]) -> None:
    """Iterations, from 0 on unless what is drawn begins late."""
    late = x[0] > x[-1] - x[0]
    start = x[0] if late else 0
    margin = 0.01 * max(1, x[-1] - start)
    axes.set_xlim(start - margin * late, x[-1] + margin)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.xaxis.set_major_formatter("{x:,.0f}")


def _plain_numbers(axis: Any) -> None:
    """0.5 and 2 in place of 5 x 10^-1 and 2 x 10^0."""
    from matplotlib.ticker import LogFormatter

    class Plain(LogFormatter):
        def __call__(self, x: float, pos: int | None = None) -> str:
            return super().__call__(x, pos) and f"{x:g}"

    for formatter in (axis.set_major_formatter, axis.set_minor_formatter):
        formatter(Plain(labelOnlyBase=False, minor_thresholds=(1, 0.4)))
