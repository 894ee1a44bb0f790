"""Arrays in .npy files: blobs, or images."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_viz.errors import InputError
from caffe_viz.files import is_address, shown
from caffe_viz.images.addresses import Address

KINDS = {"c": "complex numbers", "O": "Python objects", "U": "texts", "S": "texts", "V": "records"}


def load_numbers(name: str | Path, data: bytes | None = None) -> NDArray[Any]:
    """Read the array of a .npy file, or of its content `data`, in its own type: finite numbers only.

    `name` may be an address.

    Raises:
        InputError: It cannot be read, or holds anything else; names the file.
        RunError: Its address cannot be reached.
    """
    if data is None and is_address(name):
        name, data = shown(name), Address(str(name)).read()
    try:
        # Objects are pickles, which would run code.
        array = np.load(io.BytesIO(data) if data is not None else name, allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, MemoryError) as error:
        raise InputError(f"{name} cannot be read as an array: {_reason(error)}.") from None
    if not isinstance(array, np.ndarray):
        raise InputError(f"{name} holds several arrays: give one of them as .npy.")
    if array.dtype.kind not in "buif":
        what = KINDS.get(array.dtype.kind, f"values of type {array.dtype}")
        raise InputError(f"{name} holds {what}: real numbers are expected.")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = array.size - np.isfinite(array).sum()
        raise InputError(f"{name} holds NaN or infinity, in {bad:,} of its {array.size:,} values.")
    return array


def load_array(name: str | Path, data: bytes | None = None) -> NDArray[Any]:
    """Read a blob or an image as `load_numbers` does: bytes stay bytes, all else becomes float32.

    Raises:
        InputError: As `load_numbers`.
    """
    array = load_numbers(name, data)
    return array if array.dtype == np.uint8 else np.asarray(array, np.float32)


def as_picture(array: NDArray[Any]) -> NDArray[Any] | None:
    """Return an image (H, W, 3), (H, W, 1) or (H, W) as (H, W, 3), or None for any other shape."""
    planes = array[..., None] if array.ndim == 2 else array
    if planes.ndim != 3 or planes.shape[2] not in (1, 3) or not planes.size:
        return None
    return np.broadcast_to(planes, (*planes.shape[:2], 3))


def _reason(error: Exception) -> str:
    if "allow_pickle" in str(error):
        return "it holds Python objects" if "Object arrays" in str(error) else "it is no .npy"
    strerror = error.strerror if isinstance(error, OSError) else None
    return strerror or " ".join(str(error).split()).rstrip(".") or type(error).__name__


def array_bytes(array: NDArray[Any]) -> bytes:
    """The bytes of a file .npy."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()
