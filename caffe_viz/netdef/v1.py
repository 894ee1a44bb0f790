"""V1, ``layers { type: CONVOLUTION blobs_lr: 1 }``, to V2, as Caffe's util/upgrade_proto.cpp."""

from __future__ import annotations

import re

from google.protobuf.text_format import ParseError

from caffe_viz.errors import InputError, near
from caffe_viz.netdef.copying import assign, without_layers
from caffe_viz.netdef.crops import give_offsets
from caffe_viz.netdef.net_pb2 import LayerParameter, NetParameter, V1LayerParameter
from caffe_viz.netdef.syntax import explain_field
from caffe_viz.netdef.unknown import OLD_LAYERS, merge

# Where V2's name is not that of V1's enum in camel case; those of forks too.
IRREGULAR = {
    "ABSVAL": "AbsVal", "ARGMAX": "ArgMax", "BN": "BN", "BNLL": "BNLL", "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output", "IM2COL": "Im2col", "LRN": "LRN", "LSTM": "LSTM", "MVN": "MVN",
    "PRELU": "PReLU", "RELU": "ReLU", "ROI_POOLING": "ROIPooling", "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "TANH": "TanH", "UNPOOLING": "Unpooling",
}  # fmt: skip


def type_of(kind: str) -> str:
    """Return V2's name of V1's `kind`, of this Caffe or of a fork.

    >>> type_of("INNER_PRODUCT"), type_of("CONVOLUTION3D")
    ('InnerProduct', 'Convolution3D')
    """
    parts = (re.sub(r"(?<=\d)[a-z]", lambda m: m[0].upper(), part.capitalize()) for part in kind.split("_"))
    return IRREGULAR.get(kind) or "".join(parts)


TYPES = {
    kind: type_of(kind)
    for kind in V1LayerParameter.LayerType.keys()  # noqa: SIM118  an enum, which is no mapping
    if kind != "NONE"
}

# The same in both: bottom, top, blobs, include, loss_weight, convolution_param, ...
KEPT = (set(V1LayerParameter.DESCRIPTOR.fields_by_name) & set(LayerParameter.DESCRIPTOR.fields_by_name)) - {
    "type", "param", "unknown",
}  # fmt: skip
CROP = "type: CROP"
# One list per property of a layer's parameters became one ParamSpec per parameter.
SPECS = {
    "param": "name",
    "blob_share_mode": "share_mode",
    "blobs_lr": "lr_mult",
    "weight_decay": "decay_mult",
}

# What data layers carried themselves before transform_param was there.
TRANSFORM_FIELDS = ("scale", "mean_file", "crop_size", "mirror")
DATA_PARAMETERS = {
    V1LayerParameter.DATA: "data_param",
    V1LayerParameter.IMAGE_DATA: "image_data_param",
    V1LayerParameter.WINDOW_DATA: "window_data_param",
}


def from_v1(net: NetParameter, name: str, types_needed: bool) -> NetParameter:
    """Upgrade `net` to V2. Errors call it `name`.

    Raises:
        InputError: `layers` and `layer` are mixed, a layer has no type where `types_needed`, or a field that
            only V2 has is given wrongly.
    """
    if net.layer:
        raise InputError(
            f"{name} mixes old `layers` ({net.layers[0].name!r}) and new `layer` ({net.layer[0].name!r}); "
            f"Caffe takes one kind in a file: write all as `layer`."
        )
    out = without_layers(net)
    for index, old in enumerate(net.layers):
        new = out.layer.add()
        if kind := _type(old):
            new.type = kind
        elif types_needed:
            which = repr(old.name) if old.name else f"{index} (from 0, without a name)"
            raise InputError(f"{name}: layer {which} has no type.{near(old.name, TYPES)}")
        for field, value in old.ListFields():
            if field.name in KEPT:
                assign(new, field.name, value)
        _unknown(old, new, name)
        _param_specs(old, new)
        _move_transform(old, new)
    _cut(net, out)
    return out


def _cut(net: NetParameter, out: NetParameter) -> None:
    """Forks' CROP finds its own offset; if there is none, that is reported as unknown."""
    marks = {
        place: unknown
        for place, (old, new) in enumerate(zip(net.layers, out.layer, strict=True))
        for unknown in old.unknown
        if (unknown.name, unknown.text) == ("type", CROP) and not new.HasField("crop_param")
    }
    for place in give_offsets(out.layer, marks):
        line = marks[place].line
        out.layer[place].unknown.add(path="crop_param", name="offset", text="offset: ?", line=line)


def _type(old: V1LayerParameter) -> str:
    """V2's name of the layer's type, of whichever fork it is; nothing if there is none."""
    kind = V1LayerParameter.LayerType.Name(old.type)
    foreign = (x.text.partition(":")[2].strip() for x in old.unknown if (x.path, x.name) == ("", "type"))
    return TYPES.get(kind) or next(map(type_of, foreign), "")


def _unknown(old: V1LayerParameter, new: LayerParameter, name: str) -> None:
    """Fields that V1 does not know but V2 does become fields of V2; forks added such to both."""
    for unknown in old.unknown:
        if not unknown.path and unknown.name in LayerParameter.DESCRIPTOR.fields_by_name:
            # Real Caffe's old layers do not know it.
            new.unknown.append(unknown)
            new.unknown[-1].path = OLD_LAYERS
            if unknown.name not in KEPT and unknown.name != "type":
                try:
                    merge(unknown.text, new, line=unknown.line)
                except ParseError as error:
                    reason = explain_field(error, unknown.text, name, unknown.line, old.name)
                    raise InputError(reason) from None
        else:
            new.unknown.append(unknown)


def _param_specs(old: V1LayerParameter, new: LayerParameter) -> None:
    for field, target in SPECS.items():
        for index, value in enumerate(getattr(old, field)):
            if index == len(new.param):
                new.param.add()
            setattr(new.param[index], target, value)


def _move_transform(old: V1LayerParameter, new: LayerParameter) -> None:
    if old.type not in DATA_PARAMETERS:
        return
    data = getattr(new, DATA_PARAMETERS[old.type])
    for field in TRANSFORM_FIELDS:
        if data.HasField(field):
            setattr(new.transform_param, field, getattr(data, field))
            data.ClearField(field)
