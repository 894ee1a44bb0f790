"""Layers that rearrange values: windows as columns, a pyramid of bins, permuted axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from caffe_viz.engine.layers.pooling import pooling
from caffe_viz.engine.table import Call, layer
from caffe_viz.geometry.pooling import pyramid
from caffe_viz.geometry.table import TABLE
from caffe_viz.geometry.windows import Window, sliding
from caffe_viz.netdef import LayerParameter, net_pb2

_SPP, _POOL = net_pb2.SPPParameter, net_pb2.PoolingParameter
METHODS = {_SPP.MAX: _POOL.MAX, _SPP.AVE: _POOL.AVE, _SPP.STOCHASTIC: _POOL.STOCHASTIC}


@layer("Im2col")
def _im2col(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    (x,) = bottoms
    axis, windows = sliding(call.param, tuple(x.shape))
    top = TABLE["Im2col"].function(call.param, (tuple(x.shape),)).tops[0]
    columns = x.reshape(math.prod(x.shape[:axis]), *x.shape[axis:])
    columns = F.pad(columns, _ends(columns.shape[2:], windows, top[axis + 1 :]))
    for i, w in enumerate(windows, 2):
        columns = columns.unfold(i, w.extent, w.stride)[..., :: w.dilation]
    # (images, channels, places .., offsets ..): offsets come before places.
    places = range(2, 2 + len(windows))
    offsets = range(2 + len(windows), 2 + 2 * len(windows))
    return columns.permute(0, 1, *offsets, *places).reshape(top)


def _ends(sizes: Sequence[int], windows: Sequence[Window], places: Sequence[int]) -> list[int]:
    """Zeros at both ends of each axis, the last axis first; one window may reach over a small input."""
    ends: list[int] = []
    for size, w, count in zip(sizes, windows, places, strict=True):
        ends = [w.before, max(0, (count - 1) * w.stride + w.extent - size - w.before), *ends]
    return ends


@layer("SPP")
def _spp(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    p, (x,) = call.param.spp_param, bottoms
    levels = []
    for kernel, pad in pyramid(x.shape[2:], p.pyramid_height):
        param = LayerParameter(name=call.param.name, type="Pooling", top=["bins"])
        settings = param.pooling_param
        settings.pool = METHODS[p.pool]
        settings.pad_h, settings.pad_w = pad
        settings.kernel_h, settings.kernel_w = settings.stride_h, settings.stride_w = kernel
        bins = pooling(replace(call, param=param), bottoms, params)
        levels.append(bins if isinstance(bins, Tensor) else bins[0])
    return levels[0] if len(levels) == 1 else torch.cat([level.flatten(1) for level in levels], 1)


@layer("Permute")
def _permute(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    (x,), order = bottoms, list(call.param.permute_param.order)
    return x.permute(order + [axis for axis in range(x.ndim) if axis not in order])


@layer("Unsqueeze")
def _unsqueeze(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    return bottoms[0].unsqueeze(call.param.unsqueeze_param.dim)
