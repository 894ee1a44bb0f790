"""Messages to files, whole or not at all."""

from __future__ import annotations

from pathlib import Path

from google.protobuf import text_format
from google.protobuf.message import EncodeError

from caffe_viz.errors import InputError
from caffe_viz.files import write_whole
from caffe_viz.netdef.blobs import MESSAGE_LIMIT
from caffe_viz.netdef.net_pb2 import NetParameter


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
    size = net.ByteSize()
    if size > MESSAGE_LIMIT:
        raise InputError(f"{path}: the weights take {size:,} bytes; a caffemodel has at most 2 GiB.")
    try:
        data = net.SerializeToString()
    except EncodeError as error:
        raise InputError(f"{path}: these weights cannot be written: {error}.") from None
    write_whole(path, data)
