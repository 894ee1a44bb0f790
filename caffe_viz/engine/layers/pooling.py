"""Pooling: a fast path for two axes, whole slices for any other number of axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from caffe_viz.engine.table import Call, layer
from caffe_viz.geometry.pooling import Pool, pool_of
from caffe_viz.geometry.windows import Window
from caffe_viz.netdef.net_pb2 import PoolingParameter

MOST = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
MEAN = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
LOWEST = torch.finfo(torch.float32).min  # with which Caffe begins to look for a maximum


@layer("Pooling", "PoolingND", "Pooling3D")
def pooling(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor | Sequence[Tensor]:
    """Pooled values, and their places as a second top."""
    (x,) = bottoms
    pool = pool_of(call.param, tuple(x.shape))
    if pool.method == PoolingParameter.STOCHASTIC:
        raise NotImplementedError(
            f"layer {call.param.name!r}: STOCHASTIC pooling has no CPU code in Caffe either; use MAX or AVE."
        )
    # Maps (images, channels, axes ..), whatever comes before the axes.
    maps = x.reshape(-1, 1, *x.shape[pool.axis + 1 :]) if pool.axis != 1 else x
    tops = _pooled(maps, pool, call.tops)
    return tops if maps is x else [top.reshape(*x.shape[: pool.axis + 1], *pool.places) for top in tops]


def _pooled(x: Tensor, pool: Pool, tops: int) -> list[Tensor]:
    if tops == 1 and torch.compiler.is_compiling() and (whole := _by_torch(x, pool)) is not None:
        return [whole]
    if pool.method != PoolingParameter.MAX:
        return [_average(x, pool, pool.method == PoolingParameter.AVE)]
    if tops == 1 and not x.requires_grad:
        return [_largest(_padded(x, pool, LOWEST), pool)]
    padded = _padded(x, pool, LOWEST)
    values, at = _Maximum.apply(padded, pool) if _plain(pool) else _maximum(padded, pool)
    return [values] if tops == 1 else [values, _places(at, padded.shape[2:], x.shape[2:], pool)]


def _by_torch(x: Tensor, pool: Pool) -> Tensor | None:
    """One operator of torch's, which compilers and other formats know, where it means the same."""
    most, count = pool.method == PoolingParameter.MAX, len(pool.windows)
    if count not in MOST or _whole(x, pool) or not (most or all(w.dilation == 1 for w in pool.windows)):
        return None
    if any(w.before > w.kernel // 2 or (not most and w.before != w.after) for w in pool.windows):
        return None
    kernel, stride, before = (
        [getattr(w, name) for w in pool.windows] for name in ("kernel", "stride", "before")
    )
    for ceil in (False, True):
        axes = zip(x.shape[2:], pool.windows, strict=True)
        if [_places_of_torch(size, w, ceil) for size, w in axes] != list(pool.places):
            continue
        if most:
            return MOST[count](x, kernel, stride, before, [w.dilation for w in pool.windows], ceil)
        return MEAN[count](x, kernel, stride, before, ceil, pool.method == PoolingParameter.AVE)
    return None


def _places_of_torch(size: int, w: Window, ceil: bool) -> int:
    """How many windows torch puts along an axis; no last one that begins in the padding."""
    room = size + 2 * w.before - w.extent
    count = (-(-room // w.stride) if ceil else room // w.stride) + 1
    return count - 1 if ceil and (count - 1) * w.stride >= size + w.before else count


def _plain(pool: Pool) -> bool:
    """Whether torch's own pooling over two axes can do it."""
    return len(pool.windows) == 2 and all(w.dilation == 1 for w in pool.windows)


def _places(at: Tensor, padded: Sequence[int], sizes: Sequence[int], pool: Pool) -> Tensor:
    """Places in the padded map as those in the map itself, as numbers of Caffe's blobs."""
    place, step = torch.zeros_like(at), 1
    for size, full, w in zip(reversed(sizes), reversed(padded), reversed(pool.windows), strict=True):
        place, step = place + (at % full - w.before) * step, step * size
        at = at // full
    return place.to(torch.float32)


def _padded(x: Tensor, pool: Pool, value: float) -> Tensor:
    """Whole windows for all places."""
    ends = [
        (w.before, max(0, (n - 1) * w.stride + w.extent - size - w.before))
        for n, w, size in zip(pool.places, pool.windows, x.shape[2:], strict=True)
    ]
    flat = [n for pair in reversed(ends) for n in pair]
    return F.pad(x, flat, value=value) if any(flat) else x


def _slices(axis: int, w: Window, count: int) -> list[tuple[slice, ...]]:
    """Where the first, the second, .. value of each of `count` windows along an axis is."""
    before = [slice(None)] * axis
    last = (count - 1) * w.stride + 1
    return [(*before, slice(i * w.dilation, i * w.dilation + last, w.stride)) for i in range(w.kernel)]


def _axes(pool: Pool) -> list[tuple[int, Window, int]]:
    """(axis, window, places) from the last axis on."""
    return list(zip(range(1 + len(pool.windows), 1, -1), pool.windows[::-1], pool.places[::-1], strict=True))


def _largest(x: Tensor, pool: Pool) -> Tensor:
    """The maximum of each window: by whole rows, ten times as fast as torch's, which goes by windows."""
    if all(n == w.kernel == w.extent for n, w in zip(x.shape[2:], pool.windows, strict=True)):
        return x.amax(tuple(range(2, x.ndim)), keepdim=True)
    for axis, w, count in _axes(pool):
        x = reduce(torch.maximum, (x[at] for at in _slices(axis, w, count)))
    return x


def _layout(x: Tensor) -> torch.memory_format:
    """In which order the values lie, and those made of them should."""
    last = x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


class _Maximum(torch.autograd.Function):
    """The maximum of each window and its place in the map; of equal values the first one, as in Caffe."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, pool: Pool) -> tuple[Tensor, Tensor]:
        # Channels last, torch's pooling is vectorised; its backward is fast either way.
        last = x.contiguous(memory_format=torch.channels_last)
        kernel, stride = ([getattr(w, name) for w in pool.windows] for name in ("kernel", "stride"))
        values, places = F.max_pool2d(last, kernel, stride, return_indices=True)
        ctx.layout = _layout(x)
        values, places = (found.contiguous(memory_format=ctx.layout) for found in (values, places))
        ctx.windows = kernel, stride
        ctx.save_for_backward(x, places)
        ctx.mark_non_differentiable(places)
        return values, places

    @staticmethod
    def backward(ctx: Any, *seeds: Tensor) -> tuple[Tensor | None, ...]:
        (x, places), (kernel, stride) = ctx.saved_tensors, ctx.windows
        pull = torch.ops.aten.max_pool2d_with_indices_backward
        seed = seeds[0].contiguous(memory_format=ctx.layout)
        return pull(seed, x, kernel, stride, (0, 0), (1, 1), False, places), None


def _maximum(x: Tensor, pool: Pool) -> tuple[Tensor, Tensor]:
    """The same over any number of axes: the largest of the values at each offset, the first of equals."""
    places = torch.arange(math.prod(x.shape[2:]), device=x.device).reshape(x.shape[2:]).expand(x.shape)
    for axis, w, count in _axes(pool):
        cut = _slices(axis, w, count)
        values, at = x[cut[0]], places[cut[0]]
        for one in cut[1:]:
            above = x[one] > values
            values, at = torch.where(above, x[one], values), torch.where(above, places[one], at)
        x, places = values, at
    return x, places


def _average(x: Tensor, pool: Pool, zeros: bool) -> Tensor:
    """Divides by the window inside the padded input, so zeros of the padding count if `zeros`."""
    if _whole(x, pool):
        return x.mean(tuple(range(2, x.ndim)), keepdim=True)
    sums: Tensor = _Sums.apply(_padded(x, pool, 0), pool)
    sizes = torch.ones((), dtype=x.dtype, device=x.device)
    for size, w, count in zip(x.shape[2:], pool.windows, pool.places, strict=True):
        start, end = (-w.before, size + w.after) if zeros else (0, size)
        firsts = range(-w.before, count * w.stride - w.before, w.stride)
        inside = [sum(start <= first + i < end for i in range(0, w.extent, w.dilation)) for first in firsts]
        sizes = sizes[..., None] * sizes.new_tensor(inside).clamp(min=1)
    return sums / sizes


def _whole(x: Tensor, pool: Pool) -> bool:
    """Whether a single window covers the whole map."""
    pairs = zip(x.shape[2:], pool.windows, strict=True)
    return all(n == w.kernel == w.extent and not w.before and not w.after for n, w in pairs)


class _Sums(torch.autograd.Function):
    """The sum of each window, by whole rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, pool: Pool) -> Tensor:
        ctx.pool, ctx.shapes, ctx.layout = pool, [], _layout(x)
        for axis, w, count in _axes(pool):
            ctx.shapes.append(x.shape)
            x = reduce(torch.add, (x[at] for at in _slices(axis, w, count)))
        return x.clone() if all(w.kernel == 1 for w in pool.windows) else x

    @staticmethod
    def backward(ctx: Any, *seeds: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,), pool = seeds, ctx.pool
        for (axis, w, count), shape in zip(reversed(_axes(pool)), reversed(ctx.shapes), strict=True):
            spread = torch.empty(
                shape, dtype=gradient.dtype, device=gradient.device, memory_format=ctx.layout
            ).zero_()
            for at in _slices(axis, w, count):
                spread[at] += gradient
            gradient = spread
        return gradient, None
