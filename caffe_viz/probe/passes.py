"""Activations and gradients of a net, as copies: one forward, and a backward that starts anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_viz.errors import InputError, RunError, near

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Gradients:
    """The two streams of one backward pass: of blobs by name, and of parameters by layer."""

    blobs: Mapping[str, Array]
    params: Mapping[str, tuple[Array, ...]]


def forward(net: Any, inputs: Mapping[str, Array], blobs: Iterable[str]) -> dict[str, Array]:
    """Set `inputs` (broadcast over the batch), run the net, and copy `blobs`.

    A blob that a later layer works on in place has that layer's values, such as post-ReLU ones.

    Raises:
        InputError: no such blob, or an input that does not fit; names both shapes.
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


def gradient(net: Any, blob: str, seed: Array, wrt: Sequence[str], *, params: bool = False) -> Gradients:
    """Backward from `blob`, whose diff is `seed` (its shape), after a forward; copies the diffs of `wrt`.

    It starts at the last layer that works on the blob, in place or not. Starting later would let the hidden
    Split layer of a blob with several consumers overwrite the seed. The diff of a blob with an in-place
    layer is the gradient before that layer. With `params` those of all parameters too, from zero on.

    Raises:
        InputError: no such blob, or a seed of another shape.
        RunError: Caffe computes no gradient for one of `wrt`.
    """
    for name in (blob, *wrt):
        _known(net, name)
    if np.shape(seed) != net.blobs[blob].data.shape:
        raise InputError(f"blob {blob!r} is {net.blobs[blob].data.shape}, the seed {np.shape(seed)}.")
    for name in wrt:
        net.blobs[name].diff[...] = np.nan  # so that what backward leaves alone shows
    if params:
        for some in net.params.values():
            for one in some:
                one.diff[...] = 0  # Caffe adds to them
    net.blobs[blob].diff[...] = seed
    net._backward(last_writer(net, blob), 0)
    found = {name: np.array(net.blobs[name].diff) for name in wrt}
    for name, values in found.items():
        if np.isnan(values).all():
            raise RunError(
                f"no gradient of {blob!r} reaches {name!r}: it is not before it, no loss follows, or nothing "
                f"before it learns (force_backward: true in the prototxt helps the last two)."
            )
    learned = {n: tuple(np.array(b.diff) for b in some) for n, some in net.params.items()} if params else {}
    return Gradients(found, learned)


def input_data(net: Any, blob: str) -> Array:
    """Where the values of an input go, a view of the net's memory.

    A Parameter layer's top gets its parameter's memory at the first forward, so what was written into the
    top before is lost.

    Raises:
        InputError: no such blob.
    """
    _known(net, blob)
    for name, layer in zip(net._layer_names, net.layers, strict=True):
        if layer.type == "Parameter" and blob in net.top_names[name]:
            return np.asarray(layer.blobs[0].data)
    return np.asarray(net.blobs[blob].data)


def last_writer(net: Any, blob: str) -> int:
    """The index in `net.layers` of the last layer that has `blob` as a top, in place or not."""
    return max(i for i, name in enumerate(net._layer_names) if blob in net.top_names[name])


def _known(net: Any, blob: str) -> None:
    if blob not in net.blobs:
        raise InputError(f"the net has no blob {blob!r}.{near(blob, net.blobs)}")
