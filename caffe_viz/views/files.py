"""What the two files alone show: shapes, and kernels; and how long each layer takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from caffe_viz.comparing.filters import Stored
from caffe_viz.errors import InputError, near
from caffe_viz.figures import Picture
from caffe_viz.geometry import measure, seen_by_units
from caffe_viz.geometry.fields import Shape
from caffe_viz.netdef import AS_FILED, State
from caffe_viz.network import Network
from caffe_viz.tables import Shapes
from caffe_viz.timing import time_layers
from caffe_viz.views.kernels import draw_weights, has_kernels, is_matrix


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
    """The weights of `layer` (None: the first that has kernels, else the first matrix) as one picture.

    Kernels that see 3 channels are in colour, others have a tile for each channel. Units of a fully connected
    layer are drawn as maps of the blob that they see, or, if that is a vector, as rows of a matrix. See
    `figures.kernel_tiles` and `figures.matrix`.

    Raises:
        InputError: no such layer or filter, or the layer has one value for each channel.
    """
    network = Network.of(net)
    layers = stored_layers(network)
    chosen = layer or first_drawn(network)
    if chosen not in layers:
        raise InputError(f"no weights of a layer {chosen!r}.{near(chosen, layers)}")
    return draw_weights(layers[chosen], network.preprocess.channel_order, filters)


def first_drawn(network: Network) -> str:
    """The first layer whose weights are kernels, or, of a net without any, the first matrix.

    Raises:
        InputError: there is neither.
    """
    layers = stored_layers(network)
    for drawn in (has_kernels, is_matrix):
        for name, stored in layers.items():
            if drawn(stored):
                return name
    raise InputError("no layer of the weights has kernels, or a matrix, that could be drawn.")


def stored_layers(network: Network) -> dict[str, Stored]:
    """Layer -> its weights, with what the net says about it."""
    known, seen = {one.name: one for one in network.whole.layer}, _seen(network)
    path = str(network.weights) if isinstance(network.weights, str | Path) else "the weights"
    return {
        one.name: Stored(one, known.get(one.name, one.message), path, seen.get(one.name))
        for one in network.stored
        if one.blobs
    }


def _seen(network: Network) -> dict[str, Shape]:
    """What units of fully connected layers see; nothing where no engine could set the net up."""
    try:
        return dict(seen_by_units(network.geometry.layers))
    except InputError:
        return {}
