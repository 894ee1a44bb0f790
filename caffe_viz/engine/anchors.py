"""Boxes (.., 4) around every place of a feature map, and box regression; both end pixels count."""

from __future__ import annotations

import torch
from torch import Tensor


def placed(anchors: Tensor, size: tuple[int, int], stride: int) -> Tensor:
    """Place anchors (A, 4) at each place of maps of `size` (H, W): (H * W * A, 4)."""
    y, x = (torch.arange(n, device=anchors.device) * stride for n in size)
    corners = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).repeat(1, 1, 2)[:, :, None]
    return (corners + anchors).reshape(-1, 4)


def by_place(values: Tensor, size: int) -> Tensor:
    """Rearrange maps (N, A * size, H, W) to the values of each anchor, (N, H * W * A, size)."""
    n, _, h, w = values.shape
    return values.reshape(n, -1, size, h, w).permute(0, 3, 4, 1, 2).reshape(n, -1, size)


def moved(boxes: Tensor, codes: Tensor) -> Tensor:
    """Move boxes (.., 4) by codes (.., 4): shifts in units of the sides, and logarithms of their growth."""
    sides = boxes[..., 2:] - boxes[..., :2] + 1
    centres = boxes[..., :2] + sides / 2 + codes[..., :2] * sides
    halves = codes[..., 2:].exp() * sides / 2
    return torch.cat([centres - halves, centres + halves], -1)


def clipped(boxes: Tensor, image: Tensor) -> Tensor:
    """Clip boxes (.., 4) to an image whose height and width are first in `image`."""
    limits = (image.reshape(-1)[:2] - 1).flip(0).repeat(2)
    return torch.maximum(torch.minimum(boxes, limits), torch.zeros_like(limits))


def large(boxes: Tensor, least: float | Tensor) -> Tensor:
    """Whether both sides of boxes (.., 4) are at least that long, (..)."""
    return (boxes[..., 2:] - boxes[..., :2] + 1 >= least).all(-1)
