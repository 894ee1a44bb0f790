"""Old syntax to V2, as Caffe's util/upgrade_proto.cpp does it when it loads a file.

V0: ``layers { layer { name type ... } }``; V1: ``layers { type: CONVOLUTION }``; and headers
``input: "data" input_dim: 1 ...`` in place of an Input layer.
"""

from __future__ import annotations

from typing import Any

from caffe_viz.errors import InputError, near
from caffe_viz.netdef.net_pb2 import (
    LayerParameter,
    NetParameter,
    ParamSpec,
    PoolingParameter,
    V0LayerParameter,
    V1LayerParameter,
)

# V1's upper-case names that are not their V2 name without underscores.
V1_TYPES = {
    "ABSVAL": "AbsVal", "ACCURACY": "Accuracy", "ARGMAX": "ArgMax", "BNLL": "BNLL", "CONCAT": "Concat",
    "CONTRASTIVE_LOSS": "ContrastiveLoss", "CONVOLUTION": "Convolution", "DECONVOLUTION": "Deconvolution",
    "DATA": "Data", "DROPOUT": "Dropout", "DUMMY_DATA": "DummyData", "EUCLIDEAN_LOSS": "EuclideanLoss",
    "ELTWISE": "Eltwise", "EXP": "Exp", "FLATTEN": "Flatten", "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output", "HINGE_LOSS": "HingeLoss", "IM2COL": "Im2col", "IMAGE_DATA": "ImageData",
    "INFOGAIN_LOSS": "InfogainLoss", "INNER_PRODUCT": "InnerProduct", "LRN": "LRN",
    "MEMORY_DATA": "MemoryData", "MULTINOMIAL_LOGISTIC_LOSS": "MultinomialLogisticLoss", "MVN": "MVN",
    "POOLING": "Pooling", "POWER": "Power", "RELU": "ReLU", "SIGMOID": "Sigmoid",
    "SIGMOID_CROSS_ENTROPY_LOSS": "SigmoidCrossEntropyLoss", "SILENCE": "Silence", "SLICE": "Slice",
    "SOFTMAX": "Softmax", "SOFTMAX_LOSS": "SoftmaxWithLoss", "SPLIT": "Split", "TANH": "TanH",
    "THRESHOLD": "Threshold", "WINDOW_DATA": "WindowData",
}  # fmt: skip

V0_TYPES = {
    "accuracy": "ACCURACY", "bnll": "BNLL", "concat": "CONCAT", "conv": "CONVOLUTION", "data": "DATA",
    "dropout": "DROPOUT", "euclidean_loss": "EUCLIDEAN_LOSS", "flatten": "FLATTEN", "hdf5_data": "HDF5_DATA",
    "hdf5_output": "HDF5_OUTPUT", "im2col": "IM2COL", "images": "IMAGE_DATA",
    "infogain_loss": "INFOGAIN_LOSS",
    "innerproduct": "INNER_PRODUCT", "lrn": "LRN", "multinomial_logistic_loss": "MULTINOMIAL_LOGISTIC_LOSS",
    "pool": "POOLING", "relu": "RELU", "sigmoid": "SIGMOID", "softmax": "SOFTMAX",
    "softmax_loss": "SOFTMAX_LOSS", "split": "SPLIT", "tanh": "TANH", "window_data": "WINDOW_DATA",
}  # fmt: skip

# V0's flat fields: field -> for each V0 type, where it went in V1. A repeated target takes one value.
V0_FIELDS: dict[str, dict[str, str]] = {
    "num_output": {"conv": "convolution_param", "innerproduct": "inner_product_param"},
    "biasterm": {"conv": "convolution_param.bias_term", "innerproduct": "inner_product_param.bias_term"},
    "weight_filler": {"conv": "convolution_param", "innerproduct": "inner_product_param"},
    "bias_filler": {"conv": "convolution_param", "innerproduct": "inner_product_param"},
    "pad": {"conv": "convolution_param", "pool": "pooling_param"},
    "kernelsize": {"conv": "convolution_param.kernel_size", "pool": "pooling_param.kernel_size"},
    "group": {"conv": "convolution_param"},
    "stride": {"conv": "convolution_param", "pool": "pooling_param"},
    "pool": {"pool": "pooling_param"},
    "dropout_ratio": {"dropout": "dropout_param"},
    "local_size": {"lrn": "lrn_param"},
    "alpha": {"lrn": "lrn_param"},
    "beta": {"lrn": "lrn_param"},
    "k": {"lrn": "lrn_param"},
    "source": {
        "data": "data_param", "hdf5_data": "hdf5_data_param", "images": "image_data_param",
        "window_data": "window_data_param", "infogain_loss": "infogain_loss_param",
    },
    "scale": dict.fromkeys(("data", "images", "window_data"), "transform_param"),
    "meanfile": dict.fromkeys(("data", "images", "window_data"), "transform_param.mean_file"),
    "cropsize": dict.fromkeys(("data", "images", "window_data"), "transform_param.crop_size"),
    "mirror": dict.fromkeys(("data", "images", "window_data"), "transform_param"),
    "batchsize": {
        "data": "data_param.batch_size", "hdf5_data": "hdf5_data_param.batch_size",
        "images": "image_data_param.batch_size", "window_data": "window_data_param.batch_size",
    },
    "rand_skip": {"data": "data_param", "images": "image_data_param"},
    "shuffle_images": {"images": "image_data_param.shuffle"},
    "new_height": {"images": "image_data_param"},
    "new_width": {"images": "image_data_param"},
    "concat_dim": {"concat": "concat_param"},
    "det_fg_threshold": {"window_data": "window_data_param.fg_threshold"},
    "det_bg_threshold": {"window_data": "window_data_param.bg_threshold"},
    "det_fg_fraction": {"window_data": "window_data_param.fg_fraction"},
    "det_context_pad": {"window_data": "window_data_param.context_pad"},
    "det_crop_mode": {"window_data": "window_data_param.crop_mode"},
}  # fmt: skip

# Fields that data layers carried themselves before transform_param was there.
TRANSFORM_FIELDS = ("scale", "mean_file", "crop_size", "mirror")
DATA_PARAMETERS = {"Data": "data_param", "ImageData": "image_data_param", "WindowData": "window_data_param"}
SHARE_MODES = {V1LayerParameter.STRICT: ParamSpec.STRICT, V1LayerParameter.PERMISSIVE: ParamSpec.PERMISSIVE}


def upgrade(net: NetParameter, name: str) -> NetParameter:
    """`net` as V2: `layer` only, inputs as Input layers. `name` of the file stands in the errors."""
    if len(net.layers) and len(net.layer):
        raise InputError(f"{name} mixes old `layers` and new `layer`; Caffe takes one kind in a file.")
    if any(layer.HasField("layer") for layer in net.layers):
        net = _from_v0(net, name)
    if len(net.layers):
        net = _from_v1(net, name)
    for layer in net.layer:
        _move_transform(layer)
        _freeze_batch_norm(layer)
    return _input_header(net, name)


def _from_v0(net: NetParameter, name: str) -> NetParameter:
    pads = {top: old for old in net.layers if old.layer.type == "padding" for top in old.top}
    out = _without_layers(net)
    for old in net.layers:
        if old.layer.type != "padding":
            _v0_layer(old, pads, out.layers.add(), name)
    return out


def _v0_layer(
    old: V1LayerParameter, pads: dict[str, V1LayerParameter], new: V1LayerParameter, name: str
) -> None:
    v0 = old.layer
    if v0.type not in V0_TYPES:
        raise InputError(f"{name}: layer {v0.name!r} has unknown type {v0.type!r}.{near(v0.type, V0_TYPES)}")
    new.name = v0.name
    new.type = getattr(V1LayerParameter, V0_TYPES[v0.type])
    new.top.extend(old.top)
    for bottom in old.bottom:
        # A padding layer is folded into the convolution or pooling that reads it.
        padding = pads.get(bottom)
        new.bottom.append(padding.bottom[0] if padding is not None else bottom)
        if padding is not None:
            _v0_field(V0LayerParameter(type=v0.type, pad=padding.layer.pad), "pad", new, name)
    for plain in ("blobs", "blobs_lr", "weight_decay"):
        getattr(new, plain).MergeFrom(getattr(v0, plain))
    if v0.HasField("hdf5_output_param"):
        new.hdf5_output_param.CopyFrom(v0.hdf5_output_param)
    for field, _ in v0.ListFields():
        if field.name in V0_FIELDS:
            _v0_field(v0, field.name, new, name)


def _v0_field(v0: V0LayerParameter, field: str, new: V1LayerParameter, name: str) -> None:
    if v0.type not in V0_FIELDS[field]:
        raise InputError(f"{name}: layer {v0.name!r} of type {v0.type!r} cannot have {field!r}.")
    message, _, renamed = V0_FIELDS[field][v0.type].partition(".")
    target: Any = getattr(new, message)
    value: Any = getattr(v0, field)
    renamed = renamed or field
    if field == "pool":
        value = PoolingParameter.PoolMethod.Value(V0LayerParameter.PoolMethod.Name(value))
    descriptor = target.DESCRIPTOR.fields_by_name[renamed]
    if descriptor.message_type is not None:
        getattr(target, renamed).CopyFrom(value)
    elif isinstance(getattr(target, renamed), int | float | str | bool):
        setattr(target, renamed, value)
    else:
        getattr(target, renamed).append(value)


def _from_v1(net: NetParameter, name: str) -> NetParameter:
    out = _without_layers(net)
    for old in net.layers:
        kind = V1LayerParameter.LayerType.Name(old.type)
        if kind not in V1_TYPES:
            raise InputError(f"{name}: layer {old.name!r} has no type.")
        new = out.layer.add(name=old.name, type=V1_TYPES[kind])
        for field, value in old.ListFields():
            if field.name in ("bottom", "top", "blobs", "include", "exclude", "loss_weight"):
                getattr(new, field.name).MergeFrom(value)
            elif field.name.endswith("_param") and field.message_type is not None:
                getattr(new, field.name).CopyFrom(value)
        _param_specs(old, new)
    return out


def _param_specs(old: V1LayerParameter, new: LayerParameter) -> None:
    count = max(len(old.param), len(old.blobs_lr), len(old.weight_decay), len(old.blob_share_mode))
    specs = [new.param.add() for _ in range(count)]
    for spec, share in zip(specs, old.param, strict=False):
        spec.name = share
    for spec, rate in zip(specs, old.blobs_lr, strict=False):
        spec.lr_mult = rate
    for spec, decay in zip(specs, old.weight_decay, strict=False):
        spec.decay_mult = decay
    for spec, mode in zip(specs, old.blob_share_mode, strict=False):
        spec.share_mode = SHARE_MODES[mode]


def _move_transform(layer: LayerParameter) -> None:
    message = DATA_PARAMETERS.get(layer.type)
    if message is None or not layer.HasField(message):
        return
    data = getattr(layer, message)
    for field in TRANSFORM_FIELDS:
        if data.HasField(field):
            setattr(layer.transform_param, field, getattr(data, field))
            data.ClearField(field)


def _freeze_batch_norm(layer: LayerParameter) -> None:
    """Old files gave the three statistics of BatchNorm learning rates; they are no learned parameters."""
    if layer.type == "BatchNorm" and len(layer.param) == 3:
        for spec in layer.param:
            spec.lr_mult = 0
            spec.decay_mult = 0


def _input_header(net: NetParameter, name: str) -> NetParameter:
    if not len(net.input):
        return net
    shapes = [list(shape.dim) for shape in net.input_shape]
    if not shapes:
        dims = list(net.input_dim)
        if len(dims) != 4 * len(net.input):
            raise InputError(
                f"{name}: {len(net.input)} inputs need {4 * len(net.input)} input_dim, not {len(dims)}."
            )
        shapes = [dims[i : i + 4] for i in range(0, len(dims), 4)]
    if len(shapes) != len(net.input):
        raise InputError(f"{name}: {len(net.input)} inputs, but {len(shapes)} input_shape.")
    out = NetParameter()
    out.CopyFrom(net)
    for field in ("input", "input_dim", "input_shape", "layer"):
        out.ClearField(field)
    layer = out.layer.add(name="input", type="Input", top=list(net.input))
    for shape in shapes:
        layer.input_param.shape.add(dim=shape)
    out.layer.extend(net.layer)
    return out


def _without_layers(net: NetParameter) -> NetParameter:
    out = NetParameter()
    for field, value in net.ListFields():
        if field.name not in ("layers", "layer"):
            if field.is_repeated:
                getattr(out, field.name).MergeFrom(value)
            elif field.message_type is not None:
                getattr(out, field.name).CopyFrom(value)
            else:
                setattr(out, field.name, value)
    return out
