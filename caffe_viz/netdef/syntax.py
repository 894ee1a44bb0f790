"""Explain a syntax error of a prototxt, or an unknown field, in one line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

from google.protobuf.text_format import ParseError

from caffe_viz.errors import near
from caffe_viz.netdef.net_pb2 import (
    DESCRIPTOR,
    LayerParameter,
    NetParameter,
    V1LayerParameter,
)

LAYER_START = re.compile(r"\blayers?\s*:?\s*[{<]")
LAYER_NAME = re.compile(r"""\bname\s*:\s*["']([^"'\n]*)""")
UNKNOWN_VALUE = re.compile(r'Enum type "caffe_viz\.([\w.]+)" has no value named (.+?)\.$')
TWICE = re.compile(r'should not have multiple "(\w+)" fields')
NOT_QUOTED = re.compile(r"Expected string but found: '(\w+)'")
OWNERS_SHOWN = 6


def explain(error: ParseError, text: str, name: str) -> str:
    """Explain `error` of `text` as ``FILE:LINE:COLUMN: reason near layer 'x'. What to do.``"""
    line, column = error.GetLine() or 1, error.GetColumn() or 1
    layer = _layer_at(text, sum(len(one) + 1 for one in text.split("\n")[: line - 1]) + column)
    return f"{name}:{line}:{column}: {_reason(error, text, layer)}"


def explain_field(error: ParseError, text: str, name: str, line: int, layer: str) -> str:
    """Explain an error in one field: its `text` begins at `line` of the file, in a `layer`."""
    return f"{name}:{line + (error.GetLine() or 1) - 1}: {_reason(error, text, layer)}"


def _reason(error: ParseError, text: str, layer: str) -> str:
    line, lines = error.GetLine() or 1, text.split("\n")
    source = lines[line - 1] if line <= len(lines) else ""
    reason = re.sub(r"^\d+:\d+ : ", "", str(error)).strip()
    for quoted in (source, source.strip()):
        reason = reason.removeprefix(f"'{quoted}': ")
    reason = " ".join(reason.split())
    advice = next(_advice(reason, text), "")
    place = f" (layer {layer!r})" if layer else ""
    return f"{reason.replace('caffe_viz.', '').rstrip('.')}{place}.{advice}"


def _layer_at(text: str, offset: int) -> str:
    """The name of the layer that `offset` is in or behind, or nothing."""
    starts = [match.start() for match in LAYER_START.finditer(text)]
    before = [start for start in starts if start < offset]
    if not before:
        return ""
    end = next((start for start in starts if start > before[-1]), len(text))
    named = LAYER_NAME.search(text, before[-1], end)
    return named[1] if named else ""


def _advice(reason: str, text: str) -> Iterator[str]:
    if value := UNKNOWN_VALUE.search(reason):
        yield _value_advice(value[1], value[2])
    if twice := TWICE.search(reason):
        yield f" {twice[1]} is given once; is a closing }} missing before it?"
    old_types = V1LayerParameter.LayerType.keys()  # an enum, which is no mapping
    if (bare := NOT_QUOTED.search(reason)) and bare[1] in old_types:
        yield ' New `layer` takes a type in quotes, such as "Convolution"; upper case is of old `layers`.'
    if text.lstrip().startswith("<"):
        yield " It is a web page; the download went wrong."
    code = re.sub(r'#.*|"[^"\n]*"|\'[^\'\n]*\'', "", text)
    missing = code.count("{") - code.count("}")
    if missing > 0:
        yield f" {missing} closing }} are missing." if missing > 1 else " One closing } is missing."
    if missing < 0:
        yield f" {-missing} closing }} are too many." if missing < -1 else " One closing } is too many."


def field_advice(message: str, field: str) -> str:
    """End a line about a `field` that a type of `message` lacks: where it belongs, or nothing."""
    fields = DESCRIPTOR.message_types_by_name[message].fields_by_name
    if message == "SolverParameter" and field in NetParameter.DESCRIPTOR.fields_by_name:
        return " This is a net's prototxt: give the solver.prototxt that names it."
    if message == "LayerParameter" and field in V1LayerParameter.DESCRIPTOR.fields_by_name:
        return f" {field} is of old `layers`; new `layer` has param {{ lr_mult: 1 decay_mult: 1 }}."
    if message == "V1LayerParameter" and field in LayerParameter.DESCRIPTOR.fields_by_name:
        return f' Old `layers` has no {field}; write all layers as `layer {{ type: "Name" }}`.'
    owners = _owners(field)
    if message in ("LayerParameter", "V1LayerParameter") and 0 < len(owners) <= OWNERS_SHOWN:
        return f" It belongs in {' or '.join(owners)}."
    if message == "NetParameter" and field in LayerParameter.DESCRIPTOR.fields_by_name:
        return " It belongs in a layer; is a closing } too many before it?"
    return near(field, fields) if difflib.get_close_matches(field, fields, n=1, cutoff=0.7) else ""


def _owners(field: str) -> list[str]:
    """The messages of a layer that have `field`."""
    members = LayerParameter.DESCRIPTOR.fields
    return [m.name for m in members if m.message_type and field in m.message_type.fields_by_name]


def _value_advice(enum: str, value: str) -> str:
    owner, _, name = enum.rpartition(".")
    holder = DESCRIPTOR.message_types_by_name[owner] if owner else DESCRIPTOR
    values = [one for one in holder.enum_types_by_name[name].values_by_name if one != "NONE"]
    if enum == "V1LayerParameter.LayerType" and value[0] in "\"'":
        return ' Types in quotes are of new `layer { type: "Convolution" }`; old `layers` takes CONVOLUTION.'
    name = value.strip("\"'")
    return f" Give it without quotes: {name}." if name in values else near(name, values)
