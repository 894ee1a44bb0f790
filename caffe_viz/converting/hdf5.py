"""Weights as HDF5 that Caffe can read: a dataset data/LAYER/NUMBER for each blob, and the prototxt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from caffe_viz.converting.tensors import PROTOTXT, Tensors, net_of, of_caffe
from caffe_viz.errors import InputError
from caffe_viz.files import h5py
from caffe_viz.netdef import NetParameter, hdf5_opened
from caffe_viz.netdef.hdf5 import DAMAGED


def write_hdf5(tensors: Tensors, path: Path) -> None:
    """One array is in memory at a time."""
    with h5py().File(path, "w") as file:
        for one in tensors.every:
            file[f"data/{one.name}"] = one.array()
        if tensors.text:
            file[PROTOTXT] = tensors.text


def read_hdf5(path: Path, net: NetParameter | None) -> Tensors:
    """Read HDF5, also Caffe's own files, which have no prototxt.

    Raises:
        InputError: It holds no weights of Caffe, or is damaged.
    """
    if net is None:
        with hdf5_opened(path) as file:
            net = net_of(_text(file, path), path)
    return of_caffe(path, net)


def _text(file: Any, path: Path) -> str | None:
    """The prototxt; a link is not followed, and values in another file are not read."""
    try:
        if not isinstance(file.get(PROTOTXT, getlink=True), h5py().HardLink):
            return None
        node = file[PROTOTXT]
        if not isinstance(node, h5py().Dataset) or node.shape != () or node.external or node.is_virtual:
            return None
        return str(node.asstr()[()])
    except DAMAGED as error:
        raise InputError(f"{path}: its {PROTOTXT} is damaged: {error}.") from None
