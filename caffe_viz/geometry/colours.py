"""Rules of layers that quantise values, or convert pixels to another colour space."""

from __future__ import annotations

from caffe_viz.geometry.table import Out, Shapes, four_axes, many, need, rule
from caffe_viz.netdef import LayerParameter
from caffe_viz.netdef.net_pb2 import ColorConvParameter

_P = ColorConvParameter
# The pairs (input, output) that the layer has; others leave its top as it was.
CONVERSIONS = {
    (_P.Gray, _P.RGB), (_P.Lab, _P.RGB), (_P.Lab, _P.XYZ), (_P.RGB, _P.Gray), (_P.RGB, _P.Lab),
    (_P.RGB, _P.RGB), (_P.RGB, _P.XYZ), (_P.XYZ, _P.Lab), (_P.XYZ, _P.RGB),
}  # fmt: skip


@rule("ColorConv", fork=True)
def _color_conv(layer: LayerParameter, bottoms: Shapes) -> Out:
    p, (n, c, h, w) = layer.color_conv_param, four_axes(bottoms[0])
    planes, made = (1 if space == p.Gray else 3 for space in (p.input, p.output))
    need(c == planes, f"takes {many(planes, 'channel')}, not {c}")
    spaces = [p.RGB if space == p.BGR else space for space in (p.input, p.output)]
    names = " to ".join(p.ColorSpace.Name(space) for space in (p.input, p.output))
    need((spaces[0], spaces[1]) in CONVERSIONS, f"it cannot convert {names}")
    return Out(((n, made, h, w),))


@rule("Quant", fork=True)
def _quant(layer: LayerParameter, bottoms: Shapes) -> Out:
    p = layer.quant_param
    known = ("sign", "hard_tanh", "hwgq", "relu")
    need(p.forward_func in known, f"quant_param forward_func must be one of {', '.join(known)}")
    need(p.backward_func in ("hard_tanh", "relu"), "quant_param backward_func must be hard_tanh or relu")
    if p.forward_func == "hwgq":
        need(p.centers and min(p.centers) > 0, "quant_param needs centers, above 0")
    return Out(bottoms)
