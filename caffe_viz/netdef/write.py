"""Write messages to files, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import EncodeError, Message

from caffe_viz.errors import InputError
from caffe_viz.files import write_whole
from caffe_viz.netdef.blobs import MESSAGE_LIMIT
from caffe_viz.netdef.headers import need_required
from caffe_viz.netdef.net_pb2 import NetParameter, SolverState
from caffe_viz.netdef.text import is_repeated
from caffe_viz.netdef.unknown import OWN, is_open_size


def write_net(net: NetParameter, path: str | Path) -> None:
    """Write a V2 prototxt; missing folders are created. Unknown fields are written as they were read.

    Raises:
        RunError: The file cannot be written; an old file is kept.
    """
    write_whole(path, as_text(net).encode())


def as_text(message: Message) -> str:
    """Return a net, layer or solver as prototxt text. Unknown fields are written as they were read."""
    return "".join(_lines(message, [], 0))


def _lines(message: Message, unknown: Sequence[tuple[str, str]], indent: int) -> Iterator[str]:
    """The text of a message; `unknown` are path, from here, and text of what a message around it keeps."""
    kept = [*unknown, *((x.path, x.text) for x in getattr(message, "unknown", ()) if not is_open_size(x))]
    for field, value in message.ListFields():
        if field.name in OWN:
            continue
        repeated = is_repeated(field)
        for place, part in enumerate(value if repeated else [value]):
            if field.message_type is None:
                yield f"{' ' * indent}{_printed(field, part)}\n"
                continue
            name = f"{field.name}[{place}]" if repeated else field.name
            inside = [
                (path[len(name) + 1 :], text) for path, text in kept if f"{path}.".startswith(f"{name}.")
            ]
            yield f"{' ' * indent}{field.name} {{\n"
            yield from _lines(part, inside, indent + 2)
            yield f"{' ' * indent}}}\n"
    yield from (f"{' ' * indent}{text}\n" for path, text in kept if not path)


def _printed(field: FieldDescriptor, value: Any) -> str:
    out = StringIO()
    text_format.PrintField(field, value, out, as_utf8=True)
    return out.getvalue().strip()


def write_weights(net: NetParameter, path: str | Path) -> None:
    """Write a V2 caffemodel from a message whose layers hold blobs; missing folders are created.

    Raises:
        InputError: The weights exceed the 2 GiB of a protobuf message, or lack a required field.
        RunError: The file cannot be written; an old file is kept.
    """
    _write(net, path, "caffemodel")


def write_state(state: SolverState, path: str | Path) -> None:
    """Write a solverstate; missing folders are created.

    Raises:
        InputError: It exceeds the 2 GiB of a protobuf message.
        RunError: The file cannot be written; an old file is kept.
    """
    _write(state, path, "solverstate")


def _write(message: Message, path: str | Path, kind: str) -> None:
    try:
        data = message.SerializeToString()
    except EncodeError:
        # Its text differs between versions of protobuf, some of which fail so over 2 GiB too.
        need_required(message, str(path))
        data = None
    if data is None or len(data) > MESSAGE_LIMIT:
        raise InputError(f"{path}: the values take more than 2 GiB, the most that a {kind} can hold.")
    write_whole(path, data)
