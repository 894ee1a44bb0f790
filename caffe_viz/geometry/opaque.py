"""Layers of which only name, type and connections are known."""

from __future__ import annotations

import difflib
from collections.abc import Container

from caffe_viz.geometry.python_layers import is_known, refusal
from caffe_viz.geometry.table import TABLE
from caffe_viz.netdef import LayerParameter

WAYS = "register the type in a Python file (--layers FILE.py), or choose layers that do not depend on it"


def why_opaque(layer: LayerParameter, types: Container[str] = TABLE) -> str:
    """Say why the shapes of `layer` cannot be known, and what to do; "" if they can."""
    name = f"layer {layer.name!r}"
    if layer.type == "Python" and not is_known(layer):
        return f"{name} (Python) {refusal(layer)}"
    if layer.type in types:
        return ""
    alike = difflib.get_close_matches(layer.type, TABLE, n=1, cutoff=0.8)
    hint = f" (did you mean {alike[0]!r}?)" if alike else ""
    return f"{name} is of type {layer.type!r}, which is not known{hint}: {WAYS}"
