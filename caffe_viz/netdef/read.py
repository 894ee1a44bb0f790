"""Files to messages; whatever their age, what comes out is V2."""

from __future__ import annotations

import re
from pathlib import Path

from google.protobuf import text_format
from google.protobuf.message import DecodeError

from caffe_viz.errors import InputError, near
from caffe_viz.netdef.net_pb2 import DESCRIPTOR, NetParameter
from caffe_viz.netdef.upgrade import upgrade

# What people hand over instead of a caffemodel, by its first bytes. Real Caffe loads some of these
# "successfully" and keeps the fillers' weights.
FOREIGN = {
    b"\x89HDF": "is HDF5; load it in real Caffe and net.save() it as a caffemodel",
    b"PK\x03\x04": "is a zip archive (a PyTorch checkpoint, or a packed download to unzip)",
    b"\x80\x02": "is a Python pickle",
    b"\x80\x04": "is a Python pickle",
    b"\x1f\x8b": "is gzip-compressed; unpack it first",
    b"version https://git-lfs": "is a git-lfs pointer; fetch the file itself with `git lfs pull`",
    b"<": "is a web page; the download went wrong",
}


def read_net(path: str | Path) -> NetParameter:
    """Read a prototxt of any age; the result is V2.

    Raises InputError that names file, line and column, or what the file is instead.
    """
    data = _read(path, "prototxt")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path} is no text, so no prototxt. Are the two files swapped?") from None
    return parse_net(text, str(path))


def parse_net(text: str, name: str = "<text>") -> NetParameter:
    """As `read_net`, from a string; `name` stands in the errors."""
    if not text.strip():
        raise InputError(f"{name} is empty; a prototxt was expected.")
    net = NetParameter()
    try:
        text_format.Parse(text, net)
    except text_format.ParseError as error:
        raise InputError(_syntax(error, name)) from None
    if not (len(net.layer) or len(net.layers)):
        raise InputError(f"{name} has no layers. Is it a solver's prototxt? Give the one of the net.")
    return upgrade(net, name)


def _syntax(error: text_format.ParseError, name: str) -> str:
    reason = re.sub(r"^\d+:\d+ : ", "", str(error)).replace("caffe_viz.", "").strip()
    unknown = re.search(r'Message type "(\w+)" (?:has no|should not have)[^"]*"(\w+)"', reason)
    hint = ""
    if unknown and unknown[1] in DESCRIPTOR.message_types_by_name:
        fields = DESCRIPTOR.message_types_by_name[unknown[1]].fields_by_name
        hint = near(unknown[2], fields)
    return f"{name}:{error.GetLine() or 1}:{error.GetColumn() or 1}: {reason}{hint}"


def read_weights(path: str | Path) -> NetParameter:
    """Read a caffemodel of any age; the result's layers are V2 and hold blobs.

    Raises InputError that says what the file is instead, or that it is cut short.
    """
    data = _read(path, "caffemodel")
    head = data[:64].lstrip()
    for magic, what in FOREIGN.items():
        if head.startswith(magic):
            raise InputError(f"{path} is no caffemodel: it {what}.")
    net = NetParameter()
    try:
        net.ParseFromString(data)
    except DecodeError:
        raise InputError(f"{path} is no caffemodel, or cut short: {_text_or_truncated(data)}.") from None
    net = upgrade(net, str(path))
    if not any(len(layer.blobs) for layer in net.layer):
        raise InputError(f"{path} is no caffemodel: no layer in it holds weights.")
    return net


def _text_or_truncated(data: bytes) -> str:
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in data[:200]):
        return "it is text; are the two files swapped?"
    return f"after {len(data):,} bytes its message does not end; download it again"


def _read(path: str | Path, kind: str) -> bytes:
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        folder = Path(path).parent
        names = [p.name for p in folder.glob(f"*{Path(path).suffix}")] if folder.is_dir() else []
        raise InputError(f"{path}: no such {kind}.{near(Path(path).name, names)}") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; give the {kind} in it.") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}.") from None
    if not data:
        raise InputError(f"{path} is empty; a {kind} was expected.")
    return data
