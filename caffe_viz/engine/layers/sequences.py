"""Sequence layers of forks: LSTMs, reversed and transposed axes, CTC.

T steps, N streams, D outputs, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from caffe_viz.engine.layers.recurrent import Steps, lstm, recurrent_fillers
from caffe_viz.engine.table import Call, Filler, layer
from caffe_viz.geometry.sequences import decoded, lstm_layout, lstm_param, recurrent, reversed_axes
from caffe_viz.geometry.table import TABLE
from caffe_viz.netdef import LayerParameter


def _fillers(param: LayerParameter) -> Sequence[Filler]:
    if recurrent(param):
        return recurrent_fillers(param)
    p = lstm_param(param)
    return [p.weight_filler, p.weight_filler, p.bias_filler, p.weight_filler, p.bias_filler][: _count(param)]


def _count(param: LayerParameter) -> int:
    """Parameters: of the inputs, of the last step, a bias; of a product behind them, its bias."""
    return 5 if param.lstm_attention_param.num_output_ip else 3


@layer("Lstm", "LstmSimple", "LstmAttention", labels=(1,), fillers=_fillers)
def _lstm(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor | Sequence[Tensor]:
    """(T, N, ...) or (T N, ...) -> (T, N, D) or (T N, D); gates take, keep, give, new, as in real Caffe.

    A second bottom (T, N) is 0 where a sequence begins; with it the state of the last forward goes on.
    Without it every forward begins anew. clipping_threshold, which bounds gradients in training, is left out.
    Sources: junhyukoh/caffe-lstm: src/caffe/layers/lstm_layer.cpp;
    tianzhi0549/CTPN: caffe/src/caffe/layers/lstm_layer.cpp;
    MyCaffe/MyCaffe: LSTMSimpleLayer.cs, LSTMAttentionLayer.cs.
    """
    if recurrent(call.param):
        return lstm(call, bottoms, params)
    x, outputs = bottoms[0], lstm_param(call.param).num_output
    steps, streams, width, lead = lstm_layout(call.param, tuple(x.shape))
    inputs = F.linear(x.reshape(steps, streams, width), params[0], params[2])
    state = hidden, cell = list(x.new_zeros(2, streams, outputs))
    marks = x.new_ones(steps, streams)
    marks[0] = 0
    if len(bottoms) > 1:
        marks = bottoms[1].reshape(steps, streams)
        kept = call.state.get("states", state)
        hidden, cell = kept if kept[0].shape == hidden.shape else state
    out, last = Steps.apply(inputs, marks, params[1], hidden, cell)
    call.state["states"] = out[-1].detach().clone(), last[0].detach().clone()
    if len(params) > 3:
        out = out @ params[3] + params[4]
    top: Tensor = out.reshape(*lead, out.shape[-1])
    return top


@layer("Reverse")
def _reverse(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """The same values, in reverse order along one axis or several.

    Sources: tianzhi0549/CTPN: caffe/src/caffe/layers/reverse_layer.cpp;
    foss-for-synopsys-dwc-arc-processors/synopsys-caffe: src/caffe/layers/reverse_layer.cpp.
    """
    return bottoms[0].flip(reversed_axes(call.param, tuple(bottoms[0].shape)))


@layer("Transpose")
def _transpose(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """Axis i of the top is axis dim[i] of the bottom. Source: tianzhi0549/CTPN: transpose_layer.cpp."""
    return bottoms[0].permute(*call.param.transpose_param.dim)


@layer("ContinuationIndicator", gradient=False)
def _continuation_indicator(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """Marks (T, N): 0 at the first step, 1 after. Source: dlunion/CC4.0: continuation_indicator_layer.cpp."""
    shapes = tuple(tuple(b.shape) for b in bottoms)
    marks = torch.ones(TABLE[call.param.type].function(call.param, shapes).tops[0], device=call.device)
    marks[0] = 0
    return marks


@layer("CTCGreedyDecoder", gradient=False)
def _ctc_greedy_decoder(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Sequence[Tensor]:
    """(T, N, C) -> the likeliest labels (N, T, 1, 1), repeated ones once, blanks left out, then -1.

    Also the sums of their scores, negated, and how near the labels are to given ones.
    Sources: MhLiao/TextBoxes_plusplus: src/caffe/layers/ctc_decoder_layer.cpp (the last class is the blank);
    that file in forks of senlinuc/caffe_ocr (no marks; the first class is the blank).
    """
    p, scores = call.param.ctc_decoder_param, bottoms[0].flatten(2)
    kinds = decoded(call.param, tuple(tuple(b.shape) for b in bottoms))
    marked = len(bottoms) == 3 or (len(bottoms) == 2 and "sequences" in kinds)
    blank = p.blank_index % scores.shape[2] if p.HasField("blank_index") or marked else 0
    best, labels = scores.max(2)
    alive = _alive(bottoms[1].reshape(labels.shape)) if marked else torch.ones_like(labels, dtype=torch.bool)
    sequences = _sequences(labels, alive, blank, p.ctc_merge_repeated)
    found = {
        "sequences": lambda: sequences.to(scores.dtype)[:, :, None, None],
        "scores": lambda: -(best * alive).sum(0).view(-1, 1, 1, 1),
        "accuracy": lambda: _nearness(sequences, bottoms[2].reshape(labels.shape).t(), None, scores)[:, :1],
        "accuracies": lambda: _nearness(sequences, bottoms[1].flatten(1), blank, scores),
    }
    return [found[kind]() for kind in kinds]


def _alive(marks: Tensor) -> Tensor:
    """Marks (T, N), 0 where a sequence begins -> which steps belong to the first sequence."""
    return torch.cat([torch.ones_like(marks[:1]), (marks[1:].round() != 0).cumprod(0)]).bool()


def _sequences(labels: Tensor, alive: Tensor, blank: int, merge: bool) -> Tensor:
    """Labels (T, N) of steps -> (N, T): those that are read, then -1."""
    read = alive & (labels != blank)
    if merge:
        read[1:] &= labels[1:] != labels[:-1]
    order = read.logical_not().sort(dim=0, stable=True).indices
    return labels.where(read, -1).gather(0, order).t()


def _nearness(found: Tensor, wanted: Tensor, blank: int | None, like: Tensor) -> Tensor:
    """(1, 2, 1, 1): 1 - edits over the longer length, the mean of all N; the share of those without edits."""
    total, equal = 0.0, 0
    for ours, theirs in zip(found.tolist(), wanted.tolist(), strict=True):
        mine = ours[: ours.index(-1)] if -1 in ours else ours
        end = next((i for i, label in enumerate(theirs) if label < 0), len(theirs))
        truth = [int(label + 0.5) for label in theirs[:end]]
        truth = [label for label in truth if label != blank]
        edits = _edits(mine, truth)
        total += edits / max(len(mine), len(truth), 1)
        equal += edits == 0 and len(mine) > 0
    return like.new_tensor([1 - total / len(found), equal / len(found)]).view(1, 2, 1, 1)


def _edits(a: Sequence[int], b: Sequence[int]) -> int:
    """The fewest insertions, deletions and replacements that make `a` to `b`."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row = row, [i]
        for j, y in enumerate(b, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (x != y)))
    return row[-1]


@layer("CTCLoss", "CtcLoss", "WarpCTCLoss", labels=(1, 2))
def _ctc_loss(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """(T, N, C) before the softmax, labels -> -log of their probability, over N.

    Sources: MhLiao/TextBoxes_plusplus: src/caffe/layers/ctc_loss_layer.cpp (marks and labels (T, N), which
    end at a negative one); yalecyu/crnn.caffe: the same file (labels (N, L), blanks left out).
    """
    p, scores = call.param.ctc_loss_param, bottoms[0].flatten(2)
    steps, streams, classes = scores.shape
    marked = len(bottoms) == 3
    labels = (
        (bottoms[2].reshape(steps, streams).t() if marked else bottoms[1].flatten(1)).round().long().cpu()
    )
    blank = p.blank_index % classes if marked or p.HasField("blank_index") else p.blank_label
    given = (labels >= 0).cumprod(1).bool() if marked else (labels >= 0) & (labels != blank)
    lengths = torch.full((streams,), steps)
    if marked:  # a stream without labels counts nothing
        lengths = (_alive(bottoms[1].reshape(steps, streams)).sum(0).cpu()).where(given.any(1), 0)
    chances = F.log_softmax(scores, 2)
    total = F.ctc_loss(chances, labels[given], lengths, given.sum(1), blank, reduction="sum")
    return total / streams
