"""Weights as a NumPy .npz: an array LAYER/NUMBER for each blob, and the prototxt as text."""

from __future__ import annotations

import zipfile
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from caffe_viz.converting.tensors import PROTOTXT, Tensor, Tensors, in_order, named, net_of
from caffe_viz.errors import InputError
from caffe_viz.netdef import NetParameter
from caffe_viz.netdef.blobs import MESSAGE_LIMIT

PACKED = 1100  # times that deflate makes zeros smaller, at most
WRONG = (
    ValueError,
    KeyError,
    OSError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
    RuntimeError,
)


def write_npz(tensors: Tensors, path: Path) -> None:
    """One array is in memory at a time."""
    with zipfile.ZipFile(path, "w") as file:
        for one in tensors.every:
            _add(file, one.name, one.array())
        if tensors.text:
            _add(file, PROTOTXT, np.array(tensors.text))


def _add(file: zipfile.ZipFile, name: str, array: NDArray[Any]) -> None:
    with file.open(f"{name}.npy", "w", force_zip64=True) as out:
        npy.write_array(out, array, allow_pickle=False)


def read_npz(path: Path, net: NetParameter | None) -> Tensors:
    """The arrays of a file, whose headers alone are read now; pickles never are.

    Raises:
        InputError: it is damaged, holds pickles, or other arrays than weights.
    """
    try:
        with zipfile.ZipFile(path) as file:
            found = {one.filename.removesuffix(".npy"): _shape(file, one, path) for one in file.infolist()}
        known = net or net_of(_text(path) if PROTOTXT in found else None, path)
    except WRONG as error:
        raise _damaged(path, error) from None
    found.pop(PROTOTXT, None)
    tensors = [
        Tensor(layer, number, found[name], partial(_array, path, name))
        for name, (layer, number) in zip(found, named(list(found), path), strict=True)
    ]
    return in_order(tensors, known, path)


def _shape(file: zipfile.ZipFile, one: zipfile.ZipInfo, path: Path) -> tuple[int, ...]:
    """The shape of an array; the archive must really hold that many values."""
    with file.open(one) as part:
        version = npy.read_magic(part)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(part)
        size = one.file_size - part.tell()
    kinds = "U" if one.filename == f"{PROTOTXT}.npy" else "fiu"
    if dtype.kind not in kinds:
        what = "a pickle, which is not read" if dtype.hasobject else f"{dtype}, no numbers"
        raise InputError(f"{path}: array {one.filename[:60]!r} is {what}.")
    values = 1
    for extent in shape:
        values *= extent
    if values * dtype.itemsize != size or size > min(2 * MESSAGE_LIMIT, PACKED * one.compress_size + 1024):
        raise InputError(
            f"{path} is damaged: array {one.filename[:60]!r} of shape {shape} is not {size:,} bytes."
        )
    return tuple(shape)


def _array(path: Path, name: str) -> NDArray[Any]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return np.asarray(file[name])
    except WRONG as error:
        raise _damaged(path, error) from None


def _text(path: Path) -> str:
    return str(_array(path, PROTOTXT))


def _damaged(path: Path, error: Exception) -> InputError:
    return (
        error
        if isinstance(error, InputError)
        else InputError(f"{path} is not a .npz file, or is damaged: {_line(error)}.")
    )


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")[:200]
