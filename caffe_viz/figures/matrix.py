"""Draw a matrix of weights: a row for each unit, a column for each input."""

from __future__ import annotations

from collections.abc import Sequence

from numpy.typing import ArrayLike

from caffe_viz.errors import InputError
from caffe_viz.figures.picture import Picture
from caffe_viz.figures.tiles import _block, _colours, _labelled, _of, saturated
from caffe_viz.tiling import enlarge, finite

CELL, THIN = 24, 5  # pixels of a value, at most; and of the thin side of a matrix, at least
LABELS = 200  # of rows or columns, above which every tenth is named
SIDE, VALUES = 2048, 2**20  # rows or columns, and values, that one picture shows


def matrix(
    weights: ArrayLike,
    *,
    rows: str = "unit",
    columns: str = "input",
    numbers: Sequence[int] | None = None,
) -> Picture:
    """Weights (O, I) as a grey picture, 0 mid-grey; the largest 0.5 % may be beyond black and white.

    At most the first 2,048 columns, and rows up to a million values, are drawn, and the caption says so.
    `rows` and `columns` are what to call one of them, `numbers` those of the O rows.

    Raises:
        InputError: another rank, nothing to draw, or values that are not finite.
    """
    array = finite(weights, "weights")
    if array.ndim != 2 or array.size == 0:
        raise InputError(f"weights of shape {array.shape} are not a matrix: (O, I) is expected.")
    count, inputs = array.shape
    across = min(inputs, SIDE)
    down = min(count, SIDE, VALUES // across)
    shown = array[:down, :across]
    shaded, said = saturated(shown)
    block = _block((down, across), 1, 1, CELL * max(down, across), THIN * min(down, across))
    sheet = _colours(enlarge(shaded[None], block)[0])
    names = list(range(count) if numbers is None else numbers)
    return _labelled(
        sheet,
        [(str(names[k]), k * block[0]) for k in range(0, down, _step(down))],
        [(str(k), k * block[1]) for k in range(0, across, _step(across))],
        block,
        f"rows: {_of(down, count, rows)};  columns: {_of(across, inputs, columns)};  {said}",
    )


def _step(count: int) -> int:
    """From one label to the next: to measure thousands of words takes seconds."""
    return 10 if count > LABELS else 1
