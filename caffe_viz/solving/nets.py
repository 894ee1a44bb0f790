"""The nets that a solver trains and tests (solver.cpp: InitTrainNet, InitTestNets)."""

from __future__ import annotations

import os

from caffe_viz.errors import InputError
from caffe_viz.netdef import NetParameter, SolverParameter, read_net
from caffe_viz.netdef.net_pb2 import NetState
from caffe_viz.netdef.upgrade import upgrade


def net_to_train(solver: SolverParameter) -> NetParameter:
    """The net to train, with all its layers; its `state` says which of them it has.

    Paths are taken from the working folder, as in Caffe; `solver` has passed `check_solver`.

    Raises:
        InputError: the file cannot be read.
    """
    files = [getattr(solver, field) for field in ("net", "train_net") if solver.HasField(field)]
    inline = solver.net_param if solver.HasField("net_param") else solver.train_net_param
    return _in_state(_read(files[0]) if files else _inline(inline), "TRAIN", solver.train_state)


def nets_to_test(solver: SolverParameter) -> list[NetParameter]:
    """The nets to test, in Caffe's order: test_net_param, test_net, then net or net_param for the rest.

    Raises:
        InputError: a file cannot be read.
    """
    nets = [_inline(net) for net in solver.test_net_param] + [_read(path) for path in solver.test_net]
    rest = range(len(solver.test_iter) - len(nets))
    nets += [_read(solver.net) if solver.HasField("net") else _inline(solver.net_param) for _ in rest]
    states = list(solver.test_state) or [NetState()] * len(nets)
    return [_in_state(net, "TEST", state) for net, state in zip(nets, states, strict=True)]


def _in_state(net: NetParameter, phase: str, asked: NetState) -> NetParameter:
    """`net` with its state: what the solver asks for, else what the net's file says, else `phase`."""
    state = NetState(phase=phase)
    state.MergeFrom(net.state)
    state.MergeFrom(asked)
    net.state.CopyFrom(state)
    return net


def _read(path: str) -> NetParameter:
    try:
        return read_net(path)
    except InputError as error:
        if os.path.exists(path) or os.path.isabs(path):
            raise
        raise InputError(
            f"{error} A solver's paths are relative to the working folder, here {os.getcwd()}."
        ) from None


def _inline(net: NetParameter) -> NetParameter:
    copy = NetParameter()
    copy.CopyFrom(net)
    return upgrade(copy, "the solver's net")
