"""Recognise what a file is if it is not a caffemodel.

Real Caffe loads some of these "successfully" and keeps the fillers' weights, so they must be told apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from google.protobuf.message import DecodeError

from caffe_viz.netdef.net_pb2 import BlobProto

MAGIC = {
    b"\x89HDF": "it is HDF5",
    b"PK\x03\x04": "it is a zip archive: a PyTorch checkpoint, NumPy's npz, or a packed download to unzip",
    b"\x1f\x8b": "it is packed by gzip: unpack it first",
    b"BZh": "it is packed by bzip2: unpack it first",
    b"\xfd7zXZ": "it is packed by xz: unpack it first",
    b"\x93NUMPY": "it is a NumPy array",
    b"version https://git-lfs": "it is a git-lfs pointer: fetch the file itself with `git lfs pull`",
    **{bytes([0x80, n]): "it is a Python pickle, such as an old PyTorch checkpoint" for n in range(2, 6)},
}
ONNX = re.compile(rb"\x08.\x12", re.DOTALL)  # ir_version, then the producer's name
SOLVER_STATE = re.compile(rb"\x08[\x80-\xff]*[\x00-\x7f]\x12.{1,2}?([^\x00-\x1f]+?\.caffemodel)", re.DOTALL)
LAYER_FIELDS = (2, 100)  # NetParameter.layers and .layer
# Field numbers of NetParameter with how they are stored: 0 a number, 2 behind a length.
NET_FIELDS = {1: 2, 2: 2, 3: 2, 4: 0, 5: 0, 6: 2, 7: 0, 8: 2, 100: 2}
FIXED = {1: 8, 5: 4}  # bytes of the kinds of fixed size


class WireRecord(NamedTuple):
    """One top-level record of a message: its field, its wire type, and where it ends, in bytes."""

    field: int
    kind: int
    end: int


def head(path: str | Path, count: int) -> bytes:
    """Return the first bytes of a file, or none if it does not exist or cannot be read."""
    if not Path(path).is_file():
        return b""
    try:
        with Path(path).open("rb") as file:
            return file.read(count)
    except OSError:
        return b""


def describe_format(data: bytes) -> str:
    """Say what `data` is, as the end of a sentence: "it is a web page; the download went wrong"."""
    for magic, what in MAGIC.items():
        if data.startswith(magic):
            return what
    return _text(data) or _other_message(data) or _damage(data)


def _text(data: bytes) -> str:
    head = data[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()
    if any(byte < 9 or 13 < byte < 32 for byte in head):
        return ""
    if head.startswith(b"<"):
        return "it is a web page; the download went wrong"
    if re.search(rb"\b(layers?|input)\s*:?\s*[{\"']", head):
        return "it is a prototxt, which is text; the two files seem to be swapped"
    return f"it is text and begins {head[:30].decode(errors='replace')!r}"


def _other_message(data: bytes) -> str:
    if state := SOLVER_STATE.match(data[:4096]):
        return f"it is a solver's state; its weights are in {state[1].decode(errors='replace')}"
    first = next(_parts(data), None)
    if first is None or NET_FIELDS.get(first.field) == first.kind:
        return ""
    try:
        blob = BlobProto.FromString(data)
    except DecodeError:
        return "it is ONNX" if ONNX.match(data) and b"onnx" in data[:64].lower() else ""
    return "it is one blob, such as a mean image (binaryproto)" if blob.data or blob.double_data else ""


def _damage(data: bytes) -> str:
    layers = 0
    for part in _parts(data):
        if NET_FIELDS.get(part.field) != part.kind:
            break
        if part.end > len(data):
            return (
                f"it is cut short; {part.end - len(data):,} bytes or more are missing after {len(data):,} "
                f"and {layers} whole layers. Download it again"
            )
        layers += part.field in LAYER_FIELDS
    else:
        if layers:
            return f"it is damaged inside one of its {layers} layers. Download it again"
    return "its bytes are of another format" if not layers else "it is damaged. Download it again"


def _parts(data: bytes) -> Iterator[WireRecord]:
    """The top-level records of a message, the last of which may end behind the data."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        field, kind = tag >> 3, tag & 7
        if kind == 2:
            length, at = _varint(data, at)
            at += length
        elif kind == 0:
            _, at = _varint(data, at)
        else:
            at += FIXED.get(kind, 0)
        yield WireRecord(field, kind, at)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of 7 bits a byte, low ones first, and where it ends; cut short, it ends behind the data."""
    number = shift = 0
    while at < len(data):
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at
    return number, at + 1
