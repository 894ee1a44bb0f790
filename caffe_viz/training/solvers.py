"""Load solvers from files, checked before an engine sees them, so that every error is one line."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from caffe_viz import netdef
from caffe_viz.backend import chosen, engine_name, load_net, module
from caffe_viz.checking import (
    caffe_reads_weights,
    check_messages,
    existing_file,
    fits,
    need_no_abort,
    probe,
    raise_for,
)
from caffe_viz.errors import InputError
from caffe_viz.files import h5py, need_folder, safe_name
from caffe_viz.geometry.python_layers import folders, with_permission
from caffe_viz.layers_file import load_layers
from caffe_viz.netdef import NetParameter, SolverParameter, as_text
from caffe_viz.netdef.net_pb2 import TEST
from caffe_viz.solving import check_solver, net_to_train, nets_to_test
from caffe_viz.weight_matching import load_weights as fill_net

PathLike = str | Path
HISTORIES = {"Adam": 2, "AdaDelta": 2}  # arrays that a rule keeps of each parameter, others one
NETS = (  # fields that say which nets there are, and in which state
    "net", "net_param", "train_net", "train_net_param", "test_net", "test_net_param",
    "train_state", "test_state",
)  # fmt: skip
DATA = ("DummyData",)  # whose fillers are its data


def read_settings(path: str | Path, output: str | Path = "out") -> SolverParameter:
    """Read a solver.prototxt; nets not in the working folder, where Caffe looks, are found beside it.

    Without a snapshot_prefix, snapshots go into `output`.

    Raises:
        InputError: It cannot be read, or Caffe would abort on it.
        RunError: No snapshot could be written.
    """
    file = existing_file(path, "prototxt")
    settings = netdef.read_solver(file)
    for field in ("net", "train_net"):
        if settings.HasField(field):
            setattr(settings, field, _beside(file, getattr(settings, field)))
    for i, name in enumerate(settings.test_net):
        settings.test_net[i] = _beside(file, name)
    check_solver(settings, settings.type, str(file))
    if not settings.HasField("snapshot_prefix"):
        settings.snapshot_prefix = str(Path(output) / safe_name(net_to_train(settings).name or "net"))
    need_folder(Path(settings.snapshot_prefix).parent)
    return settings


def load_solver(
    solver: str | Path | SolverParameter,
    *,
    engine: str = "auto",
    allow_code: bool = False,
    python_path: PathLike | Sequence[PathLike] = (),
    layers: PathLike | Sequence[PathLike] = (),
) -> Any:
    """Load a solver as pycaffe's solver class of its type. Its attribute `settings` is the message.

    Args:
        solver: The path of a solver.prototxt, or a message.
        engine: "caffe", "torch" or "auto".
        allow_code: Allow layers that run code or access files, as for `load_net`.
        python_path: Folders of modules of Python layers, as for `load_net`.
        layers: Python files that define layer types, as for `load_net`.

    Raises:
        InputError: Caffe would abort on the settings or on one of the nets.
        RunError: The engine is not installed.

    Example::

        solver = cv.load_solver("solver.prototxt")
        solver.step(100)
    """
    settings = solver if isinstance(solver, SolverParameter) else read_settings(solver)
    load_layers(layers)
    settings = with_code(settings, python_path) if allow_code else settings
    name = chosen(engine, net=net_to_train(settings))
    given = _with_nets(settings, lambda net: _readable(net, name))
    _check(net_to_train(given), name, allow_code)
    for net in nets_to_test(given):
        _check(net, name, allow_code)
    Path(settings.snapshot_prefix).parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "solver.prototxt"
        file.write_text(as_text(given), encoding="utf-8")
        # As a file a net has no permission to run its layers of type Python.
        made = module(name).get_solver(given if name == "torch" else str(file))
    made.settings = settings
    return made


def with_code(settings: SolverParameter, python_path: PathLike | Sequence[PathLike] = ()) -> SolverParameter:
    """Allow Python layers in the nets of `settings` to run code, from `python_path` or beside the nets."""
    files = [name for name in (settings.net, settings.train_net, *settings.test_net) if name]
    paths = (*folders(python_path), *(Path(name).parent for name in files))
    return _with_nets(settings, lambda net: with_permission(net, paths))


def _with_nets(settings: SolverParameter, change: Callable[[NetParameter], NetParameter]) -> SolverParameter:
    """`settings`, or a copy with its nets as messages where `change` gives others than it is given."""
    nets = [net_to_train(settings), *nets_to_test(settings)]
    train, *tests = map(change, nets)
    if all(net is given for net, given in zip((train, *tests), nets, strict=True)):
        return settings
    out = SolverParameter()
    out.CopyFrom(settings)
    for field in NETS:
        out.ClearField(field)
    out.train_net_param.CopyFrom(train)
    out.test_net_param.extend(tests)
    return out


def _readable(net: NetParameter, engine: str) -> NetParameter:
    """`net`, or for real Caffe, which reads no fields of forks, a copy without those that change nothing.

    Layers that are not in its state are then left out too: Caffe reads them before it drops them.
    """
    if engine != "caffe" or not any(netdef.of_forks(net)):
        return net
    return netdef.without_quiet(netdef.for_phase(net))


def warnings_of(settings: SolverParameter, engine: str = "auto") -> tuple[str, ...]:
    """Return what does not abort Caffe but may spoil the training, such as gradients that it gets wrong."""
    net = net_to_train(settings)
    name = chosen(engine, net=net)
    found = check_messages(_as_inputs(_readable(net, name)), engine=name, allow_code=True)
    return tuple(str(finding) for finding in found if finding.severity == "warning")


def load_test_net(settings: SolverParameter, *, engine: str = "auto", allow_code: bool = False) -> Any:
    """Load the first test net of a solver without drawing random numbers, so that training is not affected.

    Raises:
        InputError: Caffe would abort on it, or it draws random numbers when it runs.
    """
    nets = nets_to_test(settings)
    net = without_fillers(nets[0] if nets else net_to_train(settings))
    for layer in net.layer:
        if any(filler.type != "constant" for filler in layer.dummy_data_param.data_filler):
            raise InputError(f"test net: layer {layer.name!r} would draw from the training's random numbers.")
    net.state.phase = TEST  # that to train stands in for one to test
    name = chosen(engine, net=net)
    net = _readable(net, name)
    _check(net, name, allow_code)
    return load_net(net, engine=engine, checked=False)


def restore(solver: Any, snapshot: str | Path) -> None:
    """Continue from a snapshot, a solverstate.

    Raises:
        InputError: It cannot be read, its weights are missing, or it is of another net or solver type.
    """
    file = existing_file(snapshot, "solverstate")
    learned = _learned(solver, file)
    if learned and not Path(learned).is_file():
        raise InputError(
            f"{file} names the weights {learned}, which do not exist; paths are relative to the "
            "working folder."
        )
    if learned:
        load_weights(solver, learned)
    solver.restore(str(file))


def load_weights(solver: Any, weights: str | Path) -> None:
    """Begin with the weights of a caffemodel, or of HDF5.

    Raises:
        InputError: it cannot be read, or a shape differs.
    """
    file = existing_file(weights, "caffemodel")
    name = engine_name(solver.net)
    net = _readable(net_to_train(solver.settings), name)
    found = check_messages(net, netdef.stored_layers(file, net), engine=name, allow_code=True)
    raise_for(found, f"{file} and net {net.name!r}")
    if name == "caffe" and not caffe_reads_weights(file):
        fill_net(solver.net, file, net)
    else:
        solver.net.copy_from(str(file))


def without_fillers(net: NetParameter) -> NetParameter:
    """Return a copy whose parameters start as zeros."""
    out = NetParameter()
    out.CopyFrom(net)
    for layer in out.layer:
        if layer.type not in DATA:
            for _, part in layer.ListFields():
                for field, _ in part.ListFields() if hasattr(part, "ListFields") else ():
                    if field.message_type is not None and field.message_type.name == "FillerParameter":
                        part.ClearField(field.name)
    return out


def _beside(solver: Path, name: str) -> str:
    """The path of a net that a solver's file names."""
    there = solver.parent / name
    return str(there) if not Path(name).exists() and there.exists() else name


def _check(net: NetParameter, engine: str, allow_code: bool) -> None:
    name = f"net {net.name!r}"
    given = _as_inputs(net)
    raise_for(check_messages(given, engine=engine, allow_code=allow_code), name)
    need_no_abort(netdef.for_phase(given), engine)
    if engine == "caffe":
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "net.prototxt"
            netdef.write_net(net, file)
            raise_for(probe(file, None, net.state), name)


def _as_inputs(net: NetParameter) -> NetParameter:
    """A copy with Input for MemoryData, which is fine where arrays are given to it."""
    out = NetParameter()
    out.CopyFrom(net)
    for layer in out.layer:
        if layer.type == "MemoryData":
            p = layer.memory_data_param
            shapes = [p.batch_size, p.channels, p.height, p.width], [p.batch_size]
            layer.type = "Input"
            layer.input_param.shape.extend(netdef.BlobShape(dim=shape) for shape in shapes)
    return out


def _learned(solver: Any, file: Path) -> str:
    """The path of the weights that a state names; raises InputError if it does not fit the solver."""
    blobs = {blob.data.ctypes.data: blob for blobs in solver.net.params.values() for blob in blobs}
    shapes = [blob.data.shape for blob in blobs.values()] * HISTORIES.get(solver.settings.type, 1)
    if file.suffix == ".h5":
        learned, found = _state_hdf5(file)
        fine = found == shapes
    else:
        state = netdef.read_state(file)
        learned = state.learned_net
        fine = len(state.history) == len(shapes) and all(map(fits, state.history, shapes))
    if not fine:
        raise InputError(f"{file} is the state of another net or solver type: its history has other shapes.")
    return learned


def _state_hdf5(file: Path) -> tuple[str, list[tuple[int, ...]]]:
    """The path of the weights, and the shapes of the history."""
    try:
        with h5py().File(file, "r") as state:
            learned = state["learned_net"][()] if "learned_net" in state else b""
            history = state["history"] if "iter" in state else {}
            shapes = [tuple(map(int, history[str(i)].shape)) for i in range(len(history))]
    except (OSError, KeyError, AttributeError) as error:
        raise InputError(f"{file} is not a solverstate: {error}.") from None
    return learned.decode() if isinstance(learned, bytes) else str(learned), shapes
