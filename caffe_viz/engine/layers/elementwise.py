"""Layers of forks that work value by value, on one blob or several."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from caffe_viz.engine.table import Call, Filler, constant, layer
from caffe_viz.netdef import LayerParameter


@layer("Mish")
def _mish(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """x tanh(log(1 + e^x)). foss-for-synopsys-dwc-arc-processors/synopsys-caffe:
    src/caffe/layers/mish_layer.cpp."""
    return F.mish(bottoms[0])


@layer("Swish")
def _swish(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """x sigmoid(beta x). BVLC/caffe, whose master has it: src/caffe/layers/swish_layer.cpp."""
    return bottoms[0] * (call.param.swish_param.beta * bottoms[0]).sigmoid()


@layer("Clip")
def _clip(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """Clip to min .. max. BVLC/caffe, whose master has it: src/caffe/layers/clip_layer.cpp."""
    p = call.param.clip_param
    return bottoms[0].clamp(p.min, p.max)


@layer("BReLU")
def _brelu(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """Clip to minval .. maxval. yanhuama/mycaffe: src/caffe/layers/brelu_layer.cpp."""
    p = call.param.brelu_param
    return bottoms[0].clamp(p.minval, p.maxval)


@layer("SeLU")
def _selu(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """lambda x, below 0 lambda alpha (e^x - 1). foss-for-synopsys-dwc-arc-processors/synopsys-caffe:
    src/caffe/layers/selu_layer.cpp."""
    p = call.param.selu_param
    factor: float = getattr(p, "lambda")
    return F.elu(bottoms[0], p.alpha) * factor


@layer("Insanity")
def _insanity(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """x; values below 0 divided by numbers drawn from lb .. ub, in a test times the mean of their inverse.
    happynear/caffe-windows: src/caffe/layers/insanity_layer.cpp."""
    p, (x,) = call.param.insanity_param, bottoms
    if call.train:
        drawn = torch.rand(x.shape, generator=call.generator, device=x.device)
        return torch.where(x > 0, x, x / (p.lb + (p.ub - p.lb) * drawn))
    return F.leaky_relu(x, (math.log(abs(p.ub)) - math.log(abs(p.lb))) / (p.ub - p.lb))


@layer("OutputDecay")
def _output_decay(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """The bottom; in training it adds a regulariser to the gradient, which is not done here. yi94code/HRSOD:
    caffe-master/include/caffe/layers/output_decay_layer.hpp."""
    return bottoms[0]


@layer("Axpy")
def _axpy(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """a x + y, a (N, C) or (N, C, 1, 1), x and y (N, C, H, W). hujie-frank/SENet:
    src/caffe/layers/axpy_layer.cpp."""
    a, x, y = bottoms
    return a.reshape(*x.shape[:2], *[1] * (x.ndim - 2)) * x + y


def _global_fillers(param: LayerParameter) -> list[Filler]:
    return [constant(-1)] * param.channel_scale_param.global_scale


@layer("ChannelScale", fillers=_global_fillers)
def _channel_scale(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Sequence[Tensor]:
    """The channels of each pixel times its value of the second bottom, (N, C, H, W) and (N, 1, H, W); or all
    times one stored value. happynear/caffe-windows: src/caffe/layers/channel_scale_layer.cpp."""
    p, (x, factors) = call.param.channel_scale_param, bottoms
    if not p.global_scale:
        wide = factors.reshape(x.shape[0], 1, *x.shape[2:])
        return [x * wide if p.do_forward else x]
    scale = params[0].clamp(p.min_global_scale, p.max_global_scale)
    return [x * scale if p.do_forward else x, scale][: call.tops]


@layer("Add")
def _add(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """The sum of two bottoms, or of one and a parameter, whose axes are matched from the end.
    foss-for-synopsys-dwc-arc-processors/synopsys-caffe: src/caffe/layers/add_layer.cpp."""
    first, second = (*bottoms, *params)
    return first + second


@layer("Mul")
def _mul(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """Their product. foss-for-synopsys-dwc-arc-processors/synopsys-caffe: src/caffe/layers/mul_layer.cpp."""
    first, second = (*bottoms, *params)
    return first * second
