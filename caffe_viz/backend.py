"""Which engine runs a network: the only module that imports one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from caffe_viz import netdef
from caffe_viz.checking import (
    CAFFE_READS_BYTES,
    caffe_is_installed,
    check,
    check_messages,
    existing_file,
    probe,
    raise_for,
)
from caffe_viz.errors import InputError, RunError, near
from caffe_viz.filling import fill
from caffe_viz.geometry.python_layers import folders, with_permission
from caffe_viz.layers_file import load_layers
from caffe_viz.netdef import NetParameter

ENGINES = ("auto", "caffe", "torch")
PHASES = ("TRAIN", "TEST")  # in the order of Caffe's numbers
CPU = "cpu"
PathLike = Path | str
NetSource = PathLike | NetParameter


def preferred(engine: str = "auto", device: str = CPU) -> str:
    """`caffe` or `torch`, as `chosen`, but installed or not: the one by whose rules a net is checked.

    Raises:
        InputError: no such engine, or real Caffe was asked to use another device than the CPU.
    """
    if engine not in ENGINES:
        raise InputError(f"engine {engine!r} is unknown.{near(engine, ENGINES)}")
    if engine == "caffe" and device != CPU:
        raise InputError(
            f"device {device!r} needs the engine torch: the real Caffe here is built for the CPU."
        )
    if engine != "auto":
        return engine
    return "torch" if device != CPU or (_has_torch() and not caffe_is_installed()) else "caffe"


def chosen(engine: str = "auto", device: str = CPU) -> str:
    """`caffe` or `torch`: real Caffe where it is installed, for the CPU, else the embedded engine.

    Raises:
        InputError: as `preferred`.
        RunError: it is not installed.
    """
    name = preferred(engine, device)
    if name == "torch" and not _has_torch():
        raise RunError("the engine torch is not installed: pip install 'caffe-viz[torch]'.")
    if name == "caffe" and not caffe_is_installed():
        if engine == "caffe":
            raise RunError("real Caffe is not installed: `make caffe` builds and installs it.")
        raise RunError(
            "no engine is installed: pip install 'caffe-viz[torch]', or `make caffe` for real Caffe."
        )
    return name


def _has_torch() -> bool:
    return find_spec("torch") is not None


def module(engine: str = "auto") -> Any:
    """The `caffe` module of an engine.

    Raises:
        RunError: it is not installed, or does not start.
    """
    if chosen(engine) == "caffe":
        return _caffe()
    from caffe_viz.engine import pycaffe

    return pycaffe


def _caffe() -> Any:
    """Real Caffe, on the CPU and without its log lines."""
    # Must be set before the first import: Caffe reads it once. 2 leaves errors and fatal messages.
    os.environ.setdefault("GLOG_minloglevel", "2")
    try:
        import caffe as real
    except ImportError as error:
        raise RunError(
            f"real Caffe cannot be imported ({error}): `make caffe` builds it anew; engine torch needs none."
        ) from error
    real.set_mode_cpu()
    return real


def load_net(
    prototxt: NetSource,
    weights: NetSource | None = None,
    *,
    phase: str = "TEST",
    engine: str = "auto",
    device: str = CPU,
    allow_code: bool = False,
    python_path: PathLike | Sequence[PathLike] = (),
    layers: PathLike | Sequence[PathLike] = (),
    checked: bool = True,
) -> Any:
    """A `caffe.Net` of `prototxt` with `weights`, paths or messages; checked first, so that nothing aborts.

    `engine` is real Caffe (`caffe`), the embedded one (`torch`), or `auto`: Caffe where it is installed.
    `device` is torch's name of one: cpu, cuda, cuda:1. The attributes `prototxt`, the message, and `folder`,
    of the file, are what altered nets are made from.

    `layers` are Python files that enter layer types with `@layer` of caffe_viz.engine; they are run.
    `allow_code` admits layers that run code or touch files; modules of layers of type Python are looked for
    in `python_path`, beside the prototxt, and where Python looks.

    `checked=False` leaves the check out, for messages that passed it before they were altered. Weights
    for a message are filled in by name; layers of the weights that hold none are passed over.

    Raises:
        InputError: a file is missing, or Caffe would abort with it.
        RunError: the engine is not installed.
    """
    load_layers(layers)
    name = chosen(engine, device)
    if phase not in PHASES:
        raise InputError(f"phase {phase!r} is unknown.{near(phase, PHASES)}")
    net_source = prototxt if isinstance(prototxt, NetParameter) else existing_file(prototxt, "prototxt")
    source = (
        weights
        if weights is None or isinstance(weights, NetParameter)
        else existing_file(weights, "caffemodel")
    )
    paths = folders(python_path)
    if checked:
        _check(net_source, source, phase, allow_code, name, paths)
    given = net_source
    if name == "caffe":
        net = _load_caffe(_caffe(), net_source, source, phase, checked)
    else:
        given = message_with_code(net_source, paths) if allow_code else net_source
        net = _load_torch(given, source, phase, device)
    net.prototxt = given if isinstance(given, NetParameter) else netdef.read_net(given)
    net.folder = None if isinstance(net_source, NetParameter) else net_source.parent
    return net


def _load_torch(
    net: Path | NetParameter, weights: Path | NetParameter | None, phase: str, device: str
) -> Any:
    from caffe_viz.engine import Net

    return Net(net, PHASES.index(phase), weights=weights, device=device)


def message_with_code(net: Path | NetParameter, paths: tuple[Path, ...]) -> NetParameter:
    """A net whose layers of type Python may run what they name, found in `paths` or beside its file."""
    if isinstance(net, NetParameter):
        return with_permission(net, paths)
    return with_permission(netdef.read_net(net), (*paths, net.parent))


def engine_name(net: Any) -> str:
    """The name of the engine that runs `net`: caffe or torch."""
    return str(getattr(net, "engine", "caffe"))


def _check(
    net: Path | NetParameter,
    weights: Path | NetParameter | None,
    phase: str,
    allow_code: bool,
    engine: str,
    paths: tuple[Path, ...],
) -> None:
    if isinstance(net, Path) and not isinstance(weights, NetParameter):
        found = check(net, weights, allow_code=allow_code, python_path=paths, phase=phase, engine=engine)
        found.raise_for_errors()
        return
    message = message_with_code(net, paths) if allow_code else net
    message = netdef.read_net(message) if isinstance(message, Path) else message
    trained = netdef.stored_layers(weights) if isinstance(weights, Path) else weights
    name = str(net) if isinstance(net, Path) else f"net {net.name!r}"
    raise_for(check_messages(message, trained, allow_code=allow_code, phase=phase, engine=engine), name)


def _load_caffe(
    caffe: Any, net: Path | NetParameter, weights: Path | NetParameter | None, phase: str, checked: bool
) -> Any:
    number = PHASES.index(phase)
    with ExitStack() as stack:
        if isinstance(net, Path):
            path, name = net, str(net)
        else:
            path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "net.prototxt"
            name = f"net {net.name!r}"
            netdef.write_net(net, path)
        by_message = not isinstance(net, Path) or isinstance(weights, NetParameter)
        if checked and by_message and caffe_is_installed():
            raise_for(probe(path, None, phase=phase), name)
        if isinstance(weights, Path) and not by_message and weights.stat().st_size <= CAFFE_READS_BYTES:
            return caffe.Net(str(path), number, weights=str(weights))
        made = caffe.Net(str(path), number)
    if weights is not None:
        fill(made, weights)
    return made
