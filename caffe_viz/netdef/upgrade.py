"""Upgrade old syntax to V2, in the order and by the rules of Caffe's util/upgrade_proto.cpp."""

from __future__ import annotations

import warnings

from caffe_viz.errors import InputError
from caffe_viz.netdef.copying import without_layers
from caffe_viz.netdef.net_pb2 import BlobShape, NetParameter
from caffe_viz.netdef.v0 import from_v0
from caffe_viz.netdef.v1 import from_v1

INPUT_AXES = 4  # of a header's input_dim
OLD_BATCH_NORM_PARAMS = 3


def upgrade(net: NetParameter, name: str, *, weights: bool = False) -> NetParameter:
    """Upgrade `net` to V2: only `layer`, and inputs as an Input layer. It may be `net` itself, changed.

    Errors call it `name`. A file of `weights` need not have input shapes and types.

    Raises:
        InputError: Caffe would refuse the file.
    """
    if any(layer.HasField("layer") for layer in net.layers):
        net = from_v0(net, name)
    if net.layers:
        net = from_v1(net, name, types_needed=not weights)
    if net.input:
        net = _input_layer(net, name, weights)
    _freeze_batch_norm(net)
    return net


def _input_layer(net: NetParameter, name: str, weights: bool) -> NetParameter:
    """The header ``input: "data" input_dim: 1 ...`` as one Input layer at the front."""
    out = without_layers(net)
    for field in ("input", "input_dim", "input_shape"):
        out.ClearField(field)
    shapes = _input_shapes(net, name)
    if shapes:
        layer = out.layer.add(name="input", type="Input", top=list(net.input))
        layer.input_param.shape.extend(shapes)
    elif not weights:
        _refuse_without_shape(net, name)
    out.layer.extend(net.layer)
    return out


def _input_shapes(net: NetParameter, name: str) -> list[BlobShape]:
    """One shape an input, or none at all: old caffemodels name their inputs only."""
    count = len(net.input)
    if net.input_shape:
        field, given, wanted, shapes = "input_shape", len(net.input_shape), count, list(net.input_shape)
    else:
        dims = list(net.input_dim)
        field, given, wanted = "input_dim", len(dims), count * INPUT_AXES
        shapes = [BlobShape(dim=dims[i : i + INPUT_AXES]) for i in range(0, len(dims), INPUT_AXES)]
    message = f"{name}: {count} input need {wanted} {field}, but there are {given}"
    if 0 < given < wanted:
        raise InputError(f"{message}. Other than 4 axes: give each an input_shape {{ dim: .. }}.")
    if given > wanted:
        warnings.warn(f"{message}; the last ones are ignored, as in Caffe.", stacklevel=2)
    return shapes[:count]


def _refuse_without_shape(net: NetParameter, name: str) -> None:
    made = {top for layer in net.layer for top in layer.top}
    for layer in net.layer:
        for bottom in layer.bottom:
            if bottom in net.input and bottom not in made:
                raise InputError(
                    f"{name}: input {bottom!r}, which layer {layer.name!r} reads, has no shape: give it "
                    f"input_shape {{ dim: .. }}."
                )


def _freeze_batch_norm(net: NetParameter) -> None:
    """Old files gave BatchNorm's three statistics learning rates, but they are not learned.

    As BVLC Caffe 1.0, which sets the rates to 0; builds of other commits drop the three `param` instead.
    """
    for layer in net.layer:
        if layer.type == "BatchNorm" and len(layer.param) == OLD_BATCH_NORM_PARAMS:
            for spec in layer.param:
                spec.lr_mult = spec.decay_mult = 0
