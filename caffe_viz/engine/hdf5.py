"""Parameters as HDF5, in the layout of Caffe's Net::ToHDF5."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from caffe_viz.engine.blobs import Blob
from caffe_viz.errors import InputError, RunError
from caffe_viz.files import write_whole

Params = Mapping[str, Sequence[Blob]]


def save(params: Params, path: str, write_diff: bool) -> None:
    """Group `data` (and `diff`), in it one group per layer, in that one dataset per blob, from "0" on."""
    sides = ("data", "diff") if write_diff else ("data",)
    with tempfile.TemporaryDirectory() as folder:
        part = os.path.join(folder, "part.h5")
        with _h5py().File(part, "w") as file:
            for side in sides:
                for name, blobs in params.items():
                    for i, blob in enumerate(blobs):
                        file[f"{side}/{name}/{i}"] = getattr(blob, side)
        write_whole(path, Path(part).read_bytes())


def load(params: Params, path: str) -> None:
    """Into the parameters of the layers of the same names.

    Raises:
        InputError: it is no such file, or a shape differs.
    """
    try:
        file = _h5py().File(path, "r")
    except OSError as error:
        raise InputError(f"{path} cannot be read as HDF5: {error}.") from None
    with file:
        if "data" not in file:
            raise InputError(f"{path} holds no weights: it has no group 'data'.")
        for name, blobs in params.items():
            if name not in file["data"]:
                continue
            for i, blob in enumerate(blobs):
                found = file["data"][name].get(str(i))
                if found is None or tuple(found.shape) != blob.shape:
                    there = "nothing" if found is None else tuple(found.shape)
                    raise InputError(f"{path}: layer {name!r}, blob {i} is {there}, the net has {blob.shape}.")
                blob.data[...] = found[...]


def _h5py() -> Any:
    try:
        import h5py
    except ImportError:
        raise RunError("HDF5 needs h5py: pip install h5py.") from None
    return h5py
