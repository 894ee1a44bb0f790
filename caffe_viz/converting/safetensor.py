"""Weights as safetensors: a tensor LAYER/NUMBER for each blob, and the prototxt in the metadata."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from caffe_viz.converting.tensors import PROTOTXT, Tensor, Tensors, in_order, named, net_of
from caffe_viz.errors import InputError, RunError
from caffe_viz.netdef import NetParameter

READ = frozenset({"F64", "F32", "F16", "I64", "I32", "I16", "I8", "U8"})  # types that NumPy has


def _library() -> Any:
    """Raises RunError if it is not installed."""
    try:
        import safetensors.numpy
    except ImportError:
        raise RunError("safetensors needs its library: pip install 'caffe-viz[safetensors]'.") from None
    return safetensors


def write_safetensors(tensors: Tensors, path: Path) -> None:
    """All arrays are in memory: the library takes them at once."""
    arrays = {one.name: one.array() for one in tensors.every}
    path.touch()
    rights = path.stat().st_mode  # the library's own files are for the owner alone
    _library().numpy.save_file(arrays, path, {PROTOTXT: tensors.text} if tensors.text else None)
    path.chmod(rights)


def read_safetensors(path: Path, net: NetParameter | None) -> Tensors:
    """Read safetensors; only the header is read now.

    Raises:
        InputError: It is damaged, or has tensors that are not weights.
    """
    library = _library()
    try:
        with library.safe_open(path, framework="np") as file:
            names = list(file.keys())
            found = {name: file.get_slice(name) for name in names}
            kinds = {name: one.get_dtype() for name, one in found.items()}
            shapes = {name: tuple(one.get_shape()) for name, one in found.items()}
            text = (file.metadata() or {}).get(PROTOTXT)
    except library.SafetensorError as error:
        raise InputError(f"{path} is not a safetensors file, or is damaged: {error}.") from None
    for name, kind in kinds.items():
        if kind not in READ:
            raise InputError(f"{path}: tensor {name[:60]!r} is {kind}, a type that NumPy does not have.")
    tensors = [
        Tensor(layer, number, shapes[name], partial(_array, path, name))
        for name, (layer, number) in zip(names, named(names, path), strict=True)
    ]
    return in_order(tensors, net or net_of(text, path), path)


def _array(path: Path, name: str) -> NDArray[Any]:
    library = _library()
    try:
        with library.safe_open(path, framework="np") as file:
            found: NDArray[Any] = file.get_tensor(name)
            return found
    except library.SafetensorError as error:
        raise InputError(f"{path} is damaged: {error}.") from None
