"""Bottoms and tops of layers by index, as several layers of a net may share a name."""

from __future__ import annotations

from typing import Any


def bottoms_of(net: Any, index: int) -> list[str]:
    """The bottoms of one layer."""
    names = net._blob_names
    return [names[k] for k in net._bottom_ids(index)]


def tops_of(net: Any, index: int) -> list[str]:
    """The tops of one layer."""
    names = net._blob_names
    return [names[k] for k in net._top_ids(index)]


def wires_of(net: Any) -> list[tuple[list[str], list[str]]]:
    """The bottoms and tops of each layer."""
    names = list(net._blob_names)  # real Caffe makes it anew each time
    ids = [(net._bottom_ids(i), net._top_ids(i)) for i in range(len(net.layers))]
    return [([names[k] for k in bottoms], [names[k] for k in tops]) for bottoms, tops in ids]
