"""BlobProto to NumPy and back."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_viz.errors import InputError
from caffe_viz.netdef.net_pb2 import BlobProto


def blob_shape(blob: BlobProto) -> tuple[int, ...]:
    """The shape as stored; a legacy blob (num, channels, height, width) keeps its 4 axes."""
    if any(blob.HasField(name) for name in ("num", "channels", "height", "width")):
        return blob.num, blob.channels, blob.height, blob.width
    return tuple(blob.shape.dim)


def blob_array(blob: BlobProto) -> NDArray[np.float32]:
    """A float32 copy of the values in the blob's shape.

    Raises InputError where the number of values does not fit the shape.
    """
    values = blob.double_data if len(blob.double_data) else blob.data
    array = np.array(values, dtype=np.float32)
    shape = blob_shape(blob)
    if array.size != prod(shape):
        raise InputError(f"a blob of shape {shape} holds {array.size} values instead of {prod(shape)}.")
    return array.reshape(shape)


def make_blob(array: NDArray[Any]) -> BlobProto:
    """A BlobProto of `array` (any shape), float32."""
    blob = BlobProto()
    blob.shape.dim.extend(array.shape)
    blob.data.extend(np.asarray(array, np.float32).ravel())
    return blob
