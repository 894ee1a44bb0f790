"""The numbers by which maps and curves are judged."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def area(shares: ArrayLike, values: ArrayLike) -> Floats:
    """Curves (..., S) over `shares` (S,) of 0 to 1 -> areas (...), by the trapezoidal rule.

    >>> float(area([0, 0.5, 1], [1, 0, 0]))
    0.25
    """
    y = np.asarray(values, np.float64)
    return np.asarray(((y[..., 1:] + y[..., :-1]) / 2 * np.diff(np.asarray(shares, np.float64))).sum(-1))


def rank_correlation(original: ArrayLike, other: ArrayLike) -> float:
    """Spearman's rank correlation of two maps of one size; equal values share their mean rank.

    0 if `other` is constant, as it has no order; NaN if `original` is constant.

    >>> rank_correlation([1, 2, 3], [10, 20, 100]), rank_correlation([1, 2, 3], [3, 2, 1])
    (1.0, -1.0)
    """
    a, b = (_centred(_ranks(np.ravel(np.asarray(v, np.float64)))) for v in (original, other))
    lengths = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    if not lengths[0]:
        return float("nan")
    return float(np.round(a @ b / (lengths[0] * lengths[1]), 12)) if lengths[1] else 0.0


def ssim(original: ArrayLike, other: ArrayLike) -> float:
    """Structural similarity of two maps (H, W), each scaled to 0..1; windows of 7 pixels, or what fits.

    NaN if `original` is constant, or a side is shorter than 3 pixels.
    Source: Wang and others, Image quality assessment, 2004.
    """
    from skimage.metrics import structural_similarity

    measured: Any = structural_similarity

    a, b = (np.asarray(v, np.float64) for v in (original, other))
    window = min(7, (min(a.shape) - 1) // 2 * 2 + 1)
    if window < 3 or not np.ptp(a):
        return float("nan")
    return float(measured(_unit(a), _unit(b), win_size=window, data_range=1.0))


def _ranks(values: Floats) -> Floats:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[place], np.float64)


def _centred(values: Floats) -> Floats:
    return np.asarray(values - values.mean())


def _unit(values: Floats) -> Floats:
    return np.asarray((values - values.min()) / (np.ptp(values) or 1))
