"""Read the text of an objective and run its photographs through the network."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_viz import backend, probe
from caffe_viz.errors import InputError
from caffe_viz.images.arrays import load_array
from caffe_viz.network import Network
from caffe_viz.objectives import Direction, Objective, files, leaves, loaded, parse, resolved
from caffe_viz.surgery import auxiliary_net
from caffe_viz.units import names_of


def read_objective(net: Any, text: str) -> Objective:
    """Parse the text of an objective, such as "conv3:16 + 0.5*conv3:40".

    A class, by number or label, stands for its score before a final Softmax or Sigmoid. Photographs and
    vectors stay paths until they are used. docs/objectives.md describes the grammar.

    Raises:
        InputError: The text cannot be parsed, or names a layer or class that the net does not have.

    Example::

        cv.maximize(net, cv.read_objective(net, "truck - cat")).sheet
    """
    return parse(text, names_of(Network.of(net, weights=False)))


def climbed(network: Network, layer: str | Objective, inputs: Any = ()) -> Network:
    """Return the part of `network` that makes a layer or an objective, with values of `inputs`.

    Raises:
        InputError: No such layer; or as `Network.holding`.
    """
    names = [layer] if isinstance(layer, str) else [leaf.layer for leaf in leaves(layer)]
    tops = [network.geometry.layer(name).tops[:1] for name in dict.fromkeys(names)]
    return network.part(*[blob for one in tops for blob in one]).holding(inputs)


def with_photographs(
    network: Network, objective: Objective, size: tuple[int, int] | None = None
) -> Objective:
    """Return the objective with arrays for paths: photographs are cropped to the net's input, or `size`.

    Nothing is run if there are no photographs.

    Raises:
        InputError: A file cannot be read, or there are photographs and the network has no weights.
    """
    vectors = {
        str(leaf.toward) for leaf in leaves(objective) if isinstance(leaf, Direction) and not leaf.away
    }
    if network.weights is None and not vectors.issuperset(files(objective)):
        raise InputError(
            f"objective {objective}: its photographs must go through the net: give its weights too."
        )
    read = loaded(objective, lambda path: network.pixels(path, size), load_array)
    return resolved(read, lambda layer, images: _activations(network, layer, images))


def _activations(network: Network, layer: str, images: NDArray[np.float32]) -> NDArray[Any]:
    """(N, C, ..) of what the layer itself makes, before any layer in place."""
    size = None if images.shape[1:] == network.shape else (images.shape[2], images.shape[3])
    aux = auxiliary_net(network.message, layer, size=size, image=network.data)
    net = backend.load_net(
        aux.message, network.trained, engine=network.engine, device=network.device, checked=False
    )
    inputs = network.beside(aux.message, aux.made)
    found = [probe.forward(net, {aux.image: image[None]} | inputs, [aux.activation]) for image in images]
    return np.concatenate([values[aux.activation][:1] for values in found])
