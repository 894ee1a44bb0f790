"""The net of a train_val file as it is used."""

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
    """The net of a train_val file, a path, message or `Network`, as it is used, and how images get in.

    Data layers become Input layers for `batch` images, None: one, or as many as the file has where the net
    takes no other number. Softmax and sigmoid losses become these functions; other losses, measures, and what
    only they need go. Weights load by name, and the net gives what it gave in TEST. `state` and
    `input_shapes` are as of `shapes`. Its `save(path)` writes both files; `notes` says what was not kept.

    Raises:
        InputError: the prototxt cannot be read, the shape of an input is not known, or nothing is answered.
    """
    network = in_state(Network.of(net, weights=False), state, input_shapes)
    folder = None if isinstance(network.prototxt, NetParameter) else Path(network.prototxt).parent
    given = replace(network, input_shapes={}, state=AS_FILED).given
    return deploying.deploy(
        given, state=network.state, input_shapes=network.input_shapes, batch=batch, folder=folder
    )
