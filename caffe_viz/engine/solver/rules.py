"""Update rules: from a parameter's gradient and history to the step to subtract (Caffe's solvers/*.cpp).

Each changes `history` and may reuse the memory of the gradient `g` for its result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from caffe_viz.netdef import SolverParameter


@dataclass(frozen=True)
class Step:
    """`rate` is that of the parameter, `iteration` the number of updates before this one."""

    settings: SolverParameter
    rate: float
    iteration: int


Rule = Callable[[Step, Tensor, Sequence[Tensor]], Tensor]


def sgd(step: Step, g: Tensor, history: Sequence[Tensor]) -> Tensor:
    """Gradient descent with momentum; returns the history itself."""
    return history[0].mul_(step.settings.momentum).add_(g, alpha=step.rate)


def nesterov(step: Step, g: Tensor, history: Sequence[Tensor]) -> Tensor:
    """Nesterov's accelerated gradient: a step of momentum further than `sgd`."""
    momentum = sgd(step, g, history)
    return g.mul_(step.rate).add_(momentum, alpha=step.settings.momentum)


def adagrad(step: Step, g: Tensor, history: Sequence[Tensor]) -> Tensor:
    """Duchi et al., "Adaptive Subgradient Methods for Online Learning", 2011."""
    squares = history[0].addcmul_(g, g)
    return g.div_(squares.sqrt().add_(step.settings.delta)).mul_(step.rate)


def rmsprop(step: Step, g: Tensor, history: Sequence[Tensor]) -> Tensor:
    """Tieleman and Hinton, "Lecture 6.5: RMSProp", 2012."""
    squares = _mean(history[0], g, g, step.settings.rms_decay)
    return g.div_(squares.sqrt().add_(step.settings.delta)).mul_(step.rate)


def adadelta(step: Step, g: Tensor, history: Sequence[Tensor]) -> Tensor:
    """Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012."""
    momentum, delta = step.settings.momentum, step.settings.delta
    squares = _mean(history[0], g, g, momentum)
    g.mul_((history[1] + delta).div_(squares + delta).sqrt_())
    _mean(history[1], g, g, momentum)
    return g.mul_(step.rate)


def adam(step: Step, g: Tensor, history: Sequence[Tensor]) -> Tensor:
    """Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2014."""
    first, second = step.settings.momentum, step.settings.momentum2
    history[0].mul_(first).add_(g, alpha=1 - first)
    squares = _mean(history[1], g, g, second)
    time = step.iteration + 1
    correction = math.sqrt(1 - second**time) / (1 - first**time)
    torch.div(history[0], squares.sqrt().add_(step.settings.delta), out=g)
    return g.mul_(step.rate * correction)


def _mean(kept: Tensor, a: Tensor, b: Tensor, decay: float) -> Tensor:
    """`kept` as the running mean of `a` times `b`."""
    return kept.mul_(decay).addcmul_(a, b, value=1 - decay)
