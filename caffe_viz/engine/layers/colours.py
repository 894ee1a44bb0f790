"""Layers that quantise values, or convert pixels to another colour space."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from caffe_viz.engine.table import Call, layer
from caffe_viz.netdef.net_pb2 import ColorConvParameter, QuantParameter

TO_XYZ = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)
FROM_XYZ = (
    (3.2404542, -1.5371385, -0.4985314),
    (-0.9692660, 1.8760108, 0.0415560),
    (0.0556434, -0.2040259, 1.0572252),
)
WHITE = (0.95074, 1.0, 1.08883)


@layer("ColorConv")
def _color_conv(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """(N, 3 or 1, H, W), colours of 0 to 255, from one space to another.

    tonyyangToBeNo1/colorization_flow_caffe, as richzhang/colorization: src/caffe/layers/color_conv_layer.cpp
    """
    p, (x,) = call.param.color_conv_param, bottoms
    spaces = [p.RGB if space == p.BGR else space for space in (p.input, p.output)]
    x = x.flip(1) if p.input == p.BGR else x
    for step in _steps(spaces[0], spaces[1]):
        x = step(x)
    return x.flip(1) if p.output == p.BGR else x


def _steps(start: ColorConvParameter.ColorSpace, end: ColorConvParameter.ColorSpace) -> list[Any]:
    """The functions that convert one space to another: Gray to RGB, or along RGB, XYZ, Lab."""
    p = ColorConvParameter
    if p.Gray in (start, end):
        return [_from_gray if start == p.Gray else _to_gray] if start != end else []
    path = [p.RGB, p.XYZ, p.Lab]
    first, last = path.index(start), path.index(end)
    return (
        [_rgb_to_xyz, _xyz_to_lab][first:last]
        if first <= last
        else [_xyz_to_rgb, _lab_to_xyz][last:first][::-1]
    )


def _mixed(x: Tensor, matrix: tuple[tuple[float, ...], ...]) -> Tensor:
    return torch.einsum("ij,njhw->nihw", x.new_tensor(matrix), x)


def _to_gray(x: Tensor) -> Tensor:
    return _mixed(x, TO_XYZ[1:2])


def _from_gray(x: Tensor) -> Tensor:
    return x.expand(-1, 3, -1, -1)


def _power(x: Tensor, exponent: float, above: Tensor) -> Tensor:
    """Raise x to a power where `above`; elsewhere the value is not used, but its gradient is finite."""
    return torch.where(above, x, 1).pow(exponent)


def _rgb_to_xyz(x: Tensor) -> Tensor:
    x = x / 255
    low = x <= 0.04045
    return _mixed(torch.where(low, x / 12.92, _power((x + 0.055) / 1.055, 2.4, ~low)), TO_XYZ)


def _xyz_to_rgb(x: Tensor) -> Tensor:
    x = _mixed(x, FROM_XYZ)
    low = x <= 0.0031308
    return 255 * torch.where(low, x * 12.92, 1.055 * _power(x, 1 / 2.4, ~low) - 0.055)


def _white(x: Tensor) -> Tensor:
    return x.new_tensor(WHITE)[:, None, None]


def _xyz_to_lab(x: Tensor) -> Tensor:
    x = x / _white(x)
    high = x > 0.008867
    f = torch.where(high, _power(x, 1 / 3, high), (903.3 * x + 16) / 116)
    r, g, b = f.unbind(1)
    return torch.stack([116 * g - 16, 500 * (r - g), 200 * (g - b)], 1)


def _lab_to_xyz(x: Tensor) -> Tensor:
    light, a, b = x.unbind(1)
    g = (light + 16) / 116
    f = torch.stack([g + a / 500, g, g - b / 200], 1)
    return torch.where(f > 0.206896, f**3, (116 * f - 16) / 903.3) * _white(x)


@layer("Quant")
def _quant(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """zhaoweicai/hwgq: src/caffe/layers/quant_layer.cpp"""
    out: Tensor = _Quantised.apply(bottoms[0], call.param.quant_param)
    return out


class _Quantised(torch.autograd.Function):
    """The forward by one function, the gradient by another, as in the fork."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, p: QuantParameter) -> Tensor:
        ctx.save_for_backward(x)
        ctx.p = p
        if p.forward_func == "sign":
            return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)
        if p.forward_func == "hard_tanh":
            return x.clamp(-1, 1)
        if p.forward_func == "relu":
            return x.clamp(min=0) + p.negative_slope * x.clamp(max=0)
        centers = x.new_tensor(list(p.centers))
        limits = (centers[:-1] + centers[1:]) / 2
        return torch.where(x <= 0, -p.negative_slope, centers[torch.bucketize(x.contiguous(), limits)])

    @staticmethod
    def backward(ctx: Any, *seeds: Tensor) -> tuple[Tensor | None, ...]:
        ((x,), p, (seed,)) = ctx.saved_tensors, ctx.p, seeds
        limit = p.clip_thr if p.clip_thr > 0 else float("inf")
        if p.backward_func == "hard_tanh":
            return seed * (x.abs() <= limit), None
        slope = torch.where(x > 0, 1.0, p.negative_slope).to(x.dtype)
        return seed * slope * (x <= limit), None
