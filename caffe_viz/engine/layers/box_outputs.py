"""Boxes of MS-CNN and Cascade R-CNN: regions (R, 5), image and corners, from maps and from other regions."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from caffe_viz.engine.boxes import suppress
from caffe_viz.engine.table import Call, layer


def _scaled(call: Call, codes: Tensor) -> Tensor:
    """Codes (.., 4) with their mean and deviation put back."""
    p = call.param.bbox_reg_param
    if not p.bbox_std:
        return codes
    return codes * codes.new_tensor(list(p.bbox_std)) + codes.new_tensor(list(p.bbox_mean))


@layer("DecodeBBox")
def _decode_bbox(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """Regions (R, 5) moved by the second of two codes (R, 8).

    In training without those that end before they begin, or overlap the truth by gt_iou_thr: the last column
    of a third bottom.
    zhaoweicai/cascade-rcnn: src/caffe/layers/decode_bbox_layer.cpp
    """
    codes, regions = (b.reshape(len(b), -1) for b in bottoms[:2])
    low, high = regions[:, 1:3], regions[:, 3:]
    sides, codes = high - low + 1, _scaled(call, codes[:, 4:])
    new = sides * codes[:, 2:].exp()
    low = codes[:, :2] * sides + (low + high) / 2 - (new - 1) / 2
    found = torch.cat([regions[:, :1], low, low + new - 1], 1)
    if call.train:
        kept = (found[:, 1:3] <= found[:, 3:]).all(1)
        for truth in bottoms[2:]:
            kept = kept & (truth.reshape(len(truth), -1)[:, -1] < call.param.decode_bbox_param.gt_iou_thr)
        found = found[kept]
    return found.reshape(len(found), *bottoms[1].shape[1:])


@layer("BoxOutput")
def _box_output(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> list[Tensor]:
    """Regions (R, 5, 1, 1) and, with scores, (R, 6, 1, 1), of maps (N, K + 4, H, W): K classes, and codes.

    To the gradient they are constants. zhaoweicai/mscnn: src/caffe/layers/box_output_layer.cpp
    """
    p, scores, boxes = call.param.box_output_param, [], []
    for x, height, width, rate in zip(bottoms, p.field_h, p.field_w, p.downsample_rate, strict=True):
        x = x.detach()
        found = x[:, 1:-4].amax(1) - x[:, 0]
        centres, sides = _decoded(call, p, x[:, None, -4:], rate, [(width, height)])
        low = (centres - sides / 2).clamp(min=0)
        limits = x.new_tensor([x.shape[3] * rate, x.shape[2] * rate])
        sides = torch.minimum(sides, limits - low)
        scores.append(found.flatten(1))
        boxes.append(torch.cat([low, low + sides, sides], -1).flatten(1, -2))
    return _kept(call, p, torch.cat(scores, 1), torch.cat(boxes, 1), pixels=0)


@layer("BoxGroupOutput")
def _box_group_output(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> list[Tensor]:
    """As BoxOutput, of groups of K fields: probabilities (N * K, classes, H, W), codes (N * K, 4, H, W).

    To the gradient they are constants. zhaoweicai/cascade-rcnn: src/caffe/layers/box_group_output_layer.cpp
    """
    p, scores, boxes = call.param.box_group_output_param, [], []
    for group, odds, x in zip(p.box_group_param, bottoms[::2], bottoms[1::2], strict=True):
        odds, x = (b.detach().unflatten(0, (-1, len(group.field_h))) for b in (odds, x))
        fields = zip(group.field_w, group.field_h, strict=True)
        centres, sides = _decoded(call, p, x, group.stride, fields)
        limits = x.new_tensor([x.shape[4] * group.stride, x.shape[3] * group.stride])
        low = centres - sides / 2
        high = torch.minimum(low + sides - 1, limits)
        low = low.clamp(min=0)
        scores.append((1 - odds[:, :, 0]).flatten(1))
        boxes.append(torch.cat([low, high, high - low + 1], -1).flatten(1, -2))
    return _kept(call, p, torch.cat(scores, 1), torch.cat(boxes, 1), pixels=1)


def _decoded(
    call: Call, p: Any, codes: Tensor, stride: int, fields: Iterable[tuple[int, int]]
) -> tuple[Tensor, Tensor]:
    """Centres and sides (N, K, H, W, 2), x first, of codes (N, K, 4, H, W) by K widths and heights."""
    codes = _scaled(call, codes.movedim(2, -1))
    size = codes.new_tensor(list(fields))[:, None, None]
    shifts = codes[..., :2].clamp(-1 / p.field_xyr, 1 / p.field_xyr) * size
    rows, columns = (torch.arange(n, device=codes.device) for n in codes.shape[2:4])
    grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1) + 0.5
    limit = math.log(p.field_whr)
    return shifts + grid * stride, codes[..., 2:].clamp(-limit, limit).exp() * size


def _kept(call: Call, p: Any, scores: Tensor, boxes: Tensor, pixels: int) -> list[Tensor]:
    """Of scores (N, B) and boxes with their sides (N, B, 6), keep those that are large, best first."""
    found = []
    for image, (score, box) in enumerate(zip(scores, boxes, strict=True)):
        # Of equal scores the last comes first, as BoxOutput sorts them.
        able = ((score >= p.fg_thr) & (box[:, 4:] >= p.min_size).all(1)).nonzero()[:, 0].flip(0)
        order = able[score[able].argsort(descending=True, stable=True)]
        order = order[: p.max_nms_num or None]
        box, score = box[order, :4], score[order, None]
        most = p.max_post_nms_num or len(order)
        alive = torch.ones(1, len(order), dtype=torch.bool, device=box.device)
        stays = suppress(box[None], alive, most, p.iou_thr, pixels=pixels, share=p.nms_type)[0]
        found.append(F.pad(torch.cat([box, score], 1)[stays], (1, 0), value=image))
    rows = torch.cat(found)
    # Where there is none, the forks make one up, without a score.
    regions = rows[:, :5] if len(rows) else rows.new_tensor([[0, 1, 1, 10, 10]])
    scored = rows if len(rows) else rows.new_zeros(1, 6)
    return [x[..., None, None] for x in (regions, scored)][: call.tops]
