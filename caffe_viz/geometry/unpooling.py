"""Rules of layers that invert pooling: values go back to where they came from, or all over their window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from caffe_viz.geometry.receptive_fields import LayoutEffect
from caffe_viz.geometry.table import Out, Shapes, checked, four_axes, many, need, rule, text
from caffe_viz.geometry.windows import Window, repeat_view, stretch_view
from caffe_viz.netdef import LayerParameter
from caffe_viz.netdef.net_pb2 import PoolingParameter, UnpoolingParameter


@rule("Upsample", bottoms=(1, 2))
def _upsample(layer: LayerParameter, bottoms: Shapes) -> Out:
    """Blocks of `scale` values; by a mask as second bottom, single values among zeros."""
    if len(bottoms) == 2:
        return _by_mask(layer, bottoms)
    # Real Caffe takes other numbers of axes too, but leaves part of the top unset or aborts on forward.
    param, (shape,) = layer.upsample_param, bottoms
    need(param.dims_num in (3, 4), f"dims_num must be 3 (N, C, W) or 4 (N, C, H, W), not {param.dims_num}")
    need(
        len(shape) == param.dims_num,
        f"dims_num is {param.dims_num}, but the bottom has {many(len(shape), 'axis', 'axes')}",
    )
    scales = scales_of(layer) if len(shape) == 4 else (param.scale,)
    need(min(scales) > 0, "scale must be at least 1")
    top = (*shape[:2], *(size * scale for size, scale in zip(shape[2:], scales, strict=True)))
    return Out((top,), views=(repeat_view((*scales[-2:], scales[-1])[:2]),))


def scales_of(layer: LayerParameter) -> tuple[int, int]:
    """How often an Upsample layer repeats each value, down and across."""
    p = layer.upsample_param
    return (p.scale_h, p.scale_w) if p.HasField("scale_h") else (p.scale, p.scale)


def _by_mask(layer: LayerParameter, bottoms: Shapes) -> Out:
    """alexgkendall/caffe-segnet, TimoSaemann/caffe-enet: src/caffe/layers/upsample_layer.cpp"""
    p, (n, c, h, w) = layer.upsample_param, four_axes(bottoms[0])
    _same(bottoms)
    if p.HasField("upsample_h") and p.HasField("upsample_w"):
        room = (p.upsample_h, p.upsample_w)
    else:
        scales = scales_of(layer)
        need(min(scales) > 1, "upsample_param needs upsample_h and upsample_w, or a scale of at least 2")
        room = (h * scales[0] - p.pad_out_h, w * scales[1] - p.pad_out_w)
    return Out((checked((n, c, *room), "the top"),), views=(LayoutEffect.LOST,), sees=1)


def _same(bottoms: Shapes) -> None:
    need(
        bottoms[0] == bottoms[1],
        f"the mask, its second bottom, must be {text(bottoms[0])} as the first, not {text(bottoms[1])}",
    )


@rule("MaxUnPool", bottoms=2)
def _max_unpool(layer: LayerParameter, bottoms: Shapes) -> Out:
    param = layer.max_unpool_param
    need(param.HasField("dst_h") and param.HasField("dst_w"), "max_unpool_param needs dst_h and dst_w")
    n, c, *_ = four_axes(bottoms[0])
    _same(bottoms)
    return Out(((n, c, param.dst_h, param.dst_w),), views=(LayoutEffect.LOST,))


@dataclass(frozen=True)
class Unpool:
    """An unpooling layer's settings: the window of each value on the top, and the top's (H, W).

    `method` is one of UnpoolingParameter; `masked` says that the second bottom holds the places.
    """

    windows: tuple[Window, Window]
    room: tuple[int, int]
    method: int
    masked: bool


@rule("Unpooling", "UnPooling", bottoms=(1, 2), fork=True)
def _unpooling(layer: LayerParameter, bottoms: Shapes) -> Out:
    n, c, *_ = four_axes(bottoms[0])
    unpool = unpool_of(layer, bottoms)
    if unpool.masked:
        _same(bottoms)
    view = LayoutEffect.LOST if unpool.masked else stretch_view(unpool.windows)
    return Out((checked((n, c, *unpool.room), "the top"),), views=(view,), sees=1)


def unpool_of(layer: LayerParameter, bottoms: Shapes) -> Unpool:
    """Return the settings of an Unpooling or UnPooling layer, of three families that differ in their fields.

    HyeonwooNoh/caffe, MyCaffe/MyCaffe and ShawnNew/caffe with kernel_size, the last two with sizes of their
    own; mariolew/caffe-unpooling with pooling_param; xiamenwcy/extended-caffe and jasonustc/caffe-multigpu
    with out_kernel_size: all src/caffe/layers/unpooling_layer.cpp.
    """
    p = layer.unpooling_param
    if p.HasField("out_kernel_size") or p.HasField("out_kernel_h"):
        return _of_out_kernel(p, bottoms)
    if layer.HasField("pooling_param"):
        return _of_pooling_param(layer.pooling_param, bottoms)
    size = bottoms[0][2:]
    kernel = size if p.global_pooling else _pair(p, "kernel_size", "kernel")
    need(min(kernel) > 0, "unpooling_param needs kernel_size, or kernel_h and kernel_w")
    windows = _windows(kernel, _pair(p, "stride", "stride"), _pair(p, "pad", "pad"))
    average = p.HasField("pool") and p.pool == PoolingParameter.AVE
    method = p.AVE if average else p.unpool
    if p.HasField("unpool_size"):
        room = (p.unpool_size, p.unpool_size)
    elif p.HasField("unpool_h") and p.HasField("unpool_w"):
        room = (p.unpool_h, p.unpool_w)
    elif layer.type == "UnPooling":
        room = _both(
            max((n - 1) * w.stride + w.kernel - 2 * w.before, n * w.stride - w.before + 1)
            for n, w in zip(size, windows, strict=True)
        )
    else:
        room = _both(w.kernel * (n + 1) - w.stride - 2 * w.before for n, w in zip(size, windows, strict=True))
    return Unpool(windows, room, method, method == p.MAX and len(bottoms) == 2)


def _of_pooling_param(p: PoolingParameter, bottoms: Shapes) -> Unpool:
    """The top loses a row if the bottom has an even number of them."""
    need(
        p.pool == p.MAX and len(bottoms) == 2,
        "with pooling_param it takes a mask as second bottom, and pool: MAX",
    )
    windows = _windows(
        _pair(p, "kernel_size", "kernel"), _pair(p, "stride", "stride"), _pair(p, "pad", "pad")
    )
    room = _both(
        (n - 1) * w.stride + w.kernel - 2 * w.before - (n % 2 == 0)
        for n, w in zip(bottoms[0][2:], windows, strict=True)
    )
    return Unpool(windows, room, UnpoolingParameter.MAX, True)


def _of_out_kernel(p: UnpoolingParameter, bottoms: Shapes) -> Unpool:
    """With a second bottom, its size sets the windows."""
    method = p.unpool if p.HasField("unpool") else p.FIXED
    need(method in (p.FIXED, p.DIV, p.REP), "with out_kernel_size unpool must be FIXED, DIV or REP")
    if len(bottoms) == 1:
        windows = _windows(
            _pair(p, "out_kernel_size", "out_kernel"),
            _pair(p, "out_stride", "out_stride"),
            _pair(p, "out_pad", "out_pad"),
        )
    else:
        fitted = [_fitted(n, goal) for n, goal in zip(bottoms[0][2:], four_axes(bottoms[1])[2:], strict=True)]
        windows = (fitted[0], fitted[1])
    room = _both(
        (n - 1) * w.stride - 2 * w.before + w.kernel for n, w in zip(bottoms[0][2:], windows, strict=True)
    )
    return Unpool(windows, room, method, False)


def _fitted(size: int, goal: int) -> Window:
    """The window that spreads `size` values over `goal`, or a little more."""
    kernel = -(-goal // size)
    stride = 1 if kernel == goal else kernel
    pad = ((size - 1) * stride + kernel - goal) // 2
    return Window(kernel, kernel, stride, pad, pad)


def _windows(kernel: Sequence[int], stride: Sequence[int], pad: Sequence[int]) -> tuple[Window, Window]:
    need(min(kernel) > 0, "kernel sizes must be at least 1")
    need(min(stride) > 0, "strides must be at least 1")
    need(all(p < k for p, k in zip(pad, kernel, strict=True)), "pad must be smaller than the kernel")
    first, second = (Window(k, k, s, p, p) for k, s, p in zip(kernel, stride, pad, strict=True))
    return first, second


def _pair(param: Any, one: str, pair: str) -> tuple[int, int]:
    h, w = f"{pair}_h", f"{pair}_w"
    if param.HasField(h) or param.HasField(w):
        return int(getattr(param, h)), int(getattr(param, w))
    return (int(getattr(param, one)),) * 2


def _both(values: Any) -> tuple[int, int]:
    first, second = values
    return first, second
