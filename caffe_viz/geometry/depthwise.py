"""Rules of depthwise convolutions of forks, and of layers with one-bit weights."""

from __future__ import annotations

from caffe_viz.geometry.receptive_fields import Shape
from caffe_viz.geometry.table import TABLE, Out, Shapes, rule
from caffe_viz.geometry.windows import convolved, sliding
from caffe_viz.netdef import LayerParameter
from caffe_viz.netdef.net_pb2 import ConvolutionParameter


@rule("ConvolutionDepthwise", "DepthwiseConvolution", bottoms=(1, None), tops=(1, None), fork=True)
def _depthwise(layer: LayerParameter, bottoms: Shapes) -> Out:
    axis, windows = sliding(layer, bottoms[0])
    param = ConvolutionParameter()
    param.CopyFrom(layer.convolution_param)
    group, param.num_output = depthwise_of(layer, bottoms[0][axis])
    out = convolved(layer, bottoms, axis, windows, param, group)
    flat = [tuple(shape.dim) for shape in layer.trained[:1] if len(shape.dim) == 1 + len(windows)]
    if not flat:
        return out
    weights: Shape = (param.num_output, *(w.kernel for w in windows))
    return Out(out.tops, (weights, *out.params[1:]), out.macs, out.views)


def depthwise_of(layer: LayerParameter, channels: int) -> tuple[int, int]:
    """Return (group, number of outputs) of a depthwise convolution on that many channels.

    ConvolutionDepthwise of farmingyard/caffe-mobilenet has as many outputs as channels, whatever num_output
    and group say; that of synopsys-caffe sets the group only. DepthwiseConvolution of yonghenglh6 and its
    successors, as in eric612/MobileNet-YOLO, follows the file; that of troyliu0105/caffe has no group.
    """
    p = layer.convolution_param
    trained = next((tuple(shape.dim) for shape in layer.trained), ())
    if layer.type == "DepthwiseConvolution" and p.HasField("group"):
        return p.group, p.num_output
    if len(trained) > 2 and layer.type == "DepthwiseConvolution" and trained[:2] == (p.num_output, channels):
        return (1, p.num_output) if channels > 1 else (channels, p.num_output)
    fits = p.num_output > 0 and p.num_output % channels == 0
    outputs = trained[0] if trained and trained[0] % channels == 0 else p.num_output if fits else channels
    return channels, outputs


@rule("BinaryConvolution", bottoms=(1, None), tops=(1, None), fork=True)
def _binary_convolution(layer: LayerParameter, bottoms: Shapes) -> Out:
    return TABLE["Convolution"].function(layer, bottoms)


@rule("BinaryInnerProduct", fork=True)
def _binary_inner_product(layer: LayerParameter, bottoms: Shapes) -> Out:
    return TABLE["InnerProduct"].function(layer, bottoms)
