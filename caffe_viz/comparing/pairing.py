"""Match the layers of one file with those of the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from caffe_viz.comparing.filters import Doubles, StoredFilters

ALIKE = 0.9  # the correlation of weights above which a layer of another name is the same one
SAMPLE, LEAST = 4096, 16  # values that it is computed of, at most and at least: of few it is high by chance

Match = tuple[StoredFilters | None, StoredFilters | None]


def paired(a: Sequence[StoredFilters], b: Sequence[StoredFilters]) -> list[Match]:
    """Pair layers of one name, then renamed ones, then those of one file alone, in the order of the nets.

    If a name occurs twice, the second layers form a pair. A renamed layer has the size of the other's, and
    weights that are equal or correlate above `ALIKE`.
    """
    keys_a, keys_b = _keys(a), _keys(b)
    partner = {keys_a[key]: keys_b[key] for key in keys_a if key in keys_b}
    lost = [k for k in range(len(a)) if k not in partner]
    new = sorted(set(range(len(b))) - set(partner.values()))
    partner |= _renamed(a, b, lost, new)
    out: list[Match] = [(one, b[partner[k]] if k in partner else None) for k, one in enumerate(a)]
    place = {id(two): one for one, two in out if two is not None}
    before = -1
    for two in b:
        if id(two) in place:
            before = next(k for k, match in enumerate(out) if match[1] is two)
        else:
            before += 1
            out.insert(before, (None, two))
    return out


def _keys(layers: Sequence[StoredFilters]) -> dict[tuple[str, int], int]:
    seen = Counter[str]()
    out = {}
    for k, one in enumerate(layers):
        out[one.layer.name, seen[one.layer.name]] = k
        seen[one.layer.name] += 1
    return out


def _renamed(
    a: Sequence[StoredFilters], b: Sequence[StoredFilters], lost: list[int], new: list[int]
) -> dict[int, int]:
    """Numbers of A's layers and of B's that are the same, the most alike first."""
    sizes = {_size(a[k]) for k in lost} & {_size(b[k]) for k in new}
    left = {k: _sample(a[k]) for k in lost if _size(a[k]) in sizes}
    right = {k: _sample(b[k]) for k in new if _size(b[k]) in sizes}
    likeness = [
        (_likeness(left[i], right[j]), i, j) for i in left for j in right if _size(a[i]) == _size(b[j])
    ]
    out: dict[int, int] = {}
    for value, i, j in sorted(likeness, key=lambda x: (-x[0], abs(x[1] - x[2]), x[1], x[2])):
        if value > ALIKE and i not in out and j not in out.values():
            out[i] = j
    return out


def _size(one: StoredFilters) -> tuple[int, ...]:
    return tuple(blob.count for blob in one.layer.blobs)


def _sample(one: StoredFilters) -> Doubles:
    values = one.values(0).ravel()
    return values[:: max(1, -(-values.size // SAMPLE))].astype(np.float64)


def _likeness(x: Doubles, y: Doubles) -> float:
    """2 of equal values, else their correlation."""
    if np.array_equal(x, y):
        return 2.0
    x, y = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / scale if x.size >= LEAST and np.isfinite(scale) and scale > 0 else 0.0
