"""Weights as HDF5, as Caffe's Net::ToHDF5 writes them: a dataset /data/LAYER/NUMBER for each blob.

A slash in a layer's name makes nested groups. A shared parameter is stored for the first layer only.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_viz.errors import InputError
from caffe_viz.files import h5py
from caffe_viz.netdef.net_pb2 import BlobProto, NetParameter
from caffe_viz.netdef.sniffing import head

SIGNATURE = b"\x89HDF\r\n\x1a\n"
DEEPEST = 64  # parts of a layer's name
NAMED = 5  # parts of another file that its error names
DAMAGED = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError)  # what h5py raises


@dataclass(frozen=True)
class HDF5Blob:
    """A blob's shape, as a message, and the dataset of `path` that holds its `count` values."""

    proto: BlobProto
    count: int
    path: Path
    place: str

    @property
    def values(self) -> NDArray[np.float32]:
        """Read the values, flat.

        Raises:
            InputError: They cannot be read.
        """
        return self.array().reshape(-1)

    def array(self) -> NDArray[np.float32]:
        """Read the values in the blob's shape. Raises InputError if that fails."""
        with hdf5_opened(self.path) as file:
            try:
                return np.asarray(file[self.place][...], np.float32)
            except DAMAGED as error:
                raise InputError(f"{self.path}: {self.place} is damaged: {_line(error)}.") from None


Blobs = dict[int, HDF5Blob]  # of a layer, by their number


def is_hdf5(path: str | Path) -> bool:
    """Whether a file is HDF5, whatever its name."""
    return head(path, len(SIGNATURE)) == SIGNATURE


@contextmanager
def hdf5_opened(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Open an HDF5 file to read.

    Raises:
        InputError: It is not HDF5, or damaged.
        RunError: h5py is not installed.
    """
    try:
        file = h5py().File(os.fspath(path), "r")
    except OSError as error:
        raise InputError(f"{path} cannot be read as HDF5: {_line(error)}.") from None
    with file:
        yield file


def hdf5_weights(path: Path, net: NetParameter | None = None) -> list[tuple[str, list[HDF5Blob]]]:
    """Return layers and their blobs, in the order of `net`, or of their names; also layers without blobs.

    Parameters that layers of `net` share by name are given to all of them; without `net`, only to the first
    layer, as in the file.

    Raises:
        InputError: The file holds no weights of Caffe, and what it is instead, or is damaged.
        RunError: h5py is not installed.
    """
    with hdf5_opened(path) as file:
        try:
            found = dict(_layers(_data(file, path), path))
        except DAMAGED as error:
            raise InputError(f"{path} is damaged: {_line(error)}.") from None
    if not any(found.values()):
        raise InputError(f"{path} holds no weights: its group 'data' has no arrays.")
    order = dict.fromkeys([] if net is None else [x.name for x in net.layer if x.name in found])
    if net is not None:
        _give_shared(found, net)
    return [(name, [blob for _, blob in sorted(found[name].items())]) for name in order | found]


def _give_shared(found: dict[str, Blobs], net: NetParameter) -> None:
    owners: dict[str, HDF5Blob] = {}
    for layer in net.layer:
        for i, spec in enumerate(layer.param):
            if spec.name and i in found.get(layer.name, {}):
                owners.setdefault(spec.name, found[layer.name][i])
    for layer in net.layer:
        for i, spec in enumerate(layer.param):
            if layer.name in found and spec.name in owners:
                found[layer.name].setdefault(i, owners[spec.name])


def _data(file: Any, path: Path) -> Any:
    """The group of all layers."""
    if "data" in file and isinstance(_inside(file, "data", path), h5py().Group):
        return file["data"]
    raise InputError(f"{path} holds no weights of Caffe: {_what_is(file)}.")


def _what_is(file: Any) -> str:
    if "keras_version" in file.attrs or "layer_names" in file.attrs or "model_weights" in file:
        return "it is of Keras"
    if "history" in file and "iter" in file:
        return "it is a solver's state, which names the file of its weights"
    if "data" in file:
        return "its 'data' is one array, as in the files of HDF5Data layers"
    names = ", ".join(map(repr, list(file)[:NAMED])) or "nothing"
    return f"it has no group 'data', but {names}"


def _layers(data: Any, path: Path) -> Iterator[tuple[str, Blobs]]:
    """Each group with its contents; nested groups are layers with a slash in their name."""
    seen, waiting = set[int](), [("", data)]
    while waiting:
        name, group = waiting.pop()
        address = h5py().h5o.get_info(group.id).addr
        if address in seen or name.count("/") > DEEPEST:
            raise InputError(f"{path} is damaged: group {name[:100]!r} is within itself, or nests too deep.")
        seen.add(address)
        inside = [(key, _inside(group, key, path)) for key in sorted(group, key=_natural)]
        groups = [(key, node) for key, node in inside if isinstance(node, h5py().Group)]
        blobs = [(key, node) for key, node in inside if not isinstance(node, h5py().Group)]
        if name and (blobs or not groups):
            yield name, dict(_blob(key, node, path) for key, node in blobs)
        elif blobs:
            raise InputError(f"{path} holds no weights of Caffe: 'data' has the array {blobs[0][0]!r}.")
        waiting += [(f"{name}/{key}" if name else key, node) for key, node in reversed(groups)]


def _inside(group: Any, key: str, path: Path) -> Any:
    """The contents of `group`; links are not followed, as the file might name any other."""
    if not isinstance(group.get(key, getlink=True), h5py().HardLink):
        raise InputError(f"{path}: {group.name}/{key} is a link, which files of weights do not have.")
    return group[key]


def _blob(key: str, node: Any, path: Path) -> tuple[int, HDF5Blob]:
    if not key.isdecimal() or not isinstance(node, h5py().Dataset) or node.dtype.kind not in "fiu":
        raise InputError(f"{path} holds no weights of Caffe: {node.name} is not an array of numbers.")
    if node.external or node.is_virtual:
        raise InputError(f"{path}: {node.name} has its values in another file, which is not read.")
    shape = BlobProto(shape={"dim": node.shape})
    return int(key), HDF5Blob(shape, prod(node.shape), path, node.name)


def _natural(name: str) -> list[str | int]:
    """conv2 before conv10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"([0-9]+)", name)]


def _line(error: BaseException) -> str:
    return " ".join(str(error.args[0] if error.args else error).split()).rstrip(".")
