"""Public layers of type Python, by module and layer, rewritten so that no user code runs; for TEST."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from caffe_viz.engine.anchors import by_place, clipped, large, moved, placed
from caffe_viz.engine.boxes import suppress
from caffe_viz.engine.table import Call, Function
from caffe_viz.errors import InputError
from caffe_viz.geometry.python_known import TEXT_HEIGHTS, Proposals, dropped, maps_of, proposals, settings

KNOWN: dict[tuple[str, str], Function] = {}
T = TypeVar("T", bound=Function)


def known(*names: tuple[str, str]) -> Callable[[T], T]:
    def enter(function: T) -> T:
        KNOWN.update(dict.fromkeys(names, function))
        return function

    return enter


@known(
    ("rpn.proposal_layer", "ProposalLayer"),
    ("pylayer.proposal_layer", "ProposalLayer"),
    ("SSH.layers.proposal_layer", "ProposalLayer"),
)
def _proposal_layer(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> list[Tensor]:
    """Regions (R, 5) and scores (R, 1) from (1, 2 A, H, W) and (1, 4 A, H, W) of A anchors, and im_info.

    To the gradient they are constants. rbgirshick/py-faster-rcnn: lib/rpn/proposal_layer.py, with scales as
    in YuwenXiong/py-R-FCN; several strides: unsky/FPN; no suppression: mahyarnajibi/SSH.
    """
    p = proposals(call.param)
    all_scores, all_codes, image = maps_of(p, [b.detach() for b in bottoms])
    image, found = image.reshape(-1), []
    count = all_codes[0].shape[1] // 4
    if any(codes.shape[1] != 4 * p.anchors for codes in all_codes):
        raise InputError(
            f"layer {call.param.name!r} (Python, ProposalLayer): the codes are of {count} anchors, ratios "
            f"{list(p.ratios)} and scales {list(p.scales)} make {p.anchors}: the net's own code has others; "
            f"add 'ratios' and 'scales' to param_str."
        )
    for stride, scores, codes in zip(p.strides, all_scores, all_codes, strict=True):
        if len(p.strides) > 1:  # places beyond the image are padding
            height, width = (max(1, int(side / stride)) for side in image[:2].tolist())
            scores, codes = scores[..., :height, :width], codes[..., :height, :width]
        anchors = torch.from_numpy(_anchors(p, p.base or stride)).to(codes)
        size = scores.shape[2], scores.shape[3]
        boxes = clipped(moved(placed(anchors, size, stride), by_place(codes, 4)[0]), image)
        values = by_place(scores[:, p.anchors : 2 * p.anchors], 1)[0]
        kept = large(boxes, p.least * image[2])
        found.append(torch.cat([boxes, values], 1)[kept])
    return _best(p, torch.cat(found))[: call.tops]


def _anchors(p: Proposals, base: int) -> np.ndarray:
    """(A, 4) Boxes of each ratio and scale around the middle of a square of side `base`."""
    middle, found = (base - 1) / 2, []
    for ratio in p.ratios:
        width = np.round(np.sqrt(base**2 / ratio))
        sides = np.array([width, np.round(width * ratio)])
        for scale in p.scales:
            half = (sides * scale - 1) / 2
            found.append([*(middle - half), *(middle + half)])
    return np.array(found)


def _best(p: Proposals, rows: Tensor) -> list[Tensor]:
    """Regions (R, 5) and scores (R, 1) of rows (B, 5) of boxes and scores."""
    rows = rows[rows[:, 4].argsort(descending=True, stable=True)[: p.before]]
    if p.overlap is not None and len(rows):
        alive = torch.ones(1, len(rows), dtype=torch.bool, device=rows.device)
        rows = rows[suppress(rows[None, :, :4], alive, p.after, p.overlap, pixels=1)[0]]
    if not len(rows):  # no blob is empty: SSH's way out
        rows = rows.new_tensor([[0, 0, 16, 16, 0]])
    if len(p.strides) > 1:  # FPN fills up, with a choice by chance
        rows = rows[torch.arange(p.after, device=rows.device) % len(rows)]
    return [F.pad(rows[:, :4], (1, 0)), rows[:, 4:]]


@known(("layers.text_proposal_layer", "ProposalLayer"))
def _text_proposal_layer(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> list[Tensor]:
    """Anchors (R, 4) shifted vertically, and their scores (R, 1), from (1, 20, H, W) each, and im_info.

    To the gradient they are constants. tianzhi0549/CTPN: src/layers/text_proposal_layer.py, src/anchor.py
    """
    scores, codes, image = (b.detach() for b in bottoms)
    (stride,), count = proposals(call.param).strides, len(TEXT_HEIGHTS)
    half = codes.new_tensor([h / 2 for h in TEXT_HEIGHTS])
    ends = torch.full_like(half, 7.5)
    # Cut to whole numbers as C does: widths from 0 to 15.
    anchors = torch.stack([ends - 8, ends - half.floor(), ends + 8, ends + half.floor()], 1).trunc()
    boxes, codes = placed(anchors, (scores.shape[2], scores.shape[3]), stride), by_place(codes, 2)[0]
    height = boxes[:, 3] - boxes[:, 1] + 1
    tall = codes[:, 1].exp() * height
    top = codes[:, 0] * height + (boxes[:, 1] + boxes[:, 3]) / 2 - tall / 2
    found = torch.stack([boxes[:, 0], top, boxes[:, 2], top + tall], 1)
    return [clipped(found, image), by_place(scores[:, count:], 1)[0]]


def _levels(regions: Tensor) -> Tensor:
    """(R) 0 to 3 by the sides of regions (R, 5): below 112, 224 and 448, or above."""
    area = (regions[:, 3] - regions[:, 1]) * (regions[:, 4] - regions[:, 2])
    area = torch.where(area <= 0, 1e-6, area)
    return (4 + (area.sqrt() / 224).log2()).floor().clamp(2, 5).to(torch.int64) - 2


@known(("rpn.as_rois", "As_roisLayer"))
def _as_rois(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> list[Tensor]:
    """All regions (4 R, 5), and those of each of four levels (R, 5), padded with zeros.

    unsky/FPN: lib/rpn/as_rois.py
    """
    regions = bottoms[0].detach().reshape(-1, 5)
    levels, found = _levels(regions), []
    for level in range(4):
        mine = regions[levels == level]
        found.append(F.pad(mine, (0, 0, 0, len(regions) - len(mine))))
    return [torch.cat(found), *found]


@known(("rpn.as_rois_mrcnn", "As_rois_MergeRcnnLayer"))
def _as_rois_merged(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> list[Tensor]:
    """All regions, level by level, and those of each of four levels; an empty level has four of zeros.

    unsky/FPN: lib/rpn/as_rois_mrcnn.py
    """
    regions = bottoms[0].detach().reshape(-1, 5)
    levels, found = _levels(regions), []
    for level in range(4):
        mine = regions[levels == level]
        found.append(mine if len(mine) else regions.new_zeros(4, 5))
    return [torch.cat(found), *found]


@known(("pylayer.mask_layer", "MaskLayer"))
def _mask_layer(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """Masks (R, 1, 21, 21) of rows of 441. daijifeng001/MNC: lib/pylayer/mask_layer.py"""
    return bottoms[0].reshape(-1, 1, 21, 21)


@known(("pylayer.stage_bridge_layer", "StageBridgeLayer"))
def _stage_bridge(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """Regions (R, 5) moved by the code (R, 4 K) of the most likely of K classes, clipped to the image.

    They are constants to the gradient. daijifeng001/MNC: lib/pylayer/stage_bridge_layer.py
    """
    regions, codes, scores, image = (b.detach() for b in bottoms)
    rows = torch.arange(len(regions), device=regions.device)
    best = scores.reshape(len(rows), -1).argmax(1)
    codes = codes.reshape(len(rows), -1, 4)[rows, best]
    boxes = clipped(moved(regions.reshape(-1, 5)[:, 1:], codes), image)
    return F.pad(boxes, (1, 0))


@known(("norm2layer", "Norm2Layer"), ("triplet.l2norm_layer", "L2NormLayer"))
def _norm(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """Rows (N, C) divided by their L2 norm; rows of zeros stay.

    JoeFannie/tripletloss: norm2layer.py; hizhangp/triplet: triplet/l2norm_layer.py
    """
    return F.normalize(bottoms[0], dim=1, eps=1e-30)


@known(("spatial_dropout", "SpatialDropoutLayer"))
def _spatial_dropout(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """(N, C, H, W) divided by 1 - p; in training with whole channels dropped at random.

    TimoSaemann/ENet: scripts/spatial_dropout.py, which scales for TEST too.
    """
    drops, part = dropped(call.param)
    kept = bottoms[0] / (1 - part)
    if drops:
        chance = torch.rand(*kept.shape[:2], 1, 1, generator=call.generator, device=kept.device)
        kept = kept * (chance >= part)
    return kept


@known(("CombineRegressions", "CombineRegressionsLayer"))
def _combine_regressions(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> list[Tensor]:
    """From places (N, 1, H, W) and rests (N, K, H, W) of two axes the values in 0 .. 1; -1: background.

    ralpguler/DenseReg: CombineRegressions.py
    """
    found = []
    for places, values in zip(bottoms[:2], bottoms[2:], strict=True):
        values = (places.detach() + _chosen(places, values) - 1) / (values.shape[1] - 1)
        found.append(torch.where(values < 0, -1, values))
    return found


@known(("CombineRegressionsHuman", "CombineRegressionsLayer"))
def _combine_parts(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> list[Tensor]:
    """The values (N, K, H, W) of the part that each place (N, 1, H, W) is of, at least 0.

    ralpguler/DenseReg: CombineRegressionsHuman.py
    """
    pairs = zip(bottoms[:2], bottoms[2:], strict=True)
    return [_chosen(places, values).clamp(min=0) for places, values in pairs]


def _chosen(places: Tensor, values: Tensor) -> Tensor:
    """(N, 1, H, W) Of values (N, K, H, W) those of the channel that `places` names; of channel 0, 0."""
    index = places.detach().to(torch.int64).clamp(0, values.shape[1] - 1)
    return torch.where(index > 0, values.gather(1, index), 0)


@known(("pyloss", "EuclideanLossLayer"))
def _euclidean_loss(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """(1) Half the sum of squares over N. BVLC/caffe: examples/pycaffe/layers/pyloss.py"""
    difference = bottoms[0] - bottoms[1]
    return ((difference * difference).sum() / (2 * len(difference)))[None]


@known(("pyLayer", "DiceLoss"))
def _dice_loss(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """(1) The sum of the Dice coefficients of N images. faustomilletari/VNet: pyLayer.py"""
    loss: Tensor = _Dice.apply(bottoms[0], bottoms[1].detach())
    return loss


class _Dice(torch.autograd.Function):
    """Dice of the more likely class of (N, 2, V) and labels (N, 1, V); the gradient uses probabilities."""

    @staticmethod
    def forward(ctx: Any, chances: Tensor, labels: Tensor) -> Tensor:
        found = chances.argmax(1).to(chances.dtype)
        wanted = (labels[:, 0] > 0.5).to(chances.dtype)
        both, either = (found * wanted).sum(1, keepdim=True), (found + wanted).sum(1, keepdim=True)
        slope = 2 * (wanted / either - 2 * chances[:, 1] * both / either**2)
        ctx.save_for_backward(F.pad(torch.stack([slope, -slope], 1), (0, 0, 0, chances.shape[1] - 2)))
        return (2 * both / (either + 1e-5)).sum()[None]

    @staticmethod
    def backward(ctx: Any, *seeds: Tensor) -> tuple[Tensor | None, ...]:
        return seeds[0] * ctx.saved_tensors[0], None


@known(("cmap_layer", "CmapLayer"))
def _class_map(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """(N, C, H, W) The values (C) of the first row everywhere; to the gradient they are constants.

    weitianhan/human_parsing: cmap_layer.py
    """
    given, (n, c) = settings(call.param), bottoms[0].shape[:2]
    row = bottoms[0].detach().reshape(n, c, -1)[0, :, 0]
    return row[:, None, None].expand(n, c, given["height"], given["width"]).clone()
