"""Messages to files, whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from google.protobuf import text_format
from google.protobuf.message import EncodeError

from caffe_viz.errors import InputError, RunError
from caffe_viz.netdef.blobs import MESSAGE_LIMIT
from caffe_viz.netdef.net_pb2 import NetParameter


def write_net(net: NetParameter, path: str | Path) -> None:
    """Write a V2 prototxt; missing folders are made.

    Raises:
        RunError: it cannot be written; what was there before is still there.
    """
    _replace(Path(path), text_format.MessageToString(net, as_utf8=True).encode())


def write_weights(net: NetParameter, path: str | Path) -> None:
    """Write a V2 caffemodel: `net` is a message whose layers hold blobs; missing folders are made.

    Raises:
        InputError: the weights take more than the 2 GiB of a protobuf message, or miss a required field.
        RunError: it cannot be written; what was there before is still there.
    """
    size = net.ByteSize()
    if size > MESSAGE_LIMIT:
        raise InputError(f"{path}: the weights take {size:,} bytes; a caffemodel has at most 2 GiB.")
    try:
        data = net.SerializeToString()
    except EncodeError as error:
        raise InputError(f"{path}: these weights cannot be written: {error}.") from None
    _replace(Path(path), data)


def _replace(path: Path, data: bytes) -> None:
    # Not tempfile's: its files are for the owner alone, and stay so when they are renamed.
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.write_bytes(data)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror or error}.") from None
