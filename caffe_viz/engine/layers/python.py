"""Built-in layers of type Python; others run their own code (engine/python_layers.py)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from caffe_viz.engine.layers.python_known import KNOWN
from caffe_viz.engine.table import Call, layer
from caffe_viz.errors import InputError
from caffe_viz.geometry.python_layers import built_in, refusal


@layer("Python")
def python(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor | Sequence[Tensor | None]:
    """Compute the built-in layer of this module and class."""
    known = built_in(KNOWN, call.param)
    if known is None:
        raise InputError(f"layer {call.param.name!r} (Python): {refusal(call.param)}.")
    return known(call, bottoms, params)
