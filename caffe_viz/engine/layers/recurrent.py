"""LSTM, RNN, LSTMUnit. Caffe unrolls the first two into a net of layers; here one loop takes the steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from caffe_viz.engine.table import Call, Filler, layer
from caffe_viz.netdef import LayerParameter

STATES = {"LSTM": 2, "RNN": 1}


def _fillers(param: LayerParameter) -> list[Filler]:
    p = param.recurrent_param
    weights, bias = p.weight_filler, p.bias_filler
    exposed = STATES[param.type] if p.expose_hidden else 0
    static = [weights] * (len(param.bottom) > 2 + exposed)
    return [weights, bias, *static, weights, *([] if param.type == "LSTM" else [weights, bias])]


@layer("LSTM", labels=(1,), fillers=_fillers)
def _lstm(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Sequence[Tensor]:
    inputs, (weights,) = _transformed(call, bottoms, params, 1)
    hidden, cells = _states(call, bottoms)
    out, cell = _LSTM.apply(inputs, bottoms[1], weights, hidden, cells)
    return [out, *_left(call, out[-1:], cell)]


@layer("RNN", labels=(1,), fillers=_fillers)
def _rnn(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Sequence[Tensor]:
    inputs, (weights, out_weights, out_bias) = _transformed(call, bottoms, params, 3)
    (hidden,) = _states(call, bottoms)
    states: Tensor = _RNN.apply(inputs, bottoms[1], weights, hidden)
    return [F.linear(states, out_weights, out_bias).tanh(), *_left(call, states[-1:])]


def _transformed(
    call: Call, bottoms: list[Tensor], params: list[Tensor], inner: int
) -> tuple[Tensor, list[Tensor]]:
    """What the inputs give to every step (T, N, D), and the `inner` parameters that are left."""
    own = params[: len(params) - inner]
    inputs = F.linear(bottoms[0].flatten(2), own[0], own[1])
    if len(own) == 3:
        inputs = inputs + F.linear(bottoms[2].flatten(1), own[2])
    return inputs, params[len(own) :]


def _states(call: Call, bottoms: list[Tensor]) -> list[Tensor]:
    """Those before the first step, (N, D): given ones, else those that the last forward ended in."""
    count, (streams, size) = (
        STATES[call.param.type],
        (bottoms[0].shape[1], call.param.recurrent_param.num_output),
    )
    if call.param.recurrent_param.expose_hidden:
        return [b.detach().view(streams, size) for b in bottoms[-count:]]
    kept: list[Tensor] = call.state.get("states", [])
    if not kept or kept[0].numel() < streams * size:
        return [bottoms[0].new_zeros(streams, size) for _ in range(count)]
    return [state.reshape(-1)[: streams * size].view(streams, size) for state in kept]


def _left(call: Call, *states: Tensor) -> list[Tensor]:
    """The states after the last step, as further tops if exposed; no gradient comes back through them."""
    found = [state.detach().clone() for state in states]
    if call.param.recurrent_param.expose_hidden:
        return found
    call.state["states"] = found
    return []


class _LSTM(torch.autograd.Function):
    """Gate inputs (T, N, 4 D), marks (T, N), weights (4 D, D), states (N, D) -> outputs (T, N, D), last cell.

    The gradient is that of Caffe's LSTMUnit, step by step; none goes to the first states, none comes from the
    last cell.
    """

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, marks: Tensor, weights: Tensor, hidden: Tensor, cell: Tensor
    ) -> tuple[Tensor, Tensor]:
        gates, marks = inputs.clone(), marks.unsqueeze(2)
        shape = (*gates.shape[:2], gates.shape[2] // 4)
        before, cells, out = (gates.new_empty(shape) for _ in range(3))
        shown = gates.new_empty(shape)
        turned = weights.t()
        for t, gate in enumerate(gates):
            torch.mul(hidden, marks[t], out=before[t])
            _activate(gate.addmm_(before[t], turned), marks[t])
            cells[t] = cell
            cell = _next_cell(gate, cell)
            torch.tanh(cell, out=shown[t])
            hidden = torch.mul(gate.chunk(4, 1)[2], shown[t], out=out[t])
        ctx.save_for_backward(gates, marks, weights, before, cells, shown)
        ctx.mark_non_differentiable(cell)
        return out, cell.unsqueeze(0)

    @staticmethod
    def backward(ctx: Any, *seeds: Tensor) -> tuple[Tensor | None, ...]:
        gates, marks, weights, before, cells, shown = ctx.saved_tensors
        keep = gates.chunk(4, 2)[1]
        slopes, to_cell = _slopes(gates, cells, shown)
        diffs = torch.empty_like(gates)
        cell = down = torch.zeros_like(shown[0])
        for t in reversed(range(len(gates))):
            hidden = seeds[0][t] + down
            cell = torch.addcmul(cell, hidden, to_cell[t])
            _spread(diffs[t], slopes[t], cell, hidden)
            cell = cell * keep[t]
            down = (diffs[t] @ weights) * marks[t]
        learns = diffs.flatten(0, 1).t() @ before.flatten(0, 1) if ctx.needs_input_grad[2] else None
        return diffs, None, learns, None, None


class _RNN(torch.autograd.Function):
    """Inputs (T, N, D), marks (T, N), weights (D, D), state (N, D) -> states (T, N, D)."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, marks: Tensor, weights: Tensor, hidden: Tensor) -> Tensor:
        states, marks, before = inputs.clone(), marks.unsqueeze(2), torch.empty_like(inputs)
        turned = weights.t()
        for t, state in enumerate(states):
            torch.mul(hidden, marks[t], out=before[t])
            hidden = state.addmm_(before[t], turned).tanh_()
        ctx.save_for_backward(states, marks, weights, before)
        return states

    @staticmethod
    def backward(ctx: Any, *seeds: Tensor) -> tuple[Tensor | None, ...]:
        states, marks, weights, before = ctx.saved_tensors
        slopes, diffs = 1 - states * states, torch.empty_like(states)
        down = torch.zeros_like(states[0])
        for t in reversed(range(len(states))):
            torch.mul(seeds[0][t] + down, slopes[t], out=diffs[t])
            down = (diffs[t] @ weights) * marks[t]
        learns = diffs.flatten(0, 1).t() @ before.flatten(0, 1) if ctx.needs_input_grad[2] else None
        return diffs, None, learns, None


@layer("LSTMUnit", labels=(2,))
def _lstm_unit(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Sequence[Tensor]:
    tops: tuple[Tensor, Tensor] = _LSTMUnit.apply(*bottoms)
    return tops


class _LSTMUnit(torch.autograd.Function):
    """Cells (1, N, D), gate inputs (1, N, 4 D), marks (1, N) -> cells, hidden states."""

    @staticmethod
    def forward(ctx: Any, before: Tensor, inputs: Tensor, marks: Tensor) -> tuple[Tensor, Tensor]:
        gates = inputs.clone()
        _activate(gates, marks.unsqueeze(2))
        cell = _next_cell(gates, before)
        shown = cell.tanh()
        ctx.save_for_backward(gates, before, shown)
        return cell, gates.chunk(4, 2)[2] * shown

    @staticmethod
    def backward(ctx: Any, *seeds: Tensor) -> tuple[Tensor | None, ...]:
        (gates, before, shown), (cell, hidden) = ctx.saved_tensors, seeds
        slopes, to_cell = _slopes(gates, before, shown)
        cell, diffs = torch.addcmul(cell, hidden, to_cell), torch.empty_like(gates)
        _spread(diffs, slopes, cell, hidden)
        return cell * gates.chunk(4, 2)[1], diffs, None


def _activate(gates: Tensor, marks: Tensor) -> None:
    """Gate inputs (..., 4 D) become in, keep, out, new; a mark of 0 keeps nothing of the last cell."""
    size = gates.shape[-1] // 4
    gates[..., : 3 * size].sigmoid_()
    gates[..., 3 * size :].tanh_()
    gates[..., size : 2 * size].mul_(marks)


def _next_cell(gates: Tensor, cell: Tensor) -> Tensor:
    take, keep, _, new = gates.chunk(4, -1)
    return (keep * cell).addcmul_(take, new)


def _slopes(gates: Tensor, cells: Tensor, shown: Tensor) -> tuple[Tensor, Tensor]:
    """What the diff of the cell (for the gate out: of the hidden state) is multiplied by, to get the diffs of
    gate inputs; what that of the hidden state is, to get the cell's.

    The mark counts as part of the gate that keeps, as in Caffe, which is exact for marks 0 and 1.
    """
    take, keep, out, new = gates.chunk(4, -1)
    parts = [
        new * take * (1 - take),
        cells * keep * (1 - keep),
        shown * out * (1 - out),
        take * (1 - new * new),
    ]
    return torch.cat(parts, -1), out * (1 - shown * shown)


def _spread(diffs: Tensor, slopes: Tensor, cell: Tensor, hidden: Tensor) -> None:
    """Diffs of gate inputs from those of the cell and of the hidden state."""
    torch.mul(slopes, torch.cat([cell, cell, hidden, cell], -1), out=diffs)
