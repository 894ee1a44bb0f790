"""Match blobs of trained weights with the parameters of a net (Net::CopyTrainedLayersFrom)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_viz.checking import fits
from caffe_viz.errors import InputError
from caffe_viz.netdef import NetParameter, StoredLayer, blob_shape, stored_layers


def matched_weights(net: Any, weights: Sequence[StoredLayer]) -> Iterator[tuple[Any, NDArray[np.float32]]]:
    """Parameters of `net` and copies of their values: to the first layer with the same name, as in Caffe.

    Layers of the weights that hold none are passed over. All are compared before the first is given.

    Raises:
        InputError: a shape or the number of blobs or values differs; names the layer and both sides.
    """
    targets: dict[str, Any] = {}
    for name, layer in zip(net._layer_names, net.layers, strict=True):
        targets.setdefault(name, layer)
    found = list[tuple[Any, Any, tuple[int, ...]]]()
    for source in weights:
        if not source.blobs or source.name not in targets:
            continue
        blobs = targets[source.name].blobs
        if len(blobs) != len(source.blobs):
            raise InputError(
                f"layer {source.name!r}: the weights have {len(source.blobs)} blobs, the net {len(blobs)} "
                f"parameters."
            )
        for index, (blob, target) in enumerate(zip(source.blobs, blobs, strict=True)):
            there = tuple(target.shape)
            if not fits(blob.proto, there):
                shape = blob_shape(blob.proto)
                raise InputError(
                    f"layer {source.name!r}, blob {index}: shape {shape}, the net has {there} there."
                )
            if blob.count != math.prod(there):
                raise InputError(
                    f"layer {source.name!r}, blob {index}: {blob.count} values for the shape {there}: the "
                    f"weights are damaged."
                )
            found.append((target, blob, there))
    for target, blob, there in found:
        yield target, blob.array().reshape(there)


def load_weights(net: Any, weights: NetParameter | Path, message: NetParameter) -> None:
    """Copy `weights`, a message or the path of a file, into a `caffe.Net` made of `message`.

    Raises:
        InputError: a shape or the number of blobs differs; names the layer and both sides.
    """
    for target, values in matched_weights(net, stored_layers(weights, message)):
        target.data[...] = values
