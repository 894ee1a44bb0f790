"""What the build of Caffe knows about layer types: which exist, how many blobs each takes, what each cannot do.

Numbers are those that `Layer::CheckBlobCounts` enforces; where the build forgets to check (PriorBox,
DetectionEvaluate, Upsample, ...) the ones without which it reads past the end of an array.
"""

from __future__ import annotations

from typing import NamedTuple

MANY = 1 << 30


class Counts(NamedTuple):
    """How many bottoms and tops a layer takes, both ends included."""

    bottom_min: int
    bottom_max: int
    top_min: int
    top_max: int


_ONE = Counts(1, 1, 1, 1)
_LOSS = Counts(2, 2, 0, 1)  # a loss layer makes the tops it lacks by itself
_RECURRENT = Counts(2, MANY, 1, MANY)

COUNTS: dict[str, Counts] = {
    **dict.fromkeys(
        "AbsVal ArgMax BNLL BatchNorm BatchNormKyle BilinearInterpolate Dropout ELU Embed Exp Flatten HardSigmoid "
        "HardSwish Im2col InnerProduct LRN Log MVN Normalize PReLU Pad Permute Power ReLU ReLU6 Reduction Reshape "
        "Resize SPP Sigmoid Softmax TanH Threshold Tile Unsqueeze".split(),
        _ONE,
    ),
    **dict.fromkeys("EuclideanLoss HingeLoss MultinomialLogisticLoss SigmoidCrossEntropyLoss".split(), _LOSS),
    **dict.fromkeys(("PixelShuffle", "Upsample", "Proposal"), Counts(1, MANY, 1, MANY)),
    **dict.fromkeys(("Convolution", "Deconvolution"), Counts(1, MANY, 1, MANY)),
    **dict.fromkeys(("LSTM", "RNN"), _RECURRENT),
    **dict.fromkeys(("BatchReindex", "Crop", "MaxUnPool", "PSROIPooling"), Counts(2, 2, 1, 1)),
    **dict.fromkeys(("DetectionEvaluate", "PriorBox"), Counts(2, 2, 1, 1)),
    **dict.fromkeys(("Bias", "Scale"), Counts(1, 2, 1, 1)),
    **dict.fromkeys(("AnnotatedData", "DummyData", "HDF5Data", "Input"), Counts(0, 0, 1, MANY)),
    **dict.fromkeys(("Slice", "Split"), Counts(1, 1, 1, MANY)),
    "Accuracy": Counts(2, 2, 1, 2),
    "Concat": Counts(1, MANY, 1, 1),
    "ContrastiveLoss": Counts(3, 3, 0, 1),
    "Data": Counts(0, 0, 1, 2),
    "DetectionOutput": Counts(3, 4, 1, 1),
    "Eltwise": Counts(2, MANY, 1, 1),
    "Filter": Counts(2, MANY, 1, MANY),
    "HDF5Output": Counts(2, 2, 0, 0),
    "InfogainLoss": Counts(2, 3, 0, 1),
    "LSTMUnit": Counts(3, 3, 2, 2),
    "MemoryData": Counts(0, 0, 2, 2),
    "MultiBoxLoss": Counts(4, 4, 0, 1),
    "Parameter": Counts(0, 0, 1, 1),
    "Pooling": Counts(1, 1, 1, 2),
    "Silence": Counts(1, MANY, 0, 0),
    "SmoothL1Loss": Counts(2, 3, 0, 1),
    "SoftmaxWithLoss": Counts(2, 2, 0, 2),
}

# Types of Caffe that the build leaves out, and why.
NOT_BUILT = {
    "Python": "it would run the code of a Python module, and this Caffe is built without it",
    "ImageData": "this Caffe is built without OpenCV; use an Input layer",
    "WindowData": "this Caffe is built without OpenCV; use an Input layer",
    "VideoData": "this Caffe is built without OpenCV; use an Input layer",
    "Clip": "this Caffe is built without it",
    "BN": "this Caffe is built without it; BatchNorm and Scale do the same",
    "Swish": "this Caffe is built without it",
}
# Types that exist but end the process as soon as they are used here.
UNUSABLE = {
    "Data": "this Caffe is built without LMDB and LevelDB; use an Input layer",
    "AnnotatedData": "this Caffe is built without LMDB and LevelDB; use an Input layer",
    "MemoryData": "Caffe aborts on forward unless set_input_arrays was called before; use an Input layer",
}
# Types whose backward aborts if force_backward asks for the gradient of a bottom they have none for.
NO_BACKWARD = frozenset(
    "Accuracy ArgMax BatchReindex DetectionEvaluate DetectionOutput Embed Filter LSTMUnit MultiBoxLoss PSROIPooling "
    "Threshold".split()
)
# Types that abort if top and bottom are one blob, or read their input after they have overwritten it.
NOT_IN_PLACE = frozenset(
    "AbsVal Concat Convolution Crop Deconvolution Flatten Im2col InnerProduct LRN Pad Permute Pooling Reduction "
    "Reshape Resize Slice Split Tile Upsample".split()
)
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
