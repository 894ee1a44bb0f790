"""Faster R-CNN's layer that proposes regions of interest, in pixels of the image."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from caffe_viz.engine.anchors import by_place, clipped, large, moved, placed
from caffe_viz.engine.boxes import suppress
from caffe_viz.engine.table import Call, layer
from caffe_viz.errors import InputError
from caffe_viz.netdef.net_pb2 import ProposalParameter


@layer("Proposal")
def _proposal(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> list[Tensor]:
    """Regions (R, 5), image and box, and scores (R), from (N, 2 A, H, W) and (N, 4 A, H, W) of A anchors.

    To the gradient they are constants, as in Caffe.
    """
    p, (scores, codes, image) = call.param.proposal_param, (b.detach() for b in bottoms[:3])
    anchors = torch.from_numpy(_anchors(p)).to(scores.device)
    count, (height, width) = len(anchors), scores.shape[2:]
    if scores.shape[1] < 2 * count or codes.shape[1] < 4 * count:
        raise InputError(
            f"layer {call.param.name!r} (Proposal): {count} anchors (ratio x scale) need {2 * count} "
            f"and {4 * count} channels, not {scores.shape[1]} and {codes.shape[1]}."
        )
    boxes = placed(anchors, (height, width), p.feat_stride)[None]
    scores = scores[:, count : 2 * count].permute(0, 2, 3, 1).flatten(1)
    boxes = clipped(moved(boxes, by_place(codes[:, : 4 * count], 4)), image)
    return _regions(p, boxes, scores * large(boxes, p.min_size))[: call.tops]


def _regions(p: ProposalParameter, boxes: Tensor, scores: Tensor) -> list[Tensor]:
    """The regions of each image (P, 4) and (P) that suppression keeps, best first."""
    regions, values = [], []
    for i, (own, score) in enumerate(zip(boxes, scores, strict=True)):
        order = torch.from_numpy(_ranking(score.cpu().numpy(), p.pre_nms_topn)).to(own.device)
        own, score = own[order], score[order]
        alive = torch.ones_like(score, dtype=torch.bool)
        kept = suppress(own[None], alive[None], p.post_nms_topn, p.nms_thresh, pixels=1)[0]
        regions.append(F.pad(own[kept], (1, 0), value=i))
        values.append(score[kept])
    return [torch.cat(regions), torch.cat(values)]


def _anchors(p: ProposalParameter) -> NDArray[np.float32]:
    """(A, 4) Boxes of each ratio and scale around the middle of the first place, rounded as in Caffe."""
    centre, found = 0.5 * (p.base_size - 1), []
    for ratio in map(np.float32, p.ratio):
        width = np.sqrt(np.float32(p.base_size**2) / ratio)
        for scale in map(np.float32, p.scale):
            sides = (float(side * scale) / p.base_size - 1 for side in (width, width * ratio))
            half_w, half_h = (0.5 * math.trunc(side + 0.5) for side in sides)
            found.append((centre - half_w, centre - half_h, centre + half_w, centre + half_h))
    return np.array(found, np.float32).reshape(-1, 4)


def _ranking(scores: NDArray[np.float32], most: int) -> NDArray[np.int64]:
    """Places of the `most` highest scores, in descending order; equal ones as Caffe's quicksort leaves them.

    They are common: boxes that are too small all score 0.
    """
    order, spans = np.arange(len(scores)), [(0, len(scores))]
    while spans:
        start, stop = spans.pop()
        part = scores[order[start:stop]]
        kinds = len(np.unique(part))
        if kinds == len(part):
            order[start:stop] = order[start:stop][np.argsort(-part)]
        elif kinds > 1:
            places, pivot = _partitioned(part)
            order[start:stop] = order[start:stop][places]
            spans.append((start, start + pivot))
            if start + pivot + 1 < most:
                spans.append((start + pivot + 1, stop))
    return order[:most]


def _partitioned(part: NDArray[np.float32]) -> tuple[NDArray[np.int64], int]:
    """Partition values around the first one as pivot, higher ones first; return the order and its place.

    Pairs on the wrong sides of the pivot are swapped, from both ends.
    """
    places = np.arange(len(part))
    low, high = (part < part[0]).nonzero()[0], (part > part[0]).nonzero()[0][::-1]
    short = min(len(low), len(high))
    pairs = int((low[:short] < high[:short]).sum())
    places[low[:pairs]], places[high[:pairs]] = high[:pairs], low[:pairs]
    pivot = max([*low[max(pairs - 1, 0) : pairs], *high[pairs : pairs + 1]], default=0)
    places[[0, pivot]] = places[[pivot, 0]]
    return places, int(pivot)
