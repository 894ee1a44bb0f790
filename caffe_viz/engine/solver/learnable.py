"""The parameters that a solver changes (net.cpp: AppendParam), and how it changes one (sgd_solver.cpp)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from caffe_viz.engine.blobs import Blob
from caffe_viz.engine.layer import Layer
from caffe_viz.engine.net import Net
from caffe_viz.engine.solver.rules import Rule, Step
from caffe_viz.errors import InputError
from caffe_viz.netdef import SolverParameter
from caffe_viz.netdef.net_pb2 import ParamSpec


@dataclass
class Learnable:
    """A parameter, its multipliers of learning rate and weight decay, and what its rule keeps of it."""

    blob: Blob
    spec: ParamSpec
    history: list[Tensor] = field(default_factory=list)

    def update(self, rule: Rule, p: SolverParameter, rate: float, iteration: int, scale: float) -> None:
        """One update; `rate` is the solver's, `scale` what the gradient is multiplied by first.

        As in Caffe, the diff is then what was subtracted.
        """
        # Seen by no tape: as in Caffe, a backward after the update uses the new values.
        values, g = self.blob.tensor().data, self.blob.gradient().data
        if scale != 1:
            g.mul_(scale)
        decay = _product(p.weight_decay, self.spec.decay_mult)
        if decay:
            g.add_(values if p.regularization_type == "L2" else values.sign(), alpha=decay)
        change = rule(Step(p, _product(rate, self.spec.lr_mult), iteration), g, self.history)
        self.blob.take(values.sub_(change))
        diff = self.blob.memories[1]
        if change is g:
            diff.adopt(change)
        else:
            diff.renew(change.clone)


def learnables(net: Net, histories: int) -> list[Learnable]:
    """The parameters of `net` in Caffe's order, one that layers share once; `histories` zeros for each.

    Raises:
        InputError: layers give a shared parameter different multipliers.
    """
    found: dict[int, Learnable] = {}
    for layer in net.layers:
        for i, blob in enumerate(layer.blobs):
            spec = layer.param.param[i] if i < len(layer.param.param) else ParamSpec()
            owner = found.get(id(blob.memories[1]))
            if owner is None:
                zeros = [torch.zeros(blob.shape, device=net.device) for _ in range(histories)]
                copy = ParamSpec()
                copy.CopyFrom(spec)
                found[id(blob.memories[1])] = Learnable(blob, copy, zeros)
            else:
                _join(owner.spec, spec, layer)
    return list(found.values())


def _join(owner: ParamSpec, spec: ParamSpec, layer: Layer) -> None:
    """Multipliers that a later layer gives a parameter whose owner gives none."""
    for name in ("lr_mult", "decay_mult"):
        if not spec.HasField(name):
            continue
        value = getattr(spec, name)
        if owner.HasField(name) and getattr(owner, name) != value:
            raise InputError(
                f"layer {layer.name!r}: {name} {value:g} of the shared parameter {spec.name!r} must be that "
                f"of its first layer, {getattr(owner, name):g}."
            )
        setattr(owner, name, value)


def norm(params: list[Learnable]) -> float:
    """The L2 norm of all gradients together."""
    parts = [torch.linalg.vector_norm(one.blob.gradient()) for one in params]
    return float(torch.linalg.vector_norm(torch.stack(parts))) if parts else 0.0


def _product(a: float, b: float) -> float:
    """As Caffe multiplies them: as float32."""
    return float(np.float32(a) * np.float32(b))
