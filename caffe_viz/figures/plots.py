"""Plot vectors: activations of InnerProduct layers, probabilities, objectives over steps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from caffe_viz.errors import InputError
from caffe_viz.figures.picture import DPI, GREY, Picture, plain_style, rasterise, shorten
from caffe_viz.tiling import finite

BLUE, ORANGE = "#0072B2", "#D55E00"
# Okabe and Ito's colours, which the colour-blind tell apart, without the yellow that is faint on white.
COLORS = (BLUE, ORANGE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
BINS = 100
TOP = 5


def vector_plot(values: ArrayLike, title: str = "") -> Picture:
    """Values (K,) as a line over their index, and below it the histogram of the positive ones in 100 bins.

    Raises:
        InputError: nothing to draw, or values that are not finite.
    """
    array = _vector(values, "values")
    positive = array[array > 0]
    with plain_style():
        figure, (line, bars) = _figure(9, 6, nrows=2, height_ratios=(3, 2))
        line.set_title(shorten(title, 760, 10), parse_math=False)
        _line(line, array)
        line.set(xlabel="index", ylabel="value")
        if positive.size:
            top = float(positive.max())
            bars.stairs(*np.histogram(positive, BINS, (0, top)), fill=True, color=BLUE)
            bars.set(xlim=(0, top), xlabel="positive values", ylabel="how many")
            bars.yaxis.get_major_locator().set_params(integer=True)
        else:
            _say(bars, "no positive values")
        share = f"{positive.size:,} of {array.size:,} are positive"
        bars.set_title(share, color=GREY, fontsize=9)
        return rasterise(figure)


def prob_plot(prob: ArrayLike, labels: Sequence[str] = (), title: str = "") -> Picture:
    """Probabilities (K,) as a line over the class, with the five largest named beside it.

    Raises:
        InputError: nothing to draw, values that are not finite, another number of labels.
    """
    array = _vector(prob, "probabilities")
    if len(labels) not in (0, len(array)):
        raise InputError(f"{len(labels)} labels are given for {len(array)} probabilities.")
    top = np.argsort(-array, kind="stable")[:TOP]
    with plain_style():
        figure, (line, names) = _figure(11, 4, ncols=2, width_ratios=(3, 2))
        line.set_title(shorten(title, 560, 10), parse_math=False)
        _line(line, array)
        line.plot(top, array[top], "o", color=ORANGE, markersize=4, clip_on=False)
        line.set(
            xlabel="class", ylabel="probability", ylim=(min(0, array.min()), max(array.max() * 1.05, 1e-6))
        )
        names.set_axis_off()
        names.set(xlim=(0, 1), ylim=(TOP - 0.5, -0.5))
        for row, index in enumerate(top):
            words = _class_name(labels[index]) if labels else "class"
            words = shorten(f"{words} ({index})", 320, 9, keep=len(str(index)) + 3)
            names.text(0, row - 0.02, words, va="bottom", color="0", parse_math=False)
            names.text(1, row - 0.02, f"{array[index]:.4f}", va="bottom", ha="right", color="0")
        rows = np.arange(len(top)) + 0.12
        names.barh(rows, 1, 0.12, color="0.92")
        names.barh(rows, array[top].clip(0, 1), 0.12, color=ORANGE)
        return rasterise(figure)


def curves(values: ArrayLike, titles: Sequence[str] = (), ylabel: str = "objective") -> Picture:
    """Curves (K, S) against the step; a NaN ends or interrupts its curve.

    Up to seven have a colour and their title each. Of more, the two that end highest and the two that
    end lowest have, between the others in grey.

    Raises:
        InputError: another rank, nothing to draw, infinite values, another number of titles.
    """
    array = np.array(values, np.float64)
    if array.ndim != 2 or not np.isfinite(array).any() or np.isinf(array).any():
        raise InputError(f"curves of shape {array.shape}: (K, S) finite numbers are expected, NaN for none.")
    if len(titles) not in (0, len(array)):
        raise InputError(f"{len(titles)} titles are given for {len(array)} curves.")
    ends = np.array([row[np.isfinite(row)][-1] if np.isfinite(row).any() else -np.inf for row in array])
    ranked = [int(k) for k in np.argsort(-ends, kind="stable") if np.isfinite(ends[k])]
    named = ranked if len(ranked) <= len(COLORS) else [*ranked[:2], *ranked[-2:]]
    with plain_style():
        figure, (axes, names) = _figure(10, 4.5, ncols=2, width_ratios=(4, 1))
        names.set_axis_off()
        names.set(xlim=(0, 1), ylim=(0, 1))
        for k in ranked:
            if k not in named:
                _line(axes, array[k], color="0.8", linewidth=0.8)
        for row, k in enumerate(named):
            _line(axes, array[k], color=COLORS[row], linewidth=1.4)
            words = shorten(titles[k] if titles else str(k), 125, 9, keep=5)
            place = {"transform": names.transAxes, "va": "center", "parse_math": False}
            names.text(0.02, 0.96 - 0.075 * row, f"{ends[k]:.4g}", color=COLORS[row], **place)
            names.text(0.32, 0.96 - 0.075 * row, words, color=COLORS[row], **place)
        if len(named) < len(ranked):
            words = f"and {len(ranked) - len(named)} between"
            names.text(0.32, 0.96 - 0.075 * len(named), words, color=GREY, va="center")
        axes.set(xlabel="step", ylabel=ylabel)
        axes.xaxis.get_major_locator().set_params(integer=True)
        return rasterise(figure)


def _figure(width: float, height: float, **layout: Any) -> tuple[Any, Any]:
    """A Figure of `width` x `height` inches and its axes; pyplot and the user's backend stay out."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    ratios: dict[str, Any] = {
        key: layout.pop(key) for key in ("width_ratios", "height_ratios") if key in layout
    }
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)  # type: ignore[union-attr,call-arg]
    return figure, figure.subplots(**layout, gridspec_kw=ratios)


def _vector(values: ArrayLike, name: str) -> Any:
    array = finite(values, name).astype(np.float64).ravel()
    if array.size == 0:
        raise InputError(f"{name}: there is nothing to draw.")
    return array


def _line(axes: Any, values: Any, color: str = BLUE, linewidth: float = 1.0) -> None:
    marker = "o" if len(values) <= 30 else ""  # a few values are read one by one; one alone has no line
    axes.plot(values, color=color, linewidth=linewidth, marker=marker, markersize=3)
    axes.margins(x=0.01)
    axes.xaxis.get_major_locator().set_params(integer=True)


def _say(axes: Any, words: str) -> None:
    axes.text(0.5, 0.5, words, ha="center", va="center", transform=axes.transAxes, color=GREY)
    axes.set(xticks=[], yticks=[])


def _class_name(label: str) -> str:
    """A label without the number that WordNet's lists begin with: 'n02123045 tabby' -> 'tabby'."""
    return re.sub(r"^n\d{8}\s+", "", label)
