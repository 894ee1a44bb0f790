"""What a text contains beyond the schema: removed before protobuf reads it, kept as values in the message."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import reduce
from typing import Any, NamedTuple

from google.protobuf import text_format
from google.protobuf.message import Message

from caffe_viz.netdef.forks import PER_AXIS, QUIET
from caffe_viz.netdef.net_pb2 import DESCRIPTOR, LayerParameter, NetParameter, Unknown
from caffe_viz.netdef.text import Element, elements, is_repeated, strangers

# Fields of our messages that stand in no file.
OWN = ("unknown", "variant", "trained", "left_out", "other_states", "permit")
# Sizes of inputs, which templates leave to the one who fills them in.
SIZES = ("batch_size", "dim", "input_dim")
OLD_LAYERS = "layers"  # the path of what an old layer has that only new ones know; it is read as theirs
FORK_NUMBERS = 20000  # from which on net.proto numbers fields and values of forks itself


def merge(text: str, message: Message, line: int = 1) -> None:
    """Parse `text`, which begins at that `line` of its file, into `message`, which keeps unknown fields.

    Raises:
        google.protobuf.text_format.ParseError: A syntax error, or messages nested too deeply.
    """
    fields = elements(text)
    strange = list(strangers(fields, message.DESCRIPTOR))
    # What is unknown still stands behind a mistake in the syntax, which is to be named.
    text_format.Parse(_without(text, strange), message, allow_unknown_field=True)
    if strange:
        _Keeper({id(field) for field in strange}, text, line - 1).keep(message, message, "", fields)


def _without(text: str, strange: Sequence[Element]) -> str:
    """`text` with blanks for some fields; lines stay. A size that a template leaves open is 1."""
    pieces, end = [], 0
    for field in strange:
        open_size = field.is_placeholder and field.name in SIZES
        blank = re.sub(r"[^\n]", " ", text[field.start : field.end])
        pieces += [text[end : field.start], f"{field.name}: 1 " if open_size else blank]
        end = field.end
    return "".join([*pieces, text[end:]])


class _Keeper(NamedTuple):
    """Stores fields of a text that are `strange` in the messages that they belong to."""

    strange: set[int]  # ids of elements
    text: str
    lines_before: int

    def keep(self, message: Message, holder: Any, path: str, fields: Iterable[Element]) -> None:
        """`holder` is the message around that has a field for it; `path` leads from there to `message`."""
        seen = Counter[str]()
        for field in fields:
            if id(field) in self.strange:
                words = self.text[field.start : field.end].rstrip(" ,;\n")
                line = field.line + self.lines_before
                holder.unknown.add(path=path, name=field.name, text=words, line=line)
                continue
            for part in field.parts:
                inner, name = getattr(message, field.name), field.name
                if is_repeated(message.DESCRIPTOR.fields_by_name[name]):
                    place = seen[name]
                    seen[name] += 1
                    inner, name = inner[place], f"{name}[{place}]"
                holds = "unknown" in inner.DESCRIPTOR.fields_by_name
                self.keep(inner, inner if holds else holder, "" if holds else _below(path, name), part)


def owner_of(message: Message, unknown: Unknown) -> str:
    """Return the message type that an unknown field of a net or layer is in, such as ConvolutionParameter."""
    if unknown.path == OLD_LAYERS:
        return "V1LayerParameter"
    path = [name.partition("[")[0] for name in unknown.path.split(".") if name]
    found = reduce(lambda at, name: at.fields_by_name[name].message_type, path, message.DESCRIPTOR)
    return str(found.name)


def ignored(message: NetParameter | LayerParameter) -> list[Unknown]:
    """Return the unknown fields of a net or layer that may change what it computes."""
    return [unknown for unknown in message.unknown if not is_quiet(owner_of(message, unknown), unknown.name)]


def is_quiet(owner: str, name: str) -> bool:
    """Whether a field of a message type is known not to change what a net computes in TEST."""
    return f"{owner}.{name}" in QUIET or f"{owner}.*" in QUIET


def full_name(unknown: Unknown) -> str:
    """Return its name with the path from its net or layer."""
    return _below(unknown.path, unknown.name)


def full_text(unknown: Unknown) -> str:
    """Return its text with the path from its net or layer."""
    return _below(unknown.path, unknown.text)


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def of_template(unknown: Unknown) -> str:
    """Say what replaces a template's placeholder, which its program would fill in; "" for others."""
    if is_open_size(unknown):
        return "a size that a template leaves open is taken as 1"
    return "a template's value stands there, which is ignored" if _is_placeholder(unknown) else ""


def is_open_size(unknown: Unknown) -> bool:
    """Whether this is a size that a template leaves open; the message then has 1."""
    return unknown.name in SIZES and _is_placeholder(unknown)


def _is_placeholder(unknown: Unknown) -> bool:
    return any(element.is_placeholder for element in elements(unknown.text))


def of_forks(message: Message, path: str = "") -> Iterator[str]:
    """Return fields and values that real Caffe as built here does not know, as text; also unknown ones."""
    for descriptor, value in message.ListFields():
        name = _below(path, descriptor.name)
        if descriptor.name in OWN:
            if descriptor.name == "unknown":
                yield from (full_text(x) for x in value)
        elif descriptor.number >= FORK_NUMBERS:
            yield name
        elif descriptor.message_type is not None and descriptor.name != "blobs":
            for part in [value] if isinstance(value, Message) else value:
                yield from of_forks(part, name)
        elif descriptor.enum_type is not None:
            values: Sequence[int] = value if is_repeated(descriptor) else [value]
            names = descriptor.enum_type.values_by_number
            yield from (f"{name}: {names[v].name}" for v in values if v >= FORK_NUMBERS)


def changes_nothing(message: NetParameter | LayerParameter, unknown: Unknown) -> bool:
    """Whether a net or layer computes the same without an unknown field."""
    if is_open_size(unknown):
        return True
    owner = owner_of(message, unknown)
    return is_quiet(owner, unknown.name) and f"{owner}.{unknown.name}" not in PER_AXIS


def without_quiet(net: NetParameter) -> NetParameter:
    """Return `net`, or a copy without the unknown fields that do not change what it computes."""
    messages: list[NetParameter | LayerParameter] = [net, *net.layer]
    if not any(changes_nothing(message, x) for message in messages for x in message.unknown):
        return net
    out = NetParameter()
    out.CopyFrom(net)
    copies: list[NetParameter | LayerParameter] = [out, *out.layer]
    for message in copies:
        loud = [unknown for unknown in message.unknown if not changes_nothing(message, unknown)]
        del message.unknown[:]
        message.unknown.extend(loud)
    return out


def message_fields(name: str) -> Collection[str]:
    """Return the names of the fields of a message type."""
    return list(DESCRIPTOR.message_types_by_name[name].fields_by_name)


def left_out(net: NetParameter) -> dict[str, str]:
    """Map what was removed from `net`, as "layer roi" or "blob rois", to the reason."""
    return {f"{'blob' if one.is_blob else 'layer'} {one.name}": one.why for one in net.left_out}
