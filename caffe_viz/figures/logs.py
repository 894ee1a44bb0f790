"""Draw logs of trainings: losses, scores and learning rates over iterations, of one or more runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from caffe_viz.errors import InputError
from caffe_viz.figures.picture import GREY, Picture, clean, plain_style, rasterise, shorten
from caffe_viz.figures.plots import COLORS, _figure

RATE = "learning rate"
SMOOTHED = 200  # values of a curve of training, from which on its running mean is drawn too
SPREAD = 30  # times the median that a loss must reach for a logarithmic axis
NAME = 190  # pixels of a name in the legend
STYLES = ("-", "--", ":", "-.")
Points = tuple[NDArray[Any], NDArray[Any]]


class _Line(NamedTuple):
    label: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    colour: str
    style: str
    test: bool
    rate: bool


def log_curves(runs: Sequence[tuple[str, Mapping[str, Points]]]) -> Picture:
    """Runs (title, curves by name), each curve iterations (P,) and values (P,), as up to three panels.

    Losses, then other scores, then the learning rate. Names that begin with "test" have markers. Of one run
    each curve has a colour, of several each run.

    Raises:
        InputError: there is nothing to draw.
    """
    panels = [(ylabel, lines) for ylabel, lines in _panels(runs) if lines]
    if not panels:
        raise InputError("curves of a training: there is nothing to draw.")
    with plain_style():
        figure, axes = _figure(11, 1 + 2.9 * len(panels), nrows=len(panels), squeeze=False)
        for place, (ylabel, lines) in zip(axes[:, 0], panels, strict=True):
            for line in lines:
                _draw(place, line)
            place.set(ylabel=ylabel, yscale=_scale(ylabel, lines))
            place.legend(
                frameon=False, labelcolor=GREY, loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0
            )
            _over(place, [line for _, shown in panels for line in shown])
        axes[-1, 0].set_xlabel("iteration")
        return rasterise(figure)


def _panels(runs: Sequence[tuple[str, Mapping[str, Points]]]) -> list[tuple[str, list[_Line]]]:
    names = list(dict.fromkeys(name for _, curves in runs for name in curves))
    groups = {
        "loss": [name for name in names if "loss" in name.lower()],
        "score": [name for name in names if "loss" not in name.lower() and name != RATE],
        RATE: [name for name in names if name == RATE],
    }
    return [(ylabel, list(_lines(runs, group))) for ylabel, group in groups.items()]


def _lines(runs: Sequence[tuple[str, Mapping[str, Points]]], names: Sequence[str]) -> Any:
    alone = len(runs) == 1
    told = [name for name in names if not all(_repeats(name, curves) for _, curves in runs)]
    for k, (title, curves) in enumerate(runs):
        for n, name in enumerate(told):
            if name not in curves or _repeats(name, curves):
                continue
            x, y = (np.asarray(part, np.float64) for part in curves[name])
            if np.isfinite(y).any():
                words = name if alone or name == RATE else f"{title}: {name}"
                words = title if name == RATE and not alone else words
                colour = COLORS[(n if alone else k) % len(COLORS)]
                style = "-" if alone else STYLES[n % len(STYLES)]
                label = shorten(words, NAME, 9, keep=0 if alone else len(name) + 2)
                yield _Line(
                    label=label,
                    x=x,
                    y=y,
                    colour=colour,
                    style=style,
                    test=name.startswith("test"),
                    rate=name == RATE,
                )


def _repeats(name: str, curves: Mapping[str, Points]) -> bool:
    """Whether an output of the training net is the displayed loss once more, but for its end."""
    if not name.startswith("train ") or not {name, "loss"} <= curves.keys():
        return False
    (x, y), (at, loss) = curves[name], curves["loss"]
    count = len(x)
    return np.array_equal(x, at[:count]) and np.allclose(y, loss[:count], 1e-4, equal_nan=True)


def _draw(axes: Any, line: _Line) -> None:
    how = {"color": line.colour, "linestyle": line.style, "label": clean(line.label)}
    if line.rate:
        axes.plot(line.x, line.y, drawstyle="steps-post", linewidth=1.3, **how)
        return
    if line.test or len(line.y) <= SMOOTHED:
        marker = "o" if line.test and len(line.y) <= SMOOTHED else "." if len(line.y) <= 30 else ""
        axes.plot(line.x, line.y, marker=marker, markersize=4, linewidth=1.3, **how)
        return
    axes.plot(line.x, line.y, color=line.colour, alpha=0.3, linewidth=0.6)
    span = max(1, len(line.y) // 50)
    mean = [np.convolve(part, np.ones(span) / span, "valid") for part in (line.x, line.y)]
    axes.plot(*mean, linewidth=1.6, **how)


def _scale(ylabel: str, lines: Sequence[_Line]) -> str:
    """Logarithmic for rates and losses that fall, or rise, by far."""
    values = np.concatenate([line.y[np.isfinite(line.y)] for line in lines])
    if ylabel == "score" or values.min() <= 0:
        return "linear"
    far = (
        values.max() > SPREAD * float(np.median(values)) if ylabel == "loss" else values.max() > values.min()
    )
    return "log" if far else "linear"


def _over(axes: Any, lines: Sequence[_Line]) -> None:
    first, last = (pick(pick(line.x) for line in lines) for pick in (min, max))
    room = 0.01 * max(1, last - first)
    axes.set_xlim(first - room, last + room)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.xaxis.set_major_formatter("{x:,.0f}")
