"""Layers that work on each value by itself, and softmax."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from caffe_viz.engine.table import Call, constant, layer
from caffe_viz.netdef import LayerParameter, net_pb2


@layer("AbsVal")
def _abs(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    return bottoms[0].abs()


@layer("BNLL")
def _bnll(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    return F.softplus(bottoms[0])


@layer("Dropout")
def _dropout(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """SegNet samples in a test too where asked to; Microsoft/caffe can scale there instead of in training:
    src/caffe/layers/dropout_layer.cpp."""
    p, (x,) = call.param.dropout_param, bottoms
    keep = 1 - p.dropout_ratio
    if not call.train and not p.sample_weights_test:
        return x if p.scale_train else x * keep
    mask = torch.rand(x.shape, generator=call.generator, device=x.device) < keep
    return x * mask / keep if p.scale_train else x * mask


@layer("ELU")
def _elu(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    return F.elu(bottoms[0], call.param.elu_param.alpha)


@layer("Exp")
def _exp(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    p = call.param.exp_param
    scale = 1.0 if p.base == -1 else math.log(p.base)  # -1 stands for e
    return (scale * (p.shift + p.scale * bottoms[0])).exp()


@layer("Log")
def _log(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    p = call.param.log_param
    scale = 1.0 if p.base == -1 else 1 / math.log(p.base)
    return scale * (p.shift + p.scale * bottoms[0]).log()


@layer("Power")
def _power(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    p = call.param.power_param
    x = bottoms[0] if (p.scale, p.shift) == (1, 0) else p.shift + p.scale * bottoms[0]
    return x if p.power == 1 else x.pow(p.power)


@layer("ReLU")
def _relu(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """synopsys-caffe can cut it at 6, or at a maximum and a minimum: src/caffe/layers/relu_layer.cpp."""
    p = call.param.relu_param
    y = F.leaky_relu(bottoms[0], p.negative_slope) if p.negative_slope else F.relu(bottoms[0])
    if not (p.relu6 or p.maximum > 0 or p.minimum):
        return y
    top = min([6.0] * p.relu6 + [p.maximum] * (p.maximum > 0), default=None)
    return y.clamp(p.minimum or None, top) if p.minimum or top is not None else y


@layer("ReLU6")
def _relu6(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    p = call.param.relu6_param
    # Unlike clamp, Caffe gives no gradient at the threshold itself.
    above = bottoms[0] >= p.threshold
    return torch.where(above, p.threshold, F.leaky_relu(bottoms[0], p.negative_slope))


@layer("HardSigmoid")
def _hard_sigmoid(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    p = call.param.hardsigmoid_param
    return (p.alpha * bottoms[0] + p.beta).clamp(0, 1)


@layer("HardSwish")
def _hard_swish(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    return F.hardswish(bottoms[0])


def _slopes(param: LayerParameter) -> list[net_pb2.FillerParameter]:
    p = param.prelu_param
    return [p.filler if p.HasField("filler") else constant(0.25)]


@layer("PReLU", fillers=_slopes)
def _prelu(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    return F.prelu(bottoms[0], params[0].reshape(-1))


@layer("Sigmoid")
def _sigmoid(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    return bottoms[0].sigmoid()


@layer("TanH")
def _tanh(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    return bottoms[0].tanh()


@layer("Threshold", gradient=False)
def _threshold(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    return (bottoms[0] > call.param.threshold_param.threshold).to(torch.float32)


@layer("Softmax")
def _softmax(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    return F.softmax(bottoms[0], call.param.softmax_param.axis)
