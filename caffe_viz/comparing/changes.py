"""The numbers of one layer in each file, and of the difference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from caffe_viz.comparing.duplicates import duplicates
from caffe_viz.comparing.filters import Array, Doubles, StoredFilters, as_filters, dead, norms, parts
from caffe_viz.comparing.result import Change, FilterChange, Side

NAMED = 20  # filters of a layer whose change is listed


@dataclass(frozen=True)
class Sums:
    """Of N rows: squared norms in A and B, products, squared norms of B - A, largest |B - A|."""

    a: Doubles
    b: Doubles
    dot: Doubles
    change: Doubles
    largest: Doubles

    @classmethod
    def of(cls, a: Array, b: Array) -> Sums:
        """(N, K) each."""
        out = cls(*(np.zeros(len(a)) for _ in range(5)))
        for part in parts(a):
            x, y = a[part].astype(np.float64), b[part].astype(np.float64)
            for total, (p, q) in ((out.a, (x, x)), (out.b, (y, y)), (out.dot, (x, y))):
                total[part] = np.einsum("nk,nk->n", p, q)
            with np.errstate(invalid="ignore"):  # infinity less infinity
                y -= x
            out.change[part] = np.einsum("nk,nk->n", y, y)
            out.largest[part] = np.abs(y).max(1, initial=0)
        return out


def side_of(one: StoredFilters, weights: Array) -> Side:
    """Compute the numbers of one file; `weights` are blob 0."""
    filters = as_filters(weights, one)
    zeros = 1 - int(np.count_nonzero(weights)) / max(1, weights.size)
    found = Side(
        name=one.layer.name,
        type=one.message.type,
        shapes=one.shapes,
        zeros=zeros,
        not_finite=_not_finite(weights) + sum(_not_finite(one.values(k)) for k in range(1, len(one.shapes))),
        filters=0,
        dead=(),
        copies=0,
        pairs=0,
        duplicates=(),
    )
    if filters is None:
        return found
    lengths = norms(filters)
    none = dead(lengths)
    copies, pairs, best = duplicates(filters, lengths, one.groups, none)
    counted = {"filters": len(filters), "dead": tuple(map(int, none)), "copies": copies, "pairs": pairs}
    return Side(**vars(found) | counted | {"duplicates": tuple(best)})


def change_of(one: StoredFilters, two: StoredFilters, a: Array, b: Array) -> Change | None:
    """Compare blob 0 `a` of A with blob 0 `b` of B, and the further blobs; None if they do not fit.

    Weights fit if they are as many filters of as many values, so a convolution can be compared with the
    InnerProduct that it was made from.
    """
    rows = _rows(a, one), _rows(b, two)
    if rows[0].shape != rows[1].shape:
        return None
    sums = Sums.of(*rows)
    total = [float(x.sum()) for x in (sums.a, sums.b, sums.dot, sums.change)]
    others = tuple(
        _between(one.values(k), two.values(k)) for k in one.compared[1:] if k in two.compared
    )  # a bias that one of them lacks is seen in the shapes
    has_filters = a.ndim > 1
    return Change(
        same=not total[3] and one.shapes == two.shapes and all(x == 0 for x in others),
        relative=_relative(total[3], total[0]),
        cosine=_cosine(total[2], total[0], total[1]),
        largest=_finite(float(sums.largest.max(initial=0))),
        others=others,
        changed=int(np.count_nonzero(sums.change)) if has_filters else 0,
        filters=_most_changed(sums) if has_filters else (),
    )


def _most_changed(sums: Sums) -> tuple[FilterChange, ...]:
    finite = np.flatnonzero(np.isfinite(sums.change) & (sums.change > 0))
    order = finite[np.argsort(-sums.change[finite], kind="stable")][:NAMED]
    return tuple(
        FilterChange(
            int(k),
            _relative(float(sums.change[k]), float(sums.a[k])),
            _cosine(float(sums.dot[k]), float(sums.a[k]), float(sums.b[k])),
            float(sums.largest[k]),
        )
        for k in order
    )


def _rows(array: Array, of: StoredFilters) -> Array:
    filters = as_filters(array, of)
    return array.reshape(1, -1) if filters is None else filters.reshape(len(filters), -1)


def _between(a: Array, b: Array) -> float | None:
    if a.size != b.size or not a.size:
        return None
    rows = len(a) if a.ndim > 1 and a.shape == b.shape else 1
    sums = Sums.of(a.reshape(rows, -1), b.reshape(rows, -1))
    return _relative(float(sums.change.sum()), float(sums.a.sum()))


def _relative(change: float, before: float) -> float | None:
    if not change:
        return 0.0
    return _finite(float(np.sqrt(change / before))) if before else None


def _cosine(dot: float, a: float, b: float) -> float | None:
    if not a or not b:
        return None
    return _finite(float(np.clip(dot / np.sqrt(a) / np.sqrt(b), -1, 1)))


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _not_finite(array: Array) -> int:
    # One sum in float64 sees any of them, without an array of booleans beside the weights.
    if not array.size or np.isfinite(np.add.reduce(array, axis=None, dtype=np.float64)):
        return 0
    return array.size - int(np.count_nonzero(np.isfinite(array)))
