"""Read files as messages; whatever their age, the result is V2."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from google.protobuf import text_format
from google.protobuf.message import DecodeError, Message
from numpy.typing import NDArray

from caffe_viz.errors import InputError, near
from caffe_viz.files import need_no_stream
from caffe_viz.netdef.blobs import MESSAGE_LIMIT, blob_array, make_blob
from caffe_viz.netdef.embedded_net import UTF16, embedded_net, is_binary
from caffe_viz.netdef.hdf5 import hdf5_weights, is_hdf5
from caffe_viz.netdef.headers import need_required, need_text
from caffe_viz.netdef.net_pb2 import BlobProto, NetParameter, SolverParameter, SolverState
from caffe_viz.netdef.priors import tell_priors
from caffe_viz.netdef.sniffing import describe_format
from caffe_viz.netdef.syntax import explain
from caffe_viz.netdef.unknown import merge
from caffe_viz.netdef.upgrade import upgrade
from caffe_viz.netdef.wire import NotPlain, shared_net
from caffe_viz.shipped import files

M = TypeVar("M", bound=Message)
# In the order of the old enum's numbers.
OLD_SOLVERS = ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam")


def read_net(path: str | Path) -> NetParameter:
    """Read a prototxt of any age, or the net in a caffemodel. The result is V2 and holds no blobs.

    The name of a shipped network, such as "caffenet", stands for its prototxt.

    Raises:
        InputError: The file cannot be parsed (with line and column), or is of another kind (with which).

    Example::

        net = cv.read_net("deploy.prototxt")
        [layer.name for layer in net.layer]
    """
    path, _ = files(path)
    if is_binary(path):
        net = embedded_net(path)
        tell_priors(net)
        return net
    return parse_net(_text(_read(path, "prototxt"), str(path)), str(path))


def parse_net(text: str, name: str = "<text>") -> NetParameter:
    """Parse a net from a string, as `read_net` does; errors call it `name`."""
    net = _parsed(text, name, NetParameter())
    net = upgrade(net, name)
    if not net.layer:
        raise InputError(
            f"{name} has no layers; a prototxt with `layer {{ .. }}` was expected.{_solver(net)}"
        )
    tell_priors(net)
    return net


def read_solver(path: str | Path) -> SolverParameter:
    """Read a solver.prototxt; an old `solver_type` becomes a `type`.

    Raises:
        InputError: The file cannot be parsed (with line and column), or is of another kind (with which).
    """
    solver = _parsed(_text(_read(path, "prototxt"), str(path)), str(path), SolverParameter())
    if solver.HasField("solver_type"):
        if solver.HasField("type"):
            raise InputError(f"{path} has both type and the old solver_type: remove solver_type.")
        solver.type = OLD_SOLVERS[solver.solver_type]
        solver.ClearField("solver_type")
    return solver


def read_weights(path: str | Path, net: NetParameter | None = None) -> NetParameter:
    """Read a caffemodel of any age, or an HDF5 file. The result is a V2 message whose layers hold blobs.

    HDF5 holds only names and blobs; there `net` tells the order of the layers and which share a parameter.

    Raises:
        InputError: The file is damaged, or of another kind (with which).
        RunError: The file is HDF5, and h5py is not installed.
    """
    if is_hdf5(path):
        named = NetParameter()
        for name, blobs in hdf5_weights(Path(path), net):
            named.layer.add(name=name, blobs=[make_blob(blob.array()) for blob in blobs])
        return named
    data = _read(path, "caffemodel")
    net = NetParameter()
    try:
        plain = _parses(net, data) and net.IsInitialized() and not _gradients_only(net)
        net = net if plain else shared_net(data)  # a fork means other fields by some of our numbers
    except (DecodeError, NotPlain):
        raise InputError(f"{path} is not a caffemodel: {describe_format(data)}.") from None
    layers = len(net.layer) or len(net.layers)
    if not layers:
        raise InputError(f"{path} is not a caffemodel: {describe_format(data)}.")
    need_text(net, str(path))
    del data  # as large as the message, which the upgrade may copy
    net = upgrade(net, str(path), weights=True)
    if not any(layer.blobs for layer in net.layer):
        raise InputError(f"{path} is not a caffemodel: it names {layers} layers, but none holds weights.")
    return net


def _parses(net: NetParameter, data: bytes) -> bool:
    try:
        net.ParseFromString(data)
    except DecodeError:
        return False
    return True


def _gradients_only(net: NetParameter) -> bool:
    """Whether blobs seem to hold gradients and no values: those of C3D, where values have that number."""
    layers: list[Any] = [*net.layer, *net.layers]
    blobs = (blob for layer in layers for blob in layer.blobs)
    return any(len(blob.diff) and not len(blob.data) and not len(blob.double_data) for blob in blobs)


def read_state(path: str | Path) -> SolverState:
    """Read a solverstate: what a solver needs besides the weights to continue.

    Raises:
        InputError: The file is of another kind (with which).
    """
    data = _read(path, "solverstate")
    state = SolverState()
    try:
        state.ParseFromString(data)
    except DecodeError:
        raise InputError(f"{path} is not a solverstate: {describe_format(data)}.") from None
    if not state.HasField("iter"):
        raise InputError(f"{path} is not a solverstate: {describe_format(data)}.")
    return state


def read_blob(path: str | Path) -> NDArray[np.float32]:
    """Read the array in a .binaryproto file: one BlobProto, such as the mean of a data set.

    Raises:
        InputError: The file is damaged, or of another kind (with which).
    """
    data = _read(path, "binaryproto")
    blob = BlobProto()
    try:
        blob.ParseFromString(data)
    except DecodeError:
        raise InputError(f"{path} is not a binaryproto: {describe_format(data)}.") from None
    if not (blob.data or blob.double_data):
        raise InputError(f"{path} is not a binaryproto: it holds no values.")
    return blob_array(blob)


def _solver(net: NetParameter) -> str:
    fields = {unknown.name for unknown in net.unknown}
    if fields & set(SolverParameter.DESCRIPTOR.fields_by_name):
        return " This is a solver's prototxt: give the net that it names (net: or train_net:)."
    return ""


def _parsed(text: str, name: str, message: M) -> M:
    if not text.strip():
        raise InputError(f"{name} is empty; a prototxt was expected.")
    try:
        merge(text, message)
    except text_format.ParseError as error:
        raise InputError(explain(error, text, name)) from None
    need_required(message, name)
    return message


def _text(data: bytes, name: str) -> str:
    if data.startswith(UTF16):
        raise InputError(f"{name} is UTF-16 text, which Caffe cannot read: save it as UTF-8.")
    if b"\0" in data:
        raise InputError(f"{name} is binary, so it is not a prototxt. Are prototxt and caffemodel swapped?")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    # Caffe reads any bytes; comments in GBK or Latin-1 are common, and harmless.
    code = b"\n".join(line.partition(b"#")[0] for line in data.split(b"\n"))
    try:
        return code.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = code.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{name}:{line}: is not UTF-8 text. Save the prototxt as UTF-8, or, if it is a caffemodel, "
            f"give it as weights."
        ) from None


def _read(path: str | Path, kind: str) -> bytes:
    path = Path(path)
    try:
        need_no_stream(path)
        size = path.stat().st_size
        if size > MESSAGE_LIMIT:
            raise InputError(f"{path} has {size:,} bytes; a {kind} has at most 2 GiB.")
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(_missing(path, kind)) from None
    except IsADirectoryError:
        inside = sorted(p.name for p in path.glob(f"*.{kind}"))
        raise InputError(f"{path} is a folder; give the {kind} in it.{near('', inside)}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    if not data:
        raise InputError(f"{path} is empty; a {kind} was expected.")
    return data


def _missing(path: Path, kind: str) -> str:
    if not path.parent.is_dir():
        return f"{path}: no such {kind}; there is no folder {path.parent}."
    names = sorted(p.name for p in path.parent.iterdir() if p.suffix == path.suffix)
    return f"{path}: no such {kind}.{near(path.name, names)}"
