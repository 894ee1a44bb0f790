"""Turn a train_val file into the net to use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from caffe_viz import deploying
from caffe_viz.deploying import Deployed
from caffe_viz.netdef import AS_FILED, NetParameter, State
from caffe_viz.network import Network
from caffe_viz.views.files import in_state


def deploy(
    net: Any,
    *,
    state: State = AS_FILED,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    batch: int | None = None,
) -> Deployed:
    """Turn the train_val file of a training into a net for use, and its transform_param into preprocessing.

    Data layers become Input layers. Softmax and sigmoid losses become the plain functions; other losses,
    accuracy layers, and whatever only they need, are removed. The weights still load by name, and the net
    computes what it computed in TEST.

    Args:
        net: The path of a prototxt, a message, or a net from `load_net`.
        state: Which layers of the file to use, as for `shapes`.
        input_shapes: Shapes of inputs and of the tops of data layers, by blob name.
        batch: How many images the Input layers take. Default: one, or what the file says if the net takes no
            other number.

    Returns:
        The net as `message`, its `preprocess`, and `notes` on what could not be kept. `save(path)` writes
        the prototxt and a preprocess.toml.

    Raises:
        InputError: The prototxt cannot be read, the shape of an input is not known, or the net has no output.

    Example::

        cv.deploy("train_val.prototxt").save("out/deploy.prototxt")
    """
    network = in_state(Network.of(net, weights=False), state, input_shapes)
    folder = None if isinstance(network.prototxt, NetParameter) else Path(network.prototxt).parent
    given = replace(network, input_shapes={}, state=AS_FILED).given
    return deploying.deploy(
        given, state=network.state, input_shapes=network.input_shapes, batch=batch, folder=folder
    )
