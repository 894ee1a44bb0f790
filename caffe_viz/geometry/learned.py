"""Rules of layers with parameters, other than convolutions, and of recurrent ones."""

from __future__ import annotations

import math

from caffe_viz.geometry.batch_norms import by_type, normalizes_by_type, own_factors
from caffe_viz.geometry.receptive_fields import SAME, LayoutEffect, Shape
from caffe_viz.geometry.table import Out, Shapes, axis_of, legacy, many, need, rule, text
from caffe_viz.netdef import LayerParameter


@rule("InnerProduct")
def _inner_product(layer: LayerParameter, bottoms: Shapes) -> Out:
    param, (shape,) = layer.inner_product_param, bottoms
    axis = axis_of(shape, param.axis)
    need(param.num_output > 0, "inner_product_param needs num_output, at least 1")
    inputs = math.prod(shape[axis:])
    weights = (inputs, param.num_output) if param.transpose else (param.num_output, inputs)
    params = (weights, *([(param.num_output,)] if param.bias_term else []))
    macs = math.prod(shape[:axis]) * inputs * param.num_output
    whole = axis <= max(1, len(shape) - 2)
    return Out(
        ((*shape[:axis], param.num_output),),
        params,
        macs,
        (LayoutEffect.WHOLE if whole else LayoutEffect.LOST,),
    )


@rule("Embed")
def _embed(layer: LayerParameter, bottoms: Shapes) -> Out:
    param = layer.embed_param
    need(
        param.num_output > 0 and param.input_dim > 0, "embed_param needs num_output and input_dim, at least 1"
    )
    params = ((param.input_dim, param.num_output), *([(param.num_output,)] if param.bias_term else []))
    return Out(((*bottoms[0], param.num_output),), params, views=(LayoutEffect.LOST,))


@rule("BatchNorm", "BatchNormKyle")
def _batch_norm(layer: LayerParameter, bottoms: Shapes) -> Out:
    """Mean, variance, their scale factor; BatchNormKyle, or BatchNorm of a fork, also a scale and a shift."""
    param, (shape,) = layer.batch_norm_param, bottoms
    need(len(shape) >= 2, "takes a blob of at least 2 axes (N, C)")
    channels = (shape[1],)
    kyle = layer.type == "BatchNormKyle"
    extra = (channels,) * (2 * param.use_alpha_beta if kyle else own_factors(layer))
    own = param.HasField("use_global_stats") and not param.use_global_stats
    return Out((shape,), (channels, channels, (1,), *extra), views=(LayoutEffect.WHOLE if own else SAME,))


def _part(shape: Shape, axis: int, axes: int, name: str) -> Shape:
    """The `axes` dimensions of `shape` from `axis` on; -1: all that follow."""
    start = axis_of(shape, axis)
    need(axes >= -1, f"{name} must be at least -1")
    need(
        start + axes <= len(shape),
        f"axis {axis} plus {name} {axes} is more than the {many(len(shape), 'axis', 'axes')}",
    )
    return shape[start:] if axes == -1 else shape[start : start + axes]


def _match(shape: Shape, other: Shape, axis: int) -> None:
    """The second bottom's shape must stand in the first one's, from `axis` on."""
    start = axis_of(shape, axis) if other else 0
    fits = shape[start : start + len(other)] == other
    need(fits, f"the second bottom {text(other)} does not match {text(shape)} from axis {start} on: set axis")


@rule("Scale", "Bias", bottoms=(1, 2))
def _scale(layer: LayerParameter, bottoms: Shapes) -> Out:
    param = layer.scale_param if layer.type == "Scale" else layer.bias_param
    shape, *others = bottoms
    biased = layer.type == "Scale" and layer.scale_param.bias_term
    if others:
        _match(shape, others[0], param.axis)
        return Out((shape,), ((_part(shape, param.axis, len(others[0]), "num_axes"),) if biased else ()))
    own = _part(shape, param.axis, param.num_axes, "num_axes")
    return Out((shape,), (own, own) if biased else (own,))


@rule("PReLU")
def _prelu(layer: LayerParameter, bottoms: Shapes) -> Out:
    need(len(bottoms[0]) >= 2, "takes a blob of at least 2 axes (N, C)")
    channels = bottoms[0][1]  # real Caffe stops at more than 4 axes
    return Out(bottoms, ((() if layer.prelu_param.channel_shared else (channels,)),))


@rule("Normalize", tops=(1, 2))
def _normalize(layer: LayerParameter, bottoms: Shapes) -> Out:
    if normalizes_by_type(layer):
        return by_type(layer, bottoms)
    param = layer.norm_param
    need(len(bottoms[0]) >= 2, "takes a blob of at least 2 axes (N, C)")
    channels = legacy(bottoms[0])[1]
    view = LayoutEffect.WHOLE if param.across_spatial else SAME
    return Out(bottoms, ((() if param.channel_shared else (channels,)),), views=(view,))


@rule("LSTM", "RNN", bottoms=(2, None), tops=(1, None))
def _recurrent(layer: LayerParameter, bottoms: Shapes) -> Out:
    """Input (T, N, ...), continuation marks (T, N), a static input (N, ...), hidden states (1, N, D)."""
    param, lstm = layer.recurrent_param, layer.type != "RNN"
    states = (2 if lstm else 1) if param.expose_hidden else 0
    need(
        2 + states <= len(bottoms) <= 3 + states,
        f"takes {2 + states} or {3 + states} bottoms, not {len(bottoms)}",
    )
    need(len(layer.top) == 1 + states, f"takes {many(1 + states, 'top')}, not {len(layer.top)}")
    outputs, (shape, marks) = param.num_output, bottoms[:2]
    need(outputs > 0, "recurrent_param needs num_output, at least 1")
    need(len(shape) >= 3, "the first bottom must have at least 3 axes (T, N, ...)")
    need(
        marks == shape[:2],
        f"the second bottom (continuation marks) must be {text(shape[:2])}, not {text(marks)}",
    )
    static = bottoms[2] if len(bottoms) == 3 + states else None
    steps, streams, width = shape[0], shape[1], math.prod(shape[2:])
    hidden = (1, streams, outputs)
    given = bottoms[len(bottoms) - states :] if states else ()
    need(all(b == hidden for b in given), f"the hidden states must be {text(hidden)}")
    gates = 4 * outputs if lstm else outputs
    params: list[Shape] = [(gates, width), (gates,)]
    macs = steps * streams * (gates * width + gates * outputs)
    if static is not None:
        fits = len(static) >= 2 and static[0] == streams
        need(fits, f"the static bottom must be ({streams}, ...) of at least 2 axes, not {text(static)}")
        params.append((gates, math.prod(static[1:])))
        macs += streams * gates * math.prod(static[1:])
    params.append((gates, outputs))
    if not lstm:
        params += [(outputs, outputs), (outputs,)]
        macs += steps * streams * outputs * outputs
    return Out(((steps, streams, outputs), *([hidden] * states)), tuple(params), macs, (LayoutEffect.LOST,))


@rule("LSTMUnit", bottoms=3, tops=2)
def _lstm_unit(layer: LayerParameter, bottoms: Shapes) -> Out:
    cells, gates, marks = bottoms
    need(len(cells) == len(gates) == 3 and len(marks) == 2, "takes bottoms (1, N, D), (1, N, 4 D) and (1, N)")
    want = (1, cells[1])
    need(all(b[:2] == want for b in bottoms), f"all bottoms must begin with {text(want)}")
    need(gates[2] == 4 * cells[2], f"the second bottom must have {4 * cells[2]} gates, not {gates[2]}")
    return Out((cells, cells), views=(LayoutEffect.LOST,))
