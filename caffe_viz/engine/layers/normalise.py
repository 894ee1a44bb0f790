"""Layers that subtract a mean or divide by a deviation or a norm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from caffe_viz.engine.layers.batch_norms import normalize_by_type
from caffe_viz.engine.table import Call, Filler, constant, layer
from caffe_viz.geometry.batch_norms import norm_type, normalizes_by_type, own_factors
from caffe_viz.geometry.table import legacy
from caffe_viz.netdef import LayerParameter


def _own_fillers(param: LayerParameter) -> list[Filler]:
    p = param.batch_norm_param
    scale = next((f for f in (p.scale_filler, p.filler) if f.ByteSize()), constant(1))
    return [constant(0)] * 3 + [scale, p.bias_filler][: own_factors(param)]


@layer("BatchNorm", fillers=_own_fillers, always=True)
def _batch_norm(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """NVIDIA/caffe and intel/caffe may give it a scale and a shift of its own, intel's also a ReLU:
    src/caffe/layers/batch_norm_layer.cpp, mkldnn_batch_norm_layer.cpp."""
    y = _normalised(call, bottoms[0], params)
    scale, shift = (*(_per_channel(own, y) for own in params[3:]), None, None)[:2]
    y = y if scale is None else y * scale
    y = y if shift is None else y + shift
    return y.relu() if call.param.batch_norm_param.relu else y


def _normalised(call: Call, x: Tensor, params: list[Tensor]) -> Tensor:
    return _with_stored(call, x, params) if _uses_stored(call) else _with_own(call, x, params)


def _kyle_fillers(param: LayerParameter) -> list[Filler]:
    return [constant(0)] * 3 + [constant(1), constant(0)] * param.batch_norm_param.use_alpha_beta


@layer("BatchNormKyle", fillers=_kyle_fillers, always=True)
def _batch_norm_kyle(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    y = _normalised(call, bottoms[0], params)
    if not call.param.batch_norm_param.use_alpha_beta:
        return y
    call.replaces = frozenset([3, 4])
    factor, shift = (_per_channel(p, y) for p in params[3:])
    if _uses_stored(call):  # Caffe gives the two no gradient here.
        factor, shift = factor.detach(), shift.detach()
    return y * factor + shift


def _uses_stored(call: Call) -> bool:
    p = call.param.batch_norm_param
    return p.use_global_stats if p.HasField("use_global_stats") else not call.train


def _with_stored(call: Call, x: Tensor, params: list[Tensor]) -> Tensor:
    """Mean and variance are constants here, stored times a factor that is 0 in a new net."""
    mean, variance, factor = (p.detach() for p in params[:3])
    scale = torch.where(factor == 0, 0, 1 / factor)
    if torch.compiler.is_compiling() and call.param.batch_norm_param.add_eps_before_sqrt:
        # One operator, which compilers and other formats know.
        return F.batch_norm(x, mean * scale, variance * scale, eps=call.param.batch_norm_param.eps)
    deviation = _deviation(call, variance * scale)
    return (x - _per_channel(mean * scale, x)).mul_(_per_channel(1 / deviation, x))


def _with_own(call: Call, x: Tensor, params: list[Tensor]) -> Tensor:
    """Normalise by the statistics of the batch, and update the stored ones with them."""
    p = call.param.batch_norm_param
    y, mean, variance = _standardised(x, (0, *range(2, x.ndim)), lambda v: _deviation(call, v))
    values = x.numel() // x.shape[1]
    unbiased = variance * (values / max(values - 1, 1))
    for stored, new in zip(params[:3], (mean, unbiased, torch.ones(1, device=x.device)), strict=True):
        stored.detach().mul_(p.moving_average_fraction).add_(new.view(-1))
    call.changes = frozenset((0, 1, 2))
    return y


def _deviation(call: Call, variance: Tensor) -> Tensor:
    """synopsys-caffe can add eps to the root instead."""
    p = call.param.batch_norm_param
    return (variance + p.eps).sqrt() if p.add_eps_before_sqrt else variance.sqrt() + p.eps


def _per_channel(values: Tensor, x: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (x.ndim - 2))


@layer("MVN")
def _mvn(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    p = call.param.mvn_param
    x = bottoms[0].reshape(legacy(tuple(bottoms[0].shape)))
    axes = (1, 2, 3) if p.across_channels else (2, 3)
    if not p.normalize_variance:
        return x - x.mean(axes, keepdim=True)
    inside = p.add_eps_before_sqrt  # synopsys-caffe
    return _standardised(x, axes, lambda v: (v + p.eps).sqrt() if inside else v.sqrt() + p.eps)[0]


def _standardised(
    x: Tensor, axes: tuple[int, ...], deviation: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """(x - mean) / deviation(variance), mean and variance along `axes`; only the first has a gradient."""
    found: tuple[Tensor, Tensor, Tensor] = _Standardised.apply(x, axes, deviation)
    return found


class _Standardised(torch.autograd.Function):
    """The gradient is Caffe's: it overlooks an eps that is added to the root."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, axes: tuple[int, ...], deviation: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        mean = x.mean(axes, keepdim=True)
        y = x - mean
        variance = (y * y).mean(axes, keepdim=True)
        ctx.axes, factor = axes, 1 / deviation(variance)
        y *= factor
        ctx.save_for_backward(y, factor)
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    def backward(ctx: Any, *seeds: Tensor) -> tuple[Tensor, None, None]:
        (y, factor), (seed, *_) = ctx.saved_tensors, seeds
        along = (seed * y).mean(ctx.axes, keepdim=True)
        gradient = seed - seed.mean(ctx.axes, keepdim=True)
        return gradient.addcmul_(y, along, value=-1).mul_(factor), None, None


def _scale_filler(param: LayerParameter) -> list[Filler]:
    p = param.norm_param
    if normalizes_by_type(param):
        return []
    return [p.scale_filler if p.HasField("scale_filler") else constant(1)]


@layer("Normalize", fillers=_scale_filler)
def _normalize(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor | Sequence[Tensor]:
    p, (x,) = call.param.norm_param, bottoms
    images = x.reshape(legacy(tuple(x.shape)))
    if normalizes_by_type(call.param):
        return normalize_by_type(norm_type(call.param), call.tops, images)
    y: Tensor = _ByNorm.apply(images, params[0].reshape(-1, 1, 1), p.across_spatial, p.eps)
    return y.view(x.shape)


class _ByNorm(torch.autograd.Function):
    """scale * x / norm of each image or of each pixel's channels.

    The gradient is Caffe's: it weighs the scales of the channels only at its end, and divides by the scale.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, across: bool, eps: float) -> Tensor:
        ctx.axes = (1, 2, 3) if across else (1,)
        norm = ((x * x).sum(ctx.axes, keepdim=True) + eps).sqrt()
        y = x / norm * scale
        ctx.save_for_backward(x, scale, norm, y)
        return y

    @staticmethod
    def backward(ctx: Any, *seeds: Tensor) -> tuple[Tensor | None, ...]:
        (x, scale, norm, y), (seed,) = ctx.saved_tensors, seeds
        down = learns = None
        if ctx.needs_input_grad[0]:
            along = x * (x * seed).sum(ctx.axes, keepdim=True)
            down = (seed - along / (norm * norm)) / norm * scale
        if ctx.needs_input_grad[1]:
            learns = (y * seed).sum((0, 2, 3), keepdim=True)[0]
            learns = (learns if scale.numel() > 1 else learns.sum().view(1, 1, 1)) / scale
        return down, learns, None, None
