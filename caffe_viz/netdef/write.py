"""Messages to files, whole or not at all."""

from __future__ import annotations

from pathlib import Path

from google.protobuf import text_format
from google.protobuf.message import EncodeError

from caffe_viz.errors import InputError
from caffe_viz.files import write_whole
from caffe_viz.netdef.blobs import MESSAGE_LIMIT
from caffe_viz.netdef.net_pb2 import NetParameter, SolverState


def write_net(net: NetParameter, path: str | Path) -> None:
    """Write a V2 prototxt; missing folders are made.

    Raises:
        RunError: it cannot be written; what was there before is still there.
    """
    write_whole(path, text_format.MessageToString(net, as_utf8=True).encode())


def write_weights(net: NetParameter, path: str | Path) -> None:
    """Write a V2 caffemodel: `net` is a message whose layers hold blobs; missing folders are made.

    Raises:
        InputError: the weights take more than the 2 GiB of a protobuf message, or miss a required field.
        RunError: it cannot be written; what was there before is still there.
    """
    _write(net, path, "caffemodel")


def write_state(state: SolverState, path: str | Path) -> None:
    """Write a solverstate; missing folders are made.

    Raises:
        InputError: it takes more than the 2 GiB of a protobuf message.
        RunError: it cannot be written; what was there before is still there.
    """
    _write(state, path, "solverstate")


def _write(message: NetParameter | SolverState, path: str | Path, kind: str) -> None:
    size = message.ByteSize()
    if size > MESSAGE_LIMIT:
        raise InputError(f"{path}: the values take {size:,} bytes; a {kind} has at most 2 GiB.")
    try:
        data = message.SerializeToString()
    except EncodeError as error:
        raise InputError(f"{path}: this {kind} cannot be written: {error}.") from None
    write_whole(path, data)
