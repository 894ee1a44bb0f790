"""Depthwise convolutions of forks, and layers with one-bit weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from caffe_viz.engine.layers.windows import convolved, fillers
from caffe_viz.engine.table import LAYERS, Call, layer
from caffe_viz.geometry.depthwise import depthwise_of
from caffe_viz.geometry.windows import sliding


@layer("ConvolutionDepthwise", "DepthwiseConvolution", fillers=fillers)
def _depthwise(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Sequence[Tensor]:
    """A convolution whose outputs see one channel each: weights (outputs, 1, H, W) or (outputs, H, W).

    farmingyard/caffe-mobilenet, eric612/MobileNet-YOLO: src/caffe/layers/depthwise_conv_layer.cpp;
    foss-for-synopsys-dwc-arc-processors/synopsys-caffe: src/caffe/layers/conv_depthwise_layer.cpp
    """
    axis, windows = sliding(call.param, tuple(bottoms[0].shape))
    group, _ = depthwise_of(call.param, bottoms[0].shape[axis])
    return convolved(call, bottoms, params, axis, windows, group)


@layer("BinaryConvolution", fillers=fillers)
def _binary_convolution(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Sequence[Tensor]:
    """zhaoweicai/hwgq: src/caffe/layers/binary_conv_layer.cu"""
    p = call.param.binary_convolution_param
    axis, windows = sliding(call.param, tuple(bottoms[0].shape))
    weights = _binary(params[0], p.use_alpha) if p.use_binarization else params[0]
    return convolved(call, bottoms, [weights, *params[1:]], axis, windows, call.param.convolution_param.group)


@layer("BinaryInnerProduct", fillers=lambda param: LAYERS["InnerProduct"].fillers(param))
def _binary_inner_product(
    call: Call, bottoms: list[Tensor], params: list[Tensor]
) -> Tensor | Sequence[Tensor | None]:
    """zhaoweicai/hwgq: src/caffe/layers/binary_inner_product_layer.cu"""
    p = call.param.binary_inner_product_param
    weights = _binary(params[0], p.use_alpha) if p.use_binarization else params[0]
    return LAYERS["InnerProduct"].function(call, bottoms, [weights, *params[1:]])


def _binary(weights: Tensor, scaled: bool) -> Tensor:
    """The signs of weights, times the mean absolute weight of the output if `scaled`.

    The gradient goes to the weights as they are, as in the fork: those of signs are 0 almost everywhere.
    """
    values = weights.detach()
    signs = torch.where(values >= 0, 1.0, -1.0).to(values.dtype)
    if scaled:
        signs = signs * values.abs().mean(tuple(range(1, values.ndim)), keepdim=True)
    return weights + (signs - values)
