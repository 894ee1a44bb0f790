"""Families of layer types, and the colours of a drawing."""

from __future__ import annotations

_FAMILIES = {
    "data": "AnnotatedData ContinuationIndicator Data DummyData HDF5Data ImageData Input MemoryData "
    "Parameter VideoData WindowData",
    "convolution": "BinaryConvolution Convolution Convolution3D ConvolutionDepthwise Deconvolution "
    "Deconvolution3D DenseBlock DepthwiseConvolution Im2col",
    "inner product": "BinaryInnerProduct Embed InnerDistance InnerProduct LSTM LSTMUnit Lstm LstmAttention "
    "LstmSimple RNN",
    "pooling": "AttPooling MaskPooling MaxUnPool MultiROIPooling PSROIAlign PSROIPooling Pooling "
    "Pooling3D PoolingND PwAttend ROIAlign ROIAlignment ROIPooling ROIWarping RegionPooling SPP UnPooling "
    "Unpooling",
    "activation": "AbsVal BNLL BReLU Clip ELU Exp HardSigmoid HardSwish Insanity Log Mish PReLU Power "
    "Quant ReLU ReLU6 SeLU Sigmoid Swish TanH Threshold",
    "normalisation": "BN BatchNorm BatchNormKyle Bias ChannelScale Dropout GroupNorm L2Norm LRN LayerNorm "
    "MVN Normalize Scale",
    "join": "Add Axpy BatchReindex Combination Concat Crop Eltwise Filter HyperColumns Mul Slice",
    "output or loss": "Accuracy ArgMax BoxGroupOutput BoxOutput CTCGreedyDecoder CTCLoss ContrastiveLoss "
    "CtcLoss DetectionEvaluate DetectionOutput EuclideanLoss EvalDetection GaussianYolov3 "
    "GeneralContrastiveLoss HingeLoss InfogainLoss MultiBoxLoss MultinomialLogisticLoss Region RegionLoss "
    "SigmoidCrossEntropyBalanceLoss SigmoidCrossEntropyLoss SigmoidCrossEntropyLossWeighted SmoothL1Loss "
    "SmoothL1LossOHEM Softmax SoftmaxWithLoss SoftmaxWithLossOHEM WarpCTCLoss YoloDetectionOutput Yolov3 "
    "Yolov3DetectionOutput",
}
_FAMILY = {kind: family for family, kinds in _FAMILIES.items() for kind in kinds.split()}

# Name -> (in light, in dark mode); the text of a mode is readable on each fill of that mode.
COLOURS = {
    "data": ("#e1e5ec", "#3a424f"),
    "convolution": ("#cbdffc", "#1e4178"),
    "inner product": ("#ddd3fb", "#48357c"),
    "pooling": ("#ffd8bd", "#6b3b1d"),
    "activation": ("#ccedcf", "#1f5231"),
    "normalisation": ("#fbedab", "#584a11"),
    "join": ("#bfecec", "#14545c"),
    "output or loss": ("#fbd0da", "#70263b"),
    "other": ("#e8e3d8", "#4b453b"),
    "unknown": ("#ffb9ad", "#8a2a1c"),
    "module": ("#f3f5f8", "#20262f"),
    "canvas": ("#ffffff", "#14181f"),
    "text": ("#14181f", "#f3f5f8"),
    "dim": ("#3f4753", "#c9d0da"),
    "line": ("#66707f", "#98a2b1"),
}
FILLS = [name for name in COLOURS if name not in ("text", "dim", "line")]


def family(kind: str, known: bool = True) -> str:
    """Return the family of a layer type: `other` if the table lacks it, `unknown` if the type is unknown."""
    if not known:
        return "unknown"
    return _FAMILY.get(kind, "output or loss" if kind.endswith("Loss") else "other")
