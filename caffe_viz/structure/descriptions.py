"""Describe a layer in a few words, as papers do: kernel, filters, /stride."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from caffe_viz.geometry.receptive_fields import Shape
from caffe_viz.netdef import LayerParameter
from caffe_viz.netdef.net_pb2 import PoolingParameter

TIMES = "\N{MULTIPLICATION SIGN}"


def describe(layer: LayerParameter, axes: int) -> str:
    """Return the settings of `layer` that matter in a drawing; `axes` is its number of spatial axes."""
    found = _WORDS.get(layer.type)
    return ", ".join(filter(None, found(layer, axes))) if found else ""


def dims(shape: Shape) -> str:
    """Write a shape with multiplication signs; a single number has no axes."""
    return f" {TIMES} ".join(map(str, shape)) or "1"


def _sides(param: Any, name: str, pair: str, axes: int) -> tuple[int, ...]:
    """One value for each axis; () where the file gives none."""
    h, w = f"{pair}_h", f"{pair}_w"
    if param.HasField(h) or param.HasField(w):
        return getattr(param, h), getattr(param, w)
    given = getattr(param, name)
    if isinstance(given, int):
        return (given,) * axes if param.HasField(name) else ()
    return tuple(given) if len(given) != 1 else tuple(given) * max(axes, 1)


def _window(sizes: Sequence[int]) -> str:
    return TIMES.join(map(str, sizes[:4]))


def _step(strides: Sequence[int]) -> str:
    if all(s == 1 for s in strides):
        return ""
    return f"/{strides[0]}" if len(set(strides)) == 1 else f"/{_window(strides)}"


def _convolution(layer: LayerParameter, axes: int) -> list[str]:
    param = layer.convolution_param
    dilation = set(param.dilation) - {1}
    return [
        _window(_sides(param, "kernel_size", "kernel", axes)),
        str(param.num_output) if layer.type != "Im2col" else "",
        _step(_sides(param, "stride", "stride", axes)),
        f"dilation {_window(tuple(param.dilation))}" if dilation else "",
        f"group {param.group}" if param.group > 1 else "",
    ]


def _pooling(layer: LayerParameter, axes: int) -> list[str]:
    param = layer.pooling_nd_param if layer.type == "PoolingND" else layer.pooling_param
    how = PoolingParameter.PoolMethod.Name(param.pool).lower()
    if param.global_pooling:
        return [f"{how} global"]
    size = _sides(param, "kernel_size", "kernel", axes)
    return [f"{how} {_window(size)}", _step(_sides(param, "stride", "stride", axes))]


def _eltwise(layer: LayerParameter, axes: int) -> list[str]:
    param = layer.eltwise_param
    return [param.EltwiseOp.Name(param.operation).lower()]


def _lrn(layer: LayerParameter, axes: int) -> list[str]:
    return [f"size {layer.lrn_param.local_size}"]


def _lstm(layer: LayerParameter, axes: int) -> list[str]:
    param = layer.recurrent_param if layer.HasField("recurrent_param") else layer.lstm_param
    return [str(param.num_output)]


def _one(param: str, name: str, form: str = "{}") -> Callable[[LayerParameter, int], list[str]]:
    return lambda layer, axes: [form.format(getattr(getattr(layer, param), name))]


def _axis(param: str) -> Callable[[LayerParameter, int], list[str]]:
    """The axis, where it is not the channels'."""
    return lambda layer, axes: [f"axis {a}"] if (a := getattr(layer, param).axis) != 1 else []


_WORDS: dict[str, Callable[[LayerParameter, int], list[str]]] = {
    "BinaryConvolution": _convolution,
    "BinaryInnerProduct": _one("inner_product_param", "num_output"),
    "Concat": _axis("concat_param"),
    "Convolution": _convolution,
    "ConvolutionDepthwise": _convolution,
    "Deconvolution": _convolution,
    "DepthwiseConvolution": _convolution,
    "Dropout": _one("dropout_param", "dropout_ratio", "{:g}"),
    "Eltwise": _eltwise,
    "Embed": _one("embed_param", "num_output"),
    "Im2col": _convolution,
    "InnerProduct": _one("inner_product_param", "num_output"),
    "LRN": _lrn,
    "Lstm": _lstm,
    "LstmAttention": _one("lstm_attention_param", "num_output"),
    "LstmSimple": _one("lstm_simple_param", "num_output"),
    "LSTM": _one("recurrent_param", "num_output"),
    "Pooling": _pooling,
    "PoolingND": _pooling,
    "RNN": _one("recurrent_param", "num_output"),
    "Slice": _axis("slice_param"),
}
