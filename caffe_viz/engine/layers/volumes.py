"""Layers for volumes (N, C, L, H, W): convolutions with their own settings, and clips of video."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from caffe_viz.engine.layers.windows import convolved
from caffe_viz.engine.table import Call, Filler, layer
from caffe_viz.geometry.volumes import sliding_3d
from caffe_viz.netdef import LayerParameter


def _fillers(param: LayerParameter) -> list[Filler]:
    own = param.HasField("convolution3d_param")
    p = param.convolution3d_param if own else param.convolution_param
    return [p.weight_filler, p.bias_filler][: 1 + p.bias_term]


@layer("Convolution3D", "Deconvolution3D", fillers=_fillers)
def _convolution_3d(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Sequence[Tensor]:
    """facebookarchive/C3D: src/caffe/layers/convolution3d_layer.cpp, deconvolution3d_layer.cpp"""
    return convolved(call, bottoms, params, 1, sliding_3d(call.param, tuple(bottoms[0].shape)), 1)


@layer("VideoData")
def _video_data(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Sequence[Tensor | None]:
    """No video is read: the tops stay what was written into them, as an input's do."""
    return [None] * call.tops
