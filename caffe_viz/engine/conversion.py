"""Convert between arrays and Caffe's messages, as `caffe.io` does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_viz.engine.proto import caffe_pb2
from caffe_viz.errors import InputError
from caffe_viz.netdef.blobs import LEGACY_AXES, blob_array, make_blob

Array = NDArray[Any]
Floats = NDArray[np.float32]


class ArrayError(InputError, ValueError):
    """An array that does not fit; pycaffe raises ValueError."""


def blobproto_to_array(blob: Any, return_diff: bool = False) -> Floats:
    """Return the data of a BlobProto, or its diff, in its shape.

    Raises:
        InputError: The number of values does not fit the shape.
    """
    if return_diff:
        legacy = {name: getattr(blob, name) for name in LEGACY_AXES if blob.HasField(name)}
        blob = caffe_pb2.BlobProto(shape=blob.shape, data=blob.diff, double_data=blob.double_diff, **legacy)
    try:
        return blob_array(blob)
    except InputError as error:
        raise ArrayError(str(error)) from None


def array_to_blobproto(arr: Array, diff: Array | None = None) -> Any:
    """Make a float32 BlobProto of an array of any shape, and a diff of that shape.

    Raises:
        InputError: The shapes differ.
    """
    blob = make_blob(arr)
    if diff is not None:
        if np.shape(diff) != np.shape(arr):
            raise ArrayError(f"a diff of shape {np.shape(diff)} does not fit data of shape {np.shape(arr)}.")
        blob.diff.MergeFrom(make_blob(diff).data)
    return blob


def arraylist_to_blobprotovector_str(arraylist: Sequence[Array]) -> bytes:
    """Arrays as the bytes of a BlobProtoVector."""
    return bytes(caffe_pb2.BlobProtoVector(blobs=map(make_blob, arraylist)).SerializeToString())


def blobprotovector_str_to_arraylist(vector: bytes) -> list[Floats]:
    """The arrays in the bytes of a BlobProtoVector."""
    return [blobproto_to_array(blob) for blob in caffe_pb2.BlobProtoVector.FromString(vector).blobs]


def array_to_datum(arr: Array, label: int | None = None) -> Any:
    """Make a Datum of an array (K, H, W): bytes for uint8, float32 for other types.

    Raises:
        InputError: Another number of axes.
    """
    if arr.ndim != 3:
        raise ArrayError(f"an array of shape {arr.shape} is no datum: (K, H, W) is expected.")
    datum = caffe_pb2.Datum(channels=arr.shape[0], height=arr.shape[1], width=arr.shape[2])
    if arr.dtype == np.uint8:
        datum.data = arr.tobytes()
    else:
        datum.float_data.extend(arr.astype(float).ravel())
    if label is not None:
        datum.label = label
    return datum


def datum_to_array(datum: Any) -> Array:
    """Return the values of a Datum, (K, H, W): uint8 or float64.

    Raises:
        InputError: It holds an encoded image, or the number of values does not fit the shape.
    """
    shape = datum.channels, datum.height, datum.width
    if datum.encoded:
        raise ArrayError("the datum holds an encoded image: decode datum.data with PIL.Image.open.")
    values = np.frombuffer(datum.data, np.uint8).copy() if datum.data else np.array(datum.float_data, float)
    if values.size != np.prod(shape):
        raise ArrayError(f"a datum of shape {shape} holds {values.size} values.")
    return values.reshape(shape)
