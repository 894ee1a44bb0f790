"""Rules of the first and last layers of a net: inputs and data, losses and accuracy, object detection."""

from __future__ import annotations

import math
from collections.abc import Sequence

from caffe_viz.geometry.data_shapes import DataShapes, UnknownShapeError, told
from caffe_viz.geometry.detectors import need_boxes
from caffe_viz.geometry.receptive_fields import LayoutEffect, Shape
from caffe_viz.geometry.table import Out, Shapes, axis_of, legacy, need, rule, text
from caffe_viz.netdef import LayerParameter


def _per_top(values: Sequence[Shape], tops: int, name: str) -> Shapes:
    need(len(values) in (1, tops), f"give {name} once or once per top ({tops}), not {len(values)} times")
    return tuple(values) if len(values) == tops else tuple(values) * tops


@rule("Input", bottoms=0, tops=(1, None))
def _input(layer: LayerParameter, bottoms: Shapes) -> Out:
    shapes = [tuple(s.dim) for s in layer.input_param.shape]
    why = "no shape: add input_param { shape { dim: 1 dim: 3 dim: 227 dim: 227 } }"
    if not shapes:  # as of a caffemodel that tells the names of inputs alone
        why = f"layer {layer.name!r} (Input): {why}, or give it as --input {layer.top[0]}=1x3x227x227"
        raise UnknownShapeError(DataShapes((None,) * len(layer.top), why))
    need(all(shapes), why)
    return Out(_per_top(shapes, len(layer.top), "shape"))


@rule("Parameter", bottoms=0)
def _parameter(layer: LayerParameter, bottoms: Shapes) -> Out:
    shape = tuple(layer.parameter_param.shape.dim)
    return Out((shape,), (shape,))


@rule("DummyData", bottoms=0, tops=(1, None))
def _dummy_data(layer: LayerParameter, bottoms: Shapes) -> Out:
    param, tops = layer.dummy_data_param, len(layer.top)
    fillers = len(param.data_filler)
    need(
        fillers in (0, 1, tops), f"give data_filler never, once or once per top ({tops}), not {fillers} times"
    )
    old = [param.num, param.channels, param.height, param.width]
    if not any(old):
        return Out(_per_top([tuple(s.dim) for s in param.shape], tops, "shape"))
    need(not param.shape, "give shape, or num, channels, height and width, not both")
    names = ("num", "channels", "height", "width")
    columns = [_per_top([(v,) for v in values], tops, name) for values, name in zip(old, names, strict=True)]
    return Out(tuple(tuple(v for (v,) in dims) for dims in zip(*columns, strict=True)))


@rule("MemoryData", bottoms=0, tops=(1, 2))
def _memory_data(layer: LayerParameter, bottoms: Shapes) -> Out:
    """With sizes by name; in naibaf7/caffe with `dim`, and the labels are not needed."""
    p = layer.memory_data_param
    if any(unknown.name == "dim" for unknown in layer.unknown):
        return Out(told(layer).whole())
    need(len(layer.top) == 2, f"takes 2 tops, not {len(layer.top)}")
    shape = (p.batch_size, p.channels, p.height, p.width)
    need(min(shape) > 0, "memory_data_param needs batch_size, channels, height and width, at least 1")
    return Out((shape, (p.batch_size,)))


@rule("ImageData", "WindowData", bottoms=0, tops=2)
@rule("AnnotatedData", "Data", bottoms=0, tops=(1, 2))
@rule("VideoData", bottoms=0, tops=(1, 2), fork=True)
@rule("HDF5Data", bottoms=0, tops=(1, None))
def _stored(layer: LayerParameter, bottoms: Shapes) -> Out:
    """The shape stands in files of data, and often in what the layer makes of them."""
    found = told(layer)
    return Out(found.whole(), remark=found.remark)


@rule("HDF5Output", bottoms=2, tops=0)
def _hdf5_output(layer: LayerParameter, bottoms: Shapes) -> Out:
    data, label = bottoms
    need(data and label and data[0] == label[0], "both bottoms must have the same first dimension")
    return Out(())


_WHOLE = Out(((),), views=(LayoutEffect.WHOLE,))  # a scalar


def _flat(shape: Shape) -> bool:
    """Whether a blob is (N), (N, 1) or (N, 1, 1, 1)."""
    return legacy(shape)[1:] == (1, 1, 1)


def _loss(bottoms: Shapes) -> None:
    first, second = bottoms[:2]
    same = first and second and first[0] == second[0]
    need(same, f"both bottoms must have the same first dimension, not {text(first)} and {text(second)}")


def _labels(predictions: Shape, labels: Shape, axis: int) -> int:
    """The axis of the classes; there must be one label per prediction."""
    place = axis_of(predictions, axis)
    count = math.prod(predictions) // predictions[place]
    need(count == math.prod(labels), f"needs one label per prediction ({count}), not {math.prod(labels)}")
    return place


@rule("SoftmaxWithLossOHEM", bottoms=2, tops=(1, 3), automatic=True, fork=True)
@rule("SoftmaxWithLoss", bottoms=2, tops=(1, 3), automatic=True)
def _softmax_loss(layer: LayerParameter, bottoms: Shapes) -> Out:
    """The loss, the probabilities, and in forks the loss of each label."""
    _loss(bottoms)
    _labels(bottoms[0], bottoms[1], layer.softmax_param.axis)
    return Out(((), *bottoms)[: max(1, len(layer.top))], views=(LayoutEffect.WHOLE,))


@rule("EuclideanLoss", bottoms=2, automatic=True)
def _euclidean_loss(layer: LayerParameter, bottoms: Shapes) -> Out:
    _loss(bottoms)
    need(
        math.prod(bottoms[0][1:]) == math.prod(bottoms[1][1:]),
        "both bottoms must have equally many values per image",
    )
    return _WHOLE


@rule("SigmoidCrossEntropyLossWeighted", bottoms=3, automatic=True, fork=True)
@rule("SigmoidCrossEntropyBalanceLoss", bottoms=2, automatic=True, fork=True)
@rule("SigmoidCrossEntropyLoss", bottoms=2, automatic=True)
def _sigmoid_loss(layer: LayerParameter, bottoms: Shapes) -> Out:
    """Of values and labels, and in a fork weights."""
    _loss(bottoms)
    need(len(set(map(math.prod, bottoms))) == 1, "all bottoms must have equally many values")
    return _WHOLE


@rule("HingeLoss", bottoms=2, automatic=True)
def _hinge_loss(layer: LayerParameter, bottoms: Shapes) -> Out:
    _loss(bottoms)
    legacy(bottoms[0])
    return _WHOLE


@rule("MultinomialLogisticLoss", bottoms=2, automatic=True)
def _multinomial_loss(layer: LayerParameter, bottoms: Shapes) -> Out:
    _loss(bottoms)
    need(_flat(bottoms[1]), "the labels must be (N)")
    return _WHOLE


@rule("InfogainLoss", bottoms=(2, 3), automatic=True)
def _infogain_loss(layer: LayerParameter, bottoms: Shapes) -> Out:
    _loss(bottoms)
    need(_flat(bottoms[1]), "the labels must be (N)")
    classes = math.prod(legacy(bottoms[0])[1:])
    if len(bottoms) == 2:
        need(layer.infogain_loss_param.source, "needs a third bottom or infogain_loss_param { source }")
    else:
        need(
            legacy(bottoms[2]) == (1, 1, classes, classes),
            f"the third bottom must be {text((1, 1, classes, classes))}",
        )
    return _WHOLE


@rule("ContrastiveLoss", bottoms=3, automatic=True)
def _contrastive_loss(layer: LayerParameter, bottoms: Shapes) -> Out:
    _loss(bottoms)
    a, b = legacy(bottoms[0]), legacy(bottoms[1])
    need(a[1:] == b[1:] == (a[1], 1, 1), "the first two bottoms must be (N, C) of the same C")
    need(_flat(bottoms[2]), "the third bottom must be (N)")
    return _WHOLE


@rule("GeneralContrastiveLoss", bottoms=2, tops=(1, 2), automatic=True, fork=True)
def _general_contrastive_loss(layer: LayerParameter, bottoms: Shapes) -> Out:
    """Of distances (N, C) and labels (N): the loss, and the mean distances of both kinds (2)."""
    _loss(bottoms)
    need(_flat(bottoms[1]), "the labels must be (N)")
    return Out(((), (2,))[: max(1, len(layer.top))], views=(LayoutEffect.WHOLE,))


@rule("SmoothL1LossOHEM", bottoms=(2, 3), tops=(1, 2), automatic=True, fork=True)
@rule("SmoothL1Loss", bottoms=(2, 4), tops=(1, 2), automatic=True)
def _smooth_l1_loss(layer: LayerParameter, bottoms: Shapes) -> Out:
    """With weights within and around the loss, which Fast R-CNN has as third and fourth bottom.

    R-FCN has the loss of each place (N, 1, H, W) as second top.
    """
    _loss(bottoms)
    first, *others = [legacy(b)[1:] for b in bottoms]
    need(all(o == first for o in others), "all bottoms must have the same channels, height and width")
    places = (bottoms[0][0], 1, *first[1:])
    return Out(((), places)[: max(1, len(layer.top))], views=(LayoutEffect.WHOLE,))


@rule("Accuracy", bottoms=2, tops=(1, None))
def _accuracy(layer: LayerParameter, bottoms: Shapes) -> Out:
    param, (predictions, labels) = layer.accuracy_param, bottoms
    axis = _labels(predictions, labels, param.axis)
    classes = predictions[axis]
    need(param.top_k <= classes, f"top_k {param.top_k} is more than the {classes} classes")
    return Out(((), (classes,))[: len(layer.top)], views=(LayoutEffect.WHOLE,))


@rule("MultiBoxLoss", bottoms=4, automatic=True)
def _multi_box_loss(layer: LayerParameter, bottoms: Shapes) -> Out:
    param = layer.multibox_loss_param
    need(param.num_classes, "multibox_loss_param needs num_classes")
    _loss(bottoms)
    need_boxes(param.num_classes, param.share_location, bottoms)
    mined = param.mining_type != param.NONE
    need(param.share_location or not mined, "mining negatives needs share_location")
    soft = param.conf_loss_type == param.SOFTMAX
    need(
        not soft or param.background_label_id < param.num_classes,
        "background_label_id must be below num_classes",
    )
    return _WHOLE


@rule("Proposal", bottoms=(3, None), tops=(1, 2))
def _proposal(layer: LayerParameter, bottoms: Shapes) -> Out:
    need(bottoms[0], "the first bottom must have at least one axis")
    count = bottoms[0][0] * layer.proposal_param.post_nms_topn
    return Out(((count, 5), (count,))[: len(layer.top)], views=(LayoutEffect.LOST,))


@rule("PSROIPooling", bottoms=2)
def _psroi_pooling(layer: LayerParameter, bottoms: Shapes) -> Out:
    param, group = layer.psroi_pooling_param, layer.psroi_pooling_param.group_size
    need(
        param.output_dim > 0 and group > 0, "psroi_pooling_param needs output_dim and group_size, at least 1"
    )
    channels, want = legacy(bottoms[0])[1], param.output_dim * group**2
    need(channels == want, f"takes output_dim * group_size squared ({want}) channels, not {channels}")
    return Out(((legacy(bottoms[1])[0], param.output_dim, group, group),), views=(LayoutEffect.LOST,))
