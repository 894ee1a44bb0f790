"""Layers that slide a window over height and width."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from caffe_viz.engine.table import Call, Filler, layer
from caffe_viz.geometry.table import TABLE
from caffe_viz.geometry.windows import pair_of, sliding
from caffe_viz.netdef import LayerParameter

LOWEST = torch.finfo(torch.float32).min  # with which Caffe begins to look for a maximum
CONVOLVE = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
SPREAD = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def _fillers(param: LayerParameter) -> list[Filler]:
    p = param.convolution_param
    return [p.weight_filler, p.bias_filler][: 1 + p.bias_term]


@layer("Convolution", "Deconvolution", fillers=_fillers)
def _convolution(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Sequence[Tensor]:
    p, up = call.param.convolution_param, call.param.type == "Deconvolution"
    axis, windows = sliding(call.param, tuple(bottoms[0].shape))
    # A blob without axes to slide along has one of size 1 for torch.
    windows = windows or [(1, 1, 1, 0)]
    if len(windows) not in CONVOLVE:
        raise NotImplementedError(
            f"layer {call.param.name!r}: the embedded engine convolves over 1 to 3 axes, not {len(windows)}."
        )
    settings: dict[str, Any] = {
        "stride": tuple(stride for _, _, stride, _ in windows),
        "padding": tuple(pad for *_, pad in windows),
        "dilation": tuple((extent - 1) // (k - 1) if k > 1 else 1 for k, extent, _, _ in windows),
        "groups": p.group,
    }
    weights = params[0].reshape(*params[0].shape[:2], *(k for k, *_ in windows))
    bias = params[1] if p.bias_term else None
    function = (SPREAD if up else CONVOLVE)[len(windows)]
    tops = []
    for x in bottoms:
        lead, (channels, *room) = x.shape[:axis], x.shape[axis:]
        images = x.reshape(math.prod(lead), channels, *(room or [1]))
        top = function(images if up else _large_enough(images, windows), weights, bias, **settings)
        tops.append(top.reshape(*lead, *top.shape[1 : 2 + len(room)]))
    return tops


def _large_enough(x: Tensor, windows: list[tuple[int, int, int, int]]) -> Tensor:
    """With a stride, Caffe lets one window reach over the end of a smaller input; zeros are there."""
    ends = [
        max(0, extent - 2 * pad - size)
        for size, (_, extent, _, pad) in zip(x.shape[2:], windows, strict=True)
    ]
    return F.pad(x, [n for end in reversed(ends) for n in (0, end)]) if any(ends) else x


@layer("Pooling")
def pooling(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor | Sequence[Tensor]:
    """Values, and their places in a second top."""
    p, (x,) = call.param.pooling_param, bottoms
    if p.pool == p.STOCHASTIC:
        raise NotImplementedError(
            f"layer {call.param.name!r}: STOCHASTIC pooling has no CPU code in Caffe either; use MAX or AVE."
        )
    height, width = x.shape[2:]
    kernel = (height, width) if p.global_pooling else pair_of(p, "kernel_size", "kernel")
    stride, pad = pair_of(p, "stride", "stride"), pair_of(p, "pad", "pad")
    room = tuple(TABLE["Pooling"].function(call.param, (tuple(x.shape),)).tops[0][2:])
    if p.pool == p.AVE:
        return _average(x, kernel, stride, pad, room)
    if call.tops == 1 and not x.requires_grad:
        return _largest(_padded(x, kernel, stride, pad, room, LOWEST), kernel, stride, room)
    padded = _padded(x, kernel, stride, pad, room, LOWEST)
    values, at = _Maximum.apply(padded, kernel, stride)
    if call.tops == 1:
        return [values]
    rows, columns = at // padded.shape[3] - pad[0], at % padded.shape[3] - pad[1]
    return [values, (rows * x.shape[3] + columns).to(torch.float32)]


Pair = tuple[int, int]


def _padded(x: Tensor, kernel: Pair, stride: Pair, pad: Pair, room: Sequence[int], value: float) -> Tensor:
    """Whole windows for all of `room`."""
    below, right = (
        max(0, (n - 1) * s + k - size - p)
        for n, s, k, size, p in zip(room, stride, kernel, x.shape[2:], pad, strict=True)
    )
    ends = [pad[1], right, pad[0], below]
    return F.pad(x, ends, value=value) if any(ends) else x


def _slices(axis: int, kernel: int, stride: int, count: int) -> list[tuple[slice, ...]]:
    """Where the first, the second .. value of each of `count` windows along an axis stands."""
    before = [slice(None)] * axis
    return [(*before, slice(i, i + (count - 1) * stride + 1, stride)) for i in range(kernel)]


def _largest(x: Tensor, kernel: Pair, stride: Pair, room: Sequence[int]) -> Tensor:
    """The maximum of each window: by whole rows, ten times as fast as torch's, which goes by windows."""
    if kernel == tuple(x.shape[2:]):
        return x.amax((2, 3), keepdim=True)
    for axis in (3, 2):
        k, s, n = kernel[axis - 2], stride[axis - 2], room[axis - 2]
        x = reduce(torch.maximum, (x[at] for at in _slices(axis, k, s, n)))
    return x


class _Maximum(torch.autograd.Function):
    """The maximum of each window and its place in the map; of equal values the first one, as in Caffe."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Pair, stride: Pair) -> tuple[Tensor, Tensor]:
        # Channels last, torch's pooling is vectorised; its backward is fast without.
        last = x.contiguous(memory_format=torch.channels_last)
        values, places = F.max_pool2d(last, kernel, stride, return_indices=True)
        places = places.contiguous()
        ctx.windows = kernel, stride
        ctx.save_for_backward(x, places)
        ctx.mark_non_differentiable(places)
        return values.contiguous(), places

    @staticmethod
    def backward(ctx: Any, *seeds: Tensor) -> tuple[Tensor | None, ...]:
        (x, places), (kernel, stride) = ctx.saved_tensors, ctx.windows
        pull = torch.ops.aten.max_pool2d_with_indices_backward
        seed = seeds[0].contiguous()
        return pull(seed, x, kernel, stride, (0, 0), (1, 1), False, places), None, None


def _average(x: Tensor, kernel: Pair, stride: Pair, pad: Pair, room: Sequence[int]) -> Tensor:
    """Divides by the window inside the padded input, so zeros of the padding count."""
    if kernel == tuple(x.shape[2:]) and pad == (0, 0):
        return x.mean((2, 3), keepdim=True)
    sums: Tensor = _Sums.apply(_padded(x, kernel, stride, pad, room, 0), kernel, stride, room)
    sizes = [
        [min(i * s + k, size + 2 * p) - i * s for i in range(n)]
        for n, s, k, size, p in zip(room, stride, kernel, x.shape[2:], pad, strict=True)
    ]
    rows, columns = (torch.tensor(each, dtype=x.dtype, device=x.device) for each in sizes)
    return sums / (rows[:, None] * columns)


class _Sums(torch.autograd.Function):
    """The sum of each window, by whole rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Pair, stride: Pair, room: Sequence[int]) -> Tensor:
        ctx.window, ctx.shapes = (kernel, stride, room), []
        for axis in (3, 2):
            ctx.shapes.append(x.shape)
            k, s, n = kernel[axis - 2], stride[axis - 2], room[axis - 2]
            x = reduce(torch.add, (x[at] for at in _slices(axis, k, s, n)))
        return x.clone() if kernel == (1, 1) else x

    @staticmethod
    def backward(ctx: Any, *seeds: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,), (kernel, stride, room) = seeds, ctx.window
        for axis, shape in zip((2, 3), reversed(ctx.shapes), strict=True):
            spread = gradient.new_zeros(shape)
            for at in _slices(axis, kernel[axis - 2], stride[axis - 2], room[axis - 2]):
                spread[at] += gradient
            gradient = spread
        return gradient, None, None, None


@layer("LRN")
def _lrn(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    p, (x,) = call.param.lrn_param, bottoms
    if p.norm_region == p.ACROSS_CHANNELS:
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
