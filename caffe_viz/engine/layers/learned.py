"""Layers with parameters, other than convolutions."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from caffe_viz.engine.table import Call, Filler, constant, layer
from caffe_viz.errors import InputError
from caffe_viz.netdef import LayerParameter


def _inner_fillers(param: LayerParameter) -> list[Filler]:
    return [param.inner_product_param.weight_filler, param.inner_product_param.bias_filler]


@layer("InnerProduct", fillers=lambda param: _inner_fillers(param)[: 1 + param.inner_product_param.bias_term])
def _inner_product(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    p, (x,) = call.param.inner_product_param, bottoms
    axis = p.axis % x.ndim
    weights = params[0].t() if p.transpose else params[0]
    if p.normalize:  # happynear/caffe-windows: src/caffe/layers/inner_product_layer.cpp
        weights = weights / ((weights * weights).sum(1, keepdim=True) + 1e-6).sqrt()
    rows = x if axis == x.ndim - 1 else x.flatten(axis)
    return F.linear(rows, weights, params[1] if p.bias_term else None)


def _embed_fillers(param: LayerParameter) -> list[Filler]:
    p = param.embed_param
    return [p.weight_filler, p.bias_filler][: 1 + p.bias_term]


@layer("Embed", labels=(0,), fillers=_embed_fillers)
def _embed(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    places, count = bottoms[0].to(torch.int64), call.param.embed_param.input_dim
    if places.numel() and not 0 <= int(places.min()) <= int(places.max()) < count:
        raise InputError(
            f"layer {call.param.name!r} (Embed): its input must be numbers from 0 to {count - 1}, not "
            f"{int(places.min())} to {int(places.max())}."
        )
    rows = F.embedding(places, params[0])
    return rows + params[1] if call.param.embed_param.bias_term else rows


def _scale_fillers(param: LayerParameter) -> list[Filler]:
    p = param.scale_param
    own = [p.filler if p.HasField("filler") else constant(1)] if len(param.bottom) == 1 else []
    return [*own, *([p.bias_filler] if p.bias_term else [])]


@layer("Scale", fillers=_scale_fillers)
def _scale(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    p, x = call.param.scale_param, bottoms[0]
    factor, *shift = [*bottoms[1:], *params]
    along = _along(factor, x, p.axis)
    # Where nothing lies before the factor's axes, or behind them, Caffe computes straight into its diff.
    alone = math.prod(x.shape[: x.ndim - along.ndim]) == 1 and factor.numel() != 1
    replaces = len(bottoms) == 1 and (alone or factor.numel() == x.numel())
    call.replaces = frozenset([0] if replaces else [])
    out = x * along
    return out + _along(shift[0], x, p.axis) if shift else out


@layer("Bias", fillers=lambda param: [param.bias_param.filler] * (len(param.bottom) == 1))
def _bias(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    x = bottoms[0]
    return x + _along([*bottoms[1:], *params][0], x, call.param.bias_param.axis)


def _along(values: Tensor, x: Tensor, axis: int) -> Tensor:
    """Reshape `values`, which belong to the axes of `x` from `axis` on, so that they broadcast over `x`."""
    start = axis % x.ndim if values.ndim else 0
    return values.reshape(*values.shape, *[1] * (x.ndim - start - values.ndim))
