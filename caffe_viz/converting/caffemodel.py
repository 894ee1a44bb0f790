"""Write weights as a caffemodel blob by blob; as one message, 500 MB would be in memory twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from caffe_viz.converting.tensors import Tensor, Tensors
from caffe_viz.errors import InputError
from caffe_viz.netdef import BlobProto, LayerParameter, NetParameter
from caffe_viz.netdef.blobs import DATA_TAG, MESSAGE_LIMIT, varint
from caffe_viz.netdef.copying import without_layers
from caffe_viz.netdef.unknown import OWN

LAYER, BLOBS = (
    bytes(varint(message.DESCRIPTOR.fields_by_name[field].number << 3 | 2))
    for message, field in ((NetParameter, "layer"), (LayerParameter, "blobs"))
)


def write_caffemodel(tensors: Tensors, path: Path) -> None:
    """The layers of the net, those that it does not know after them, by their names alone.

    Raises:
        InputError: it would be over the 2 GiB of a protobuf message.
    """
    net = tensors.net or NetParameter()
    blobs: dict[str, list[Tensor]] = {}
    for one in tensors.every:
        blobs.setdefault(one.layer, []).append(one)
    known = {layer.name for layer in net.layer}
    layers = [*net.layer, *(LayerParameter(name=name) for name in blobs if name not in known)]
    size = sum(4 * one.count for one in tensors.every)
    if size > MESSAGE_LIMIT - 2**20 * 16:
        raise InputError(f"{path}: the values take {size:,} bytes; a caffemodel has at most 2 GiB.")
    with path.open("wb") as file:
        file.write(_plain(without_layers(net)))
        for layer in layers:
            for part in _layer(layer, blobs.get(layer.name, [])):
                file.write(part)


def _layer(layer: LayerParameter, blobs: Sequence[Tensor]) -> Iterator[bytes | memoryview]:
    body = _plain(layer)
    shapes = [BlobProto(shape={"dim": one.shape}).SerializeToString() for one in blobs]
    heads = [
        shape + bytes([DATA_TAG]) + varint(4 * one.count)
        for shape, one in zip(shapes, blobs, strict=True)
    ]  # fmt: skip
    sizes = [len(head) + 4 * one.count for head, one in zip(heads, blobs, strict=True)]
    yield LAYER + varint(len(body) + sum(len(BLOBS) + len(varint(size)) + size for size in sizes)) + body
    for head, size, one in zip(heads, sizes, blobs, strict=True):
        yield BLOBS + varint(size) + head
        yield one.array().astype("<f4", copy=False).reshape(-1).data.cast("B")


def _plain(message: Message) -> bytes:
    """Without blobs, and without what only the reading of a prototxt tells."""
    out: Any = type(message)()
    out.CopyFrom(message)
    for name in {*OWN, "blobs"} - {"unknown"}:
        if name in out.DESCRIPTOR.fields_by_name:
            out.ClearField(name)
    data: bytes = out.SerializeToString()
    return data
