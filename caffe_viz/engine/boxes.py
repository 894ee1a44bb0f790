"""Boxes (..., 4) as xmin, ymin, xmax, ymax: areas, overlaps, codes by priors, suppression (bbox_util.cpp)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from caffe_viz.netdef.net_pb2 import PriorBoxParameter


def area(boxes: Tensor, pixels: int = 0) -> Tensor:
    """Area (...) of boxes (..., 4); 0 if one ends before it begins. `pixels` 1: both end pixels count."""
    sides = boxes[..., 2:] - boxes[..., :2]
    return torch.where((sides >= 0).all(-1), (sides + pixels).prod(-1), 0)


def overlap(first: Tensor, second: Tensor, pixels: int = 0) -> Tensor:
    """Intersection over union of boxes whose shapes broadcast."""
    sizes = area(first, pixels), area(second, pixels)
    return _overlap(first.unbind(-1), second.unbind(-1), *sizes, pixels, "IOU")


# What the common area is divided by, from the areas of the first box, of the second, and of both.
_SHARES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "IOU": lambda first, second, common: first + second - common,
    "IOMU": lambda first, second, common: torch.minimum(first, second),
    "IOFU": lambda first, second, common: first.expand_as(common),
}


def _overlap(
    first: Sequence[Tensor], second: Sequence[Tensor], size: Tensor, other: Tensor, pixels: int, share: str
) -> Tensor:
    width, height = (
        torch.minimum(first[i + 2], second[i + 2]) - torch.maximum(first[i], second[i]) for i in (0, 1)
    )
    shorter = torch.minimum(width, height)
    meet = shorter >= 0 if pixels else shorter > 0
    common = (width + 1) * (height + 1) if pixels else width * height
    return (common / _SHARES.get(share, _SHARES["IOU"])(size, other, common)).masked_fill(~meet, 0)


def split_priors(priors: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes (P, 4) and variances (P, 4) of PriorBox's top (1, 2, P * 4)."""
    boxes, variances = priors.reshape(-1)[: 2 * priors.shape[2]].view(2, -1, 4)
    return boxes, variances


def decode(codes: Tensor, priors: Tensor, variances: Tensor, kind: int, in_target: bool) -> Tensor:
    """Decode codes (..., 4) to boxes by their priors; `in_target` means that codes include the variances."""
    codes = codes if in_target else codes * variances
    if kind == PriorBoxParameter.CORNER:
        return priors + codes
    sides = priors[..., 2:] - priors[..., :2]
    if kind == PriorBoxParameter.CORNER_SIZE:
        return priors + codes * torch.cat([sides, sides], -1)
    centres = (priors[..., :2] + priors[..., 2:]) / 2 + codes[..., :2] * sides
    halves = codes[..., 2:].exp() * sides / 2
    return torch.cat([centres - halves, centres + halves], -1)


def encode(boxes: Tensor, priors: Tensor, variances: Tensor, kind: int, in_target: bool) -> Tensor:
    """Encode boxes (..., 4), the inverse of `decode`."""
    sides = priors[..., 2:] - priors[..., :2]
    if kind == PriorBoxParameter.CENTER_SIZE:
        shifts = (boxes[..., :2] + boxes[..., 2:] - priors[..., :2] - priors[..., 2:]) / 2 / sides
        codes = torch.cat([shifts, ((boxes[..., 2:] - boxes[..., :2]) / sides).log()], -1)
    else:
        codes = boxes - priors
        codes = codes / torch.cat([sides, sides], -1) if kind == PriorBoxParameter.CORNER_SIZE else codes
    return codes if in_target else codes / variances


def suppress(
    boxes: Tensor,
    alive: Tensor,
    most: int,
    limit: float,
    *,
    eta: float = 1,
    pixels: int = 0,
    share: str = "IOU",
) -> Tensor:
    """Greedy non-maximum suppression: which of boxes (R, K, 4), the best of a row first, are kept, (R, K).

    A box is kept if it overlaps no kept box by more than `limit`, which each kept box multiplies by `eta`
    until it is 0.5 or less. Boxes that are not `alive` (R, K) are neither kept nor suppress others. Each of
    `most` steps keeps one box of every row. The overlap is a `share` of both boxes together (IOU), of the
    smaller one (IOMU), or of the kept one (IOFU); other names mean IOU.
    """
    rows, places = (torch.arange(n, device=boxes.device) for n in alive.shape)
    kept, nearest = torch.zeros_like(alive), boxes.new_zeros(alive.shape)
    # Coordinates and sizes, each in one piece, which is what makes a step fast.
    sides = torch.stack([*boxes.unbind(-1), area(boxes, pixels)])
    others = sides.unbind()
    limits = boxes.new_full((len(boxes), 1), limit)
    for _ in range(min(most, len(places))):
        free = alive & (nearest <= limits)
        best = places.expand_as(free).masked_fill(~free, len(places)).amin(1)
        found = best < len(places)
        if not found.any():
            break
        best = best.clamp(max=len(places) - 1)
        kept[rows, best] |= found
        alive = alive & (places > best[:, None])
        own = sides[:, rows, best][..., None].unbind()
        nearest = torch.maximum(nearest, _overlap(own, others, own[4], others[4], pixels, share))
        if eta < 1:
            limits = torch.where(found[:, None] & (limits > 0.5), limits * eta, limits)
    return kept


def nothing(scores: Tensor, columns: int = 7) -> Tensor:
    """The top (1, 1, N, columns) if scores (N, ..) have no detection: the image's number, then -1."""
    rows = scores.new_full((len(scores), columns), -1)
    rows[:, 0] = torch.arange(len(scores), device=rows.device)
    return rows.reshape(1, 1, -1, columns)
