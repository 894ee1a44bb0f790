"""Messages to files, whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from google.protobuf import text_format

from caffe_viz.netdef.net_pb2 import NetParameter


def write_net(net: NetParameter, path: str | Path) -> None:
    """Write a V2 prototxt."""
    _replace(Path(path), text_format.MessageToString(net).encode())


def write_weights(net: NetParameter, path: str | Path) -> None:
    """Write a V2 caffemodel: `net` is a message whose layers hold blobs."""
    _replace(Path(path), net.SerializeToString())


def _replace(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix="." + path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(partial, path)
    except BaseException:
        os.unlink(partial)
        raise
