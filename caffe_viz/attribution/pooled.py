"""Find nets that end in global average pooling and one linear layer: their maps have class weights."""

from __future__ import annotations

from typing import NoReturn

import numpy as np

from caffe_viz.attribution.targets import Array, Target
from caffe_viz.errors import InputError
from caffe_viz.geometry.pooling import pool_of
from caffe_viz.netdef import LayerParameter, net_pb2
from caffe_viz.probe import Probe

KEEPS_VALUES = ("Dropout", "Flatten", "Reshape")


def class_maps(probe: Probe, target: Target) -> str:
    """Return the blob whose maps give the score of `target` by global average pooling and one linear layer.

    Raises:
        InputError: The net does not end that way; says where.
    """
    return _end(probe, target)[0]


def class_weights(probe: Probe, target: Target) -> Array:
    """Return the weight (K,) of each of those maps."""
    blob, linear = _end(probe, target)
    if linear is None:
        return np.asarray(np.arange(probe.shape(blob)[0]) == target.index, np.float32)
    weights = np.array(probe.net.params[linear.name][0].data, np.float32)
    turned = linear.type == "InnerProduct" and linear.inner_product_param.transpose
    return np.ravel((weights.T if turned else weights)[target.index])


def _end(probe: Probe, target: Target) -> tuple[str, LayerParameter | None]:
    writers = {top: layer for layer in probe.layers() for top in layer.top}

    def writer(blob: str) -> LayerParameter:
        while writers[blob].type in KEEPS_VALUES:
            blob = writers[blob].bottom[0]
        return writers[blob]

    last = writer(target.blob)
    linear = None if last.type == "Pooling" else last
    if linear is not None:
        _need_linear(probe, target, linear)
    pool = last if linear is None else writer(linear.bottom[0])
    _need_global_average(probe, target, pool)
    return pool.bottom[0], linear


def _need_linear(probe: Probe, target: Target, layer: LayerParameter) -> None:
    if layer.type not in ("InnerProduct", "Convolution"):
        _refuse(target, layer, "is no linear layer")
    weights = probe.net.params[layer.name][0].shape
    if layer.type == "Convolution" and (tuple(weights)[2:] != (1, 1) or layer.convolution_param.group != 1):
        _refuse(target, layer, "is no convolution of 1 x 1")
    if int(np.prod(probe.shape(layer.top[0])[1:])) != 1:
        _refuse(target, layer, "gives maps, no single score")


def _need_global_average(probe: Probe, target: Target, layer: LayerParameter) -> None:
    if layer.type != "Pooling":
        _refuse(target, layer, "comes before it, where global average pooling should")
    p, maps = layer.pooling_param, probe.shape(layer.bottom[0])
    if p.pool != net_pb2.PoolingParameter.AVE:
        _refuse(target, layer, "takes no average")
    # Caffe's mean counts the padding too.
    padded = any(w.before or w.after for w in pool_of(layer, (1, *maps)).windows)
    if padded or probe.shape(layer.top[0])[1:] != (1, 1):
        _refuse(target, layer, f"does not pool the whole {maps[1]} x {maps[2]} maps")


def _refuse(target: Target, layer: LayerParameter, reason: str) -> NoReturn:
    raise InputError(
        f"{target}: CAM needs global average pooling and then one linear layer at most, but layer "
        f"{layer.name!r} ({layer.type}) {reason}: use grad-cam."
    )
