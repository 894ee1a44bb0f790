"""Rules of fork layers that resize an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from caffe_viz.geometry.receptive_fields import LayoutEffect, Shape, View, window
from caffe_viz.geometry.table import Out, Shapes, checked, four_axes, legacy, need, rule, scaled
from caffe_viz.netdef import LayerParameter


def interp_area(layer: LayerParameter, shape: Shape) -> tuple[int, int]:
    """Return height and width of the part of the bottom that Interp uses; pads below 0 crop."""
    param = layer.interp_param
    need(max(param.pad_beg, param.pad_end) <= 0, "pad_beg and pad_end must be 0 or below (they crop)")
    height, width = (size + param.pad_beg + param.pad_end for size in legacy(shape)[2:])
    need(min(height, width) > 0, "pad_beg and pad_end cut everything off: raise them")
    return height, width


@rule("Interp", bottoms=(1, 2), fork=True)
def _interp(layer: LayerParameter, bottoms: Shapes) -> Out:
    """The size is a second bottom's, or follows from the fields."""
    n, c, *_ = legacy(bottoms[0])
    area = interp_area(layer, bottoms[0])
    size = legacy(bottoms[1])[2:] if len(bottoms) == 2 else _interp_size(layer, area)
    top = checked((n, c, *size), "the top", "raise its size")
    begin = -layer.interp_param.pad_beg
    return Out((top,), views=(_blend(_corner_ratios(area, size), 0, begin),), sees=1)


def _interp_size(layer: LayerParameter, area: tuple[int, int]) -> tuple[int, int]:
    """All forks look for these fields in this order."""
    p = layer.interp_param
    known = ("deeplab", "training_toolbox_caffe")
    need(layer.variant in ("", *known), f"Interp of {layer.variant!r}: give one of {', '.join(known)}")
    least = min(p.zoom_factor, p.shrink_factor, p.full_zoom_factor)
    need(least >= 1, "zoom_factor, shrink_factor and full_zoom_factor must be at least 1")
    lone = p.HasField("zoom_factor") != p.HasField("shrink_factor")
    if not lone and p.HasField("height") and p.HasField("width"):
        return p.height, p.width
    need(
        lone or p.HasField("zoom_factor") or p.HasField("full_zoom_factor"),
        "interp_param needs zoom_factor, shrink_factor, or height and width; or give a second bottom",
    )
    height, width = (_zoomed(layer, size) for size in area)
    return height, width


def _zoomed(layer: LayerParameter, size: int) -> int:
    """Of one axis: its steps are multiplied; in openvinotoolkit/training_toolbox_caffe its size is."""
    p = layer.interp_param
    zoom, shrinks = p.HasField("zoom_factor"), p.HasField("shrink_factor")
    if not zoom and not shrinks:
        return size * int(p.full_zoom_factor)
    if layer.variant == "training_toolbox_caffe" and not shrinks:
        return size * int(p.zoom_factor)
    return (size - 1) // int(p.shrink_factor) * int(p.zoom_factor) + 1


@rule("BilinearInterpolation", bottoms=(1, 2), fork=True)
def _bilinear_interpolation(layer: LayerParameter, bottoms: Shapes) -> Out:
    n, c, h, w = four_axes(bottoms[0])
    factor = layer.bilinear_interpolation_param.interpolation_factor
    need(
        len(bottoms) == 2 or factor > 0,
        "takes a second bottom of the wanted size, or bilinear_interpolation_param { interpolation_factor }",
    )
    size = four_axes(bottoms[1])[2:] if len(bottoms) == 2 else (h * factor, w * factor)
    return Out(((n, c, *size),), views=(_blend(_corner_ratios((h, w), size), 0),), sees=1)


@rule("ResizeBilinear", bottoms=(1, 2), fork=True)
def _resize_bilinear(layer: LayerParameter, bottoms: Shapes) -> Out:
    return _resized(layer.resize_bilinear_param, bottoms[0])


@rule("ResizeNearestNeighbor", bottoms=(1, 2), fork=True)
def _resize_nearest(layer: LayerParameter, bottoms: Shapes) -> Out:
    return _resized(layer.resize_nearest_neighbor_param, bottoms[0])


def resized_axes(param: Any, shape: Shape) -> tuple[int, int]:
    """The axes of height and width by the layer's data_format."""
    need(param.data_format in ("NHWC", "NCHW"), f"data_format {param.data_format!r}: give NCHW or NHWC")
    need(len(shape) == 4, f"takes a blob of 4 axes ({param.data_format})")
    return (1, 2) if param.data_format == "NHWC" else (2, 3)


def _resized(param: Any, shape: Shape) -> Out:
    axes, old = resized_axes(param, shape), [1, 1]
    top = list(shape)
    for i, (axis, name) in enumerate(zip(axes, ("height", "width"), strict=True)):
        given, scale = param.HasField(f"output_{name}"), getattr(param, f"scale_{name}")
        old[i] = shape[axis]
        top[axis] = getattr(param, f"output_{name}") if given else scaled(shape[axis], scale)
    checked(tuple(top), "the top", "raise its size")
    new = [top[axis] for axis in axes]
    ratios = (
        _corner_ratios(old, new) if param.align_corners else [a / b for a, b in zip(old, new, strict=True)]
    )
    halves = any(
        getattr(param, name, False)
        for name in ("half_pixel_centers", "pytorch_half_pixel", "half_pixel_onnx")
    )
    view = _blend(ratios, 0.5 if halves else 0)
    return Out((tuple(top),), views=(view if axes == (2, 3) else LayoutEffect.LOST,), sees=1)


def _corner_ratios(old: Sequence[int], new: Sequence[int]) -> list[float]:
    """Steps in the bottom from one unit of the top to the next, if the corners of both coincide."""
    return [(a - 1) / (b - 1) if b > 1 else 0 for a, b in zip(old, new, strict=True)]


def _blend(ratios: Sequence[float], shift: float, begin: int = 0) -> View:
    """Unit o mixes the two bottom units around begin + o * ratio + shift * (ratio - 1), or is one of them."""
    sizes = [1 if r == 1 else 2 for r in ratios]
    starts = [begin + shift * (r - 1) - (n - 1) / 2 for r, n in zip(ratios, sizes, strict=True)]
    return window(sizes, ratios, starts)
