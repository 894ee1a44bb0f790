"""What layer types cannot do in the CPU build of Caffe, apart from shapes, which `geometry` knows."""

from __future__ import annotations

_MADE = "--input data=1x3x227x227 or `caffe-viz deploy` makes of it"
_NO_OPENCV = f"this Caffe is built without OpenCV; use an Input layer, which {_MADE}"
_NO_DATABASE = f"this Caffe is built without LMDB and LevelDB; use an Input layer, which {_MADE}"
# Types that the build lacks, or that end the process as soon as they are made or used here; and why.
UNUSABLE = {
    "AnnotatedData": _NO_DATABASE,
    "Data": _NO_DATABASE,
    "ImageData": _NO_OPENCV,
    "PSROIPooling": "Caffe has no CPU code for it: forward aborts",
    "Python": "this Caffe is built without layers in Python",
    "VideoData": _NO_OPENCV,
    "WindowData": _NO_OPENCV,
}
# Those of them that the embedded engine has.
EMBEDDED = {"ImageData", "PSROIPooling", "Python"}
# Types whose backward aborts if force_backward asks for the gradient of a bottom they have none for.
NO_BACKWARD = {
    "Accuracy",
    "ArgMax",
    "BatchReindex",
    "DetectionEvaluate",
    "DetectionOutput",
    "Embed",
    "Filter",
    "LSTMUnit",
    "MultiBoxLoss",
    "PSROIPooling",
    "Threshold",
}
# Types that look for an engine, and the field where they look.
ENGINES = {
    "Convolution": "convolution_param",
    "LRN": "lrn_param",
    "Pooling": "pooling_param",
    "ReLU": "relu_param",
    "Sigmoid": "sigmoid_param",
    "Softmax": "softmax_param",
    "TanH": "tanh_param",
}
FILLERS = ("constant", "gaussian", "positive_unitball", "uniform", "xavier", "msra", "bilinear")
