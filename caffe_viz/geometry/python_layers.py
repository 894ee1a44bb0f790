"""Layers of type Python: built-in ones, and those whose code may be run.

A permission belongs to a net, not to the process: a mark in its layers that no file can contain, and that is
copied with these layers. `netdef.write_net` leaves it out.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from caffe_viz.errors import InputError
from caffe_viz.geometry.python_known import SHAPES
from caffe_viz.geometry.table import Out, Shapes, rule
from caffe_viz.netdef import LayerParameter, NetParameter

PERMITS: dict[str, tuple[str, ...]] = {}  # word -> the folders where modules are looked for first
T = TypeVar("T")


def with_permission(net: NetParameter, folders: Iterable[str | Path] = ()) -> NetParameter:
    """Return `net`, or a copy whose layers of type Python may run the code that they name.

    Modules are searched for in `folders`, then on Python's path; a layer that had the permission keeps it.
    """
    asking = [i for i, x in enumerate(net.layer) if x.type == "Python" and not is_known(x)]
    if not asking:
        return net
    out, word = NetParameter(), secrets.token_hex(16)
    out.CopyFrom(net)
    PERMITS[word] = tuple(dict.fromkeys(str(Path(folder).expanduser().resolve()) for folder in folders))
    for i in asking:
        out.layer[i].python_param.permit = word
    return out


def folders(given: str | Path | Iterable[str | Path]) -> tuple[Path, ...]:
    """Return one folder or several as paths.

    Raises:
        InputError: One does not exist.
    """
    paths = tuple(Path(one).expanduser() for one in ([given] if isinstance(given, str | Path) else given))
    for path in paths:
        if not path.is_dir():
            raise InputError(f"{path}: no such folder; --python-path takes folders of Python modules.")
    return paths


def permitted(layer: LayerParameter) -> bool:
    """Whether the code that `layer` names may be run."""
    return layer.python_param.permit in PERMITS


def permits_of(net: NetParameter) -> dict[str, tuple[str, ...]]:
    """Return the permissions in `net`, for the PERMITS of another process."""
    words = {layer.python_param.permit for layer in net.layer if layer.type == "Python" and permitted(layer)}
    return {word: PERMITS[word] for word in words}


def folders_of(layer: LayerParameter) -> tuple[str, ...]:
    """Return the folders that are searched first for its module."""
    return PERMITS[layer.python_param.permit]


def built_in(table: Mapping[tuple[str, str], T], layer: LayerParameter) -> T | None:
    """Look up in `table` the module and layer that `layer` names, with or without the module's packages."""
    p = layer.python_param
    alike = (key for key in table if key[1] == p.layer and _last(key[0]) == _last(p.module))
    return table.get((p.module, p.layer)) or table.get(next(alike, ("", "")))


def _last(module: str) -> str:
    return module.rpartition(".")[2]


def is_known(layer: LayerParameter) -> bool:
    """Whether a layer of type Python is built in, or may run its code."""
    return permitted(layer) or built_in(SHAPES, layer) is not None


@rule("Python", bottoms=(0, None), tops=(0, None), fork=True)
def python(layer: LayerParameter, bottoms: Shapes) -> Out:
    """Return shapes by the built-in rule, or by running the set-up of the user's code."""
    known = built_in(SHAPES, layer)
    if known is not None:
        return known(layer, bottoms)
    if not permitted(layer):
        raise InputError(refusal(layer))
    if find_spec("torch") is None:
        raise InputError("its code needs the engine torch: pip install 'caffe-viz[torch]'")
    # By name: this module stands below the engine, which alone has what such code expects.
    found: Out = import_module("caffe_viz.engine.python_layers").shapes(layer, bottoms)
    return found


def refusal(layer: LayerParameter) -> str:
    """Say why its code is not run, and how to allow it."""
    p = layer.python_param
    code = f"class {p.layer!r} of the Python module {p.module!r}"
    return f"runs code, {code}; --allow-code (allow_code=True) permits it"
