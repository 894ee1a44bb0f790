"""Layers of forks that resize an image. (N, C, H, W) unless said otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from caffe_viz.engine.table import Call, layer
from caffe_viz.geometry.interpolation import interp_area, resized_axes
from caffe_viz.geometry.table import TABLE, legacy

# Steps of a top's axis (0, 1, ..), the sizes of bottom and top -> places in the bottom, with fractions.
Places = Callable[[Tensor, int, int], Tensor]


def _top(call: Call, bottoms: list[Tensor]) -> tuple[int, ...]:
    """The shape of the top, by the rule of geometry."""
    return TABLE[call.param.type].function(call.param, tuple(tuple(b.shape) for b in bottoms)).tops[0]


def _corners(steps: Tensor, old: int, new: int) -> Tensor:
    """Align the corners of bottom and top; a top of one value takes the first."""
    return steps * ((old - 1) / (new - 1) if new > 1 else 0)


@layer("Interp")
def _interp(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """Bilinear between corners, or the nearest value. hszhao/PSPNet, yangguorun/SegStereo:
    src/caffe/layers/interp_layer.cpp; Mhaiyang/TMM2018_DRFN: caffe/src/caffe/util/interp.cpp."""
    p, x = call.param.interp_param, bottoms[0].reshape(legacy(tuple(bottoms[0].shape)))
    start = -p.pad_beg
    for axis, size in zip((2, 3), interp_area(call.param, tuple(x.shape)), strict=True):
        x = x.narrow(axis, start, size)
    nearest = p.is_seglabel or p.interp_type == "nearest_neighbor"
    return _stretched(x, _top(call, bottoms), (2, 3), _corners, _chosen if nearest else _mixed)


@layer("BilinearInterpolation")
def _bilinear_interpolation(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """Bilinear between corners; the size is the second bottom's or a multiple. stephenyan1231/caffe-public:
    src/caffe/layers/interpolation_layers.cpp."""
    return _stretched(bottoms[0], _top(call, bottoms), (2, 3), _corners, _mixed)


@layer("ResizeBilinear")
def _resize_bilinear(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """TensorFlow's resize_bilinear. foss-for-synopsys-dwc-arc-processors/synopsys-caffe:
    src/caffe/layers/resize_bilinear_layer.cpp."""
    p, x = call.param.resize_bilinear_param, bottoms[0]

    def places(steps: Tensor, old: int, new: int) -> Tensor:
        if p.align_corners:
            return _corners(steps, old, new) if new > 1 else steps * (old / new)
        if p.half_pixel_centers or p.pytorch_half_pixel:
            # PyTorch puts a lone value in front of the first.
            return (steps + (0 if p.pytorch_half_pixel and new == 1 else 0.5)) * (old / new) - 0.5
        return steps * (old / new)

    return _stretched(x, _top(call, bottoms), resized_axes(p, tuple(x.shape)), places, _mixed)


@layer("ResizeNearestNeighbor")
def _resize_nearest(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """TensorFlow's resize_nearest_neighbor. foss-for-synopsys-dwc-arc-processors/synopsys-caffe:
    src/caffe/layers/resize_nearest_neighbor_layer.cpp."""
    p, x = call.param.resize_nearest_neighbor_param, bottoms[0]

    def places(steps: Tensor, old: int, new: int) -> Tensor:
        if p.half_pixel_onnx:
            return ((steps + 0.5) * (old / new) - 0.5).floor()
        if p.half_pixel_centers:
            return ((steps + 0.5) * (old / new)).floor()
        if p.align_corners and new > 1:
            return (steps * ((old - 1) / (new - 1)) + 0.5).floor()
        scaled = steps * (old / new)
        return (scaled + 0.5).floor() if p.align_corners else scaled.floor()

    return _stretched(x, _top(call, bottoms), resized_axes(p, tuple(x.shape)), places, _chosen)


def _stretched(
    x: Tensor, top: tuple[int, ...], axes: tuple[int, int], places: Places, pick: Callable[..., Tensor]
) -> Tensor:
    """`x` with its two `axes` as long as the top's; `pick` makes the values at places along one of them."""
    if torch.compiler.is_compiling() and (places, pick, axes) == (_corners, _mixed, (2, 3)):
        # One operator, which compilers and other formats know.
        return F.interpolate(x, top[2:], mode="bilinear", align_corners=True)
    for axis in axes:
        old, new = x.shape[axis], top[axis]
        # As float32, in which every fork counts.
        steps = torch.arange(new, device=x.device, dtype=torch.float32)
        x = pick(x, axis, places(steps, old, new))
    return x


def _mixed(x: Tensor, axis: int, places: Tensor) -> Tensor:
    """Interpolate along `axis` between the two values around each place; outside, the first or last."""
    last, low = x.shape[axis] - 1, places.floor()
    shares = (places - low).to(x.dtype).reshape(-1, *[1] * (x.ndim - axis - 1))
    first, second = (x.index_select(axis, p.to(torch.int64).clamp(0, last)) for p in (low, places.ceil()))
    return first + (second - first) * shares


def _chosen(x: Tensor, axis: int, places: Tensor) -> Tensor:
    """Along `axis`, the value nearest to each place; of two equally near, the later."""
    nearest: Any = (places + 0.5).floor().to(torch.int64).clamp(0, x.shape[axis] - 1)
    return x.index_select(axis, nearest)
