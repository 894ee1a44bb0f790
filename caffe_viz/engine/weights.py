"""Parameters of a net from and to files: caffemodel, and HDF5 in the layout of Caffe's Net::ToHDF5."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from caffe_viz import netdef
from caffe_viz.engine.blobs import Blob
from caffe_viz.engine.conversion import array_to_blobproto
from caffe_viz.errors import InputError
from caffe_viz.files import h5py, write_whole
from caffe_viz.filling import matches
from caffe_viz.netdef import NetParameter

if TYPE_CHECKING:
    from caffe_viz.engine.net import Net

PathLike = str | os.PathLike[str]


def copy_from(net: Net, source: PathLike | NetParameter) -> None:
    """Copy by the names of layers, from a message, a caffemodel or an HDF5 file.

    Raises:
        InputError: the file cannot be read, or a shape differs.
    """
    if not isinstance(source, NetParameter) and os.fspath(source).endswith((".h5", ".hdf5")):
        load_hdf5(net, source)
        return
    given = source if isinstance(source, NetParameter) else os.fspath(source)
    for blob, values in matches(net, netdef.stored_layers(given)):
        blob.take(torch.from_numpy(values).to(net.device))


def share(net: Net, other: Net) -> None:
    """Put the parameters of layers that have the same names into the memory of `other`.

    Raises:
        InputError: a shape or the number of blobs differs.
    """
    for layer in other.layers:
        if layer.name not in net.layer_dict:
            continue
        mine = net.layer_dict[layer.name].blobs
        if len(mine) != len(layer.blobs):
            raise InputError(
                f"layer {layer.name!r}: {len(layer.blobs)} parameters cannot be shared with {len(mine)}."
            )
        for i, (blob, source) in enumerate(zip(mine, layer.blobs, strict=True)):
            if blob.shape != source.shape:
                raise InputError(
                    f"layer {layer.name!r}, blob {i}: {source.shape} cannot be shared with {blob.shape}."
                )
            blob.share(source, diff=False)


def save(net: Net, message: NetParameter, path: PathLike, write_diff: bool) -> None:
    """Write `message` with the net's parameters, and diffs, as a caffemodel, whole or not at all."""
    out = NetParameter()
    out.CopyFrom(message)
    for layer, made in zip(out.layer, net.layers, strict=True):
        del layer.blobs[:]
        layer.blobs.extend(
            array_to_blobproto(blob.data, blob.diff if write_diff else None) for blob in made.blobs
        )
    netdef.write_weights(out, os.fspath(path))


def save_hdf5(net: Net, path: PathLike, write_diff: bool) -> None:
    """Group `data` (and `diff`), in it one group per layer, in that one dataset per blob, from "0" on."""
    sides = ("data", "diff") if write_diff else ("data",)
    with hdf5_written_whole(path) as file:
        for side in sides:
            for name, i, blob in _owned(net):
                file[f"{side}/{name}/{i}"] = getattr(blob, side)


@contextmanager
def hdf5_written_whole(path: PathLike) -> Iterator[Any]:
    """An open HDF5 file that stands at `path` when the block is left without an error."""
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / "part.h5"
        with h5py().File(part, "w") as file:
            yield file
        write_whole(os.fspath(path), part.read_bytes())


@contextmanager
def hdf5_opened(path: PathLike) -> Iterator[Any]:
    """An HDF5 file to read.

    Raises:
        InputError: it is none.
    """
    try:
        file = h5py().File(os.fspath(path), "r")
    except OSError as error:
        raise InputError(f"{path} cannot be read as HDF5: {error}.") from None
    with file:
        yield file


def load_hdf5(net: Net, path: PathLike) -> None:
    """Into the parameters of the layers of the same names.

    Raises:
        InputError: it is no such file, or a shape differs.
    """
    with hdf5_opened(path) as file:
        if "data" not in file:
            raise InputError(f"{path} holds no weights: it has no group 'data'.")
        read = [
            (blob, _dataset(file, path, n, i, blob.shape)) for n, i, blob in _owned(net) if n in file["data"]
        ]
        for blob, values in read:
            blob.data[...] = values


def _dataset(file: Any, path: PathLike, name: str, place: int, shape: tuple[int, ...]) -> Any:
    found = file["data"][name].get(str(place))
    there = "nothing" if found is None else tuple(found.shape)
    if there != shape:
        raise InputError(f"{path}: layer {name!r}, blob {place} is {there}, the net has {shape} there.")
    return found[...]


def _owned(net: Net) -> Iterator[tuple[str, int, Blob]]:
    """Layer, place and blob of every parameter, shared ones once, at their first layer, as Caffe does."""
    seen = set[int]()
    for name, blobs in net.params.items():
        for i, blob in enumerate(blobs):
            if id(blob.memories[0]) not in seen:
                seen.add(id(blob.memories[0]))
                yield name, i, blob
