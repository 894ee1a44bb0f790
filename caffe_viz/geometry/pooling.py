"""Rules of pooling: over two axes, as in Caffe, and over any number, as in forks."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from caffe_viz.geometry.receptive_fields import LayoutEffect, Shape, View, window
from caffe_viz.geometry.table import Out, Shapes, axis_of, checked, four_axes, need, rule, text
from caffe_viz.geometry.windows import TOO_LARGE, Window, as_windows, padded, per_axis, spread
from caffe_viz.netdef import LayerParameter
from caffe_viz.netdef.net_pb2 import PoolingParameter


@dataclass(frozen=True)
class Pool:
    """A pooling layer's settings: `windows` along the axes after `axis`, and `places` of each on them.

    `method` is one of PoolingParameter; `whole` says that each window covers everything.
    """

    axis: int
    windows: list[Window]
    places: tuple[int, ...]
    method: int
    whole: bool = False

    @property
    def view(self) -> View:
        """What a unit of the top sees, on the last two axes."""
        if len(self.windows) < 2:
            return LayoutEffect.WHOLE if self.whole else LayoutEffect.LOST
        strides = [0 if self.whole else w.stride for w in self.windows]
        return window([w.extent for w in self.windows], strides, [-w.before for w in self.windows])


def pool_of(layer: LayerParameter, shape: Shape) -> Pool:
    """Return the settings of any type of pooling layer for a blob of `shape`."""
    return POOLS[layer.type](layer, shape)


def _pool_places(size: int, w: Window, padded: bool, up: bool) -> int:
    """Windows along one axis, rounded up or down; with padding the last one starts before the far padding."""
    room = size + w.before + w.after - w.extent
    places = (-(-room // w.stride) if up else room // w.stride) + 1
    if padded and (places - 1) * w.stride >= size + w.before:
        places -= 1
        need(
            (places - 1) * w.stride < size + w.before,
            f"a padding of {w.after} leaves windows wholly outside the input of {size}",
        )
    return places


def _pool(
    axis: int, sizes: Sequence[int], windows: list[Window], method: int, *, whole: bool, up: bool
) -> Pool:
    pads = any(w.before or w.after for w in windows)
    need(not (pads and method == PoolingParameter.STOCHASTIC), "padding is for MAX and AVE pooling only")
    need(all(w.before < w.extent for w in windows if w.before), "pad must be smaller than the kernel")
    places = tuple(_pool_places(n, w, pads, up) for n, w in zip(sizes, windows, strict=True))
    return Pool(axis, windows, places, method, whole)


def _pair_of(
    param: Any, one: Sequence[int], name: str, pair: str, axes: int, default: int
) -> tuple[int, ...]:
    h, w = f"{pair}_h", f"{pair}_w"
    if param.HasField(h) or param.HasField(w):
        both = param.HasField(h) and param.HasField(w) and not one
        need(both, f"give {name}, or both {h} and {w}")
        need(axes == 2, f"{h} and {w} are for 2 spatial axes, not {axes}: use {name}")
        return int(getattr(param, h)), int(getattr(param, w))
    return spread(one, name, axes, default)


def repeated(layer: LayerParameter, path: str, name: str) -> list[int]:
    """All values of a field that Caffe takes once, forks once per axis; the reader keeps the rest apart."""
    param = getattr(layer, path)
    values = [int(getattr(param, name))] if param.HasField(name) else []
    for kept in layer.unknown:
        if (kept.path, kept.name) == (path, name):
            values += [int(number) for number in re.findall(r"\d+", kept.text.partition(":")[2])]
    return values


def _need_kernel(whole: bool, named: bool, field: str) -> None:
    need(not (whole and named), "with global_pooling leave the kernel size out")
    need(whole or named, f"{field} needs kernel_size, kernel_h and kernel_w, or global_pooling")


def _of_pooling(layer: LayerParameter, shape: Shape) -> Pool:
    """Of Caffe on (N, C, H, W); on five axes as in faustomilletari/3D-Caffe, with a value for each."""
    p = layer.pooling_param
    axis = axis_of(shape, p.axis) if len(shape) == 5 else len(four_axes(shape)) - 3
    sizes = shape[axis + 1 :]
    kernels, strides, pads = (repeated(layer, "pooling_param", f) for f in ("kernel_size", "stride", "pad"))
    _need_kernel(
        p.global_pooling, bool(kernels) or p.HasField("kernel_h") or p.HasField("kernel_w"), "pooling_param"
    )
    axes = len(sizes)
    kernel = sizes if p.global_pooling else _pair_of(p, kernels, "kernel_size", "kernel", axes, 0)
    stride = _pair_of(p, strides, "stride", "stride", axes, 1)
    pad = _pair_of(p, pads, "pad", "pad", axes, 0)
    plain = not any(pad) and set(stride) <= {1}
    need(plain or not p.global_pooling, "with global_pooling only pad 0 and stride 1 are possible")
    dilation = spread(p.dilation, "dilation", axes, 1)
    windows = padded(p, as_windows(kernel, stride, dilation, [(n, n) for n in pad]), sizes)
    up = p.ceil_mode and p.round_mode == p.CEIL and p.pad_type == 0
    return _pool(axis, sizes, windows, p.pool, whole=p.global_pooling, up=up)


def _of_pooling_nd(layer: LayerParameter, shape: Shape) -> Pool:
    """yulequan/3D-Caffe: src/caffe/layers/pooling_nd_layer.cpp"""
    p = layer.pooling_nd_param
    axis = axis_of(shape, p.axis)
    sizes = shape[axis + 1 :]
    need(sizes, "takes a blob with at least one axis after the channels")
    named = bool(p.kernel_size) or p.HasField("kernel_h") or p.HasField("kernel_w")
    _need_kernel(p.global_pooling, named, "pooling_nd_param")
    axes = len(sizes)
    kernel = sizes if p.global_pooling else per_axis(p, "kernel_size", "kernel", axes, None)
    stride, pad = per_axis(p, "stride", "stride", axes, 1), per_axis(p, "pad", "pad", axes, 0)
    windows = as_windows(kernel, stride, (1,) * axes, [(n, n) for n in pad])
    return _pool(axis, sizes, windows, p.pool, whole=p.global_pooling, up=True)


def _of_pooling_3d(layer: LayerParameter, shape: Shape) -> Pool:
    """Windows over (L, H, W) of (N, C, L, H, W), by pooling3d_param or pooling_param.

    facebookarchive/C3D: src/caffe/layers/pool3d_layer.cpp, with a kernel_depth;
    foss-for-synopsys-dwc-arc-processors/synopsys-caffe: src/caffe/layers/pooling3d_layer.cpp, without.
    """
    need(len(shape) == 5, "takes a blob of 5 axes (N, C, L, H, W): put a Reshape layer before it")
    old = layer.HasField("pooling_param")
    p = layer.pooling_param if old else layer.pooling3d_param
    whole, up = p.global_pooling, p.ceil_mode
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    if p.HasField("kernel_depth"):
        kernel = (p.kernel_depth, p.kernel_size, p.kernel_size)
        stride = (p.temporal_stride, p.stride, p.stride)
        pads = [(0, 0), (p.pad, p.pad), (p.pad, p.pad)]
    elif old:
        need(p.HasField("kernel_size") or whole, "pooling_param needs kernel_size and kernel_depth")
        kernel, stride, pads = (p.kernel_size,) * 3, (p.stride,) * 3, [(p.pad, p.pad)] * 3
    else:
        kernel, stride, pads = _of_three(p)
    kernel = shape[2:] if whole else kernel
    windows = as_windows(kernel, stride, (1, 1, 1), pads)
    return _pool(1, shape[2:], windows, p.pool, whole=whole, up=up)


def _of_three(p: Any) -> tuple[tuple[int, ...], tuple[int, ...], list[tuple[int, int]]]:
    """Kernel, stride and padding of three axes, each in one number or in one per axis."""
    kernel = (p.kernel_size,) * 3 if p.HasField("kernel_size") else (p.kernel_d, p.kernel_h, p.kernel_w)
    stride = (p.stride,) * 3 if p.HasField("stride") else (p.stride_d, p.stride_h, p.stride_w)
    pads = [(p.pad_d0, p.pad_d1), (p.pad_h0, p.pad_h1), (p.pad_w0, p.pad_w1)]
    return kernel, stride, [(p.pad, p.pad)] * 3 if p.HasField("pad") else pads


POOLS: dict[str, Callable[[LayerParameter, Shape], Pool]] = {
    "Pooling": _of_pooling,
    "PoolingND": _of_pooling_nd,
    "Pooling3D": _of_pooling_3d,
}


def _pooling(layer: LayerParameter, bottoms: Shapes) -> Out:
    (shape,) = bottoms
    pool = pool_of(layer, shape)
    need(
        len(layer.top) == 1 or pool.method == PoolingParameter.MAX,
        "a second top (the mask) is for MAX pooling only",
    )
    top = checked((*shape[: pool.axis + 1], *pool.places), "the top", TOO_LARGE)
    return Out((top,) * len(layer.top), views=(pool.view,))


rule("Pooling", tops=(1, 2))(_pooling)
rule("PoolingND", tops=(1, 2), fork=True)(_pooling)
rule("Pooling3D", fork=True)(_pooling)


def pyramid(room: Sequence[int], height: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """(kernel, pad) of each level's pooling, height and width; level l has 2^l x 2^l bins, a stride each."""
    levels = []
    for bins in (2**level for level in range(height)):
        kernels = [-(-size // bins) for size in room]
        pads = [(k * bins - size + 1) // 2 for k, size in zip(kernels, room, strict=True)]
        levels.append(((kernels[0], kernels[1]), (pads[0], pads[1])))
    return levels


@rule("SPP")
def _spp(layer: LayerParameter, bottoms: Shapes) -> Out:
    """Spatial pyramid pooling: all levels in one row."""
    n, c, *room = four_axes(bottoms[0])
    height = layer.spp_param.pyramid_height
    need(0 < height < 31, "spp_param needs pyramid_height, from 1 to 30")
    bins = []
    for level, (kernels, pads) in enumerate(pyramid(room, height)):
        fits = not any(pads) or all(p < k for p, k in zip(pads, kernels, strict=True))
        need(
            fits,
            f"pyramid level {level} has more bins than the input {text(room)} can fill: lower pyramid_height",
        )
        windows = [Window(k, k, k, p, p) for k, p in zip(kernels, pads, strict=True)]
        bins.append([_pool_places(n, w, any(pads), True) for n, w in zip(room, windows, strict=True)])
    top = (n, c, *bins[0]) if height == 1 else (n, c * sum(map(math.prod, bins)))
    return Out((top,), views=(LayoutEffect.WHOLE,))
