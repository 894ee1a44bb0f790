"""Warnings about a net that runs: what its numbers depend on besides its files."""

from __future__ import annotations

import warnings

from caffe_viz.checking.child import caffe_is_installed
from caffe_viz.checking.computable import ignored_fields, why_embedded
from caffe_viz.errors import CaffeVizWarning
from caffe_viz.netdef import NetParameter

NAMES_SHOWN = 4


def announce(net: NetParameter, name: str, engine: str = "auto", device: str = "cpu") -> None:
    """Warn of `remarks`."""
    for line in remarks(net, name, engine, device):
        warnings.warn(line, CaffeVizWarning, stacklevel=3)


def remarks(net: NetParameter, name: str, engine: str = "auto", device: str = "cpu") -> list[str]:
    """Return what the numbers of `net` on `name` depend on besides its files; `engine` was requested."""
    lines = list(ignored_fields(net))
    reasons: dict[str, list[str]] = {}
    for left in net.left_out:
        reasons.setdefault(left.why, []).extend([] if left.is_blob else [left.name])
    for why, names in reasons.items():
        shown = ", ".join(names[:NAMES_SHOWN]) + (", .." if len(names) > NAMES_SHOWN else "")
        lines.append(f"left out: {shown}; {why}")
    return [*lines, *why_not_caffe(net, name, engine, device)]


def why_not_caffe(net: NetParameter, name: str, engine: str = "auto", device: str = "cpu") -> list[str]:
    """Say why the embedded engine runs `net` although real Caffe is installed and `engine` is "auto"."""
    if name == "torch" and engine == "auto" and device == "cpu" and caffe_is_installed():
        return [f"the embedded engine (torch) runs this net, not real Caffe: {why_embedded(net)}"]
    return []
