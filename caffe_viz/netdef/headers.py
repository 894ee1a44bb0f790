"""The layers of a caffemodel without the values of their blobs, which stay in the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from google.protobuf.message import Message

from caffe_viz.errors import InputError
from caffe_viz.netdef.net_pb2 import BlobProto, LayerParameter, NetParameter, V1LayerParameter
from caffe_viz.netdef.text import is_repeated
from caffe_viz.netdef.wire import Bytes, WireField, c3d_shape, is_c3d_blob, shared_part, wire_fields

BLOB = {name: field.number for name, field in BlobProto.DESCRIPTOR.fields_by_name.items()}
VALUES = {BLOB[name] for name in ("data", "diff", "double_data", "double_diff")}
# Where a layer of each age stands in the net, and its blobs in it.
LAYERS: dict[int, tuple[type[LayerParameter] | type[V1LayerParameter], int]] = {
    NetParameter.DESCRIPTOR.fields_by_name[field].number: (
        kind,
        kind.DESCRIPTOR.fields_by_name["blobs"].number,
    )
    for field, kind in (("layer", LayerParameter), ("layers", V1LayerParameter))
}
LightLayer = tuple[LayerParameter | V1LayerParameter, list[list[WireField]]]


def layer_headers(data: Bytes) -> Iterator[LightLayer]:
    """Return each layer without its blobs, and the fields of each blob; blobs of V0 stay in the layer.

    Raises:
        NotPlain, DecodeError: The bytes are not a caffemodel, or damaged.
    """
    for field in wire_fields(data, 0, len(data)):
        if field.number not in LAYERS:
            continue
        kind, place = LAYERS[field.number]
        inside = list(wire_fields(data, field.start, field.end))
        small = [x for x in inside if x.number != place]
        layer = (
            shared_part(V1LayerParameter, data, small)
            if kind is V1LayerParameter
            else shared_part(LayerParameter, data, small)
        )
        yield layer, [list(wire_fields(data, x.start, x.end)) for x in inside if x.number == place]


def need_text(message: Message, name: str) -> None:
    """Raise InputError if a name or the like in a message, of the file `name`, is not UTF-8 text."""
    for field, value in message.ListFields():
        if field.name == "blobs":
            continue
        for one in value if is_repeated(field) else [value]:
            if isinstance(one, Message):
                need_text(one, name)
            elif field.type == field.TYPE_STRING and isinstance(one, bytes):
                raise InputError(f"{name}: {one[:40]!r}, a {field.name}, is not UTF-8 text: is it damaged?")


def need_required(message: Message, name: str) -> None:
    """Raise InputError if a message of the file `name` lacks a required field.

    Caffe aborts on such a file; Python's parsers let it pass.
    """
    missing: list[str] = message.FindInitializationErrors()  # type: ignore[attr-defined]  # not in the stubs
    if missing:
        raise InputError(f"{name}: {', '.join(missing)} must be given (layers are counted from 0).")


def blob_header(data: Bytes, fields: Sequence[WireField]) -> BlobProto:
    """Return a blob with a shape and no values. Raises DecodeError if it is damaged."""
    if is_c3d_blob(fields):
        return BlobProto(shape={"dim": c3d_shape(data, fields)})
    small = [x for x in fields if x.number not in VALUES]
    return BlobProto.FromString(b"".join(data[x.first : x.end] for x in small))
