"""What the two files alone show: shapes, and kernels; and how long each layer takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from caffe_viz import figures, netdef
from caffe_viz.errors import InputError, near
from caffe_viz.figures import Picture
from caffe_viz.geometry import measure
from caffe_viz.netdef import AS_FILED, State
from caffe_viz.network import Network
from caffe_viz.tables import Shapes
from caffe_viz.timing import time_layers

CONVOLUTIONS = ("Convolution", "Deconvolution", "")  # of any number of axes; a running net tells no types


def shapes(
    net: Any,
    *,
    batch: int | None = None,
    size: tuple[int, int] | None = None,
    time: bool = False,
    state: State = AS_FILED,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
) -> Shapes:
    """Shapes, parameters, multiply-adds and receptive field of every layer; needs no weights, no engine.

    `net` may also be the path of a prototxt or a message, or a `Network`. `state` says which layers of a file
    are meant, `input_shapes` the shapes of its inputs, also of what its data layers give. With `time` the
    engine of `net` runs it, and there are the milliseconds of each layer too: the `timing` of what is
    returned, as `time_layers` takes it.

    Raises:
        InputError: the prototxt cannot be read, or Caffe could not set it up.
        RunError: with `time`, as `time_layers`.
    """
    network = in_state(Network.of(net, weights=time), state, input_shapes)
    timing = time_layers(network, batch=batch, size=size) if time else None
    return Shapes(measure(network.whole, batch=batch, size=size, files=network.allow_code), timing)


def in_state(network: Network, state: State, input_shapes: Mapping[str, Sequence[int]] | None) -> Network:
    """`network` with these, where they are given."""
    network = network if state == AS_FILED else replace(network, state=state)
    return replace(network, input_shapes=input_shapes) if input_shapes else network


def show_weights(net: Any, layer: str | None = None, filters: Sequence[int] | None = None) -> Picture:
    """The kernels of `layer` (None: the first that has some) as one picture.

    In colour where a kernel of two axes or more sees 3 channels; else one tile for each filter and channel.
    See `figures.kernel_tiles`.

    Raises:
        InputError: no such layer or filter, or the layer's weights are no kernels (O, I, ..).
    """
    network = Network.of(net)
    layers = {one.name: one for one in network.stored if one.blobs}
    chosen = layer or first_kernels(network)
    if chosen not in layers:
        raise InputError(f"no weights of a layer {chosen!r}.{near(chosen, layers)}")
    array = layers[chosen].blobs[0].array()
    if array.ndim < 3:
        raise InputError(
            f"layer {chosen!r} has weights of {array.shape}; kernels have three axes or more, as (O, I, k)."
        )
    numbers = list(range(len(array)) if filters is None else filters)
    for number in numbers:
        if not 0 <= number < len(array):
            raise InputError(f"layer {chosen!r} has filters 0 to {len(array) - 1}, not {number}.")
    return figures.kernel_tiles(
        array[numbers], channel_order=network.preprocess.channel_order, filters=numbers
    )


def first_kernels(network: Network) -> str:
    """The first layer whose weights are kernels; raises InputError if there is none."""
    for layer in network.stored:
        axes, kind = len(netdef.blob_shape(layer.blobs[0].proto)) if layer.blobs else 0, layer.message.type
        if (axes == 4 and kind != "InnerProduct") or (axes > 2 and kind in CONVOLUTIONS):
            return layer.name
    raise InputError("no layer of the weights has kernels (O, I, H, W).")
