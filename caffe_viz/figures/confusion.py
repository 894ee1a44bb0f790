"""Draw a confusion matrix: a row for each true class, a column for each answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from caffe_viz.errors import InputError
from caffe_viz.figures.picture import DPI, Picture, plain_style, rasterise, shorten

COUNTED, NAMED = 20, 60  # classes, up to which each count is written, and each class is named
SIDE, MOST = 9.0, 2000  # inches of the matrix, and classes that fit into it


def confusion_matrix(counts: ArrayLike, names: Sequence[str], title: str = "") -> Picture:
    """Counts (K, K) by true class and answer, each shaded by its share of its row.

    Raises:
        InputError: no square of numbers, more than 2,000 classes, or another number of names.
    """
    array = np.asarray(counts, np.float64)
    if array.ndim != 2 or not 0 < len(array) <= MOST or set(array.shape) != {len(names)}:
        raise InputError(
            f"a confusion matrix of shape {array.shape} and {len(names)} names: (K, K) counts and K names "
            f"are expected, K up to {MOST}."
        )
    shares = array / np.maximum(array.sum(1, keepdims=True), 1)
    from matplotlib.figure import Figure

    with plain_style():
        side = min(SIDE, max(2.5, 0.45 * len(array)))
        figure: Any = Figure(figsize=(side + 2.2, side + 1.6), dpi=DPI, layout="constrained")
        axes = figure.subplots()
        shown = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
        axes.set_title(shorten(title, DPI * side, 10), parse_math=False)
        axes.set(xlabel="answer", ylabel="truth")
        if len(array) <= NAMED:
            words = [shorten(name, 120) for name in names]
            axes.set_xticks(np.arange(len(words)), words, rotation=90, parse_math=False, fontsize=8)
            axes.set_yticks(np.arange(len(words)), words, parse_math=False, fontsize=8)
        if len(array) <= COUNTED:
            for row, column in np.argwhere(array):
                color = "1" if shares[row, column] > 0.5 else "0"
                place = {"ha": "center", "va": "center", "fontsize": 7, "color": color}
                axes.text(column, row, f"{array[row, column]:.0f}", **place)
        figure.colorbar(shown, ax=axes, shrink=0.6, label="share of the class")
        return rasterise(figure)
