"""Layers that slide a window over an image: convolution, local response normalisation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from caffe_viz.engine.table import Call, Filler, layer
from caffe_viz.geometry.windows import Window, sliding
from caffe_viz.netdef import LayerParameter

CONVOLVE = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
FEW = 4  # channels
MANY = 1 << 20  # values of a gradient, from which on bringing them into another order takes longest
SPREAD = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def fillers(param: LayerParameter) -> list[Filler]:
    """The fillers of the weights and of a bias."""
    p = param.convolution_param
    return [p.weight_filler, p.bias_filler][: 1 + p.bias_term]


@layer("Convolution", "Deconvolution", fillers=fillers)
def _convolution(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Sequence[Tensor]:
    axis, windows = sliding(call.param, tuple(bottoms[0].shape))
    return convolved(call, bottoms, params, axis, windows, call.param.convolution_param.group)


def convolved(
    call: Call, bottoms: list[Tensor], params: list[Tensor], axis: int, windows: list[Window], group: int
) -> Sequence[Tensor]:
    """Each bottom with weights and perhaps a bias; the type's name says whether forward or transposed."""
    up = call.param.type.startswith("Deconvolution")
    # A blob without axes to slide along has one of size 1 for torch.
    windows = windows or [Window(1, 1, 1, 0, 0)]
    if len(windows) not in CONVOLVE:
        raise NotImplementedError(
            f"layer {call.param.name!r}: the embedded engine convolves over 1 to 3 axes, not {len(windows)}."
        )
    even = all(w.before == w.after for w in windows)
    settings: dict[str, Any] = {
        "stride": tuple(w.stride for w in windows),
        "padding": tuple(w.before for w in windows) if even else 0,
        "dilation": tuple(w.dilation for w in windows),
        "groups": group,
    }
    weights = _weights(params[0], group, bottoms[0].shape[axis], windows, up)
    bias = _vector(params[1]) if len(params) > 1 else None
    function: Any = (SPREAD if up else CONVOLVE)[len(windows)]
    if not up and even and group == 1 and _few_channels(bottoms[0], windows, axis):
        function = _of_few_channels
    uneven = [] if even else [n for w in reversed(windows) for n in (w.before, w.after)]
    tops = []
    for x in bottoms:
        lead, (channels, *room) = x.shape[:axis], x.shape[axis:]
        usual = len(lead) == 1 and room
        images = x if usual else x.reshape(math.prod(lead), channels, *(room or [1]))
        if uneven and not up:
            images = F.pad(images, uneven)
        images = images if up else _large_enough(images, windows, even)
        top = function(images, weights, bias, **settings)
        if uneven and up:
            top = F.pad(top, [-n for n in uneven])
        tops.append(top if usual else top.reshape(*lead, *top.shape[1 : 2 + len(room)]))
    return tops


def _few_channels(x: Tensor, windows: list[Window], axis: int) -> bool:
    """Whether `_OfFewChannels` is the quicker way back, as for the first layer of a net that sees colours."""
    return (
        x.requires_grad
        and x.device.type == "cpu"
        and x.ndim == 4
        and axis == 1
        and x.shape[1] <= FEW
        and len(windows) == 2
        and all(w.dilation == 1 for w in windows)
        and not torch.compiler.is_compiling()
    )


class _OfFewChannels(torch.autograd.Function):
    """A convolution whose gradient goes back by columns: over few channels 3 to 7 times oneDNN's speed."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weights: Tensor,
        bias: Tensor | None,
        stride: Sequence[int],
        padding: Sequence[int],
    ) -> Tensor:
        ctx.save_for_backward(x, weights)
        ctx.settings = tuple(weights.shape[2:]), stride, padding
        return F.conv2d(x, weights, bias, tuple(stride), tuple(padding))

    @staticmethod
    def backward(ctx: Any, *seeds: Tensor) -> tuple[Tensor | None, ...]:
        (x, weights), needed, (seed,) = ctx.saved_tensors, list(ctx.needs_input_grad[:3]), seeds
        if needed == [True, False, False] and seed.numel() > MANY and not seed.is_contiguous():
            kernel, stride, padding = ctx.settings
            columns = torch.matmul(weights.flatten(1).t(), seed.flatten(2))  # (N, C * kernel, places)
            room = x.shape[2:]
            return F.fold(columns, room, kernel, padding=padding, stride=stride), None, None, None, None
        pull = torch.ops.aten._slow_conv2d_backward.output_mask
        parts = (seed.contiguous(), x.contiguous(), weights.contiguous())
        return (
            *(g if n else None for g, n in zip(pull(*parts, *ctx.settings, needed), needed, strict=True)),
            None,
            None,
        )


def _of_few_channels(
    x: Tensor, weights: Tensor, bias: Tensor | None, *, stride: Any, padding: Any, **_: Any
) -> Tensor:
    top: Tensor = _OfFewChannels.apply(x, weights, bias, stride, padding)
    return top


def _vector(values: Tensor) -> Tensor:
    return values if values.ndim == 1 else values.flatten()


def _weights(values: Tensor, group: int, channels: int, windows: list[Window], up: bool) -> Tensor:
    """In torch's layout: (outputs, channels / group, ..), transposed (channels, outputs / group, ..)."""
    shape = [channels, -1] if up else [-1, channels // group]
    shape += [w.kernel for w in windows]
    fits = values.ndim == len(shape) and all(n in (m, -1) for m, n in zip(values.shape, shape, strict=True))
    return values if fits else values.reshape(shape)


def _large_enough(x: Tensor, windows: list[Window], padding: bool) -> Tensor:
    """With a stride, Caffe lets one window reach over the end of a smaller input; zeros are there."""
    ends = [
        max(0, w.extent - (w.before + w.after if padding else 0) - size)
        for size, w in zip(x.shape[2:], windows, strict=True)
    ]
    return F.pad(x, [n for end in reversed(ends) for n in (0, end)]) if any(ends) else x


@layer("LRN")
def _lrn(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    p, (x,) = call.param.lrn_param, bottoms
    if p.norm_region == p.ACROSS_CHANNELS:
        if torch.onnx.is_in_onnx_export():
            settings: dict[str, Any] = {"alpha": p.alpha, "beta": p.beta, "bias": p.k, "size": p.local_size}
            return torch.onnx.ops.symbolic("LRN", (x,), settings, dtype=x.dtype, shape=x.shape)
        out: Tensor = _AcrossChannels.apply(x, p.local_size, p.alpha, p.beta, p.k)
        return out
    # Caffe averages squares as AVE pooling does, and leaves k out here.
    mean = F.avg_pool2d(x * x, p.local_size, 1, (p.local_size - 1) // 2)
    return x * _lowered(1 + p.alpha * mean, p.beta)


def _lowered(x: Tensor, beta: float) -> Tensor:
    """x to the power -beta; of the usual 0.75 by roots, which are faster."""
    if beta == 0.75:
        root = x.rsqrt()
        return root * root.sqrt()
    return x.pow(-beta)


class _AcrossChannels(torch.autograd.Function):
    """x / (k + alpha / n * sum of squares of n channels) ** beta, with the few passes of Caffe's gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
        channels = torch.arange(x.shape[1], device=x.device)
        band = ((channels[:, None] - channels).abs() <= size // 2).to(x.dtype)
        # A sum over neighbouring channels is a 1 x 1 convolution, torch's fastest way over the middle axis.
        ctx.band, ctx.factor, ctx.beta = band[:, :, None, None], alpha / size, beta
        scale = k + F.conv2d(x * x, ctx.band * ctx.factor)
        y = x * _lowered(scale, beta)
        ctx.save_for_backward(x, scale, y)
        return y

    @staticmethod
    def backward(ctx: Any, *seeds: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, y = ctx.saved_tensors
        (seed,) = seeds
        around = F.conv2d(seed * y / scale, ctx.band)
        gradient = seed * _lowered(scale, ctx.beta) - 2 * ctx.factor * ctx.beta * x * around
        return gradient, None, None, None, None
