"""SSD's layers after its losses: detections from codes and confidences, and their evaluation.

N images, P priors, C classes, D detections, T boxes of the ground truth. Boxes are fractions of the image.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from caffe_viz.engine.boxes import area, nothing, overlap, split_priors, suppress
from caffe_viz.engine.extended import decode_places, joined, refined
from caffe_viz.engine.layers.yolo import region_detections
from caffe_viz.engine.table import Call, layer
from caffe_viz.errors import InputError
from caffe_viz.geometry.detectors import codes as codes_of
from caffe_viz.geometry.detectors import is_yolo, yolo_classes
from caffe_viz.netdef.net_pb2 import DetectionOutputParameter

LOWEST = torch.finfo(torch.float32).min


# Caffe empties the folder that save_output_param names, and writes nothing into it; here it is left alone.
@layer("DetectionOutput", gradient=False)
def _detection_output(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """(1, 1, D, 7): image, label, confidence, box; by image, then by label, then the most confident first.

    Where nothing is found, one row for each image: its number, the rest -1. YOLO's layer of the same name is
    `region_detections`. Forks add columns: the four corners of a polygon, or a rotated box, behind the box,
    and states before it.

    MhLiao/TextBoxes_plusplus: src/caffe/layers/detection_output_layer.cpp
    julimueller/tl_ssd: src/caffe/layers/detection_output_layer.cu, whose CPU code leaves the states out
    """
    p = call.param.detection_output_param
    if is_yolo(call.param):
        return region_detections(p, yolo_classes(p), bottoms[0])
    each = codes_of(call.param, tuple(b.shape for b in bottoms))
    codes, confidences, flat_priors, *more = joined(call.param, bottoms)
    priors, variances = split_priors(flat_priors)
    count = len(priors)
    labels = [c for c in range(p.num_classes) if c != p.background_label_id]
    scores = confidences.reshape(len(codes), count, -1).transpose(1, 2)[:, labels]
    if not p.do_state_prediction:
        scores, priors = refined(p, scores, priors, variances, more)
    codes = codes.reshape(len(codes), count, -1, each).transpose(1, 2)
    codes = codes if p.share_location else codes[:, labels]
    places = decode_places(codes, priors, variances, p.code_type, p.variance_encoded_in_target)
    places = places.expand(*scores.shape, places.shape[-1])
    order, kept = _candidates(p, places[..., :4], scores)
    image, kind, rank = _best(scores.gather(2, order), kept, p.keep_top_k).nonzero().unbind(1)
    states = (
        more[0].reshape(len(codes), count, -1)
        if p.do_state_prediction
        else codes.new_empty(len(codes), count, 0)
    )
    if not len(image):
        return nothing(scores, 3 + states.shape[2] + places.shape[3])
    prior, names = order[image, kind, rank], torch.tensor(labels, device=image.device)
    columns = torch.stack([image, names[kind], scores[image, kind, prior]], 1)
    found = torch.cat([columns, states[image, prior], places[image, kind, prior]], 1)
    return found.reshape(1, 1, *found.shape)


def _candidates(p: DetectionOutputParameter, boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """From boxes (N, C, P, 4): (N, C, K) priors, most confident first, and which suppression keeps.

    Without nms_param all are kept, whatever their score, in their own order unless keep_top_k drops some.
    """
    if not p.HasField("nms_param"):
        if 0 <= p.keep_top_k < scores[0].numel():
            order = scores.sort(descending=True, stable=True).indices
        else:
            order = torch.arange(scores.shape[2], device=scores.device).expand(scores.shape)
        return order, torch.ones_like(order, dtype=torch.bool)
    alive = scores > (p.confidence_threshold if p.HasField("confidence_threshold") else LOWEST)
    most = max(alive.sum(2).flatten().tolist(), default=0)
    if p.nms_param.HasField("top_k") and p.nms_param.top_k >= 0:
        most = min(most, p.nms_param.top_k)
    order = torch.where(alive, scores, -math.inf).sort(descending=True, stable=True).indices[..., :most]
    images, kinds = (torch.arange(n, device=order.device) for n in scores.shape[:2])
    chosen = boxes[images[:, None, None], kinds[:, None], order].flatten(0, 1)
    alive = alive.gather(2, order).flatten(0, 1)
    # Of no label more than keep_top_k can stay in the end.
    steps = most if p.keep_top_k < 0 else p.keep_top_k
    kept = suppress(chosen, alive, steps, p.nms_param.nms_threshold, eta=p.nms_param.eta)
    return order, kept.view_as(order)


def _best(scores: Tensor, kept: Tensor, most: int) -> Tensor:
    """(N, C, K) Of those kept, the `most` with the highest scores (N, C, K) of each image; all if below 0."""
    if most < 0:
        return kept
    order = torch.where(kept, scores, -math.inf).flatten(1).sort(descending=True, stable=True).indices
    ranks = torch.arange(order.shape[1], device=order.device).expand_as(order)
    return kept & (torch.empty_like(order).scatter_(1, order, ranks) < most).view_as(kept)


@layer("DetectionEvaluate", gradient=False)
def _detection_evaluate(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """(1, 1, C - 1 + D, 5): of each label -1, label, boxes of the ground truth, -1, -1; then the detections.

    Their rows, by image, label, confidence: image, label, confidence, right, wrong. Both are 0 on a difficult
    box that does not count.
    """
    p = call.param.detection_evaluate_param
    found, truth = bottoms[0].reshape(-1, 7), bottoms[1].reshape(-1, 8)
    found, count = found[found[:, 0].to(torch.int64) != -1], len(found)
    truth = truth[(truth[:, 0].to(torch.int64) == -1).cumsum(0) == 0]
    counts = torch.ones_like(truth[:, 7], dtype=torch.bool) if p.evaluate_difficult_gt else truth[:, 7] == 0
    names = [c for c in range(p.num_classes) if c != p.background_label_id]
    labels = torch.tensor(names, device=found.device)
    for rows in (found, truth):
        if (rows[:, 1].to(torch.int64) == p.background_label_id).any():
            raise InputError(
                f"layer {call.param.name!r} (DetectionEvaluate): a row has the background's label, "
                f"{p.background_label_id}."
            )
    heads = found.new_full((len(labels), 5), -1)
    heads[:, 1] = labels
    heads[:, 2] = ((truth[:, 1].to(torch.int64) == labels[:, None]) & counts).sum(1)
    rows = _judged(found, truth, counts, _scales(call, found), p.overlap_threshold)
    missing = found.new_zeros(count - len(found), 5)
    return torch.cat([heads, rows, missing]).reshape(1, 1, -1, 5)


def _judged(found: Tensor, truth: Tensor, counts: Tensor, scales: Tensor | None, limit: float) -> Tensor:
    """(D, 5) Image, label, confidence, right, wrong of detections (D, 7)."""
    same = (found[:, None, :2].to(torch.int64) == truth[:, :2].to(torch.int64)).all(2)
    order = torch.where(same.any(1), -found[:, 2], 0).sort(stable=True).indices
    for column in (1, 0):
        order = order[found[order, column].to(torch.int64).sort(stable=True).indices]
    found, same, scales = found[order], same[order], None if scales is None else scales[order]
    overlaps = torch.where(same, _overlaps(found[:, 3:], truth[:, 3:7], scales), -1)
    # The first column stands for no box at all.
    largest, place = torch.cat([overlaps.new_full((len(found), 1), -1), overlaps], 1).max(1)
    counts = torch.cat([counts.new_zeros(1), counts])
    hit = largest >= limit
    counted = hit & counts[place]
    # Of all that hit one box the most confident is right.
    turn = torch.where(counted, torch.arange(len(found), device=found.device), len(found))
    earliest = turn.new_full((len(counts),), len(found)).scatter_reduce(0, place, turn, "amin")
    right = counted & (earliest[place] == turn)
    columns = [found[:, :2].trunc(), found[:, 2:3], right[:, None], (~right & (counted | ~hit))[:, None]]
    return torch.cat([c.to(found.dtype) for c in columns], 1)


def _overlaps(boxes: Tensor, truth: Tensor, scales: Tensor | None) -> Tensor:
    """(D, T) Of boxes (D, 4) and (T, 4), in pixels if `scales` (D, 4) are given."""
    if scales is None:
        return overlap(boxes[:, None], truth)
    boxes, goals = (boxes * scales)[:, None], truth * scales[:, None]
    values = overlap(boxes, goals, pixels=1)
    # Caffe sees boxes that are apart meet in one pixel.
    return torch.where(values > 0, values, 1 / (area(boxes, 1) + area(goals, 1) - 1))


def _scales(call: Call, found: Tensor) -> Tensor | None:
    """(D, 4) Width, height, width, height of each detection's image; images take the file's lines in turn."""
    if "sizes" not in call.state:
        call.state["sizes"], call.state["image"] = _sizes(call), 0
    sizes: list[tuple[int, int]] = call.state["sizes"]
    if not sizes:
        return None
    images, place = found[:, 0].to(torch.int64).unique(return_inverse=True)
    lines = [sizes[(call.state["image"] + i) % len(sizes)] for i in range(len(images))]
    call.state["image"] = (call.state["image"] + len(images)) % len(sizes)
    return found.new_tensor([(w, h, w, h) for h, w in lines]).reshape(-1, 4)[place]


def _sizes(call: Call) -> list[tuple[int, int]]:
    """Height and width of each image, from a file of lines `name height width`."""
    path = call.param.detection_evaluate_param.name_size_file
    if not path:
        return []
    try:
        words = Path(path).read_text().split()
        return [(int(h), int(w)) for h, w in zip(words[1::3], words[2::3], strict=True)]
    except (OSError, ValueError) as error:
        raise InputError(
            f"layer {call.param.name!r} (DetectionEvaluate): name_size_file {path} must have lines "
            f"`name height width`: {error}."
        ) from None
