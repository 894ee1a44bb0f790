"""Rules of layers that look through windows: convolution, pooling, padding, resizing."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

from caffe_viz.geometry.fields import SAME, Look, Shape, View, window
from caffe_viz.geometry.table import (
    INT_MAX,
    Out,
    Shapes,
    axis_of,
    checked,
    four_axes,
    legacy,
    need,
    rule,
    text,
)
from caffe_viz.netdef import LayerParameter


def _per_axis(param: Any, name: str, pair: str, axes: int, default: int | None) -> tuple[int, ...]:
    """One value per spatial axis from `kernel_size`-like lists or `kernel_h`/`kernel_w`-like pairs."""
    values, (h, w) = tuple(getattr(param, name)), (f"{pair}_h", f"{pair}_w")
    if param.HasField(h) or param.HasField(w):
        need(axes == 2, f"{h} and {w} are for 2 spatial axes, here are {axes}: use {name}")
        need(not values, f"give {name} or {h} and {w}, not both")
        return int(getattr(param, h)), int(getattr(param, w))
    if not values and default is not None:
        return (default,) * axes
    need(
        len(values) in (1, axes),
        f"give {name} once or {axes} times (once per spatial axis), not {len(values)} times",
    )
    return values if len(values) == axes else values * axes


def sliding(layer: LayerParameter, shape: Shape) -> tuple[int, list[tuple[int, int, int, int]]]:
    """(channel axis, per spatial axis: kernel, kernel extent with dilation, stride, pad) of convolutions."""
    param = layer.convolution_param
    channel = axis_of(shape, param.axis)
    axes = len(shape) - channel - 1
    kernel = _per_axis(param, "kernel_size", "kernel", axes, None)
    stride = _per_axis(param, "stride", "stride", axes, 1)
    pad = _per_axis(param, "pad", "pad", axes, 0)
    need(
        len(param.dilation) in (0, 1, axes),
        f"give dilation once or {axes} times, not {len(param.dilation)} times",
    )
    dilation = tuple(param.dilation) or (1,)
    dilation = dilation if len(dilation) == axes else dilation[:1] * axes
    need(
        all(k > 0 for k in kernel),
        "kernel sizes must be at least 1: set kernel_size, or both kernel_h and kernel_w",
    )
    need(all(s > 0 for s in stride), "strides must be at least 1")
    extents = (d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
    return channel, list(zip(kernel, extents, stride, pad, strict=True))


def _slide(size: int, extent: int, stride: int, pad: int) -> int:
    """Places of a window; C rounds the division towards zero, so a stride can save a kernel too large."""
    room = size + 2 * pad - extent
    return (room // stride if room >= 0 else -(-room // stride)) + 1


def _slide_view(windows: Sequence[tuple[int, int, int, int]]) -> View:
    if len(windows) < 2:
        return Look.LOST if windows else Look.WHOLE
    _, extents, strides, pads = zip(*windows, strict=True)
    return window(extents, strides, [-p for p in pads])


def _stretch_view(windows: Sequence[tuple[int, int, int, int]]) -> View:
    """Deconvolution: unit o meets inputs i with o = i * stride - pad + 0 .. extent - 1; keeps the centre."""
    if len(windows) < 2:
        return Look.LOST if windows else Look.WHOLE
    sizes = [math.ceil(e / s) for _, e, s, _ in windows]
    centres = [(p - (e - 1) / 2) / s for _, e, s, p in windows]
    offsets = [c - (n - 1) / 2 for c, n in zip(centres, sizes, strict=True)]
    return window(sizes, [1 / s for _, _, s, _ in windows], offsets)


@rule("Convolution", "Deconvolution", bottoms=(1, None), tops=(1, None))
def _convolution(layer: LayerParameter, bottoms: Shapes) -> Out:
    param, shape, up = layer.convolution_param, bottoms[0], layer.type == "Deconvolution"
    need(len(layer.top) == len(bottoms), f"takes one top per bottom, not {len(layer.top)} for {len(bottoms)}")
    need(all(b == shape for b in bottoms), "all bottoms must have the same shape")
    axis, windows = sliding(layer, shape)
    channels, outputs, group = shape[axis], param.num_output, param.group
    need(outputs > 0, "convolution_param needs num_output, at least 1")
    need(group > 0, "group must be at least 1")
    need(channels % group == 0, f"{channels} input channels do not divide by group {group}")
    need(outputs % group == 0, f"num_output {outputs} does not divide by group {group}")
    room = shape[axis + 1 :]
    steps = list(zip(room, windows, strict=True))
    if up:
        places = tuple(s * (n - 1) + e - 2 * p for n, (_, e, s, p) in steps)
    else:
        places = tuple(_slide(n, e, s, p) for n, (_, e, s, p) in steps)
    spread, gather = (channels, outputs) if up else (outputs, channels)
    weights = (spread, gather // group, *(k for k, *_ in windows))
    top = checked((*shape[:axis], outputs, *places), "the top")
    worked = math.prod(room if up else places)
    columns = math.prod(weights[1:]) * group * worked
    need(columns <= INT_MAX, f"Caffe's column buffer would hold {columns:,} values, more than {INT_MAX:,}")
    macs = math.prod(weights) * worked * math.prod(shape[:axis]) * len(bottoms)
    view = _stretch_view(windows) if up else _slide_view(windows)
    return Out((top,) * len(bottoms), (weights, *([(outputs,)] if param.bias_term else [])), macs, (view,))


@rule("Im2col")
def _im2col(layer: LayerParameter, bottoms: Shapes) -> Out:
    (shape,) = bottoms
    axis, windows = sliding(layer, shape)
    need(windows, "takes a blob with at least one axis after the channels")
    channels = shape[axis] * math.prod(k for k, *_ in windows)
    places = (_slide(n, e, s, p) for n, (_, e, s, p) in zip(shape[axis + 1 :], windows, strict=True))
    return Out(((*shape[:axis], channels, *places),), views=(_slide_view(windows),))


def _pool_places(size: int, kernel: int, stride: int, pad: int, padded: bool, up: bool) -> int:
    """Windows along one axis, rounded up or down; with padding the last one starts before the far padding."""
    room = size + 2 * pad - kernel
    places = (-(-room // stride) if up else room // stride) + 1
    if padded and (places - 1) * stride >= size + pad:
        places -= 1
        need(
            (places - 1) * stride < size + pad, f"pad {pad} leaves windows wholly outside the input of {size}"
        )
    return places


def pair_of(param: Any, one: str, pair: str) -> tuple[int, int]:
    h, w = f"{pair}_h", f"{pair}_w"
    if param.HasField(h) or param.HasField(w):
        both = param.HasField(h) and param.HasField(w) and not param.HasField(one)
        need(both, f"give {one}, or both {h} and {w}")
        return int(getattr(param, h)), int(getattr(param, w))
    return (int(getattr(param, one)),) * 2


@rule("Pooling", tops=(1, 2))
def _pooling(layer: LayerParameter, bottoms: Shapes) -> Out:
    param = layer.pooling_param
    n, c, *room = four_axes(bottoms[0])
    named = any(param.HasField(f) for f in ("kernel_size", "kernel_h", "kernel_w"))
    need(not (param.global_pooling and named), "with global_pooling leave the kernel size out")
    need(
        param.global_pooling or named,
        "pooling_param needs kernel_size, kernel_h and kernel_w, or global_pooling",
    )
    kernel = (room[0], room[1]) if param.global_pooling else pair_of(param, "kernel_size", "kernel")
    stride, pad = pair_of(param, "stride", "stride"), pair_of(param, "pad", "pad")
    need(min(kernel) > 0, "kernel sizes must be at least 1")
    need(min(stride) > 0, "strides must be at least 1")
    plain = pad == (0, 0) and stride == (1, 1)
    need(plain or not param.global_pooling, "with global_pooling only pad 0 and stride 1 are possible")
    stochastic = param.pool == param.STOCHASTIC
    need(not (any(pad) and stochastic), "padding is for MAX and AVE pooling only")
    need(
        not any(pad) or all(p < k for p, k in zip(pad, kernel, strict=True)),
        "pad must be smaller than the kernel",
    )
    need(len(layer.top) == 1 or param.pool == param.MAX, "a second top (the mask) is for MAX pooling only")
    steps = zip(room, kernel, stride, pad, strict=True)
    places = [_pool_places(*step, any(pad), param.ceil_mode) for step in steps]
    view = window(kernel, (0, 0) if param.global_pooling else stride, [-p for p in pad])
    return Out(((n, c, *places),) * len(layer.top), views=(view,))


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
    need(0 < height < 31, "spp_param needs pyramid_height, at least 1")
    bins = []
    for level, (kernels, pads) in enumerate(pyramid(room, height)):
        fits = not any(pads) or all(p < k for p, k in zip(pads, kernels, strict=True))
        need(
            fits,
            f"pyramid level {level} has more bins than the input {text(room)} can fill: lower pyramid_height",
        )
        steps = zip(room, kernels, kernels, pads, strict=True)
        bins.append([_pool_places(*step, any(pads), True) for step in steps])
    top = (n, c, *bins[0]) if height == 1 else (n, c * sum(map(math.prod, bins)))
    return Out((top,), views=(Look.WHOLE,))


@rule("LRN")
def _lrn(layer: LayerParameter, bottoms: Shapes) -> Out:
    param, top = layer.lrn_param, four_axes(bottoms[0])
    size = param.local_size
    need(size % 2 == 1, f"local_size must be odd, not {size}")
    within = param.norm_region == param.WITHIN_CHANNEL
    return Out((top,), views=(window((size, size), (1, 1), [-(size - 1) // 2] * 2) if within else SAME,))


@rule("Upsample")
def _upsample(layer: LayerParameter, bottoms: Shapes) -> Out:
    """Real Caffe takes other numbers of axes too, but leaves part of the top unset or aborts on forward."""
    param, (shape,) = layer.upsample_param, bottoms
    need(param.dims_num in (3, 4), f"dims_num must be 3 (N, C, W) or 4 (N, C, H, W), not {param.dims_num}")
    need(len(shape) == param.dims_num, f"dims_num is {param.dims_num}, but the bottom has {len(shape)} axes")
    need(param.scale > 0, "scale must be at least 1")
    top = (*shape[:2], *(size * param.scale for size in shape[2:]))
    return Out((top,), views=(_repeat((param.scale, param.scale)),))


@rule("PixelShuffle")
def _pixel_shuffle(layer: LayerParameter, bottoms: Shapes) -> Out:
    factor, (n, c, h, w) = layer.pixelshuffle_param.upscale_factor, four_axes(bottoms[0])
    need(factor > 0, "pixelshuffle_param needs upscale_factor, at least 1")
    need(c % factor**2 == 0, f"{c} channels do not divide by upscale_factor squared ({factor**2})")
    return Out(((n, c // factor**2, h * factor, w * factor),), views=(_repeat((factor, factor)),))


def _repeat(scales: Sequence[int]) -> View:
    """Each bottom unit becomes a block of `scales` units."""
    return _stretch_view([(s, s, s, 0) for s in scales])


def _float(value: float) -> float:
    """`value` as C's float holds it: Caffe multiplies scales in single precision, then cuts the fraction."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


@rule("Resize")
def _resize(layer: LayerParameter, bottoms: Shapes) -> Out:
    param, (n, c, h, w) = layer.resize_param, legacy(bottoms[0])
    if param.is_pyramid_test:
        scaled = param.HasField("out_height_scale") and param.HasField("out_width_scale")
        need(scaled, "resize_param needs out_height_scale and out_width_scale with is_pyramid_test")
        size = int(_float(param.out_height_scale * h)), int(_float(param.out_width_scale * w))
    else:
        need(param.HasField("height") and param.HasField("width"), "resize_param needs height and width")
        size = int(param.height), int(param.width)
    top = checked((n, c, *size), "the top")
    return Out((top,), views=(_blend((h / size[0], w / size[1]), 0),))


@rule("BilinearInterpolate")
def _bilinear(layer: LayerParameter, bottoms: Shapes) -> Out:
    param, (n, c, h, w) = layer.bilinear_interpolate_param, legacy(bottoms[0])
    given = param.HasField("dst_h") or param.HasField("dst_w")
    need(given != param.HasField("scale_factor"), "give dst_h and dst_w, or scale_factor, not both or none")
    if given:
        size = (
            (param.dst_h if param.HasField("dst_h") else h),
            (param.dst_w if param.HasField("dst_w") else w),
        )
    else:
        size = int(_float(h * param.scale_factor)), int(_float(w * param.scale_factor))
    top = checked((n, c, *size), "the top")
    if not param.align_corners:
        return Out((top,), views=(_blend((h / size[0], w / size[1]), 0.5),))
    ratios = [(a - 1) / (b - 1) if b > 1 else 0 for a, b in zip((h, w), size, strict=True)]
    return Out((top,), views=(_blend(ratios, 0),))


def _blend(ratios: Sequence[float], shift: float) -> View:
    """Linear interpolation: unit o mixes the two bottom units around o * ratio + shift * (ratio - 1)."""
    return window((2, 2), ratios, [shift * (r - 1) - 0.5 for r in ratios])


@rule("MaxUnPool", bottoms=2)
def _max_unpool(layer: LayerParameter, bottoms: Shapes) -> Out:
    param = layer.max_unpool_param
    need(param.HasField("dst_h") and param.HasField("dst_w"), "max_unpool_param needs dst_h and dst_w")
    n, c, *_ = four_axes(bottoms[0])
    return Out(((n, c, param.dst_h, param.dst_w),), views=(Look.LOST,))


@rule("Pad", in_place=False)
def _pad(layer: LayerParameter, bottoms: Shapes) -> Out:
    """Real Caffe takes fewer axes and mixed signs too, but then writes outside its memory on forward."""
    p, (n, c, h, w) = layer.pad_param, four_axes(bottoms[0])
    pads = (p.pad_u, p.pad_d, p.pad_l, p.pad_r)
    need(min(pads) >= 0 or max(pads) < 0, "pads must be all at least 0 (pad) or all below 0 (crop)")
    top = (n, c, h + p.pad_u + p.pad_d, w + p.pad_l + p.pad_r)
    return Out((top,), views=(window((1, 1), (1, 1), (-p.pad_u, -p.pad_l)),))
