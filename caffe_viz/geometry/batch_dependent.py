"""Layers whose result for an image depends on the other images of its batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from caffe_viz.geometry.batch_norms import mixes_images
from caffe_viz.geometry.receptive_fields import Shape
from caffe_viz.netdef import LayerParameter

RECURRENT = frozenset({"LSTM", "RNN", "Lstm", "LstmSimple", "LstmAttention"})
"""Types whose first axis is time; their second bottom says where a sequence goes on (1) or begins (0)."""

Test = Callable[[LayerParameter, Shape], bool]


def _always(layer: LayerParameter, shape: Shape) -> bool:
    return True


def _from_the_first(axis: int, shape: Shape) -> bool:
    """Whether `axis` is the first one, that of the batch."""
    return axis in (0, -len(shape))


# Type -> whether it mixes, by its settings and the shape of its first bottom.
_TESTS: Mapping[str, Test] = {
    **dict.fromkeys(RECURRENT | {"LSTMUnit"}, _always),
    # They look images up by their number in the batch.
    **dict.fromkeys(("BatchReindex", "Filter", "MaskPooling", "MultiROIPooling", "PSROIAlign"), _always),
    **dict.fromkeys(("PSROIPooling", "Proposal", "ROIAlign", "ROIAlignment", "ROIPooling"), _always),
    **dict.fromkeys(("ROIWarping", "RegionPooling"), _always),
    "Python": _always,  # code of the user's
    # Their parameters are as many as the images.
    "Bias": lambda layer, shape: len(layer.bottom) == 1 and _from_the_first(layer.bias_param.axis, shape),
    "InnerProduct": lambda layer, shape: _from_the_first(layer.inner_product_param.axis, shape),
    "Scale": lambda layer, shape: len(layer.bottom) == 1 and _from_the_first(layer.scale_param.axis, shape),
    "Permute": lambda layer, shape: list(layer.permute_param.order[:1]) not in ([], [0]),
    "Reverse": lambda layer, shape: any(
        _from_the_first(axis, shape) for axis in layer.reverse_param.axis or [0]
    ),
    "Softmax": lambda layer, shape: _from_the_first(layer.softmax_param.axis, shape),
    "Transpose": lambda layer, shape: list(layer.transpose_param.dim[:1]) not in ([], [0]),
}


def mixes(layer: LayerParameter, shape: Shape) -> bool:
    """Whether the result of `layer` for an image in TEST depends on the other images, or on its place.

    `shape` is that of its first bottom. Layers that change the first axis are not considered here.
    """
    test = _TESTS.get(layer.type)
    return mixes_images(layer) if test is None else test(layer, shape)
