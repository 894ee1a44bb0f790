"""Passes through a net that belongs to the caller: forward, and a backward that leaves the net as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from caffe_viz.backend import engine_name, net_function
from caffe_viz.errors import InputError, RunError, missing
from caffe_viz.probe.walk import Array, Path, find_path, unreached, walk
from caffe_viz.probe.wires import tops_of, wires_of


@dataclass(frozen=True)
class Gradients:
    """The two streams of one backward pass: of blobs by name, and of parameters by layer."""

    blobs: Mapping[str, Array]
    params: Mapping[str, tuple[Array, ...]]


def forward(net: Any, inputs: Mapping[str, Array], blobs: Iterable[str]) -> dict[str, Array]:
    """Set `inputs` (broadcast over the batch), run the net, and return copies of `blobs`.

    If a layer works on a blob in place, you get the values after it, such as post-ReLU ones.

    Raises:
        InputError: No such blob, or an input of the wrong shape.

    Example::

        maps = cv.forward(net, {"data": image}, ["conv3"])["conv3"]  # (N, C, H, W)
    """
    names = list(blobs)
    for name in names:
        _known(net, name)
    for name, values in inputs.items():
        target = input_data(net, name)
        try:
            target[...] = values
        except ValueError:
            raise InputError(f"input {name!r} takes {target.shape}, not {np.shape(values)}.") from None
    net.forward()
    return {name: np.array(net.blobs[name].data) for name in names}


def forward_alone(net: Any) -> Callable[[Mapping[str, Array], Iterable[str]], dict[str, Array]]:
    """`forward` of `net` for many images; on the embedded engine without filling the blobs of `net`."""
    if engine_name(net) == "torch":
        return net_function(net).forward  # type: ignore[no-any-return]
    return partial(forward, net)


def gradient(net: Any, blob: str, seed: Array, wrt: Sequence[str], *, params: bool = False) -> Gradients:
    """Run backward from `blob`, whose diff is `seed`, and return copies of the diffs of `wrt`.

    Call it after a forward pass. Only the layers in between run, starting with the last one that works on the
    blob, in place or not: with a later start, the hidden Split layer of a blob with several consumers would
    overwrite the seed. The diff of a blob with an in-place layer is the gradient before that layer.
    Afterwards the diffs of the net are what they were.

    Args:
        net: A net from `load_net`, with `force_backward=True` if the gradient of an input is wanted.
        blob: Where the gradient starts.
        seed: The diff of `blob`, of its shape.
        wrt: The blobs whose gradients to return.
        params: Return the gradients of all parameters too, accumulated from zero.

    Raises:
        InputError: No such blob, or a seed of another shape.
        RunError: The engine computes no gradient somewhere in between, or a MAX pooling layer of real Caffe
            has windows that hold only NaN.

    Example::

        net = cv.load_net("deploy.prototxt", "net.caffemodel", force_backward=True)
        cv.forward(net, {"data": image}, [])
        seed = np.zeros_like(net.blobs["fc8"].data)
        seed[:, 3] = 1
        image_gradient = cv.gradient(net, "fc8", seed, ["data"]).blobs["data"]
    """
    for name in (blob, *wrt):
        _known(net, name)
    if np.shape(seed) != net.blobs[blob].data.shape:
        raise InputError(f"blob {blob!r} is {net.blobs[blob].data.shape}, the seed {np.shape(seed)}.")
    path = find_path(net, [blob], None if params else wrt)
    with _as_found(net, path, params):
        if params:
            for one in (b for some in net.params.values() for b in some):
                one.diff[...] = 0  # Caffe adds to them
        walk(net, path, {blob: seed})
        _raise_where_lost(net, find_path(net, [blob], wrt), blob, wrt)
        found = {name: np.array(net.blobs[name].diff) for name in wrt}
        kept = net.params.items() if params else ()
        return Gradients(found, {name: tuple(np.array(b.diff) for b in some) for name, some in kept})


def _raise_where_lost(net: Any, path: Path, blob: str, wrt: Sequence[str]) -> None:
    beside = [name for name in wrt if name not in path.on]
    if beside:
        raise RunError(f"no gradient of {blob!r} reaches {beside[0]!r}: it is not before it.")
    lost = unreached(net, path)
    if lost:
        name = next((n for n in lost if n in wrt), wrt[0])
        way = "" if name in lost else f" by way of {lost[0]!r}"
        raise RunError(
            f"no gradient of {blob!r} reaches {name!r}{way}: no loss follows, or nothing before it learns "
            f"(force_backward: true in the prototxt helps both)."
        )


@contextmanager
def _as_found(net: Any, path: Path, params: bool) -> Iterator[None]:
    """Put all diffs back that a walk along `path` writes."""
    names = path.on | path.beside
    layers = net.layers if params else [net.layers[i] for i in path.layers]
    blobs = [*(net.blobs[name] for name in names), *(b for layer in layers for b in layer.blobs)]
    saved = [np.array(b.diff) for b in blobs]
    try:
        yield
    finally:
        for b, values in zip(blobs, saved, strict=True):
            b.diff[...] = values


def input_data(net: Any, blob: str) -> Array:
    """Where the values of an input go, a view of the net's memory.

    A Parameter layer's top gets its parameter's memory at the first forward, so what was written into the
    top before is lost.

    Raises:
        InputError: no such blob.
    """
    _known(net, blob)
    for i, layer in enumerate(net.layers):
        if layer.type == "Parameter" and blob in tops_of(net, i):
            return np.asarray(layer.blobs[0].data)
    return np.asarray(net.blobs[blob].data)


def last_writer(net: Any, blob: str) -> int:
    """The index in `net.layers` of the last layer that has `blob` as a top, in place or not."""
    return max(i for i, (_, tops) in enumerate(wires_of(net)) if blob in tops)


def _known(net: Any, blob: str) -> None:
    gone = getattr(net, "left_out", {})
    if blob not in net.blobs or f"blob {blob}" in gone:
        raise missing("the net", "blob", blob, net.blobs, gone)
