"""V0, ``layers { layer { name: "conv1" type: "conv" kernelsize: 3 } bottom: .. top: .. }``, to V1.

As Caffe's util/upgrade_proto.cpp: flat fields move into the parameter message of the layer's type, and a
padding layer is folded into the convolution or pooling that reads it.
"""

from __future__ import annotations

import warnings

from caffe_viz.errors import InputError, near
from caffe_viz.netdef.copying import assign, without_layers
from caffe_viz.netdef.net_pb2 import NetParameter, V1LayerParameter

# Where V1's enum name is not V0's in upper case.
IRREGULAR = {
    "conv": "CONVOLUTION", "images": "IMAGE_DATA", "innerproduct": "INNER_PRODUCT", "pool": "POOLING",
}  # fmt: skip
TYPES = IRREGULAR | {
    name: name.upper()
    for name in (
        "accuracy", "bnll", "concat", "data", "dropout", "euclidean_loss", "flatten", "hdf5_data",
        "hdf5_output", "im2col", "infogain_loss", "lrn", "multinomial_logistic_loss", "relu", "sigmoid",
        "softmax", "softmax_loss", "split", "tanh", "window_data",
    )
}  # fmt: skip
PADDING = "padding"
PADDED = ("conv", "pool")

CONV, IP, POOL = "convolution_param", "inner_product_param", "pooling_param"
DATA, IMAGES, WINDOWS = "data_param", "image_data_param", "window_data_param"
ANY = "*"  # of whatever type the layer is
# A flat field -> the types that have it -> message and new name, where the name changed.
FIELDS: dict[str, dict[str, str]] = {
    "blobs": {ANY: ""},
    "blobs_lr": {ANY: ""},
    "weight_decay": {ANY: ""},
    "num_output": {"conv": CONV, "innerproduct": IP},
    "biasterm": {"conv": f"{CONV}.bias_term", "innerproduct": f"{IP}.bias_term"},
    "weight_filler": {"conv": CONV, "innerproduct": IP},
    "bias_filler": {"conv": CONV, "innerproduct": IP},
    "pad": {"conv": CONV, "pool": POOL},
    "kernelsize": {"conv": f"{CONV}.kernel_size", "pool": f"{POOL}.kernel_size"},
    "group": {"conv": CONV},
    "stride": {"conv": CONV, "pool": POOL},
    "pool": {"pool": POOL},  # both enums number their values alike
    "dropout_ratio": {"dropout": "dropout_param"},
    "local_size": {"lrn": "lrn_param"},
    "alpha": {"lrn": "lrn_param"},
    "beta": {"lrn": "lrn_param"},
    "k": {"lrn": "lrn_param"},
    "source": {
        "data": DATA, "hdf5_data": "hdf5_data_param", "images": IMAGES, "window_data": WINDOWS,
        "infogain_loss": "infogain_loss_param",
    },
    "scale": {ANY: "transform_param"},
    "meanfile": {ANY: "transform_param.mean_file"},
    "cropsize": {ANY: "transform_param.crop_size"},
    "mirror": {ANY: "transform_param"},
    "batchsize": {
        "data": f"{DATA}.batch_size", "hdf5_data": "hdf5_data_param.batch_size",
        "images": f"{IMAGES}.batch_size", "window_data": f"{WINDOWS}.batch_size",
    },
    "rand_skip": {"data": DATA, "images": IMAGES},
    "shuffle_images": {"images": f"{IMAGES}.shuffle"},
    "new_height": {"images": IMAGES},
    "new_width": {"images": IMAGES},
    "concat_dim": {"concat": "concat_param"},
    "det_fg_threshold": {"window_data": f"{WINDOWS}.fg_threshold"},
    "det_bg_threshold": {"window_data": f"{WINDOWS}.bg_threshold"},
    "det_fg_fraction": {"window_data": f"{WINDOWS}.fg_fraction"},
    "det_context_pad": {"window_data": f"{WINDOWS}.context_pad"},
    "det_crop_mode": {"window_data": f"{WINDOWS}.crop_mode"},
    "hdf5_output_param": {"hdf5_output": ""},
}  # fmt: skip
DROPPED = ("name", "type", "new_num", "new_channels")  # the last two: read by no Caffe


def from_v0(net: NetParameter, name: str) -> NetParameter:
    """Upgrade `net` to V1. Errors call it `name`.

    Raises:
        InputError: A type is unknown, or a padding layer is read by a layer that cannot pad.
    """
    out = without_layers(net)
    # Which layer made the blob last: in-place layers make it anew.
    makers: dict[str, V1LayerParameter | None] = dict.fromkeys(net.input)
    for old in net.layers:
        padding = _padding_of(old, makers, name)
        if old.layer.type != PADDING:
            _convert(old, padding, out.layers.add(), name)
        makers.update(dict.fromkeys(old.top, old))
    return out


def _padding_of(
    old: V1LayerParameter, makers: dict[str, V1LayerParameter | None], name: str
) -> V1LayerParameter | None:
    """The padding layer whose top `old` reads, if it reads one."""
    place = f"{name}: layer {old.layer.name!r}"
    for bottom in old.bottom:
        if bottom not in makers:
            raise InputError(
                f"{place} reads blob {bottom!r}, which no layer before it makes.{near(bottom, makers)}"
            )
        maker = makers[bottom]
        if maker is None or maker.layer.type != PADDING:
            continue
        if old.layer.type not in PADDED:
            raise InputError(
                f"{place} of type {old.layer.type!r} reads padding layer {maker.layer.name!r}; only conv and "
                f"pool can pad."
            )
        if not len(old.bottom) == len(maker.bottom) == len(maker.top) == 1:
            raise InputError(
                f"{place} and padding layer {maker.layer.name!r} must have one bottom each, and the padding "
                f"one top."
            )
        return maker
    return None


def _convert(
    old: V1LayerParameter, padding: V1LayerParameter | None, new: V1LayerParameter, name: str
) -> None:
    v0 = old.layer
    if v0.HasField("type") and v0.type not in TYPES:
        raise InputError(f"{name}: layer {v0.name!r} has unknown type {v0.type!r}.{near(v0.type, TYPES)}")
    if v0.HasField("name"):
        new.name = v0.name
    if v0.HasField("type"):
        assign(new, "type", V1LayerParameter.LayerType.Value(TYPES[v0.type]))
    for unknown in old.unknown:
        new.unknown.append(unknown)
        new.unknown[-1].path = unknown.path.removeprefix("layer").removeprefix(".")
    new.top.extend(old.top)
    new.bottom.extend(old.bottom if padding is None else padding.bottom)
    values = {field.name: value for field, value in v0.ListFields() if field.name not in DROPPED}
    if padding is not None:
        values["pad"] = padding.layer.pad
    for field, value in values.items():
        targets = FIELDS[field]
        target = targets.get(v0.type, targets.get(ANY))
        if target is None:
            warnings.warn(
                f"{name}: layer {v0.name!r} of type {v0.type!r} has no {field}; Caffe ignores it.",
                stacklevel=2,
            )
            continue
        message, _, renamed = target.partition(".")
        assign(getattr(new, message) if message else new, renamed or field, value)
