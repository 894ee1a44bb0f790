"""Layers in place: which types cannot work so, and where the gradient of real Caffe is wrong then.

Caffe goes backward with the values that its blobs hold after the whole forward. Some layers need those that
a layer in place, they themselves or the next, has overwritten; the embedded engine keeps them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from caffe_viz.checking.report import Severity
from caffe_viz.netdef import LayerParameter

Condition = Callable[[LayerParameter], bool]
Conditions = Mapping[str, Condition]


def _always(layer: LayerParameter) -> bool:
    return True


def _product(layer: LayerParameter) -> bool:
    return bool(layer.eltwise_param.operation == layer.eltwise_param.PROD)


# Types that read their input after they overwrote it: what they compute is silently wrong.
WRONG_VALUES: Conditions = {
    **dict.fromkeys(
        (
            "AbsVal", "BatchReindex", "Concat", "Convolution", "Crop", "Deconvolution", "Im2col",
            "InnerProduct", "LRN", "Pad", "Permute", "Pooling", "Resize", "Slice", "Tile", "Upsample",
        ),
        _always,
    ),
    "Eltwise": lambda layer: not _product(layer),
}  # fmt: skip
# Types whose backward reads their input, or writes its gradient over the top's before it has read that.
WRONG_GRADIENT: Conditions = {
    "BNLL": _always,
    "ELU": lambda layer: layer.elu_param.alpha < 0,
    "Eltwise": _product,
    "Log": _always,
    "MVN": lambda layer: layer.mvn_param.normalize_variance,
    "Normalize": _always,
    "Power": lambda layer: bool(layer.power_param.power and layer.power_param.scale),
    "ReLU": lambda layer: layer.relu_param.negative_slope < 0,
}
# Types whose backward reads their top, which a layer in place on it overwrites.
READ_THEIR_TOP: Conditions = {
    "ELU": _always,
    "Eltwise": lambda layer: _product(layer) and not layer.eltwise_param.stable_prod_grad,
    "Exp": _always,
    "LRN": lambda layer: layer.lrn_param.norm_region == layer.lrn_param.ACROSS_CHANNELS,
    "MVN": lambda layer: layer.mvn_param.normalize_variance,
    "Normalize": _always,
    "Power": lambda layer: layer.power_param.power not in (0, 1, 2) and layer.power_param.scale != 0,
    "RNN": _always,
    "Sigmoid": _always,
    "Softmax": _always,
    "TanH": _always,
}


def holds(conditions: Conditions, layer: LayerParameter) -> bool:
    """Whether a layer is one of those."""
    return layer.type in conditions and conditions[layer.type](layer)


def in_place_problems(
    layer: LayerParameter, top: str, maker: LayerParameter | None, engine: str, training: bool
) -> Iterator[tuple[Severity, LayerParameter, str]]:
    """What is wrong with a layer in place on `top`, which `maker` made: how bad, of which layer, and what."""
    rename = f"give its top another name than {top!r}."
    if _holds(WRONG_VALUES, layer):
        yield "error", layer, f"cannot work in place: {rename}"
    if engine != "caffe":
        return
    if _holds(WRONG_GRADIENT, layer):
        yield "warning", layer, f"in place its gradient is wrong in Caffe: {rename}"
    changes = layer.type != "Dropout" or training
    if maker is not None and changes and _holds(READ_THEIR_TOP, maker):
        message = f"its gradient is wrong in Caffe, as {layer.name!r} overwrites its top {top!r} in place"
        yield "warning", maker, f"{message}: give the top of {layer.name!r} another name."


def _holds(conditions: Conditions, layer: LayerParameter) -> bool:
    return layer.type in conditions and conditions[layer.type](layer)
