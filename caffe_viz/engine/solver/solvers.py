"""pycaffe's solvers (solver.cpp, solvers/*.cpp)."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from caffe_viz import netdef, solving
from caffe_viz.engine import modes
from caffe_viz.engine.net import Net
from caffe_viz.engine.solver import rules, snapshots
from caffe_viz.engine.solver.learnable import learnables, norm
from caffe_viz.netdef import NetParameter, SolverParameter

Path = str | os.PathLike[str]


class Solver:
    """A solver with the interface of pycaffe's, of a solver.prototxt: a path or a message.

    Its nets run on the device that `set_mode_cpu` and `set_mode_gpu` say, whatever solver_mode is, as in
    pycaffe. It is silent, as Caffe is at its log level 2.

    Raises:
        InputError: a file cannot be read, or the settings or a net would abort Caffe.
        NotImplementedError: a net has a layer type that this engine does not have.
    """

    type: ClassVar[str]
    rule: ClassVar[rules.Rule]
    histories: ClassVar[int] = 1  # arrays that the rule keeps of each parameter

    def __init__(self, solver: Path | SolverParameter) -> None:
        self.param, name = _read(solver)
        solving.check_solver(self.param, self.type, name)
        if self.param.random_seed >= 0:
            modes.set_random_seed(self.param.random_seed)
        self.net = _net(solving.net_to_train(self.param))
        self.test_nets = [_net(message) for message in solving.nets_to_test(self.param)]
        self._params = learnables(self.net, self.histories)
        self._iter, self._drops = 0, 0
        self._callbacks: list[tuple[Callable[[], object], Callable[[], object]]] = []

    @property
    def iter(self) -> int:
        """How many updates there were."""
        return self._iter

    def add_callback(self, on_start: Callable[[], object], on_gradients_ready: Callable[[], object]) -> None:
        """Call `on_start` before each iteration's forward, `on_gradients_ready` before its update.

        The gradients are then the sums over iter_size batches, not yet clipped or decayed.
        """
        self._callbacks.append((on_start, on_gradients_ready))

    def solve(self, resume_file: Path | None = None) -> None:
        """Train up to max_iter, from a snapshot if given, and take a snapshot unless the settings forbid it.

        Raises:
            InputError: the snapshot cannot be read, or is of another net.
            RunError: a file cannot be written, or lr_policy gives no rate.
        """
        p = self.param
        if resume_file is not None:
            self.restore(resume_file)
        self.step(p.max_iter - self._iter)
        if p.snapshot_after_train and not self._due(p.snapshot):
            self.snapshot()
        if self._due(p.display):
            _forward(self.net)
        if self._due(p.test_interval):
            self._test()

    def step(self, iters: int) -> None:
        """Train `iters` iterations, with the tests and snapshots that fall into them.

        Raises:
            RunError: a file cannot be written, or lr_policy gives no rate.
        """
        p, last = self.param, self._iter + iters
        while self._iter < last:
            self.net.clear_param_diffs()
            if self._due(p.test_interval) and (self._iter or p.test_initialization):
                self._test()
            for on_start, _ in self._callbacks:
                on_start()
            for _ in range(p.iter_size):
                last_layer = _forward(self.net)
                self.net._backward(last_layer, 0)
            for _, on_gradients_ready in self._callbacks:
                on_gradients_ready()
            self.apply_update()
            self._iter += 1
            if self._due(p.snapshot):
                self.snapshot()

    def apply_update(self) -> None:
        """Change the parameters after their diffs, which then are what was subtracted.

        Raises:
            RunError: lr_policy gives no rate.
        """
        p = self.param
        self._drops = solving.next_step(p, self._iter, self._drops)
        rate = solving.learning_rate(p, self._iter, self._drops)
        for net in (self.net, *self.test_nets):
            for blob in (blob for layer in net.layers for blob in layer.blobs):
                blob.memories[1].settle()  # what was put off needs the weights that are changed here
        with torch.no_grad():
            scale = self._clip() / p.iter_size
            for one in self._params:
                one.update(type(self).rule, p, rate, self._iter, scale)

    def snapshot(self) -> None:
        """Write weights and state as `snapshot_prefix`_iter_N.caffemodel and .solverstate, or as HDF5.

        Raises:
            RunError: they cannot be written.
        """
        snapshots.write(self.param, self.net, snapshots.State(self._iter, self._drops, self._histories()))

    def restore(self, state_file: Path) -> None:
        """Go on from a snapshot, of Caffe too; the weights are those of the file that the state names.

        Raises:
            InputError: a file cannot be read, or is of another net; then nothing is changed.
        """
        self._iter, self._drops, rows = snapshots.restore(state_file, self.net, self._histories())
        for one, *history in zip(self._params, *rows, strict=True):
            one.history = history

    def _histories(self) -> list[list[Tensor]]:
        """In Caffe's order: one array of all parameters, then the next."""
        return [[one.history[i] for one in self._params] for i in range(self.histories)]

    def _due(self, interval: int) -> bool:
        return bool(interval) and self._iter % interval == 0

    def _clip(self) -> float:
        """The factor by which clip_gradients scales all gradients."""
        limit = self.param.clip_gradients
        if limit < 0:
            return 1.0
        size = norm(self._params)
        return limit / size if size > limit else 1.0

    def _test(self) -> None:
        """Run the test nets on the weights as they are; the scores are the last batch's, in their blobs."""
        for net, count in zip(self.test_nets, self.param.test_iter, strict=True):
            net.share_with(self.net)
            for _ in range(count):
                _forward(net)


class SGDSolver(Solver):
    """Stochastic gradient descent with momentum."""

    type, rule = "SGD", rules.sgd


class NesterovSolver(Solver):
    """Nesterov's accelerated gradient."""

    type, rule = "Nesterov", rules.nesterov


class AdaGradSolver(Solver):
    """Rates that fall with the sum of squared gradients."""

    type, rule = "AdaGrad", rules.adagrad


class RMSPropSolver(Solver):
    """Rates after a running mean of squared gradients."""

    type, rule = "RMSProp", rules.rmsprop


class AdaDeltaSolver(Solver):
    """Rates after running means of squared gradients and updates."""

    type, rule, histories = "AdaDelta", rules.adadelta, 2


class AdamSolver(Solver):
    """Rates after running means of gradients and of their squares."""

    type, rule, histories = "Adam", rules.adam, 2


SOLVERS: dict[str, type[Solver]] = {
    one.type: one
    for one in (SGDSolver, NesterovSolver, AdaGradSolver, RMSPropSolver, AdaDeltaSolver, AdamSolver)
}


def get_solver(solver: Path | SolverParameter) -> Solver:
    """The solver of the type that a solver.prototxt names, SGD if it names none.

    Raises:
        InputError: as `Solver` does, or the type is unknown.
    """
    param, name = _read(solver)
    solving.check_solver(param, param.type, name)
    return SOLVERS[param.type](solver)


def _read(solver: Path | SolverParameter) -> tuple[SolverParameter, str]:
    """The settings, and what errors call them."""
    if isinstance(solver, SolverParameter):
        return solver, "the solver"
    return netdef.read_solver(os.fspath(solver)), os.fspath(solver)


def _forward(net: Net) -> int:
    """All layers, without arrays of what they give; returns the last one's number."""
    last = len(net.layers) - 1
    net._forward(0, last)
    return last


def _net(message: NetParameter) -> Net:
    state = message.state
    return Net(message, state.phase, state.level, state.stage)
