"""Rules of fork layers that subtract a mean, or divide by a deviation or a norm."""

from __future__ import annotations

import math

from caffe_viz.geometry.receptive_fields import SAME, LayoutEffect, Shape, window
from caffe_viz.geometry.table import Out, Shapes, axis_of, four_axes, legacy, need, rule
from caffe_viz.netdef import LayerParameter

# Fields of bn_param that only one meaning of BN has.
_MARKS = {
    "segnet": ("bn_mode",),
    "pspnet": ("slope_filler", "bias_filler", "momentum", "eps", "frozen", "icnet", "engine"),
    "caffe-windows": ("var_eps", "moving_average", "decay"),
}
_BLOBS = {"segnet": 2, "pspnet": 4, "caffe-windows": 4}


def bn_meaning(layer: LayerParameter) -> str:
    """Return the kind of BN: "segnet" (also ENet, DeconvNet), "pspnet" (also ICNet, TSN) or "caffe-windows".

    SegNet's has a scale and a shift, and either does only that or uses the statistics of the batch. The
    others also have mean and variance; caffe-windows names their fields differently.
    """
    param, trained = layer.bn_param, len(layer.trained)
    if layer.variant:
        need(layer.variant in _BLOBS, f"BN of {layer.variant!r}: give one of {', '.join(_BLOBS)}")
        return layer.variant
    for meaning, fields in _MARKS.items():
        if any(map(param.HasField, fields)):
            return meaning
    if param.HasField("scale_filler") or param.HasField("shift_filler"):
        return "caffe-windows" if trained == _BLOBS["caffe-windows"] else "segnet"
    return "segnet" if trained == _BLOBS["segnet"] else "pspnet"


def bn_uses_batch(layer: LayerParameter, train: bool) -> bool:
    """Whether a BN uses the statistics of the current batch."""
    param, meaning = layer.bn_param, bn_meaning(layer)
    if meaning == "segnet":
        return bool(param.bn_mode == param.LEARN)
    if meaning == "pspnet":
        return train and not param.frozen
    return train or not param.moving_average


def mixes_images(layer: LayerParameter) -> bool:
    """Whether the result of a layer for an image in TEST depends on the other images of the batch."""
    if layer.type == "BN":
        return bn_uses_batch(layer, train=False)
    param = layer.batch_norm_param
    return (
        layer.type.startswith("BatchNorm")
        and param.HasField("use_global_stats")
        and not param.use_global_stats
    )


@rule("BN", tops=(1, 3), fork=True)
def _bn(layer: LayerParameter, bottoms: Shapes) -> Out:
    """Further tops are mean and variance of the batch."""
    shape, meaning = _with_channels(bottoms[0]), bn_meaning(layer)
    need(meaning == "segnet" or len(layer.top) == 1, "only SegNet's BN has more than one top: remove them")
    channels = (1, shape[1], 1, 1)
    view = LayoutEffect.WHOLE if bn_uses_batch(layer, train=False) else SAME
    tops = (shape, *[channels] * (len(layer.top) - 1))
    return Out(tops, (channels,) * _BLOBS[meaning], views=(view,) * len(tops))


@rule("GroupNorm", fork=True)
def _group_norm(layer: LayerParameter, bottoms: Shapes) -> Out:
    shape, groups = _with_channels(bottoms[0]), layer.group_norm_param.group_num
    need(groups > 0 and shape[1] % groups == 0, f"{shape[1]} channels do not divide into {groups} groups")
    return Out((shape,), views=(LayoutEffect.WHOLE,))


@rule("LayerNorm", fork=True)
def _layer_norm(layer: LayerParameter, bottoms: Shapes) -> Out:
    """A gain and an offset for each value of an image."""
    own = _with_channels(bottoms[0])[1:]
    params = (own, own) if layer.layer_norm_param.elementwise_affine else ()
    return Out(bottoms, params, views=(LayoutEffect.WHOLE,))


@rule("L2Norm", fork=True)
def _l2_norm(layer: LayerParameter, bottoms: Shapes) -> Out:
    need(bottoms[0], "takes a blob of at least one axis")
    return Out(bottoms, views=(LayoutEffect.WHOLE,))


def own_factors(layer: LayerParameter) -> int:
    """How many of scale and shift BatchNorm has itself, as in NVIDIA/caffe and intel/caffe: 0, 1 or 2."""
    p, trained = layer.batch_norm_param, len(layer.trained)
    if trained:
        return min(max(trained - 3, 0), 2)
    if p.scale_bias or p.HasField("scale_filler"):
        return 2
    asked = p.use_weight_bias and (p.HasField("filler") or p.HasField("use_weight_bias"))
    return 1 + p.bias_term if asked else 0


def normalizes_by_type(layer: LayerParameter) -> bool:
    """Whether a Normalize layer is that of caffe-windows: without parameters, each pixel by itself."""
    told = layer.HasField("normalize_param") or layer.softmax_param.HasField("normalize_type")
    return told or len(layer.top) == 2


def norm_type(layer: LayerParameter) -> str:
    """Return L1 or L2; forks have the field in two different messages."""
    elder = layer.softmax_param.HasField("normalize_type")
    given = layer.softmax_param if elder else layer.normalize_param
    need(given.normalize_type in ("L1", "L2"), f"normalize_type {given.normalize_type!r}: give L1 or L2")
    return str(given.normalize_type)


def by_type(layer: LayerParameter, bottoms: Shapes) -> Out:
    """Of a Normalize layer of caffe-windows: values of norm 1, and the norms."""
    norm_type(layer)
    n, c, h, w = legacy(bottoms[0])
    return Out(((n, c, h, w), (n, 1, h, w))[: len(layer.top)])


@rule("InnerDistance", bottoms=(1, 3), fork=True)
def _inner_distance(layer: LayerParameter, bottoms: Shapes) -> Out:
    """Distances to rows of weights, or of a second bottom; older versions have a bias, too."""
    p, shape = layer.inner_distance_param, bottoms[0]
    axis = axis_of(shape, p.axis)
    need(p.distance_type in ("L1", "L2"), f"distance_type {p.distance_type!r}: give L1 or L2")
    need(not p.transpose, "transpose is not computed by its fork either: remove it")
    count = distance_params(layer)
    given = count == 0
    need(given or p.num_output > 0, "inner_distance_param needs num_output, at least 1")
    inputs = math.prod(shape[axis:])
    need(
        not given or (bottoms[1] and math.prod(bottoms[1][1:]) == inputs),
        f"rows of the second bottom must have {inputs} values, as the first bottom from axis {axis} on",
    )
    outputs = bottoms[1][0] if given else p.num_output
    params = ((outputs, inputs), (outputs,))[:count]
    macs = math.prod(shape[:axis]) * inputs * outputs
    return Out(((*shape[:axis], outputs),), params, macs, (LayoutEffect.WHOLE,), sees=1)


def distance_params(layer: LayerParameter) -> int:
    """How many parameters InnerDistance has: none if the weights are a bottom (the last may be labels)."""
    p, trained = layer.inner_distance_param, len(layer.trained)
    if len(layer.bottom) - p.update_center_only > 1:
        return 0
    return min(trained, 2) or (2 if p.bias_term and p.HasField("bias_filler") else 1)


@rule("DenseBlock", fork=True)
def _dense_block(layer: LayerParameter, bottoms: Shapes) -> Out:
    """Steps that each add growthRate channels; initChannel is not read."""
    p, (n, c, h, w) = layer.denseblock_param, four_axes(bottoms[0])
    steps, rate = p.numTransition, p.growthRate
    need(steps > 0 and rate > 0, "denseblock_param needs numTransition and growthRate, at least 1")
    wide = [c + i * rate for i in range(steps)]
    kernels: list[Shape] = [(rate, 4 * rate if p.use_BC else size, 3, 3) for size in wide]
    params = kernels + [(1, size, 1, 1) for _ in range(4) for size in wide]
    macs = n * h * w * sum(math.prod(shape) for shape in kernels)
    if p.use_BC:
        params += [(4 * rate, size, 1, 1) for size in wide] + [(1, 4 * rate, 1, 1)] * (4 * steps)
        macs += n * h * w * sum(4 * rate * size for size in wide)
    view = window((2 * steps + 1,) * 2, (1, 1), (-steps, -steps))
    return Out(((n, c + steps * rate, h, w),), (*params, (1,)), macs, (view,))


def _with_channels(shape: Shape) -> Shape:
    need(len(shape) >= 2, "takes a blob of at least 2 axes (N, C)")
    return shape
