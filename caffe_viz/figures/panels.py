"""Draw many named curves in panels side by side, with one legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_viz.errors import InputError
from caffe_viz.figures.picture import DPI, GREY, Picture, clean, plain_style, rasterise, shorten
from caffe_viz.figures.plots import COLORS

STYLES = ("-", "--", "-.")  # when the colours are used up
GREYS = ("0.45", "0.65", "0.8")  # of curves that others are compared with


@dataclass(frozen=True)
class Panel:
    """Curves (S,) by name over `x` (S,); `ticks` name the whole numbers of x where it counts things."""

    title: str
    xlabel: str
    ylabel: str
    x: NDArray[Any]
    curves: Mapping[str, NDArray[Any]]
    ticks: tuple[str, ...] = ()


def panels(drawn: Sequence[Panel], grey: Sequence[str] = ()) -> Picture:
    """`drawn` in one row, a name in one colour throughout; those in `grey` are thin lines behind the others.

    Raises:
        InputError: nothing to draw.
    """
    names = list(dict.fromkeys(name for panel in drawn for name in panel.curves))
    if not names:
        raise InputError("there are no curves to draw.")
    looks = _looks(names, grey)
    from matplotlib.figure import Figure

    with plain_style():
        width = sum(max(4.2, 0.24 * len(panel.ticks)) for panel in drawn) + 1.8
        figure: Any = Figure(figsize=(width, 4.4), dpi=DPI, layout="constrained")
        lines: dict[str, Any] = {}
        for axes, panel in zip(
            figure.subplots(1, len(drawn), squeeze=False, sharey=True)[0], drawn, strict=True
        ):
            for name, values in panel.curves.items():
                lines[name] = axes.plot(panel.x, values, **looks[name])[0]
            axes.set_title(clean(panel.title), parse_math=False)
            axes.set(xlabel=panel.xlabel, ylabel=panel.ylabel)
            axes.axhline(0, color="0.85", linewidth=0.6, zorder=0)
            if panel.ticks:
                words = [shorten(tick, 90) for tick in panel.ticks]
                axes.set_xticks(np.arange(len(words)), words, rotation=90, parse_math=False)
        figure.legend(
            [lines[name] for name in names], names, loc="outside right center", frameon=False,
            labelcolor=GREY,
        )  # fmt: skip
        return rasterise(figure)


def _looks(names: Sequence[str], grey: Sequence[str]) -> dict[str, dict[str, Any]]:
    behind = [name for name in names if name in grey]
    looks = {
        name: {"color": GREYS[k % len(GREYS)], "linestyle": ":", "linewidth": 1.8}
        for k, name in enumerate(behind)
    }
    for k, name in enumerate(name for name in names if name not in grey):
        style = STYLES[k // len(COLORS) % len(STYLES)]
        looks[name] = {"color": COLORS[k % len(COLORS)], "linestyle": style, "linewidth": 1.3, "zorder": 3}
    return looks
