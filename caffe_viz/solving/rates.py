"""Learning rates: the lr_policy of a solver (sgd_solver.cpp: GetLearningRate)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from caffe_viz.errors import RunError
from caffe_viz.netdef import SolverParameter

# (settings, iteration, step) -> rate. Caffe computes powers of an iteration in double, others in float.
Policy = Callable[[SolverParameter, int, int], Any]


def _fixed(p: SolverParameter, iteration: int, step: int) -> Any:
    return p.base_lr


def _steps(p: SolverParameter, iteration: int, step: int) -> Any:
    return p.base_lr * np.float64(p.gamma) ** step


def _exp(p: SolverParameter, iteration: int, step: int) -> Any:
    return p.base_lr * np.float64(p.gamma) ** iteration


def _inv(p: SolverParameter, iteration: int, step: int) -> Any:
    return p.base_lr * (1 + np.float32(p.gamma) * np.float32(iteration)) ** np.float32(-p.power)


def _poly(p: SolverParameter, iteration: int, step: int) -> Any:
    return p.base_lr * (1 - np.float32(iteration) / np.float32(p.max_iter)) ** np.float32(p.power)


def _sigmoid(p: SolverParameter, iteration: int, step: int) -> Any:
    return p.base_lr / (1 + np.exp(-np.float32(p.gamma) * np.float32(iteration - p.stepsize)))


POLICIES: dict[str, Policy] = {
    "fixed": _fixed,
    "step": _steps,
    "exp": _exp,
    "inv": _inv,
    "multistep": _steps,
    "poly": _poly,
    "sigmoid": _sigmoid,
}


def next_step(p: SolverParameter, iteration: int, step: int) -> int:
    """How often the rate has dropped at `iteration`, if it was `step` times at the iteration before."""
    if p.lr_policy == "step":
        return iteration // p.stepsize
    if p.lr_policy == "multistep":
        return step + (step < len(p.stepvalue) and iteration >= p.stepvalue[step])
    return step


def learning_rate(p: SolverParameter, iteration: int, step: int) -> float:
    """The rate of the update that follows `iteration` updates, of the precision of a float32.

    `p` has passed `check_solver`; `step` is that of `next_step`.

    Raises:
        RunError: the policy has no rate there.
    """
    with np.errstate(all="ignore"):
        rate = float(np.float32(POLICIES[p.lr_policy](p, iteration, step)))
    if not np.isfinite(rate):
        raise RunError(
            f"lr_policy {p.lr_policy!r} gives the learning rate {rate} at iteration {iteration} (max_iter "
            f"{p.max_iter}, gamma {p.gamma:g}, power {p.power:g}): the weights would be lost."
        )
    return rate
