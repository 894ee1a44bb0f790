"""Snapshots in Caffe's formats: weights and a solver's state, as protobuf or HDF5 (sgd_solver.cpp)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from caffe_viz import netdef
from caffe_viz.checking import fits
from caffe_viz.engine.blobs import Array
from caffe_viz.engine.net import Net
from caffe_viz.engine.weights import hdf5_written_whole
from caffe_viz.errors import InputError
from caffe_viz.netdef import SolverParameter, SolverState, hdf5_opened

PathLike = str | os.PathLike[str]


class State(NamedTuple):
    """A solver between two updates; a row of `histories` for each array that its rule keeps."""

    iter: int
    drops: int  # how often the learning rate has dropped: Caffe's current_step
    histories: Sequence[Sequence[Tensor]]


def write(p: SolverParameter, net: Net, state: State) -> None:
    """Write the weights and the state beside each other, each file whole or not at all.

    Raises:
        RunError: they cannot be written.
    """
    name = f"{p.snapshot_prefix}_iter_{state.iter}"
    arrays = [tensor.cpu().numpy() for row in state.histories for tensor in row]
    if p.snapshot_format == SolverParameter.HDF5:
        model = f"{name}.caffemodel.h5"
        net.save_hdf5(model, p.snapshot_diff)
        _write_hdf5(f"{name}.solverstate.h5", model, state, arrays)
    else:
        model = f"{name}.caffemodel"
        net.save(model, p.snapshot_diff)
        blobs = map(netdef.make_blob, arrays)
        message = SolverState(iter=state.iter, learned_net=model, current_step=state.drops, history=blobs)
        netdef.write_state(message, f"{name}.solverstate")


def restore(path: PathLike, net: Net, like: Sequence[Sequence[Tensor]]) -> State:
    """Put the weights that a state names into `net`; the state has the shapes of `like`.

    Raises:
        InputError: a file cannot be read, or is of another net or rule; then nothing is changed.
    """
    name = os.fspath(path)
    shapes = [tuple(tensor.shape) for row in like for tensor in row]
    found, learned, arrays = (_read_hdf5 if name.endswith(".h5") else _read)(name, shapes)
    if learned:
        _fill(net, learned, name)
    tensors = iter([torch.from_numpy(array).to(net.device) for array in arrays])
    return found._replace(histories=[[next(tensors) for _ in row] for row in like])


Read = tuple[State, str, Sequence[Array]]  # with the path of the weights, and histories in one row
Shapes = Sequence[tuple[int, ...]]


def _read(path: str, shapes: Shapes) -> Read:
    state = netdef.read_state(path)
    _need_count(path, len(state.history), shapes)
    for i, (blob, shape) in enumerate(zip(state.history, shapes, strict=True)):
        if not fits(blob, shape):
            raise _Other(path, i, netdef.blob_shape(blob), shape)
    arrays = [netdef.blob_array(b).reshape(s) for b, s in zip(state.history, shapes, strict=True)]
    return State(state.iter, state.current_step, ()), state.learned_net, arrays


def _read_hdf5(path: str, shapes: Shapes) -> Read:
    with hdf5_opened(path) as file:
        missing = [name for name in ("iter", "current_step", "history") if name not in file]
        if missing:
            raise InputError(f"{path} is not a solver state: it has no {' and no '.join(missing)}.")
        _need_count(path, len(file["history"]), shapes)
        arrays = [np.asarray(file["history"][str(i)], np.float32) for i in range(len(shapes))]
        for i, (array, shape) in enumerate(zip(arrays, shapes, strict=True)):
            if array.shape != shape:
                raise _Other(path, i, array.shape, shape)
        count, drops = (int(np.ravel(file[name])[0]) for name in ("iter", "current_step"))
        learned = bytes(file["learned_net"][()]) if "learned_net" in file else b""
    return State(count, drops, ()), os.fsdecode(learned.partition(b"\0")[0]), arrays


def _write_hdf5(path: str, model: str, state: State, arrays: Sequence[Array]) -> None:
    with hdf5_written_whole(path) as file:
        for name, number in (("iter", state.iter), ("current_step", state.drops)):
            file[name] = np.array([number], np.int32)
        text = os.fsencode(model)
        file["learned_net"] = np.array(text, f"S{len(text) + 1}")  # Caffe reads up to a zero
        history: Any = file.create_group("history")
        for i, array in enumerate(arrays):
            history[str(i)] = array


def _fill(net: Net, learned: str, state: str) -> None:
    """All weights, or none."""
    if not os.path.exists(learned):
        raise InputError(
            f"{state} names the weights {learned}, which do not exist: its paths are relative to the working "
            f"folder, here {os.getcwd()}."
        )
    net.copy_from(learned)


def _need_count(path: str, count: int, shapes: Shapes) -> None:
    if count != len(shapes):
        raise InputError(
            f"{path} holds {count} arrays of history, this solver keeps {len(shapes)}: it is of another net "
            f"or another type of solver."
        )


class _Other(InputError):
    """History of another net."""

    def __init__(self, path: str, place: int, found: Sequence[int], wanted: Sequence[int]) -> None:
        shapes = f"{tuple(found)}, this solver's {tuple(wanted)}"
        super().__init__(f"{path} is of another net: array {place} of its history is {shapes}.")
