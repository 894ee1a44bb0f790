"""Layers that slide a window over height and width."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
    values, places = _maximum(x, kernel, stride, pad, room)
    return [values, places.to(torch.float32)][: call.tops]


Pair = tuple[int, int]


def _ends(x: Tensor, kernel: Pair, stride: Pair, pad: Pair, room: Sequence[int]) -> list[int]:
    """Padding (left, right, top, bottom) with which whole windows make exactly `room`; cuts if negative."""
    below, right = (
        (n - 1) * s + k - size - p
        for n, s, k, size, p in zip(room, stride, kernel, x.shape[2:], pad, strict=True)
    )
    return [pad[1], right, pad[0], below]


def _torch_fits(x: Tensor, kernel: Pair, stride: Pair, pad: Pair, room: Sequence[int]) -> bool:
    """Whether torch's windows without ceil mode are Caffe's; it takes pads of half a kernel at most."""
    places = [
        (size + 2 * p - k) // s + 1 for size, k, s, p in zip(x.shape[2:], kernel, stride, pad, strict=True)
    ]
    return places == list(room) and all(2 * p <= k for p, k in zip(pad, kernel, strict=True))


def _torch_ceils(x: Tensor, kernel: Pair, stride: Pair, pad: Pair, room: Sequence[int]) -> bool:
    """The same with ceil mode, whose last window torch drops where it begins behind the input."""

    def places(size: int, k: int, s: int, p: int) -> int:
        count = -(-(size + 2 * p - k) // s) + 1
        return count - ((count - 1) * s >= size + p)

    found = [places(*each) for each in zip(x.shape[2:], kernel, stride, pad, strict=True)]
    return found == list(room) and all(2 * p <= k for p, k in zip(pad, kernel, strict=True))


def _maximum(x: Tensor, kernel: Pair, stride: Pair, pad: Pair, room: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Of equal values the first one counts, as in Caffe."""
    for fits, ceil in ((_torch_fits, False), (_torch_ceils, True)):
        if fits(x, kernel, stride, pad, room):
            return F.max_pool2d(x, kernel, stride, pad, 1, ceil, return_indices=True)
    padded = F.pad(x, _ends(x, kernel, stride, pad, room), value=LOWEST)
    values, places = F.max_pool2d(padded, kernel, stride, return_indices=True)
    rows, columns = places // padded.shape[3] - pad[0], places % padded.shape[3] - pad[1]
    return values, rows * x.shape[3] + columns


def _average(x: Tensor, kernel: Pair, stride: Pair, pad: Pair, room: Sequence[int]) -> Tensor:
    """Divides by the window inside the padded input, so zeros of the padding count."""
    if kernel == tuple(x.shape[2:]) and pad == (0, 0):
        return x.mean((2, 3), keepdim=True)
    for fits, ceil in ((_torch_fits, False), (_torch_ceils, True)):
        if fits(x, kernel, stride, pad, room):
            return F.avg_pool2d(x, kernel, stride, pad, ceil)
    sums = F.avg_pool2d(F.pad(x, _ends(x, kernel, stride, pad, room)), kernel, stride, divisor_override=1)
    sizes = [
        [min(i * s + k, size + 2 * p) - i * s for i in range(n)]
        for n, s, k, size, p in zip(room, stride, kernel, x.shape[2:], pad, strict=True)
    ]
    rows, columns = (torch.tensor(each, dtype=x.dtype, device=x.device) for each in sizes)
    return sums / (rows[:, None] * columns)


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
