"""The table of formats: name, how to recognise, read and write each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from caffe_viz.converting.caffemodel import write_caffemodel
from caffe_viz.converting.hdf5 import read_hdf5, write_hdf5
from caffe_viz.converting.json_text import read_json, write_json
from caffe_viz.converting.npz import read_npz, write_npz
from caffe_viz.converting.safetensor import read_safetensors, write_safetensors
from caffe_viz.converting.tensors import Tensors, of_caffe
from caffe_viz.errors import InputError, near
from caffe_viz.netdef import NetParameter
from caffe_viz.netdef.hdf5 import SIGNATURE
from caffe_viz.netdef.sniffing import head


class Format(NamedTuple):
    """`known` tells it by the first bytes of a file; `half`: it holds float16 too."""

    suffixes: tuple[str, ...]
    known: Callable[[bytes], bool]
    read: Callable[[Path, NetParameter | None], Tensors]
    write: Callable[[Tensors, Path], None]
    half: bool


def _is_safetensors(begin: bytes) -> bool:
    """The first eight bytes are the length of the header, which is JSON."""
    return begin[4:9] == b"\0\0\0\0{"


FORMATS = {
    "npz": Format((".npz",), lambda b: b.startswith(b"PK\3\4"), read_npz, write_npz, True),
    "hdf5": Format((".h5", ".hdf5"), lambda b: b.startswith(SIGNATURE), read_hdf5, write_hdf5, True),
    "safetensors": Format((".safetensors",), _is_safetensors, read_safetensors, write_safetensors, True),
    "json": Format((".json",), lambda b: b.lstrip().startswith(b"{"), read_json, write_json, False),
    "caffemodel": Format((".caffemodel",), lambda b: True, of_caffe, write_caffemodel, False),
}


def format_of(output: Path, name: str | None) -> Format:
    """The format called `name`; None: that of the suffix of `output`.

    Raises:
        InputError: there is none such.
    """
    if name is not None:
        if name not in FORMATS:
            raise InputError(f"no format {name!r}.{near(name, FORMATS)}")
        return FORMATS[name]
    for found in FORMATS.values():
        if output.suffix.lower() in found.suffixes:
            return found
    raise InputError(f"{output}: which format is meant? Give --to {', '.join(FORMATS)}.")


def read_tensors(path: Path, net: NetParameter | None = None) -> Tensors:
    """The weights in a file of any of the formats, whatever its name; `net` is theirs, where it is known.

    Raises:
        InputError: it is none of them, or damaged.
        RunError: the library that it needs is not installed.
    """
    begin = head(path, 64)
    return next(one for one in FORMATS.values() if one.known(begin)).read(path, net)
