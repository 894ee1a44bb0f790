"""Check what real Caffe needs before it goes backward through MAX pooling."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from caffe_viz.backend import engine_name
from caffe_viz.errors import RunError
from caffe_viz.probe.wires import bottoms_of, tops_of

TYPES = frozenset({"Pooling", "SPP"})
LOWEST = np.finfo(np.float32).min


def need_maxima(net: Any, layers: Iterable[int]) -> None:
    """See, after a forward, that each window of the MAX pooling layers among `layers` has a maximum.

    The backward of real Caffe writes in front of its memory otherwise, and the process dies, sooner or later.

    Raises:
        RunError: a window holds nothing but NaN or -inf; names layer and blob.
    """
    if engine_name(net) != "caffe":
        return
    for index in layers:
        if net.layers[index].type not in TYPES:
            continue
        name, bottom = net._layer_names[index], bottoms_of(net, index)[0]
        if net.blobs[bottom].data.min() > LOWEST or not _has_empty(net, index):  # a NaN is above nothing
            continue
        raise RunError(
            f"layer {name!r} ({net.layers[index].type}): a window of its bottom {bottom!r} holds only NaN or "
            f"-inf, and Caffe's backward would write outside its memory: look for NaN in the weights "
            f"(caffe-viz check) and in the input."
        )


def _has_empty(net: Any, index: int) -> bool:
    """Whether pooling leaves its lowest value anywhere; its top may have been changed in place since."""
    tops = [net.blobs[top] for top in tops_of(net, index)]
    kept = [np.array(top.data) for top in tops]
    net._forward(index, index)
    empty = bool((tops[0].data == LOWEST).any())
    for top, values in zip(tops, kept, strict=True):
        top.data[...] = values
    return empty
