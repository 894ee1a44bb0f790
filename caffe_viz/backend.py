"""Which engine runs a network; the only module that imports one."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from caffe_viz import netdef
from caffe_viz.checking import (
    CAFFE_READS_BYTES,
    caffe_is_installed,
    check,
    check_messages,
    existing_file,
    fits,
    probe,
    raise_for,
)
from caffe_viz.errors import InputError, RunError, near
from caffe_viz.netdef import NetParameter

ENGINES = ("auto", "caffe")
PHASES = ("TRAIN", "TEST")  # in the order of Caffe's numbers
NetSource = Path | str | NetParameter


def caffe() -> Any:
    """The module of real Caffe, on the CPU and without its log lines.

    Raises:
        RunError: it is not installed, or does not start.
    """
    # Must be set before the first import: Caffe reads it once. 2 leaves errors and fatal messages.
    os.environ.setdefault("GLOG_minloglevel", "2")
    try:
        import caffe as module
    except ImportError as error:
        raise RunError(
            f"real Caffe cannot be imported ({error}): `make caffe` builds and installs it."
        ) from error
    module.set_mode_cpu()
    return module


def load_net(
    prototxt: NetSource,
    weights: NetSource | None = None,
    *,
    phase: str = "TEST",
    engine: str = "auto",
    allow_code: bool = False,
    checked: bool = True,
) -> Any:
    """A `caffe.Net` of `prototxt` with `weights`, paths or messages; checked first, so that nothing aborts.

    Its attributes `prototxt`, the message, and `folder`, of the file, are what altered nets are made from.

    `checked=False` leaves the check out, for messages that passed it before they were altered. Weights
    for a message are filled in by name; layers of the weights that hold none are passed over.

    Raises:
        InputError: a file is missing, or Caffe would abort with it.
        RunError: Caffe is not installed.
    """
    if engine not in ENGINES:
        raise InputError(f"engine {engine!r} is unknown.{near(engine, ENGINES)}")
    if phase not in PHASES:
        raise InputError(f"phase {phase!r} is unknown.{near(phase, PHASES)}")
    net_source = prototxt if isinstance(prototxt, NetParameter) else existing_file(prototxt, "prototxt")
    source = (
        weights
        if weights is None or isinstance(weights, NetParameter)
        else existing_file(weights, "caffemodel")
    )
    module = caffe()
    if not isinstance(net_source, NetParameter) and not isinstance(source, NetParameter):
        if checked:
            check(net_source, source, allow_code=allow_code, phase=phase).raise_for_errors()
        net = _load_files(module, net_source, source, phase)
    else:
        net = _load_messages(module, net_source, source, phase, allow_code, checked)
    net.prototxt = net_source if isinstance(net_source, NetParameter) else netdef.read_net(net_source)
    net.folder = None if isinstance(net_source, NetParameter) else net_source.parent
    return net


def engine_name(net: Any) -> str:
    """The name of the engine that runs `net`."""
    return "caffe"


def _load_files(module: Any, prototxt: Path, weights: Path | None, phase: str) -> Any:
    number = PHASES.index(phase)
    if weights is None:
        return module.Net(str(prototxt), number)
    if weights.stat().st_size <= CAFFE_READS_BYTES:
        return module.Net(str(prototxt), number, weights=str(weights))
    net = module.Net(str(prototxt), number)
    fill(net, netdef.read_weights(weights))
    return net


def _load_messages(
    module: Any,
    net_source: Path | NetParameter,
    source: Path | NetParameter | None,
    phase: str,
    allow_code: bool,
    checked: bool,
) -> Any:
    weights = netdef.read_weights(source) if isinstance(source, Path) else source
    with ExitStack() as stack:
        if isinstance(net_source, Path):
            path, name = net_source, str(net_source)
        else:
            path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "net.prototxt"
            name = f"net {net_source.name!r}"
            netdef.write_net(net_source, path)
        if checked:
            message = netdef.read_net(path)
            raise_for(check_messages(message, weights, allow_code=allow_code, phase=phase), name)
            if caffe_is_installed():
                raise_for(probe(path, None, phase=phase), name)
        net = module.Net(str(path), PHASES.index(phase))
    if weights is not None:
        fill(net, weights)
    return net


def fill(net: Any, weights: NetParameter) -> None:
    """Copy `weights` into the first layer of `net` with the same name, as Caffe does.

    Raises:
        InputError: a shape or the number of blobs differs; names the layer and both sides.
    """
    targets: dict[str, Any] = {}
    for name, layer in zip(net._layer_names, net.layers, strict=True):
        targets.setdefault(name, layer)
    for source in weights.layer:
        if not source.blobs or source.name not in targets:
            continue
        blobs = targets[source.name].blobs
        if len(blobs) != len(source.blobs):
            raise InputError(
                f"layer {source.name!r}: {len(source.blobs)} blobs of weights, {len(blobs)} parameters."
            )
        for index, (blob, target) in enumerate(zip(source.blobs, blobs, strict=True)):
            if not fits(blob, target.data.shape):
                shape = netdef.blob_shape(blob)
                there = target.data.shape
                raise InputError(
                    f"layer {source.name!r}, blob {index}: shape {shape}, the net has {there} there."
                )
            target.data[...] = netdef.blob_array(blob).reshape(target.data.shape)
