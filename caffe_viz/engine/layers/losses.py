"""Losses and Accuracy: scalars over a batch. N is the first axis of the first bottom, C the classes."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from caffe_viz.engine.table import Call, layer
from caffe_viz.errors import InputError
from caffe_viz.geometry.table import legacy
from caffe_viz.netdef import read_blob
from caffe_viz.netdef.net_pb2 import ContrastiveLossParameter, LossParameter

LOWEST_PROBABILITY = 1e-20  # Caffe's kLOG_THRESHOLD
HIGHEST_LOSS = -math.log(torch.finfo(torch.float32).tiny)  # of a probability of 0 behind Softmax


@layer("SoftmaxWithLoss", "SoftmaxWithLossOHEM", labels=(1,))
def _softmax_loss(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> list[Tensor]:
    """With the loss of each label as third top of a fork.

    daijifeng001/caffe-rfcn: src/caffe/layers/softmax_loss_layer.cu
    """
    p, (x, labels) = call.param.loss_param, bottoms
    axis = call.param.softmax_param.axis % x.ndim
    rows = x.reshape(math.prod(x.shape[:axis]), x.shape[axis], -1)
    places = _whole(labels, len(rows))
    ignored = p.ignore_label if p.HasField("ignore_label") else None
    _need_classes(call, places, rows.shape[1], ignored)
    nowhere = -1 if ignored is None else ignored
    losses = F.cross_entropy(rows, places, reduction="none", ignore_index=nowhere)
    losses = _clamped(losses, -math.inf, HIGHEST_LOSS)
    valid = None if ignored is None else (places != ignored).sum()
    loss = losses.sum() / divisor(p, len(rows), places.numel(), valid)
    return [loss, F.softmax(x, axis), losses.reshape(labels.shape)][: call.tops]


def divisor(p: LossParameter, outer: int, count: int, valid: Tensor | None) -> Tensor | float:
    """Return what the sum of losses is divided by (LossLayer::GetNormalizer): never less than 1."""
    mode = p.normalization
    if p.HasField("normalize") and not p.HasField("normalization"):
        mode = p.VALID if p.normalize else p.BATCH_SIZE
    if mode == p.VALID and valid is not None:
        return valid.clamp(min=1)
    fixed = max(1, p.pre_fixed_normalizer)
    return {p.FULL: count, p.VALID: count, p.BATCH_SIZE: outer, p.NONE: 1, p.PRE_FIXED: fixed}[mode]


@layer("EuclideanLoss")
def _euclidean_loss(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    difference = bottoms[0] - bottoms[1].reshape(bottoms[0].shape)
    return (difference * difference).sum() / (2 * len(difference))


@layer("SmoothL1Loss", "SmoothL1LossOHEM", labels=(2, 3))
def _smooth_l1_loss(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> list[Tensor]:
    """Weights of the difference, and of its loss, are the third and fourth bottom of a fork.

    The second top of another has the loss of each place (N, 1, H, W).
    rbgirshick/caffe-fast-rcnn: src/caffe/layers/smooth_l1_loss_layer.cpp
    daijifeng001/caffe-rfcn: src/caffe/layers/smooth_L1_loss_layer.cpp
    """
    p, shape = call.param.loss_param, legacy(tuple(bottoms[0].shape))
    x, target, *weights = (b.reshape(shape) for b in bottoms)
    difference = (x - target) * weights[0] if weights else x - target
    beta = 1 / call.param.smooth_l1_loss_param.sigma**2
    losses = F.smooth_l1_loss(difference, torch.zeros_like(x), reduction="none", beta=beta)
    losses = losses * weights[1] if len(weights) > 1 else losses
    # Only there loss_param counts.
    newer = call.tops == 2 or (len(weights) == 1 and call.param.HasField("loss_param"))
    newer |= call.param.type == "SmoothL1LossOHEM"
    count = divisor(p, len(x), x[:, 0].numel(), None) if newer else len(x)
    return [losses.sum() / count, losses.sum(1, keepdim=True)][: call.tops]


# Like this Caffe, and unlike later ones, it knows no loss_param: always the sum over N.
@layer("SigmoidCrossEntropyLoss", labels=(1,))
def _sigmoid_loss(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    x, target = bottoms
    goal = target.detach().reshape(x.shape)
    return F.binary_cross_entropy_with_logits(x, goal, reduction="sum") / len(x)


@layer("SigmoidCrossEntropyLossWeighted", labels=(1, 2))
def _weighted_sigmoid_loss(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """The sum over N, each value's loss by the weight of the third bottom.

    liuyuisanai/CaffeMex_v2: src/caffe/layers/sigmoid_cross_entropy_loss_weighted_layer.cpp
    """
    x = bottoms[0]
    goal, weights = (b.detach().reshape(x.shape) for b in bottoms[1:])
    return F.binary_cross_entropy_with_logits(x, goal, weights, reduction="sum") / len(x)


@layer("SigmoidCrossEntropyBalanceLoss", labels=(1,))
def _balanced_sigmoid_loss(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """The sum over N, where labels 0 weigh as the part of labels 1, and these as theirs; others are ignored.

    s9xie/hed: src/caffe/layers/sigmoid_cross_entropy_loss_layer.cpp, which kmaninis/OSVOS-caffe renamed.
    """
    rows, goal = (b.reshape(len(bottoms[0]), -1) for b in (bottoms[0], bottoms[1].detach()))
    zeros, ones = ((goal == value).to(rows.dtype) for value in (0, 1))
    few, many = zeros.sum(1, keepdim=True), ones.sum(1, keepdim=True)
    weights = (ones * few + zeros * many) / (few + many)
    return F.binary_cross_entropy_with_logits(rows, goal, weights, reduction="sum") / len(rows)


@layer("GeneralContrastiveLoss", labels=(1,))
def _general_contrastive_loss(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> list[Tensor]:
    """Of distances (N, C): how far the labelled is beyond one margin, and all others within another.

    The second top has both means.
    happynear/caffe-windows: src/caffe/layers/general_contrastive_loss_layer.cpp
    """
    p, rows = call.param.general_contrastive_loss_param, bottoms[0].reshape(len(bottoms[0]), -1)
    own = _column(call, bottoms[1], rows)
    far = (rows.gather(1, own) - p.positive_margin).clamp(0, p.positive_outlier_thresh).sum()
    near = F.relu(p.negative_margin - rows).scatter(1, own, 0).sum()
    loss = (abs(p.positive_weight) * far + abs(p.negative_weight) * near) / len(rows)
    means = torch.stack([far, near / (rows.shape[1] - 1)]).detach() / len(rows)
    return [loss, means][: call.tops]


@layer("HingeLoss", labels=(1,))
def _hinge_loss(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    p, rows = call.param.hinge_loss_param, bottoms[0].reshape(len(bottoms[0]), -1)
    sides = torch.ones_like(rows).scatter_(1, _column(call, bottoms[1], rows), -1.0)
    margins = F.relu(1 + rows * sides)
    return (margins if p.norm == p.L1 else margins * margins).sum() / len(rows)


@layer("MultinomialLogisticLoss", labels=(1,))
def _multinomial_loss(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    rows = bottoms[0].reshape(len(bottoms[0]), -1)
    return -_log(rows.gather(1, _column(call, bottoms[1], rows))).sum() / len(rows)


# Like this Caffe, and unlike later ones, it takes probabilities, and no axis.
@layer("InfogainLoss", labels=(1,))
def _infogain_loss(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    rows = bottoms[0].reshape(len(bottoms[0]), -1)
    matrix = bottoms[2].detach() if len(bottoms) == 3 else _matrix(call, rows)
    weights = matrix.reshape(rows.shape[1], -1)[_column(call, bottoms[1], rows)[:, 0]]
    return -(weights * _log(rows)).sum() / len(rows)


def _matrix(call: Call, rows: Tensor) -> Tensor:
    """(C, C) of the file that the layer names, read once."""
    if "matrix" not in call.state:
        path, classes = call.param.infogain_loss_param.source, rows.shape[1]
        values = read_blob(path)
        if (1, 1, 1, 1, *values.shape)[-4:] != (1, 1, classes, classes):
            raise InputError(
                f"layer {call.param.name!r} (InfogainLoss): {path} holds a blob of shape {values.shape}; "
                f"(1, 1, {classes}, {classes}) is expected."
            )
        call.state["matrix"] = torch.from_numpy(values).to(rows.device)
    matrix: Tensor = call.state["matrix"]
    return matrix


@layer("ContrastiveLoss", labels=(2,))
def _contrastive_loss(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    p, (first, second) = call.param.contrastive_loss_param, [b.reshape(len(b), -1) for b in bottoms[:2]]
    similar = _whole(bottoms[2], len(first))[:, 0] != 0
    loss: Tensor = _Contrastive.apply(first, second, similar, p)
    return loss


class _Contrastive(torch.autograd.Function):
    """Caffe's gradient: 1e-4 is added to the distance that it divides by."""

    @staticmethod
    def forward(
        ctx: Any, first: Tensor, second: Tensor, similar: Tensor, p: ContrastiveLossParameter
    ) -> Tensor:
        apart = first - second
        squares = (apart * apart).sum(1)
        distance = squares if p.legacy_version else squares.sqrt()
        short = F.relu(p.margin - distance)
        push = (short > 0).to(short.dtype) if p.legacy_version else short / (distance + 1e-4)
        ctx.save_for_backward(apart * torch.where(similar, 1, -push)[:, None] / len(apart))
        losses = torch.where(similar, squares, short if p.legacy_version else short * short)
        return losses.sum() / (2 * len(apart))

    @staticmethod
    def backward(ctx: Any, *seeds: Tensor) -> tuple[Tensor | None, ...]:
        gradient = seeds[0] * ctx.saved_tensors[0]
        return gradient, -gradient, None, None


@layer("Accuracy", gradient=False, labels=(1,))
def _accuracy(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> list[Tensor]:
    p, (x, labels) = call.param.accuracy_param, bottoms
    axis = p.axis % x.ndim
    rows = x.reshape(math.prod(x.shape[:axis]), x.shape[axis], -1)
    places = _whole(labels, len(rows))
    ignored = p.HasField("ignore_label")
    counted = places != p.ignore_label if ignored else torch.ones_like(places, dtype=torch.bool)
    inside = (places >= 0) & (places < rows.shape[1])  # a label of no class is never right
    known = places.clamp(0, rows.shape[1] - 1)[:, None]
    own = rows.gather(1, known)
    # Of equal values Caffe puts the later class first.
    later = torch.arange(rows.shape[1], device=x.device)[:, None] > known
    ahead = ((rows > own) | ((rows == own) & later)).sum(1)
    right = (ahead < p.top_k) & counted & inside
    overall = right.sum() / counted.sum()
    if call.tops == 1:
        return [overall]
    hits, given = (_histogram(known[:, 0], chosen, rows.shape[1]) for chosen in (right, counted & inside))
    return [overall, hits / given.clamp(min=1)]


def _histogram(places: Tensor, chosen: Tensor, count: int) -> Tensor:
    """(count) How many of the chosen places are 0, 1, .."""
    found = torch.zeros(count, device=places.device)
    return found.scatter_add_(0, places.reshape(-1), chosen.reshape(-1).to(found.dtype))


def _whole(labels: Tensor, rows: int) -> Tensor:
    """Labels as whole numbers (rows, ...), cut as C++ does it."""
    return labels.detach().reshape(rows, -1).to(torch.int64)


def _column(call: Call, labels: Tensor, rows: Tensor) -> Tensor:
    """(N, 1) The label of each row of (N, C)."""
    column = _whole(labels, labels.numel())[: len(rows)]
    _need_classes(call, column, rows.shape[1], None)
    return column


def _need_classes(call: Call, labels: Tensor, classes: int, ignored: int | None) -> None:
    """Refuse labels that are no class, for which Caffe would read beside its array."""
    wrong = (labels < 0) | (labels >= classes)
    if ignored is not None:
        wrong &= labels != ignored
    if wrong.any():
        extra = "" if ignored is None else f", or {ignored}, which is ignored"
        raise InputError(
            f"layer {call.param.name!r} ({call.param.type}): a label is {int(labels[wrong][0])}; "
            f"0 to {classes - 1} are expected{extra}."
        )


def _log(probabilities: Tensor) -> Tensor:
    return _clamped(probabilities, LOWEST_PROBABILITY, math.inf).log()


def _clamped(x: Tensor, low: float, high: float) -> Tensor:
    clamped: Tensor = Clamped.apply(x, low, high)
    return clamped


class Clamped(torch.autograd.Function):
    """Clamp values, but pass the gradient on unchanged, as Caffe's losses do."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, *seeds: Tensor) -> tuple[Tensor | None, ...]:
        return seeds[0], None, None
