"""Layers that resize or pad an image. (N, C, H, W) unless said otherwise."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from caffe_viz.engine.table import Call, layer
from caffe_viz.errors import InputError
from caffe_viz.geometry.table import TABLE


def _size(call: Call, *bottoms: Tensor) -> tuple[int, ...]:
    """Height and width of the top, by the rule of geometry."""
    return TABLE[call.param.type].function(call.param, tuple(tuple(b.shape) for b in bottoms)).tops[0][2:]


@layer("PixelShuffle")
def _pixel_shuffle(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    return F.pixel_shuffle(bottoms[0], call.param.pixelshuffle_param.upscale_factor)


@layer("Resize")
def _resize(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """Bilinear from place o * size / new size; the last row and column mix with nothing (util_img.cpp)."""
    x = bottoms[0].reshape((*bottoms[0].shape, 1, 1, 1)[:4])
    for axis, size in zip((3, 2), reversed(_size(call, x)), strict=True):
        places = torch.arange(size, device=x.device, dtype=x.dtype) * (x.shape[axis] / size)
        low = places.floor()
        weights = places - low
        inside = low + 1 < x.shape[axis]
        x = _mixed(x, axis, low, 1 - weights, torch.where(inside, weights, 0))
    return x


@layer("BilinearInterpolate")
def _bilinear_interpolate(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """Bilinear between corners (also NaN if one pixel is left, as in Caffe) or between centres of pixels."""
    x = bottoms[0].reshape((*bottoms[0].shape, 1, 1, 1)[:4])
    corners = call.param.bilinear_interpolate_param.align_corners
    for axis, size in zip((3, 2), reversed(_size(call, x)), strict=True):
        last, steps = x.shape[axis] - 1, torch.arange(size, device=x.device, dtype=x.dtype)
        if corners:
            places = steps * (torch.tensor(last, device=x.device, dtype=x.dtype) / (size - 1))
        else:
            places = (steps + 0.5) * (x.shape[axis] / size) - 0.5
        places = places.clamp(0, last)
        low = places.floor()
        x = _mixed(x, axis, low, low + 1 - places, places - low)
    return x


def _mixed(x: Tensor, axis: int, low: Tensor, weights: Tensor, others: Tensor) -> Tensor:
    """Along `axis`, values at `low` times `weights` plus those after them times `others`."""
    last, along = x.shape[axis] - 1, [1] * (x.ndim - axis - 1)
    first = low.to(torch.int64)
    here, after = (x.index_select(axis, places.clamp(0, last)) for places in (first, first + 1))
    return here * weights.reshape(-1, *along) + after * others.reshape(-1, *along)


@layer("Pad")
def _pad(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """Pads below 0, all or none, crop."""
    p, (x,) = call.param.pad_param, bottoms
    pads = (p.pad_l, p.pad_r, p.pad_u, p.pad_d)
    if p.pad_type == p.CONSTANT or max(pads) < 0:
        return F.pad(x, pads, value=p.pad_value)
    if p.pad_type == p.REFLECT and (max(pads[:2]) >= x.shape[3] or max(pads[2:]) >= x.shape[2]):
        raise InputError(
            f"layer {call.param.name!r} (Pad): REFLECT needs pads below the height {x.shape[2]} and the "
            f"width {x.shape[3]}; given are u {p.pad_u}, d {p.pad_d}, l {p.pad_l}, r {p.pad_r}."
        )
    return F.pad(x, pads, mode="replicate" if p.pad_type == p.REPLICATE else "reflect")
