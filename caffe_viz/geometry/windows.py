"""Rules of layers that slide windows over an image: convolution, Im2col, LRN."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from caffe_viz.geometry.receptive_fields import SAME, LayoutEffect, Shape, View, window
from caffe_viz.geometry.table import Out, Shapes, axis_of, checked, four_axes, need, rule
from caffe_viz.netdef import LayerParameter
from caffe_viz.netdef.net_pb2 import Convolution3DParameter

TOO_LARGE = "is the kernel larger than the padded input?"


class Window(NamedTuple):
    """Along one axis: values of the kernel, its extent with dilation, the stride, zeros before and after."""

    kernel: int
    extent: int
    stride: int
    before: int
    after: int

    @property
    def dilation(self) -> int:
        return (self.extent - 1) // (self.kernel - 1) if self.kernel > 1 else 1


def per_axis(param: Any, name: str, pair: str, axes: int, default: int | None) -> tuple[int, ...]:
    """One value per spatial axis from `kernel_size`-like lists or `kernel_h`/`kernel_w`-like pairs."""
    values, (h, w) = tuple(getattr(param, name)), (f"{pair}_h", f"{pair}_w")
    if param.HasField(h) or param.HasField(w):
        need(axes == 2, f"{h} and {w} are for 2 spatial axes, not {axes}: use {name}")
        need(not values, f"give {name} or {h} and {w}, not both")
        return int(getattr(param, h)), int(getattr(param, w))
    return spread(values, name, axes, default)


def spread(values: Sequence[int], name: str, axes: int, default: int | None) -> tuple[int, ...]:
    """One value per axis from one for all, one for each, or none, if there is a default."""
    if not values and default is not None:
        return (default,) * axes
    often = f"once or {axes} times (once per spatial axis)" if axes > 1 else "once"
    need(len(values) in (1, axes), f"give {name} {often}, not {len(values)} times")
    return tuple(values) if len(values) == axes else tuple(values) * axes


def as_windows(
    kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int], pads: Sequence[tuple[int, int]]
) -> list[Window]:
    """What was given for each axis, checked; `pads` are (before, after)."""
    need(
        all(k > 0 for k in kernel),
        "kernel sizes must be at least 1: set kernel_size, or both kernel_h and kernel_w",
    )
    need(all(s > 0 for s in stride), "strides must be at least 1")
    need(all(d > 0 for d in dilation), "dilation must be at least 1")
    given = zip(kernel, stride, dilation, pads, strict=True)
    return [Window(k, d * (k - 1) + 1, s, *ends) for k, s, d, ends in given]


def padded(param: Any, windows: list[Window], sizes: Sequence[int]) -> list[Window]:
    """The windows with the padding of synopsys-caffe, if `param` has it: pad_l .. pad_b, or pad_type."""
    ends = [(param.pad_t, param.pad_b), (param.pad_l, param.pad_r)]
    if any(map(any, ends)):
        need(len(sizes) == 2, f"pad_l, pad_r, pad_t and pad_b are for 2 spatial axes, not {len(sizes)}")
    elif param.pad_type:
        need(param.pad_type == 1, f"pad_type must be 0 (pad) or 1 (SAME), not {param.pad_type}")
        missing = [max(0, w.extent - (n % w.stride or w.stride)) for n, w in zip(sizes, windows, strict=True)]
        ends = [(m // 2, m - m // 2) for m in missing]
    else:
        return windows
    return [w._replace(before=a, after=b) for w, (a, b) in zip(windows, ends, strict=True)]


def sliding(layer: LayerParameter, shape: Shape) -> tuple[int, list[Window]]:
    """The channel axis, and the window along each axis after it, of convolutions."""
    param = layer.convolution_param
    channel = axis_of(shape, param.axis)
    axes = len(shape) - channel - 1
    kernel = per_axis(param, "kernel_size", "kernel", axes, None)
    stride = per_axis(param, "stride", "stride", axes, 1)
    pad = per_axis(param, "pad", "pad", axes, 0)
    holed = param.HasField("hole_h")
    need(axes == 2 or not holed, f"hole_h and hole_w are for 2 spatial axes, not {axes}: use dilation")
    holes = (param.hole_h, param.hole_w) if holed else (param.hole,) * axes
    dilation = spread(param.dilation, "dilation", axes, None) if param.dilation else holes
    windows = as_windows(kernel, stride, dilation, [(p, p) for p in pad])
    return channel, padded(param, windows, shape[channel + 1 :])


def _slide(size: int, w: Window) -> int:
    """Places of a window; C rounds the division towards zero, so a stride can save a kernel too large."""
    room = size + w.before + w.after - w.extent
    return (room // w.stride if room >= 0 else -(-room // w.stride)) + 1


def slide_view(windows: Sequence[Window]) -> View:
    """What a unit of the top sees, on the last two of the axes."""
    if len(windows) < 2:
        return LayoutEffect.LOST if windows else LayoutEffect.WHOLE
    return window([w.extent for w in windows], [w.stride for w in windows], [-w.before for w in windows])


def stretch_view(windows: Sequence[Window]) -> View:
    """Deconvolution: unit o meets inputs i with o = i * stride - pad + 0 .. extent - 1; keeps the centre."""
    if len(windows) < 2:
        return LayoutEffect.LOST if windows else LayoutEffect.WHOLE
    sizes = [math.ceil(w.extent / w.stride) for w in windows]
    centres = [(w.before - (w.extent - 1) / 2) / w.stride for w in windows]
    offsets = [c - (n - 1) / 2 for c, n in zip(centres, sizes, strict=True)]
    return window(sizes, [1 / w.stride for w in windows], offsets)


def repeat_view(scales: Sequence[int]) -> View:
    """Each bottom unit becomes a block of `scales` units."""
    return stretch_view([Window(s, s, s, 0, 0) for s in scales])


@rule("Convolution", "Deconvolution", bottoms=(1, None), tops=(1, None))
def _convolution(layer: LayerParameter, bottoms: Shapes) -> Out:
    param = layer.convolution_param
    axis, windows = sliding(layer, bottoms[0])
    return convolved(layer, bottoms, axis, windows, param, param.group)


def convolved(
    layer: LayerParameter, bottoms: Shapes, axis: int, windows: Sequence[Window], param: Any, group: int
) -> Out:
    """The rule of all convolutions; `param` has num_output and bias_term."""
    shape, up = bottoms[0], layer.type.startswith("Deconvolution")
    need(len(layer.top) == len(bottoms), f"takes one top per bottom, not {len(layer.top)} for {len(bottoms)}")
    need(all(b == shape for b in bottoms), "all bottoms must have the same shape")
    channels, outputs = shape[axis], param.num_output
    field = "convolution3d_param" if isinstance(param, Convolution3DParameter) else "convolution_param"
    need(outputs > 0, f"{field} needs num_output, at least 1")
    need(group > 0, "group must be at least 1")
    need(channels % group == 0, f"{channels} input channels do not divide by group {group}")
    need(outputs % group == 0, f"num_output {outputs} does not divide by group {group}")
    room = shape[axis + 1 :]
    if up:
        places = tuple(
            w.stride * (n - 1) + w.extent - w.before - w.after for n, w in zip(room, windows, strict=True)
        )
    else:
        places = tuple(_slide(n, w) for n, w in zip(room, windows, strict=True))
    outer, gather = (channels, outputs) if up else (outputs, channels)
    weights = (outer, gather // group, *(w.kernel for w in windows))
    top = checked((*shape[:axis], outputs, *places), "the top", "lower the padding" if up else TOO_LARGE)
    worked = math.prod(room if up else places)
    macs = math.prod(weights) * worked * math.prod(shape[:axis]) * len(bottoms)
    view = stretch_view(windows) if up else slide_view(windows)
    return Out((top,) * len(bottoms), (weights, *([(outputs,)] if param.bias_term else [])), macs, (view,))


@rule("Im2col")
def _im2col(layer: LayerParameter, bottoms: Shapes) -> Out:
    (shape,) = bottoms
    axis, windows = sliding(layer, shape)
    need(windows, "takes a blob with at least one axis after the channels")
    channels = shape[axis] * math.prod(w.kernel for w in windows)
    places = (_slide(n, w) for n, w in zip(shape[axis + 1 :], windows, strict=True))
    return Out(
        (checked((*shape[:axis], channels, *places), "the top", TOO_LARGE),), views=(slide_view(windows),)
    )


@rule("LRN")
def _lrn(layer: LayerParameter, bottoms: Shapes) -> Out:
    param, top = layer.lrn_param, four_axes(bottoms[0])
    size = param.local_size
    need(size % 2 == 1, f"local_size must be odd, not {size}")
    within = param.norm_region == param.WITHIN_CHANNEL
    return Out((top,), views=(window((size, size), (1, 1), [-(size - 1) // 2] * 2) if within else SAME,))
