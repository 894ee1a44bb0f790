"""The Python layer of DetectNet, which clusters its maps into boxes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from caffe_viz.engine.layers.python_known import known
from caffe_viz.engine.table import Call
from caffe_viz.geometry.detectnet import Clusters, clusters

Array = NDArray[Any]
FEW = 3  # a box within another needs so many votes not to give way


@known(("caffe.layers.detectnet.clustering", "ClusterDetections"))
def _cluster_detections(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> list[Tensor]:
    """(N, B, 5) for each class: left, top, right, bottom, logarithm of the votes; zeros behind the last box.

    From coverage (N, K, H, W) and boxes (N, 4, H, W), relative to their cells. To the gradient they are
    constants. NVIDIA/caffe: python/caffe/layers/detectnet/clustering.py
    """
    p = clusters(call.param)
    coverage, boxes = (b.detach().cpu().numpy() for b in bottoms)
    tops = np.zeros((p.classes, len(coverage), p.most, 5))
    for k, n in np.ndindex(tops.shape[:2]):
        found = _voted(_proposed(coverage[n, k], boxes[n], p), p)[: p.most]
        tops[k, n, : len(found)] = found
    return list(bottoms[0].new_tensor(tops))


def _proposed(coverage: Array, boxes: Array, p: Clusters) -> Array:
    """(B, 4) Boxes, in whole pixels, of cells whose coverage is above the threshold."""
    columns, rows = p.width // p.stride, p.height // p.stride
    # It cuts rows twice, where the second time columns are meant.
    y, x = np.nonzero(coverage[: min(rows, columns)] >= p.coverage)
    corner = np.stack([x * (p.width // columns), y * (p.height // rows)] * 2, 1)
    found: Array = np.rint(boxes[:, y, x].T + corner).astype(np.int64)
    return found


def _voted(boxes: Array, p: Clusters) -> Array:
    """(B, 5) The means of groups of similar boxes, without low ones, in half precision."""
    if not boxes.any():
        return np.zeros((0, 5))
    found, votes = grouped(boxes, p.votes, p.likeness)
    tall = found[:, 3] - found[:, 1] >= p.least
    return np.concatenate([found, np.log(votes)[:, None]], 1)[tall].astype(np.float16)


def grouped(boxes: Array, votes: int, likeness: float) -> tuple[Array, Array]:
    """Means (G, 4) and numbers (G) of similar ones among boxes (B, 4): OpenCV's groupRectangles.

    As it is called there, right and bottom are taken for width and height.
    """
    if votes <= 0:
        return boxes, np.ones(len(boxes), np.int64)
    labels = _labels(boxes, likeness)
    counts = np.bincount(labels)
    sums = np.stack([np.bincount(labels, column) for column in boxes.T], 1).astype(np.float32)
    means = np.rint(sums * (1 / counts.astype(np.float32))[:, None]).astype(np.int64)
    means, counts = means[counts > votes], counts[counts > votes]
    room = np.rint(means[:, 2:] * likeness).astype(np.int64)
    starts, ends = means[:, :2], means[:, :2] + means[:, 2:]
    inside = (starts[:, None] >= starts - room).all(-1) & (ends[:, None] <= ends + room).all(-1)
    weaker = (counts > np.maximum(counts, FEW)[:, None]) | (counts < FEW)[:, None]
    kept = ~(inside & weaker & ~np.eye(len(counts), dtype=bool)).any(1)
    return means[kept], counts[kept]


def _labels(boxes: Array, likeness: float) -> Array:
    """(B) The group of each of boxes (B, 4), from 0 on; a group has all that are similar to one of it."""
    labels, group = np.full(len(boxes), -1), -1
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
    for first in range(len(boxes)):
        if labels[first] >= 0:
            continue
        group += 1
        labels[first], waiting = group, [first]
        while waiting:
            one = waiting.pop()
            (free,) = np.nonzero(labels < 0)
            limit = likeness / 2 * np.minimum(boxes[free, 2:], boxes[one, 2:]).sum(1)
            near = free[(abs(corners[free] - corners[one]) <= limit[:, None]).all(1)]
            labels[near] = group
            waiting.extend(near.tolist())
    return labels
