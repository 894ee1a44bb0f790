"""Layers of forks that subtract a mean or divide by a deviation or a norm."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from caffe_viz.engine.table import Call, Filler, constant, layer
from caffe_viz.geometry.batch_norms import bn_meaning, bn_uses_batch, distance_params
from caffe_viz.netdef import LayerParameter

SEGNET_EPS = NORM_EPS = 1e-9
DENSE_EPS = 1e-5
BY_TYPE_EPS = 1e-6


def _bn_fillers(param: LayerParameter) -> list[Filler]:
    """A frozen layer starts with a variance of 1."""
    p, meaning = param.bn_param, bn_meaning(param)
    if meaning == "pspnet":
        return [p.slope_filler, p.bias_filler, constant(0), constant(float(p.frozen))]
    return [p.scale_filler, p.shift_filler]


@layer("BN", fillers=_bn_fillers)
def _bn(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Sequence[Tensor]:
    """Normalise x to mean 0 and variance 1, then scale and shift; (N, C, ..). SegNet's is told to leave the
    first out, or takes the batch's statistics in a test too. alexgkendall/caffe-segnet, hszhao/PSPNet,
    xuzhenqi/caffe: src/caffe/layers/bn_layer.cpp."""
    (x,), (scale, shift, *stored) = bottoms, params
    p, meaning = call.param.bn_param, bn_meaning(call.param)
    if not bn_uses_batch(call.param, call.train):
        if meaning == "segnet":
            return [x * _wide(scale, x) + _wide(shift, x)]
        mean, variance = stored
    else:
        variance, mean = torch.var_mean(x, (0, *range(2, x.ndim)), correction=0)
    eps = {"segnet": SEGNET_EPS, "pspnet": p.eps, "caffe-windows": p.var_eps}[meaning]
    y = (x - _wide(mean, x)) * _wide(scale.reshape(-1) * (variance.reshape(-1) + eps).rsqrt(), x)
    if call.train and stored and bn_uses_batch(call.param, True):
        keep = p.momentum if meaning == "pspnet" else 1 - p.decay
        for old, new in zip(stored, (mean, variance), strict=True):
            old.detach().mul_(keep).add_(new.detach().reshape(old.shape), alpha=1 - keep)
        call.changes = frozenset((2, 3))
    return [y + _wide(shift, x), mean.reshape(scale.shape), variance.reshape(scale.shape)][: call.tops]


def _wide(values: Tensor, x: Tensor) -> Tensor:
    """A value per channel, to be used with (N, C, ..)."""
    return values.reshape(-1, *[1] * (x.ndim - 2))


@layer("GroupNorm")
def _group_norm(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """Normalise groups of an image's channels to mean 0 and variance 1; (N, C, ..).
    dongyf43/Spatio-Temporal-3D-CNN-for-lock-in-INDT: layers/group_norm_layer.cu."""
    p = call.param.group_norm_param
    return F.group_norm(bottoms[0], p.group_num, eps=p.eps)


def _layer_norm_fillers(param: LayerParameter) -> list[Filler]:
    return [constant(1), constant(0)] * param.layer_norm_param.elementwise_affine


@layer("LayerNorm", fillers=_layer_norm_fillers)
def _layer_norm(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """Normalise each image to mean 0 and variance 1, then an elementwise gain and offset; (N, ..).
    foss-for-synopsys-dwc-arc-processors/synopsys-caffe: src/caffe/layers/layer_norm_layer.cpp."""
    x, p = bottoms[0], call.param.layer_norm_param
    y = F.layer_norm(x, x.shape[1:], eps=p.eps)
    return y * params[0] + params[1] if params else y


@layer("L2Norm")
def _l2_norm(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """Each image divided by its norm; (N, ..). ZhiwenShao/ARL: src/lp_norm_layer.cpp."""
    rows = bottoms[0].flatten(1) if bottoms[0].ndim > 1 else bottoms[0].reshape(-1, 1)
    norms: Tensor = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return (rows / (norms + NORM_EPS)).reshape(bottoms[0].shape)


def normalize_by_type(kind: str, tops: int, x: Tensor) -> Sequence[Tensor]:
    """The channels of each pixel divided by their L1 or L2 norm, and these norms; (N, C, H, W), (N, 1, H, W).
    happynear/caffe-windows: src/caffe/layers/normalize_layer.cpp."""
    total = (x.abs() if kind == "L1" else x * x).sum(1, keepdim=True) + BY_TYPE_EPS
    norms = total if kind == "L1" else total.sqrt()
    return [x / norms, norms][:tops]


def _distance_fillers(param: LayerParameter) -> list[Filler]:
    p, count = param.inner_distance_param, distance_params(param)
    return [p.weight_filler, p.bias_filler][:count]


@layer("InnerDistance", fillers=_distance_fillers)
def _inner_distance(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """Sums of |x - w| or of their squares, x (M, K) and w (N, K) to (M, N). happynear/caffe-windows:
    src/caffe/layers/inner_distance_layer.cpp, which keeps the weights of norm 1 if told so."""
    p, x = call.param.inner_distance_param, bottoms[0]
    axis = p.axis % x.ndim
    weights = params[0] if params else bottoms[1].flatten(1)
    if p.normalize and params:
        weights = weights / ((weights * weights).sum(1, keepdim=True) + BY_TYPE_EPS).sqrt()
    gaps = x.flatten(axis).unsqueeze(-2) - weights
    found = (gaps.abs() if p.distance_type == "L1" else gaps * gaps).sum(-1)
    return found + params[1] if len(params) > 1 else found


def _dense_fillers(param: LayerParameter) -> list[Filler]:
    """For each step: kernel, scale, shift, mean, variance; and once more with a bottleneck."""
    p = param.denseblock_param
    kinds = [p.Filter_Filler, p.BN_Scaler_Filler, p.BN_Bias_Filler, constant(0), constant(1)]
    return [filler for filler in kinds * (1 + p.use_BC) for _ in range(p.numTransition)]


@layer("DenseBlock", fillers=_dense_fillers)
def _dense_block(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """Steps of batch norm, ReLU and 3x3 convolution, whose channels join those before; (N, C, H, W). With
    use_BC, a 1x1 convolution, batch norm and ReLU go before the 3x3 one. senlinuc/caffe_ocr:
    src/caffe/layers/DenseBlock_layer.cpp."""
    (x,), p = bottoms, call.param.denseblock_param
    *columns, factor = params
    steps = p.numTransition
    # Of each step: kernel, scale, shift, mean, variance, and once more those of the bottleneck.
    for step in range(steps):
        kernel, *norm = columns[step : 5 * steps : steps]
        y = F.relu(_normed(call, x, norm, factor))
        if p.use_BC:
            narrow, *norm = columns[5 * steps + step :: steps]
            y = F.relu(_normed(call, F.conv2d(y, narrow), norm, factor))
        y = F.conv2d(y, kernel, padding=1)
        if p.use_dropout and call.train:
            keep = torch.rand(y.shape, generator=call.generator, device=y.device) >= p.dropout_amount
            y = y * keep / (1 - p.dropout_amount)
        x = torch.cat((x, y), 1)
    if call.train:
        factor.detach().mul_(p.moving_average_fraction).add_(1)
        rows = {i for i in range(len(columns)) if i // steps % 5 in (3, 4)}
        call.changes = frozenset({*rows, len(columns)})
    return x


def _normed(call: Call, x: Tensor, norm: Sequence[Tensor], factor: Tensor) -> Tensor:
    """Batch norm by statistics stored times a `factor`; in training by the batch's, which update them."""
    scale, shift, mean, variance = norm
    if call.train:
        fresh_variance, fresh_mean = torch.var_mean(x, (0, 2, 3), correction=0)
        for old, new in ((mean, fresh_mean), (variance, fresh_variance)):
            old.detach().mul_(call.param.denseblock_param.moving_average_fraction).add_(
                new.detach().view_as(old)
            )
        mean, variance = fresh_mean, fresh_variance
    else:
        share = torch.where(factor == 0, 0, 1 / factor)
        mean, variance = mean.reshape(-1) * share, variance.reshape(-1) * share
    return (x - _wide(mean, x)) * _wide(scale.reshape(-1) * (variance + DENSE_EPS).rsqrt(), x) + _wide(
        shift, x
    )
