"""Rules of sequence layers of forks: LSTMs, reversed and transposed axes, CTC; T steps, N streams."""

from __future__ import annotations

import math

from caffe_viz.geometry.receptive_fields import SAME, LayoutEffect, Shape
from caffe_viz.geometry.table import TABLE, Out, Shapes, axis_of, many, need, rule, text
from caffe_viz.netdef import LayerParameter
from caffe_viz.netdef.net_pb2 import LSTMAttentionParameter, LSTMParameter

_WHOLE = Out(((),), views=(LayoutEffect.WHOLE,))  # a scalar
_FIELDS = {"Lstm": "lstm_param", "LstmSimple": "lstm_simple_param", "LstmAttention": "lstm_attention_param"}


def lstm_param(layer: LayerParameter) -> LSTMParameter | LSTMAttentionParameter:
    """Return the settings of a fork's LSTM, whose field is named after its type."""
    param: LSTMParameter | LSTMAttentionParameter = getattr(layer, _FIELDS[layer.type])
    return param


def recurrent(layer: LayerParameter) -> bool:
    """Whether an Lstm is MyCaffe's, which is real Caffe's LSTM under another name."""
    return layer.type == "Lstm" and layer.HasField("recurrent_param")


def lstm_layout(layer: LayerParameter, shape: Shape) -> tuple[int, int, int, Shape]:
    """(T, N, inputs of a step, shape before its last axis of outputs) of an LSTM on a bottom of `shape`.

    caffe-lstm and MyCaffe's LstmSimple take (T N, ...) with N as batch_size and give (T N, D); CTPN,
    caffe_ocr and MyCaffe's LstmAttention take (T, N, ...) and give (T, N, D).
    """
    need(len(shape) >= 2, "the first bottom must have at least 2 axes")
    if not _flat(layer, shape):
        return shape[0], shape[1], math.prod(shape[2:]), shape[:2]
    streams = layer.lstm_param.batch_size if layer.type == "Lstm" else layer.lstm_simple_param.batch_size
    fits = streams > 0 and shape[0] % streams == 0
    need(fits, f"the first dimension {shape[0]} does not divide by batch_size {streams}")
    return shape[0] // streams, streams, math.prod(shape[1:]), shape[:1]


def _flat(layer: LayerParameter, shape: Shape) -> bool:
    """Whether T and N share an axis; where neither variant nor weights say it, 3 axes are T, N and inputs."""
    if layer.type != "Lstm":
        return layer.type == "LstmSimple"
    if layer.variant:
        return layer.variant == "caffe-lstm"
    widths = math.prod(shape[1:]), math.prod(shape[2:])
    trained = layer.trained[0].dim[-1] if layer.trained and layer.trained[0].dim else None
    if trained in widths and widths[0] != widths[1]:
        return trained == widths[0]
    return layer.lstm_param.HasField("batch_size") or len(shape) != 3


@rule("Lstm", "LstmSimple", "LstmAttention", bottoms=(1, None), tops=(1, 3), in_place=False, fork=True)
def _lstm(layer: LayerParameter, bottoms: Shapes) -> Out:
    if recurrent(layer):
        return TABLE["LSTM"].function(layer, bottoms)
    param = lstm_param(layer)
    attends = isinstance(param, LSTMAttentionParameter) and param.enable_attention
    need(not attends, "attention over an encoding is not known here: remove enable_attention")
    need(len(bottoms) <= 2 and len(layer.top) == 1, "takes 1 or 2 bottoms and 1 top")
    outputs = param.num_output
    need(outputs > 0, f"{_FIELDS[layer.type]} needs num_output, at least 1")
    steps, streams, width, lead = lstm_layout(layer, bottoms[0])
    marks = bottoms[1] if len(bottoms) > 1 else (steps * streams,)
    need(
        math.prod(marks) == steps * streams,
        f"the second bottom (0 where a sequence begins) needs {steps * streams} values, not {text(marks)}",
    )
    gates = 4 * outputs
    params, macs = [(gates, width), (gates, outputs), (gates,)], steps * streams * gates * (width + outputs)
    if isinstance(param, LSTMAttentionParameter) and param.num_output_ip:
        params += [(outputs, param.num_output_ip), (1, param.num_output_ip)]
        macs += steps * streams * outputs * param.num_output_ip
        outputs = param.num_output_ip
    return Out(((*lead, outputs),), tuple(params), macs, (LayoutEffect.LOST,))


def reversed_axes(layer: LayerParameter, shape: Shape) -> list[int]:
    """Return the axes that a Reverse layer reverses: one in most forks, by default the first."""
    return [axis_of(shape, axis) for axis in layer.reverse_param.axis or [0]]


@rule("Reverse", in_place=False, fork=True)
def _reverse(layer: LayerParameter, bottoms: Shapes) -> Out:
    (shape,), axes = bottoms, reversed_axes(layer, bottoms[0])
    need(len(set(axes)) == len(axes), f"axis {axes} names an axis twice")
    turned = any(axis >= max(2, len(shape) - 2) for axis in axes)
    return Out(bottoms, views=(LayoutEffect.LOST if turned else SAME,))


@rule("Transpose", in_place=False, fork=True)
def _transpose(layer: LayerParameter, bottoms: Shapes) -> Out:
    (shape,), order = bottoms, list(layer.transpose_param.dim)
    axes = list(range(len(shape)))
    need(axes, "takes a blob of at least one axis")
    need(sorted(order) == axes, f"transpose_param needs a dim for each axis of {text(shape)}, not {order}")
    kept = len(shape) >= 4 and order[-2:] == axes[-2:]
    return Out((tuple(shape[axis] for axis in order),), views=(SAME if kept else LayoutEffect.LOST,))


@rule("ContinuationIndicator", bottoms=(0, 1), fork=True)
def _continuation_indicator(layer: LayerParameter, bottoms: Shapes) -> Out:
    param = layer.continuation_indicator_param
    streams = bottoms[0][0] if bottoms and bottoms[0] else param.batch_size
    need(param.time_step and streams, "continuation_indicator_param needs time_step and batch_size")
    return Out(((param.time_step, streams),), views=(LayoutEffect.LOST,))


def decoded(layer: LayerParameter, bottoms: Shapes) -> tuple[str, ...]:
    """Return what each top of a CTCGreedyDecoder is.

    caffe_ocr's takes labels (N, L) as the second bottom; others take marks (T, N) as the second, labels (T,
    N) as the third.
    """
    count, marked = len(layer.top), len(bottoms) > 1 and math.prod(bottoms[1]) == math.prod(bottoms[0][:2])
    if len(bottoms) == 2 and not (marked and bottoms[1][:2] == bottoms[0][:2]):
        return ("accuracies",)
    known = {1: ("sequences",), 2: ("sequences", "scores"), 3: ("sequences", "scores", "accuracy")}
    if len(bottoms) == 3 and count == 2:
        return ("sequences", "accuracy")
    return known[min(count, len(bottoms))]


@rule("CTCGreedyDecoder", bottoms=(1, 3), tops=(1, 3), in_place=False, fork=True)
def _ctc_greedy_decoder(layer: LayerParameter, bottoms: Shapes) -> Out:
    steps, streams, classes = _scores(bottoms[0])
    blank = layer.ctc_decoder_param.blank_index
    _need_class("blank_index", blank, classes)
    if len(bottoms) == 3:
        same = all(math.prod(b) == steps * streams for b in bottoms[1:])
        need(same, f"the second and third bottom must be {steps}x{streams}")
    kinds = decoded(layer, bottoms)
    if kinds == ("accuracies",):
        need(
            bottoms[1][:1] == (streams,),
            f"the second bottom (labels) must begin with {streams}, not be {text(bottoms[1])}",
        )
    shapes = {"sequences": (streams, steps, 1, 1), "scores": (streams, 1, 1, 1), "accuracy": (1, 1, 1, 1)}
    shapes["accuracies"] = (1, 2, 1, 1)
    return Out(tuple(shapes[kind] for kind in kinds), views=(LayoutEffect.LOST,), sees=1)


@rule("CTCLoss", "CtcLoss", "WarpCTCLoss", bottoms=(2, 3), automatic=True, fork=True)
def _ctc_loss(layer: LayerParameter, bottoms: Shapes) -> Out:
    """Labels are (N, L) as the second bottom, or (T, N) as the third behind marks (T, N)."""
    (steps, streams, classes), p = _scores(bottoms[0]), layer.ctc_loss_param
    _need_class("blank_index", p.blank_index, classes)
    _need_class("blank_label", p.blank_label, classes, 0)
    if len(bottoms) == 2:
        fits = bottoms[1][:1] == (streams,)
        need(fits, f"the second bottom (labels) must begin with {streams}, not be {text(bottoms[1])}")
    for shape in bottoms[1:] if len(bottoms) == 3 else ():
        fits = math.prod(shape) == steps * streams
        need(fits, f"the bottoms behind the first must be {steps}x{streams}, not {text(shape)}")
    return _WHOLE


def _need_class(name: str, blank: int, classes: int, least: int | None = None) -> None:
    """Without `least`, classes below 0 are counted from the end."""
    need(
        (-classes if least is None else least) <= blank < classes,
        f"{name} {blank} is none of the {many(classes, 'class', 'classes')}",
    )


def _scores(shape: Shape) -> tuple[int, int, int]:
    """(T, N, C) of the first bottom of a CTC layer."""
    fits = len(shape) >= 3 and math.prod(shape[3:]) == 1
    need(
        fits, f"the first bottom must be (steps, streams, classes), not {text(shape)}: put a Transpose before"
    )
    return shape[0], shape[1], shape[2]
