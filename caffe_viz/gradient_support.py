"""Which gradients backward computes, by Caffe's rules, and a warning if one is requested in vain."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Sequence
from functools import wraps
from typing import Any

from caffe_viz.errors import CaffeVizWarning
from caffe_viz.netdef import LayerParameter, NetParameter

TO_DO = "load the net with force_backward=True, or write force_backward: true into the prototxt."


def forced(net: NetParameter) -> NetParameter:
    """A copy that says `force_backward`."""
    out = NetParameter()
    out.CopyFrom(net)
    out.force_backward = True
    return out


def gradient_blobs(net: Any, message: NetParameter) -> set[str]:
    """The blobs whose diffs `net.backward()` computes: between what learns and a loss.

    BVLC/caffe: src/caffe/net.cpp, Net::Init
    """
    given = {layer.name: layer for layer in message.layer}
    needs, under = set[str](), {name for name, weight in net.blob_loss_weights.items() if weight}
    for name in net._layer_names:
        if needs.intersection(net.bottom_names[name]) or _learns(net, given.get(name), name):
            needs.update(net.top_names[name])
    found, skipped = set[str](), set[str]()
    for name in reversed(net._layer_names):
        bottoms, tops = net.bottom_names[name], net.top_names[name]
        counts = bool(under.intersection(tops))
        told = dict(zip(bottoms, given[name].propagate_down, strict=False)) if name in given else {}
        down = {bottom for bottom in bottoms if told.get(bottom, bottom in needs)}
        if not counts or skipped.issuperset(tops):
            down.clear()
        under.update(bottoms if counts else ())
        found.update(down)
        skipped.update(set(bottoms) - down)
    return found


def _learns(net: Any, layer: LayerParameter | None, name: str) -> bool:
    specs = layer.param if layer else ()
    count = len(net.params.get(name, ()))
    return any(i >= len(specs) or specs[i].lr_mult != 0 for i in range(count))


def warn_once(net: Any, message: NetParameter) -> None:
    """Let the first `net.backward` that computes nothing, or not what its `diffs` name, say so."""
    if message.force_backward:
        return
    own = weakref.ref(net)  # or the net would hold itself, and its memory, until a collection

    @wraps(type(net).backward)
    def backward(diffs: Sequence[str] | None = None, *given: Any, **named: Any) -> Any:
        net = own()
        assert net is not None
        line = _missing(gradient_blobs(net, message), diffs or ())
        if line:
            del net.backward
            warnings.warn(line, CaffeVizWarning, stacklevel=2)
        return type(net).backward(net, diffs, *given, **named)

    net.backward = backward


def _missing(found: set[str], diffs: Sequence[str]) -> str:
    lost = [name for name in diffs if name not in found]
    if not found:
        return f"backward computes no gradients, because the net has no loss: {TO_DO}"
    if lost:
        names = ", ".join(lost)
        return f"backward leaves out the gradient of {names}, because nothing before it learns: {TO_DO}"
    return ""
