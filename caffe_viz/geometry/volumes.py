"""Rules of layers for volumes (N, C, L, H, W): convolutions with their own settings, and clips of video."""

from __future__ import annotations

from caffe_viz.geometry.receptive_fields import Shape
from caffe_viz.geometry.table import Out, Shapes, need, rule
from caffe_viz.geometry.windows import Window, as_windows, convolved, sliding
from caffe_viz.netdef import LayerParameter

_INSTEAD = "replace the layer by an Input layer with input_param { shape }"


@rule("Convolution3D", "Deconvolution3D", fork=True)
def _convolution_3d(layer: LayerParameter, bottoms: Shapes) -> Out:
    """facebookarchive/C3D: src/caffe/layers/convolution3d_layer.cpp, deconvolution3d_layer.cpp"""
    param = layer.convolution3d_param if layer.HasField("convolution3d_param") else layer.convolution_param
    return convolved(layer, bottoms, 1, sliding_3d(layer, bottoms[0]), param, 1)


def sliding_3d(layer: LayerParameter, shape: Shape) -> list[Window]:
    """The window along L, H and W of such a convolution, by convolution_param or convolution3d_param."""
    need(len(shape) == 5, "takes a blob of 5 axes (N, C, L, H, W): put a Reshape layer before it")
    if layer.HasField("convolution3d_param"):
        q = layer.convolution3d_param
        size, stride, pad, group = q.kernel_size, q.stride, q.pad, q.group
        depth, steps, ends = q.kernel_depth, q.temporal_stride, q.temporal_pad
    else:
        p = layer.convolution_param
        if not p.HasField("kernel_depth"):
            axis, windows = sliding(layer, shape)
            need(axis == 1, f"axis must be 1, that of the channels, not {axis}")
            return windows
        size, stride, pad = ((*values, default)[0] for values, default in _planar(layer))
        depth, steps, ends, group = p.kernel_depth, p.temporal_stride, p.temporal_pad, p.group
    need(
        group == 1, f"it has no groups, but group is {group}: use Convolution with kernel_size for each axis"
    )
    kernel, strides = (depth, size, size), (steps, stride, stride)
    return as_windows(kernel, strides, (1, 1, 1), [(ends, ends), (pad, pad), (pad, pad)])


def _planar(layer: LayerParameter) -> list[tuple[list[int], int]]:
    p = layer.convolution_param
    return [(list(p.kernel_size), 0), (list(p.stride), 1), (list(p.pad), 0)]
