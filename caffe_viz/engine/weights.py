"""Load and save the parameters of a net: caffemodel, and HDF5 in the layout of Caffe's Net::ToHDF5."""

from __future__ import annotations

import os
import tempfile
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch

from caffe_viz import netdef
from caffe_viz.engine.blobs import Blob
from caffe_viz.engine.conversion import array_to_blobproto
from caffe_viz.engine.layer import Layer
from caffe_viz.errors import InputError
from caffe_viz.files import h5py, write_whole
from caffe_viz.netdef import NetParameter
from caffe_viz.weight_matching import matched_weights

PathLike = str | os.PathLike[str]


class Layered(Protocol):
    """A net, as far as its parameters are concerned."""

    device: torch.device

    @property
    def layers(self) -> list[Layer]: ...

    @property
    def layer_dict(self) -> OrderedDict[str, Layer]: ...

    @property
    def params(self) -> OrderedDict[str, list[Blob]]: ...


def copy_from(net: Layered, made: NetParameter, source: PathLike | NetParameter) -> None:
    """Copy weights by layer name from a message, a caffemodel or an HDF5 file into the `made` net.

    Raises:
        InputError: The file cannot be read, or a shape differs.
    """
    given = source if isinstance(source, NetParameter) else os.fspath(source)
    for blob, values in matched_weights(net, netdef.stored_layers(given, made)):
        blob.take(torch.from_numpy(values).to(net.device))


def share(net: Layered, other: Layered) -> None:
    """Move the parameters of layers with the same names into the memory of `other`.

    Raises:
        InputError: A shape or the number of blobs differs.
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


def save(net: Layered, message: NetParameter, path: PathLike, write_diff: bool) -> None:
    """Write `message` with the net's parameters, and diffs, as a caffemodel, whole or not at all."""
    out = NetParameter()
    out.CopyFrom(message)
    for layer, made in zip(out.layer, net.layers, strict=True):
        del layer.blobs[:]
        layer.blobs.extend(
            array_to_blobproto(blob.data, blob.diff if write_diff else None) for blob in made.blobs
        )
    netdef.write_weights(out, os.fspath(path))


def save_hdf5(net: Layered, path: PathLike, write_diff: bool) -> None:
    """Write group `data` (and `diff`), with a group for each layer and a dataset for each blob, from "0" on.

    A shared blob is stored for the first layer only.
    """
    sides = ("data", "diff") if write_diff else ("data",)
    with hdf5_written_whole(path) as file:
        for side in sides:
            for layer in net.layers:
                file.require_group(f"{side}/{layer.name}")
            for name, i, blob in _owned(net):
                file[f"{side}/{name}/{i}"] = getattr(blob, side)


@contextmanager
def hdf5_written_whole(path: PathLike) -> Iterator[Any]:
    """Open an HDF5 file that is moved to `path` if the block ends without an error."""
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / "part.h5"
        with h5py().File(part, "w") as file:
            yield file
        write_whole(os.fspath(path), part.read_bytes())


def _owned(net: Layered) -> Iterator[tuple[str, int, Blob]]:
    """Layer, index and blob of every parameter, shared ones once, at their first layer, as in Caffe."""
    seen = set[int]()
    for name, blobs in net.params.items():
        for i, blob in enumerate(blobs):
            if id(blob.memories[0]) not in seen:
                seen.add(id(blob.memories[0]))
                yield name, i, blob
