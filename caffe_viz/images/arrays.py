"""Arrays in files .npy: blobs, or images."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_viz.errors import InputError

KINDS = {"c": "complex numbers", "O": "Python objects", "U": "texts", "S": "texts", "V": "records"}


def load_numbers(name: str | Path, data: bytes | None = None) -> NDArray[Any]:
    """The array of a file .npy, or of its content `data`, in its own type: whole or real numbers, all finite.

    Raises:
        InputError: it cannot be read, or holds anything else; names the file.
    """
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
        raise InputError(f"{name} holds NaN or infinity, in {_share(array)} of its values.")
    return array


def _reason(error: Exception) -> str:
    if "allow_pickle" in str(error):
        return "it holds Python objects, or is no .npy"
    strerror = error.strerror if isinstance(error, OSError) else None
    return strerror or " ".join(str(error).split()).rstrip(".") or type(error).__name__


def _share(array: NDArray[Any]) -> str:
    return f"{np.mean(~np.isfinite(array)):.2g}"


def array_bytes(array: NDArray[Any]) -> bytes:
    """The bytes of a file .npy."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()
