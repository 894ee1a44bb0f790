"""Boxes as arrays: their overlap, and non-maximum suppression."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]
Values = Mapping[str, Array]
MOST = 400  # boxes of a class that are compared at all, as in SSD's files


@dataclass(frozen=True)
class Found:
    """D detections: `labels` (D,), `scores` (D,), `boxes` (D, 4) as left, top, right, bottom.

    Boxes are fractions of the input; labels are the net's own numbers.
    """

    labels: Array
    scores: Array
    boxes: Array

    @classmethod
    def of(cls, labels: ArrayLike, scores: ArrayLike, boxes: ArrayLike) -> Found:
        """Make them from columns of any numbers."""
        return cls(
            np.asarray(labels, np.int64).reshape(-1),
            np.asarray(scores, np.float32).reshape(-1),
            np.asarray(boxes, np.float32).reshape(-1, 4),
        )

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, places: Array) -> Found:
        """Return some of them."""
        return Found(self.labels[places], self.scores[places], self.boxes[places])


def corners(centres: Array, sides: Array) -> Array:
    """Convert centres (.., 2) and sides (.., 2), x before y, to left, top, right, bottom (.., 4)."""
    return np.concatenate([centres - sides / 2, centres + sides / 2], axis=-1)


def overlaps(box: Array, others: Array) -> Array:
    """Intersection over union of a box (4,) with each of `others` (D, 4)."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=1)
    both = np.prod(box[2:] - box[:2]) + np.prod(others[:, 2:] - others[:, :2], axis=1) - shared
    return np.asarray(shared / np.where(both > 0, both, 1))


def suppressed(found: Found, limit: float) -> Found:
    """Non-maximum suppression by class with `limit`, among the `MOST` highest scores of each."""
    order = np.argsort(-found.scores, kind="stable")
    kept = [np.empty(0, np.intp)]
    for label in np.unique(found.labels):
        waiting = order[found.labels[order] == label][:MOST]
        while len(waiting):
            kept.append(waiting[:1])
            near = overlaps(found.boxes[waiting[0]], found.boxes[waiting[1:]]) > limit
            waiting = waiting[1:][~near]
    return found.at(np.concatenate(kept))
