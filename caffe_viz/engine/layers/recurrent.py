"""LSTM, RNN, LSTMUnit. Caffe unrolls the first two into a net of layers; here one loop takes the steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from caffe_viz.engine.table import Call, Filler, layer
from caffe_viz.netdef import LayerParameter

STATES = {"LSTM": 2, "Lstm": 2, "RNN": 1}  # Lstm: MyCaffe's name of LSTM


def recurrent_fillers(param: LayerParameter) -> list[Filler]:
    """The fillers of an LSTM's or RNN's parameters."""
    p = param.recurrent_param
    weights, bias = p.weight_filler, p.bias_filler
    exposed = STATES[param.type] if p.expose_hidden else 0
    static = [weights] * (len(param.bottom) > 2 + exposed)
    return [weights, bias, *static, weights, *([] if STATES[param.type] == 2 else [weights, bias])]


@layer("LSTM", labels=(1,), fillers=recurrent_fillers, always=True)
def lstm(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Sequence[Tensor]:
    """Input (T, N, ...), marks (T, N), a static input, states -> (T, N, D), states."""
    inputs, (weights,) = _transformed(call, bottoms, params, 1)
    hidden, cells = _states(call, bottoms)
    out, cell = Steps.apply(inputs, bottoms[1], weights, hidden, cells)
    return [out, *_left(call, out[-1:], cell)]


@layer("RNN", labels=(1,), fillers=recurrent_fillers, always=True)
def _rnn(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Sequence[Tensor]:
    inputs, (weights, out_weights, out_bias) = _transformed(call, bottoms, params, 3)
    (hidden,) = _states(call, bottoms)
    states: Tensor = _RNN.apply(inputs, bottoms[1], weights, hidden)
    return [F.linear(states, out_weights, out_bias).tanh(), *_left(call, states[-1:])]


def _transformed(
    call: Call, bottoms: list[Tensor], params: list[Tensor], inner: int
) -> tuple[Tensor, list[Tensor]]:
    """The inputs' contribution to every step (T, N, D), and the `inner` parameters that are left."""
    own = params[: len(params) - inner]
    inputs = F.linear(bottoms[0].flatten(2), own[0], own[1])
    if len(own) == 3:
        inputs = inputs + F.linear(bottoms[2].flatten(1), own[2])
    return inputs, params[len(own) :]


def _states(call: Call, bottoms: list[Tensor]) -> list[Tensor]:
    """The states before the first step, (N, D): given ones, else those at the end of the last forward."""
    count, streams, size = STATES[call.param.type], bottoms[0].shape[1], call.param.recurrent_param.num_output
    if call.param.recurrent_param.expose_hidden:
        return [b.reshape(streams, size) for b in bottoms[-count:]]
    kept = call.state.get("states")
    if kept is None or kept.shape[1] < streams * size:
        kept = call.state["states"] = bottoms[0].new_zeros(count, streams * size)
    return [state[: streams * size].view(streams, size) for state in kept]


def _left(call: Call, *states: Tensor) -> list[Tensor]:
    """The states after the last step, as further tops if exposed; no gradient comes back through them."""
    if call.param.recurrent_param.expose_hidden:
        return [state.detach().clone() for state in states]
    for kept, state in zip(call.state["states"], states, strict=True):
        kept[: state.numel()] = state.detach().flatten()  # fewer streams than before leave the rest
    return []


class Steps(torch.autograd.Function):
    """Gate inputs (T, N, 4 D), marks (T, N), weights (4 D, D), states (N, D) -> outputs (T, N, D), last cell.

    The gradient is that of Caffe's LSTMUnit, step by step; none goes to the first states, none comes from the
    last cell.
    """

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, marks: Tensor, weights: Tensor, hidden: Tensor, cell: Tensor
    ) -> tuple[Tensor, Tensor]:
        gates, marks, turned = inputs.clone(), marks.unsqueeze(2), weights.t()
        before, cells, out, shown = inputs.new_empty(4, *inputs.shape[:2], hidden.shape[1])
        for t, (gate, mark) in enumerate(zip(gates.unbind(), marks.unbind(), strict=True)):
            torch.mul(hidden, mark, out=before[t])
            take, keep, give, new = _activate(gate.addmm_(before[t], turned), mark)
            cells[t] = cell
            cell = (keep * cell).addcmul_(take, new)
            hidden = torch.mul(give, torch.tanh(cell, out=shown[t]), out=out[t])
        ctx.save_for_backward(gates, marks, weights, before, cells, shown)
        last = cell.unsqueeze(0)
        ctx.mark_non_differentiable(last)
        ctx.done = None
        return out, last

    @staticmethod
    def backward(ctx: Any, *seeds: Tensor) -> tuple[Tensor | None, ...]:
        def unrolled() -> tuple[Tensor, Tensor]:
            gates, marks, weights, before, cells, shown = ctx.saved_tensors
            slopes, to_cell = _slopes(gates, cells, shown)
            keep, diffs = gates.chunk(4, 2)[1], torch.empty_like(gates)
            cell = down = torch.zeros_like(shown[0])
            for t in reversed(range(len(gates))):
                hidden = seeds[0][t] + down
                cell = torch.addcmul(cell, hidden, to_cell[t])
                _spread(diffs[t], slopes[t], cell, hidden)
                cell = cell * keep[t]
                down = (diffs[t] @ weights).mul_(marks[t])
            return diffs, diffs.flatten(0, 1).t() @ before.flatten(0, 1)

        diffs, learns = _once(ctx, seeds[0], unrolled)
        return diffs, None, learns, None, None


class _RNN(torch.autograd.Function):
    """Inputs (T, N, D), marks (T, N), weights (D, D), state (N, D) -> states (T, N, D)."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, marks: Tensor, weights: Tensor, hidden: Tensor) -> Tensor:
        states, marks, turned = inputs.clone(), marks.unsqueeze(2), weights.t()
        before = torch.empty_like(inputs)
        for state, mark, last in zip(states.unbind(), marks.unbind(), before.unbind(), strict=True):
            torch.mul(hidden, mark, out=last)
            hidden = state.addmm_(last, turned).tanh_()
        ctx.save_for_backward(states, marks, weights, before)
        ctx.done = None
        return states

    @staticmethod
    def backward(ctx: Any, *seeds: Tensor) -> tuple[Tensor | None, ...]:
        def unrolled() -> tuple[Tensor, Tensor]:
            states, marks, weights, before = ctx.saved_tensors
            slopes, diffs = 1 - states * states, torch.empty_like(states)
            down = torch.zeros_like(states[0])
            for t in reversed(range(len(states))):
                torch.mul(seeds[0][t] + down, slopes[t], out=diffs[t])
                down = (diffs[t] @ weights).mul_(marks[t])
            return diffs, diffs.flatten(0, 1).t() @ before.flatten(0, 1)

        diffs, learns = _once(ctx, seeds[0], unrolled)
        return diffs, None, learns, None


def _once(ctx: Any, seed: Tensor, compute: Callable[[], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """The net asks for the gradients of bottoms, later for those of parameters: one loop serves both."""
    if ctx.done is None or not torch.equal(ctx.done[0], seed):
        ctx.done = seed.clone(), compute()
    found: tuple[Tensor, Tensor] = ctx.done[1]
    return found


@layer("LSTMUnit", labels=(2,))
def _lstm_unit(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Sequence[Tensor]:
    tops: tuple[Tensor, Tensor] = _LSTMUnit.apply(*bottoms)
    return tops


class _LSTMUnit(torch.autograd.Function):
    """Cells (1, N, D), gate inputs (1, N, 4 D), marks (1, N) -> cells, hidden states."""

    @staticmethod
    def forward(ctx: Any, before: Tensor, inputs: Tensor, marks: Tensor) -> tuple[Tensor, Tensor]:
        gates = inputs.clone()
        take, keep, give, new = _activate(gates, marks.unsqueeze(2))
        cell = (keep * before).addcmul_(take, new)
        shown = cell.tanh()
        ctx.save_for_backward(gates, before, shown)
        return cell, give * shown

    @staticmethod
    def backward(ctx: Any, *seeds: Tensor) -> tuple[Tensor | None, ...]:
        (gates, before, shown), (cell, hidden) = ctx.saved_tensors, seeds
        slopes, to_cell = _slopes(gates, before, shown)
        cell, diffs = torch.addcmul(cell, hidden, to_cell), torch.empty_like(gates)
        _spread(diffs, slopes, cell, hidden)
        return cell * gates.chunk(4, 2)[1], diffs, None


def _activate(gates: Tensor, marks: Tensor) -> Sequence[Tensor]:
    """Gate inputs (..., 4 D) become gates: take, keep, give, new; with a mark of 0 nothing is kept."""
    parts = gates.chunk(4, -1)
    gates.narrow(-1, 0, gates.shape[-1] // 4 * 3).sigmoid_()
    parts[3].tanh_()
    parts[1].mul_(marks)
    return parts


def _slopes(gates: Tensor, cells: Tensor, shown: Tensor) -> tuple[Tensor, Tensor]:
    """Diffs of gate inputs per that of the cell (give: of the hidden state), and of the cell per the latter.

    The mark counts as part of the gate that keeps, as in Caffe, which is exact for marks 0 and 1.
    """
    take, keep, give, new = gates.chunk(4, -1)
    parts = [
        new * take * (1 - take),
        cells * keep * (1 - keep),
        shown * give * (1 - give),
        take * (1 - new * new),
    ]
    return torch.cat(parts, -1), give * (1 - shown * shown)


def _spread(diffs: Tensor, slopes: Tensor, cell: Tensor, hidden: Tensor) -> None:
    """Diffs of gate inputs from those of the cell and of the hidden state."""
    torch.mul(slopes, torch.cat([cell, cell, hidden, cell], -1), out=diffs)
