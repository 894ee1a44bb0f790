"""Losses of forks, and some of type Python: one value after the other."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from geometry_toys import Toy

from fork_cases import Array, ForkCase, Judge

RNG = np.random.default_rng(9)


def likelihoods(ignored: int | None, divide: float) -> Judge:
    """SoftmaxWithLoss over axis 1 of (N, C, H, W)."""

    def judge(bottoms: Sequence[Array], params: Sequence[Array]) -> list[Array]:
        x, labels = bottoms
        parts = np.zeros_like(x)
        losses = np.zeros_like(labels)
        for n, y, z in np.ndindex(x.shape[0], *x.shape[2:]):
            row = np.exp(x[n, :, y, z])
            parts[n, :, y, z] = row / sum(row)
            label = int(labels[n, 0, y, z])
            losses[n, 0, y, z] = 0 if label == ignored else -math.log(parts[n, label, y, z])
        return [np.array(losses.sum() / divide), parts, losses]

    return judge


def smooth(divide: float) -> Judge:
    def judge(bottoms: Sequence[Array], params: Sequence[Array]) -> list[Array]:
        x = bottoms[0].reshape((*bottoms[0].shape, 1, 1)[:4])
        others = [b.reshape(x.shape) for b in bottoms[1:]]
        places = np.zeros((len(x), 1, *x.shape[2:]))
        for n, c, h, w in np.ndindex(*x.shape):
            d = abs(x[n, c, h, w] - others[0][n, c, h, w])
            d *= abs(others[1][n, c, h, w]) if len(others) > 1 else 1
            places[n, 0, h, w] += d * d / 2 if d < 1 else d - 0.5
        return [np.array(places.sum() / divide), places]

    return judge


def crossed(x: float, label: float) -> float:
    chance = 1 / (1 + math.exp(-x))
    return -label * math.log(chance) - (1 - label) * math.log(1 - chance)


def weighted(bottoms: Sequence[Array], params: Sequence[Array]) -> Array:
    x, labels, weights = (b.reshape(-1) for b in bottoms)
    rows = zip(x, labels, weights, strict=True)
    return np.array(sum(w * crossed(v, label) for v, label, w in rows) / len(bottoms[0]))


def balanced(bottoms: Sequence[Array], params: Sequence[Array]) -> Array:
    total = 0.0
    for values, marks in zip(bottoms[0], bottoms[1], strict=True):
        pairs = [*zip(values.reshape(-1), marks.reshape(-1), strict=True)]
        zeros, ones = (sum(label == kind for _, label in pairs) for kind in (0, 1))
        for v, label in pairs:
            part = {0: ones, 1: zeros}.get(label, 0) / (zeros + ones)
            total += part * crossed(v, label) if part else 0
    return np.array(total / len(bottoms[0]))


def contrasted(far: float = 0, near: float = 1, heavy: float = 1, light: float = 1, most: float = 4) -> Judge:
    def judge(bottoms: Sequence[Array], params: Sequence[Array]) -> list[Array]:
        rows, labels = bottoms
        positive = negative = 0.0
        for row, label in zip(rows, labels, strict=True):
            for k, distance in enumerate(row):
                if k == label:
                    positive += min(most, max(0, distance - far))
                else:
                    negative += max(0, near - distance)
        count, classes = rows.shape
        loss = (heavy * positive + light * negative) / count
        return [np.array(loss), np.array([positive, negative / (classes - 1)]) / count]

    return judge


def overlap(bottoms: Sequence[Array], params: Sequence[Array]) -> Array:
    """pyLayer.DiceLoss."""
    total = 0.0
    for chances, labels in zip(*bottoms, strict=True):
        found = {i for i, (no, yes) in enumerate(chances.T) if yes > no}
        wanted = {i for i, label in enumerate(labels[0]) if label > 0.5}
        total += 2 * len(found & wanted) / (len(found) + len(wanted) + 1e-5)
    return np.array([total])


def spread(bottoms: Sequence[Array], params: Sequence[Array]) -> Array:
    """cmap_layer.CmapLayer."""
    (rows,) = bottoms
    top = np.zeros((*rows.shape, 2, 3))
    for n, c, y, x in np.ndindex(*top.shape):
        top[n, c, y, x] = rows[0, c]
    return top


def python(module: str, kind: str, shapes: list[str], string: str = "") -> Toy:
    settings = f'module: "{module}" layer: "{kind}" param_str: "{string}"'
    return Toy("Python", shapes, f"python_param {{ {settings} }}")


MARKS = RNG.integers(0, 3, size=(2, 1, 3, 4))
SOFTMAX = {"b": MARKS}
VALID = int((MARKS != 1).sum())
EDGES = RNG.choice([0, 1, 1, 255], size=(3, 1, 4, 5))
NEAR = {"a": RNG.uniform(0, 2, size=(5, 4)) * [1, 1, 1, 4], "b": [3, 0, 1, 3, 2]}


def softmax(settings: str, judge: Judge, kind: str = "SoftmaxWithLoss") -> ForkCase:
    return ForkCase(Toy(kind, ["2 3 3 4", "2 1 3 4"], settings, 3), judge, SOFTMAX)


def box(settings: str, divide: float, kind: str, on: str = "3 4 2 3", bottoms: int = 3) -> ForkCase:
    return ForkCase(Toy(kind, [on] * bottoms, settings, 2), smooth(divide), gradient="ab")


CASES = [
    softmax("", likelihoods(None, 24)),
    softmax("loss_param { ignore_label: 1 }", likelihoods(1, VALID)),
    softmax("loss_param { normalization: PRE_FIXED pre_fixed_normalizer: 7 }", likelihoods(None, 7)),
    softmax("loss_param { normalization: BATCH_SIZE }", likelihoods(None, 2), "SoftmaxWithLossOHEM"),
    box("", 3, "SmoothL1Loss", "3 4"),
    box("", 18, "SmoothL1Loss"),
    box("loss_param { normalization: PRE_FIXED pre_fixed_normalizer: 16 }", 16, "SmoothL1Loss"),
    box("loss_param { normalization: PRE_FIXED pre_fixed_normalizer: 0.5 }", 1, "SmoothL1Loss"),
    box("", 18, "SmoothL1LossOHEM"),
    box("loss_param { normalize: false }", 3, "SmoothL1LossOHEM", bottoms=2),
    ForkCase(
        Toy("SigmoidCrossEntropyLossWeighted", ["6 1 1 1", "6 1 1 1", "2 3"]),
        weighted,
        {"b": RNG.uniform(size=(6, 1, 1, 1)), "c": [[0, 1, 2], [0.5, -1, 3]]},
    ),
    ForkCase(Toy("SigmoidCrossEntropyBalanceLoss", ["3 1 4 5", "3 1 4 5"]), balanced, {"b": EDGES}),
    ForkCase(Toy("GeneralContrastiveLoss", ["5 4", "5"], "", 2), contrasted(), NEAR),
    ForkCase(
        Toy(
            "GeneralContrastiveLoss",
            ["5 4", "5"],
            "general_contrastive_loss_param { positive_margin: 0.3 negative_margin: 1.5 positive_weight: 2 "
            "negative_weight: 0.5 positive_outlier_thresh: 0.9 }",
            2,
        ),
        contrasted(0.3, 1.5, 2, 0.5, 0.9),
        NEAR,
    ),
    ForkCase(
        python("pyloss", "EuclideanLossLayer", ["3 4 2", "3 4 2"]),
        lambda b, _: np.array([sum((v - w) ** 2 for v, w in zip(b[0].flat, b[1].flat, strict=True)) / 6]),
        gradient="ab",
    ),
    ForkCase(
        python("pyLayer", "DiceLoss", ["3 2 20", "3 1 20"]),
        overlap,
        {"b": RNG.integers(0, 2, size=(3, 1, 20))},
        gradient="",
    ),
    ForkCase(python("cmap_layer", "CmapLayer", ["2 4"], "{'height': 2, 'width': 3}"), spread, gradient=""),
]
