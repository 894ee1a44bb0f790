"""Protobuf's wire format: the fields of a message, whatever its schema is, and what forks share of it.

Forks of Caffe use the same numbers for different fields; of a layer in a caffemodel, only its name, type,
bottoms, tops, blobs and the like mean the same in all of them.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple, TypeVar

import numpy as np
from google.protobuf.message import DecodeError

from caffe_viz.netdef.blobs import make_blob
from caffe_viz.netdef.net_pb2 import BlobProto, LayerParameter, NetParameter, V1LayerParameter

VARINT, EIGHT_BYTES, LENGTH, FOUR_BYTES = 0, 1, 2, 5  # protobuf's wire types
SIZES = {EIGHT_BYTES: 8, FOUR_BYTES: 4}
Bytes = bytes | mmap.mmap
L = TypeVar("L", LayerParameter, V1LayerParameter)
# facebook/C3D numbers a BlobProto's fields num, channels, length, height, width, data, diff from 1 on.
C3D_AXES, C3D_DATA = range(1, 6), 6
# What every fork stores under the same number; a layer where one of these does not parse is damaged.
SHARED = {
    *("name", "type", "bottom", "top", "loss_weight", "param", "blobs", "include", "exclude", "phase"),
    *("propagate_down", "layer", "blobs_lr", "weight_decay", "blob_share_mode"),
}


class NotPlain(Exception):
    """The bytes are damaged, or stored in a way that only protobuf's own parser reads."""


class WireField(NamedTuple):
    """One field: its number, its wire type, and its position in bytes."""

    number: int
    kind: int
    first: int  # of the whole field, tag included
    start: int  # of its content
    end: int


def wire_fields(data: Bytes, place: int, end: int) -> Iterator[WireField]:
    """Yield the fields of the message between two positions.

    Raises:
        NotPlain: The bytes are not a message.
    """
    while place < end:
        first = place
        tag, place = _varint(data, place, end)
        kind = tag & 7
        if kind == VARINT:
            start, (_, place) = place, _varint(data, place, end)
        elif kind == LENGTH:
            length, start = _varint(data, place, end)
            place = start + length
        elif kind in SIZES:
            start, place = place, place + SIZES[kind]
        else:
            raise NotPlain
        if place > end:
            raise NotPlain
        yield WireField(tag >> 3, kind, first, start, place)


def _varint(data: Bytes, place: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while place < end and shift < 64:
        byte = data[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
    raise NotPlain


def is_c3d_blob(fields: Sequence[WireField]) -> bool:
    """Whether a blob was stored by C3D, which has the width where Caffe has values."""
    kinds = {(field.number, field.kind) for field in fields}
    return {(C3D_AXES[-1], VARINT), (C3D_DATA, LENGTH)} <= kinds


def c3d_shape(data: Bytes, fields: Sequence[WireField]) -> list[int]:
    """Return the five axes of such a blob; fully connected weights and vectors begin with ones."""
    sizes = {x.number: _varint(data, x.start, x.end)[0] for x in fields if x.number in C3D_AXES}
    shape = [sizes.get(axis, 1) for axis in C3D_AXES]
    if shape[:3] == [1, 1, 1]:
        shape = shape[4:] if shape[3] == 1 else shape[3:]
    return shape


def _as_blob(data: Bytes, field: WireField) -> BlobProto:
    """A blob as Caffe has it, of whichever fork; raises DecodeError if it is damaged."""
    inside = list(wire_fields(data, field.start, field.end))
    if not is_c3d_blob(inside):
        return BlobProto.FromString(data[field.start : field.end])
    values = b"".join(data[x.start : x.end] for x in inside if x.number == C3D_DATA)
    shape = c3d_shape(data, inside)
    if len(values) != 4 * math.prod(shape):
        raise DecodeError(f"{len(values)} bytes are no values of shape {shape}")
    return make_blob(np.frombuffer(values, "<f4").reshape(shape))


def shared_net(data: Bytes) -> NetParameter:
    """Return the layers of a caffemodel of any fork, without fields whose numbers the fork uses differently.

    Raises:
        NotPlain, DecodeError: The bytes are not a caffemodel, or damaged.
    """
    net = NetParameter()
    for field in wire_fields(data, 0, len(data)):
        if field.number == NetParameter.LAYER_FIELD_NUMBER:
            net.layer.append(shared_part(LayerParameter, data, [*wire_fields(data, field.start, field.end)]))
        elif field.number == NetParameter.LAYERS_FIELD_NUMBER:
            net.layers.append(
                shared_part(V1LayerParameter, data, [*wire_fields(data, field.start, field.end)])
            )
    return net


def shared_part(kind: type[L], data: Bytes, fields: Sequence[WireField]) -> L:
    """Parse a layer from its fields, without those that another fork's meaning of their number spoils.

    Raises:
        DecodeError: A field that all forks share is damaged.
    """
    place = kind.DESCRIPTOR.fields_by_name["blobs"].number
    blobs = [_as_blob(data, x) for x in fields if x.number == place]
    fields = [x for x in fields if x.number != place]
    with suppress(DecodeError):
        whole = kind.FromString(b"".join(data[x.first : x.end] for x in fields))
        if whole.IsInitialized():
            whole.blobs.extend(blobs)
            return whole
    out = kind(blobs=blobs)
    numbers = {
        kind.DESCRIPTOR.fields_by_name[name].number for name in SHARED & set(kind.DESCRIPTOR.fields_by_name)
    }
    for x in fields:
        try:
            part = kind.FromString(data[x.first : x.end])
        except DecodeError:
            if x.number in numbers:
                raise
            continue
        if part.IsInitialized():
            out.MergeFrom(part)
    return out
