"""What the two files alone show: shapes, and kernels; and how long each layer takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from caffe_viz.comparing.filters import StoredFilters
from caffe_viz.errors import InputError, near
from caffe_viz.figures import Picture
from caffe_viz.geometry import measure, seen_by_units
from caffe_viz.geometry.receptive_fields import Shape
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
    """List shape, parameters, multiply-adds and receptive field of every layer.

    No weights and no engine are needed, unless you ask for the `time`.

    Args:
        net: A net from `load_net`, the path of a prototxt, or a message.
        batch: The batch size N to compute with. Default: the file's.
        size: The image size (H, W) to compute with. Default: the file's.
        time: Also measure the milliseconds that each layer takes on the engine of `net`; see `timing` of
            the result.
        state: Which layers of a file to use. Default: the file's own state, or TEST.
        input_shapes: Shapes of inputs and of the tops of data layers, by blob name.

    Raises:
        InputError: The prototxt cannot be read, or Caffe could not set it up.
        RunError: The layers could not be timed: no engine, or a layer that cannot run.

    Example::

        print(cv.shapes("deploy.prototxt", size=(64, 64)))
    """
    network = in_state(Network.of(net, weights=time), state, input_shapes)
    timing = time_layers(network, batch=batch, size=size) if time else None
    return Shapes(measure(network.whole, batch=batch, size=size, files=network.allow_code), timing)


def in_state(network: Network, state: State, input_shapes: Mapping[str, Sequence[int]] | None) -> Network:
    """`network` with these, where they are given."""
    network = network if state == AS_FILED else replace(network, state=state)
    return replace(network, input_shapes=input_shapes) if input_shapes else network


def show_weights(net: Any, layer: str | None = None, filters: Sequence[int] | None = None) -> Picture:
    """Draw the weights of `layer` as one picture.

    Kernels with 3 input channels are shown in colour; other kernels get a tile for each channel. Units of a
    fully connected layer are drawn as maps of the blob that they read, or as rows of a matrix if that blob is
    a vector.

    Args:
        net: A net from `load_net`.
        layer: Default: the first layer with kernels, or if there is none, the first matrix.
        filters: Which filters to draw. Default: all.

    Raises:
        InputError: No such layer or filter, or the layer has only one value for each channel.

    Example::

        cv.show_weights(net, "conv1").save("conv1.png")
    """
    network = Network.of(net)
    layers = stored_layers(network)
    chosen = layer or first_drawn(network)
    if chosen not in layers:
        raise InputError(f"the weights have no layer {chosen!r}.{near(chosen, layers)}")
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


def stored_layers(network: Network) -> dict[str, StoredFilters]:
    """Layer -> its weights, with what the net says about it."""
    known, seen = {one.name: one for one in network.whole.layer}, _seen(network)
    path = str(network.weights) if isinstance(network.weights, str | Path) else "the weights"
    return {
        one.name: StoredFilters(one, known.get(one.name, one.message), path, seen.get(one.name))
        for one in network.stored
        if one.blobs
    }


def _seen(network: Network) -> dict[str, Shape]:
    """What units of fully connected layers read; empty if no engine can set the net up."""
    try:
        return dict(seen_by_units(network.geometry.layers))
    except InputError:
        return {}
