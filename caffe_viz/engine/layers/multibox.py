"""MultiBoxLoss of SSD (Liu et al. 2016): priors are matched with the ground truth, hard negatives are mined.

N images, P priors, L kinds of locations (1 or the classes), C classes, G boxes of one image's ground truth.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from caffe_viz.engine.boxes import area, decode, encode, overlap, split_priors, suppress
from caffe_viz.engine.layers.losses import HIGHEST_LOSS, Clamped, divisor
from caffe_viz.engine.table import Call, layer
from caffe_viz.errors import InputError
from caffe_viz.netdef.net_pb2 import MultiBoxLossParameter

NOTHING, IGNORED = -1, -2  # in place of a matched box


class Priors(NamedTuple):
    """Boxes and variances, (P, 4) each."""

    boxes: Tensor
    variances: Tensor


class Image(NamedTuple):
    """One image: codes (P, L, 4), scores (P, C), boxes (G, 4) and labels (G) of its ground truth."""

    codes: Tensor
    scores: Tensor
    boxes: Tensor
    labels: Tensor


class Picked(NamedTuple):
    """The examples of one image: M priors matched with boxes, and negatives, which are priors too.

    `prior`, `kind` (of location) and `label` are (M), `box` is (M, 4).
    """

    prior: Tensor
    kind: Tensor
    box: Tensor
    label: Tensor
    negative: Tensor


# force_backward asks it for all gradients but the second, with which it ends Caffe's process.
@layer("MultiBoxLoss", labels=(2, 3))
def _multibox_loss(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """Caffe repeats the matching only after a backward; here every forward does it."""
    p, (locations, confidences, flat_priors, truth) = call.param.multibox_loss_param, bottoms
    priors = Priors(*split_priors(flat_priors.detach()))
    locations = locations.reshape(len(locations), len(priors.boxes), -1, 4)
    confidences = confidences.reshape(len(confidences), len(priors.boxes), -1)
    with torch.no_grad():
        images = _images(call, locations, confidences, truth.reshape(-1, 8))
        picked = [_pick(p, image, priors) for image in images]
    image = _numbered([x.prior for x in picked])
    prior, kind, box, label, _ = (torch.cat(parts) for parts in zip(*picked, strict=True))
    loss = locations.new_zeros(())
    # What gets no gradient counts nothing.
    wanted = list(call.param.propagate_down) or [True, True]
    if wanted[0]:
        near = Priors(*(x[prior] for x in priors))
        loss = loss + p.loc_weight * _location_losses(p, locations[image, prior, kind], near, box).sum()
    if wanted[1]:
        loss = loss + _confidence_loss(p, confidences, image, picked)
    every = confidences.shape[0] * confidences.shape[1]
    return loss / divisor(call.param.loss_param, len(locations), every, torch.tensor(len(label)))


def _numbered(parts: list[Tensor]) -> Tensor:
    """The number of its part, for all values of all parts."""
    return torch.cat([torch.full_like(part, i) for i, part in enumerate(parts)])


def _images(call: Call, locations: Tensor, confidences: Tensor, rows: Tensor) -> list[Image]:
    """With those of the rows (T, 8) that count: image, label, (unused), box, difficult."""
    p = call.param.multibox_loss_param
    rows = rows[rows[:, 0].to(torch.int64) != -1]
    labels = rows[:, 1].to(torch.int64)
    wrong = labels == p.background_label_id
    if p.map_object_to_agnostic:
        labels = torch.full_like(labels, p.background_label_id + 1)
    else:
        wrong |= (labels < 0) | (labels >= p.num_classes)
    if wrong.any():
        raise InputError(
            f"layer {call.param.name!r} (MultiBoxLoss): a box has the label {int(rows[wrong][0, 1])}; labels "
            f"from 0 to {p.num_classes - 1} without the background's, {p.background_label_id}, are expected."
        )
    counts = torch.ones_like(wrong) if p.use_difficult_gt else rows[:, 7] == 0
    own = [counts & (rows[:, 0].to(torch.int64) == i) for i in range(len(locations))]
    pairs = zip(locations, confidences, own, strict=True)
    return [Image(codes, scores, rows[mine, 3:7], labels[mine]) for codes, scores, mine in pairs]


def _pick(p: MultiBoxLossParameter, image: Image, priors: Priors) -> Picked:
    match, overlaps = _matches(p, image, priors)
    negative = torch.zeros_like(match[0], dtype=torch.bool)
    if p.mining_type != p.NONE and len(image.boxes):
        # Mining goes with one kind of location only.
        chosen = _mined(p, image, priors, match[0], overlaps)
        negative = chosen & (match[0] == NOTHING)
        if p.mining_type == p.HARD_EXAMPLE:
            match = match.masked_fill(~chosen, NOTHING)
    kind, prior = (match > NOTHING).nonzero().unbind(1)
    place = match[kind, prior]
    return Picked(prior, kind, image.boxes[place], image.labels[place], negative.nonzero()[:, 0])


def _decoded(p: MultiBoxLossParameter, codes: Tensor, priors: Priors) -> Tensor:
    return decode(codes, *priors, p.code_type, p.encode_variance_in_target)


def _matches(p: MultiBoxLossParameter, image: Image, priors: Priors) -> tuple[Tensor, Tensor]:
    """The box of each prior (L, P), or NOTHING or IGNORED; and (P) its largest overlap, where L is 1."""
    kinds, overlaps = image.codes.shape[1], image.codes.new_zeros(len(priors.boxes))
    match = image.labels.new_full((kinds, len(priors.boxes)), NOTHING)
    if p.use_prior_for_matching and len(image.boxes):
        found, overlaps = _matched(p, priors.boxes, image.boxes)
        if p.share_location:
            return found[None], overlaps
        labels = torch.where(found > NOTHING, image.labels[found.clamp(min=0)], NOTHING)
        every = torch.arange(kinds, device=labels.device)[:, None]
        return torch.where(labels == every, found, NOTHING), overlaps
    for kind in range(kinds):
        own = (image.labels == kind) | p.share_location
        if own.any():
            boxes = _decoded(p, image.codes[:, kind], priors)
            found, overlaps = _matched(p, boxes, image.boxes[own])
            match[kind] = torch.where(found > NOTHING, own.nonzero()[:, 0][found.clamp(min=0)], found)
    return match, overlaps


def _matched(p: MultiBoxLossParameter, boxes: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """(P) the place in truth (G, 4) for each box (P, 4), or NOTHING or IGNORED; (P) its largest overlap.

    First each of the truth takes the box that it overlaps most, the best pair first; then, PER_PREDICTION,
    each box that is left takes what it overlaps enough.
    """
    overlaps = overlap(boxes[:, None], truth)
    overlaps = torch.where(overlaps > 1e-6, overlaps, 0)
    match = torch.full_like(overlaps[:, 0], NOTHING, dtype=torch.int64)
    if p.ignore_cross_boundary_bbox:
        crosses = ((boxes < 0) | (boxes > 1)).any(1)
        match[crosses], overlaps[crosses] = IGNORED, 0
    largest, place = overlaps.max(1)
    free = overlaps.clone()
    for _ in range(len(truth)):
        best = free.argmax()
        box, own = best // len(truth), best % len(truth)
        if free[box, own] <= 0:
            break
        match[box] = own
        free[box], free[:, own] = 0, 0
    if p.match_type == p.PER_PREDICTION:
        enough = (match == NOTHING) & (largest > 0) & (largest >= p.overlap_threshold)
        match = torch.where(enough, place, match)
    return match, largest


def _losses(p: MultiBoxLossParameter, image: Image, priors: Priors, match: Tensor) -> Tensor:
    """(P) By which examples are mined: of the confidences, and of locations if positives are mined too."""
    labels = torch.where(match > NOTHING, image.labels[match.clamp(min=0)], p.background_label_id)
    if p.conf_loss_type == p.SOFTMAX:
        losses = F.cross_entropy(image.scores, labels, reduction="none").clamp(max=HIGHEST_LOSS)
    else:
        targets = F.one_hot(labels, p.num_classes).to(image.scores.dtype)
        losses = F.binary_cross_entropy_with_logits(image.scores, targets, reduction="none").sum(1)
    if p.mining_type == p.HARD_EXAMPLE:
        places = (match > NOTHING).nonzero()[:, 0]
        near = Priors(*(x[places] for x in priors))
        losses[places] += _location_losses(p, image.codes[places, 0], near, image.boxes[match[places]]).sum(1)
    return losses


def _mined(p: MultiBoxLossParameter, image: Image, priors: Priors, match: Tensor, overlaps: Tensor) -> Tensor:
    """(P) Whether a prior is among those with the highest losses, perhaps after suppression of neighbours."""
    most, fit = p.sample_size, torch.ones_like(match, dtype=torch.bool)
    if p.mining_type == p.MAX_NEGATIVE:
        most = int((match > NOTHING).sum() * p.neg_pos_ratio)
        fit = (match == NOTHING) & (overlaps < p.neg_overlap)
    places, losses = fit.nonzero()[:, 0], _losses(p, image, priors, match)
    order = places[losses[places].sort(descending=True, stable=True).indices]
    if p.HasField("nms_param") and p.nms_param.nms_threshold > 0:
        # Without top_k Caffe takes 0 here, and no example at all.
        order = order[: p.nms_param.top_k] if p.nms_param.top_k >= 0 else order
        boxes = priors.boxes if p.use_prior_for_nms else _decoded(p, image.codes[:, 0], priors)
        alive = area(boxes[order]) >= 1e-5
        order = order[suppress(boxes[None, order], alive[None], most, p.nms_param.nms_threshold)[0]]
    return torch.zeros_like(fit).index_fill_(0, order[:most], True)


def _location_losses(p: MultiBoxLossParameter, codes: Tensor, priors: Priors, truth: Tensor) -> Tensor:
    """(M, 4) Of codes (M, 4) with their priors and boxes (M, 4)."""
    goals = encode(truth, *priors, p.code_type, p.encode_variance_in_target)
    if p.bp_inside:
        # A side outside the image neither counts nor learns.
        boxes = priors.boxes if p.use_prior_for_matching else _decoded(p, codes.detach(), priors)
        codes = torch.where((boxes < 0) | (boxes > 1), goals, codes)
    if p.encode_variance_in_target:
        # Caffe's gradient leaves this division out.
        codes, goals = codes + (codes / priors.variances - codes).detach(), goals / priors.variances
    if p.loc_loss_type == p.L2:
        return (codes - goals) ** 2 / 2
    return F.smooth_l1_loss(codes, goals, reduction="none")


def _confidence_loss(p: MultiBoxLossParameter, scores: Tensor, image: Tensor, picked: list[Picked]) -> Tensor:
    """Sum over the examples, or over all priors if none are mined; scores (N, P, C)."""
    prior, label = torch.cat([x.prior for x in picked]), torch.cat([x.label for x in picked])
    negative, others = torch.cat([x.negative for x in picked]), _numbered([x.negative for x in picked])
    if p.mining_type == p.NONE:
        rows, places = scores.flatten(0, 1), image * scores.shape[1] + prior
    else:
        rows = torch.cat([scores[image, prior], scores[others, negative]])
        places = torch.arange(len(prior), device=rows.device)
    if p.conf_loss_type == p.SOFTMAX:
        goals = label.new_full((len(rows),), p.background_label_id)
        goals.scatter_reduce_(0, places, label, "amax", include_self=False)  # two kinds may match one prior
        losses = F.cross_entropy(rows, goals, reduction="none")
        total: Tensor = Clamped.apply(losses, -torch.inf, HIGHEST_LOSS).sum()
        return total
    # Caffe fills with the background's number, and without mining shifts an image by P instead of P * C.
    targets = torch.full_like(rows, p.background_label_id)
    if p.mining_type == p.NONE:
        places = image * scores.shape[1] + prior * p.num_classes
        targets.view(-1)[places + label] = 1
    else:
        targets[places, label] = 1
        targets[len(prior) :, p.background_label_id] = 1
    return F.binary_cross_entropy_with_logits(rows, targets, reduction="sum")
