"""Weights without a message that holds them: blobs stay in the file until they are read.

A message of 240 MB takes a second to build and to read, and stays in memory beside what is made of it. Here
only the small fields become messages.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from caffe_viz.errors import InputError
from caffe_viz.netdef.blobs import blob_array, blob_shape
from caffe_viz.netdef.copying import without_blobs
from caffe_viz.netdef.hdf5 import HDF5Blob, hdf5_weights, is_hdf5
from caffe_viz.netdef.headers import BLOB, LAYERS, blob_header, layer_headers, need_text
from caffe_viz.netdef.net_pb2 import BlobProto, LayerParameter, NetParameter, V1LayerParameter
from caffe_viz.netdef.read import read_weights
from caffe_viz.netdef.upgrade import upgrade
from caffe_viz.netdef.wire import C3D_DATA, LENGTH, NotPlain, WireField, is_c3d_blob, wire_fields

Array = NDArray[np.float32]


@dataclass(frozen=True)
class StoredBlob:
    """A blob's shape, as a message, and the place of its `count` values in the file."""

    proto: BlobProto
    count: int
    path: Path
    place: int  # in bytes

    @property
    def values(self) -> Array:
        """Read the values, flat.

        Raises:
            InputError: The file can no longer be read.
        """
        try:
            return np.fromfile(self.path, "<f4", self.count, offset=self.place).astype(np.float32, copy=False)
        except OSError as error:
            raise InputError(f"{self.path} cannot be read: {error.strerror}.") from None

    def array(self) -> Array:
        """Read the values in the blob's shape.

        Raises:
            InputError: The number of values does not fit the shape, or the file can no longer be read.
        """
        shape, values = blob_shape(self.proto), self.values
        if min(shape, default=0) < 0 or values.size != np.prod(shape, dtype=np.int64):
            raise InputError(f"a blob of shape {shape} holds {values.size} values; the weights are damaged.")
        return values.reshape(shape)


@dataclass(frozen=True)
class MessageBlob:
    """A blob with the same interface, whose values are in a message."""

    proto: BlobProto

    @property
    def count(self) -> int:
        """The number of values."""
        return len(self.proto.double_data) or len(self.proto.data)

    @property
    def values(self) -> Array:
        """Return a copy of the values, flat."""
        return np.array(self.proto.double_data or self.proto.data, dtype=np.float32)

    def array(self) -> Array:
        """Return a copy in the blob's shape. Raises InputError if the number of values does not fit."""
        return blob_array(self.proto)


class StoredLayer(NamedTuple):
    """The name of a layer, its blobs, and its message without them, as V2."""

    name: str
    blobs: Sequence[StoredBlob | MessageBlob | HDF5Blob]
    message: LayerParameter


def stored_layers(weights: NetParameter | Path | str, net: NetParameter | None = None) -> list[StoredLayer]:
    """Return the layers of a caffemodel of any age, of HDF5, or of a message; also those without blobs.

    `net` is as for `read_weights`.

    Raises:
        InputError: The file is not a caffemodel, as for `read_weights`.
        RunError: It is HDF5, and h5py is not installed.
    """
    if not isinstance(weights, NetParameter):
        if is_hdf5(weights):
            found = hdf5_weights(Path(weights), net)
            return [StoredLayer(name, blobs, LayerParameter(name=name)) for name, blobs in found]
        try:
            return list(_layers(Path(weights)))
        except (NotPlain, DecodeError, OSError, ValueError):
            weights = read_weights(weights)
    return [
        StoredLayer(x.name, [MessageBlob(blob) for blob in x.blobs], without_blobs(x)) for x in weights.layer
    ]


def _layers(path: Path) -> Iterator[StoredLayer]:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield from _layers_in(data, path)


def _layers_in(data: mmap.mmap, path: Path) -> Iterator[StoredLayer]:
    blobs_found = False
    for layer, stored in layer_headers(data):
        if isinstance(layer, V1LayerParameter) and layer.HasField("layer"):
            raise NotPlain  # V0
        blobs = [_blob(data, fields, path) for fields in stored]
        blobs_found = blobs_found or bool(blobs)
        need_text(layer, str(path))
        if isinstance(layer, V1LayerParameter):
            layer = upgrade(NetParameter(layers=[layer]), str(path), weights=True).layer[0]
        yield StoredLayer(layer.name, blobs, layer)
    if not blobs_found:
        raise NotPlain


def _blob(data: mmap.mmap, fields: Sequence[WireField], path: Path) -> StoredBlob:
    if is_c3d_blob(fields):
        (whole,) = (x for x in fields if x.number == C3D_DATA)
        return StoredBlob(blob_header(data, fields), (whole.end - whole.start) // 4, path, whole.start)
    values = [x for x in fields if x.number == BLOB["data"]]
    if len(values) > 1 or any(x.kind != LENGTH for x in values):
        raise NotPlain
    if any(x.number == BLOB["double_data"] for x in fields):
        raise NotPlain
    start, end = values[0][-2:] if values else (0, 0)
    if (end - start) % 4:
        raise NotPlain
    return StoredBlob(blob_header(data, fields), (end - start) // 4, path, start)


def of_this_caffe(path: Path | str) -> bool:
    """Whether real Caffe can parse a caffemodel: none of its fields has a number that means another there."""
    try:
        with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return all(_is_plain(data, field) for field in wire_fields(data, 0, len(data)))
    except (NotPlain, DecodeError, OSError, ValueError):
        return True  # damaged, or stored in another way: its parser says what is wrong


def _is_plain(data: mmap.mmap, field: WireField) -> bool:
    if field.number not in LAYERS:
        return True
    kind, place = LAYERS[field.number]
    inside = list(wire_fields(data, field.start, field.end))
    blobs = (list(wire_fields(data, x.start, x.end)) for x in inside if x.number == place)
    if any(map(is_c3d_blob, blobs)):
        return False
    try:
        small = kind.FromString(b"".join(data[x.first : x.end] for x in inside if x.number != place))
    except DecodeError:
        return False
    return small.IsInitialized()
