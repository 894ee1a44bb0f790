"""Which blobs of trained weights go into which parameters of a net (Net::CopyTrainedLayersFrom)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from caffe_viz.checking import fits
from caffe_viz.errors import InputError
from caffe_viz.netdef import BlobProto, NetParameter, blob_array, blob_shape


def matches(net: Any, weights: NetParameter) -> Iterator[tuple[Any, BlobProto]]:
    """Parameters of `net` and their values: those of the first layer with the same name, as in Caffe.

    Layers of the weights that hold none are passed over.

    Raises:
        InputError: a shape or the number of blobs differs; names the layer and both sides.
    """
    targets: dict[str, Any] = {}
    for name, layer in zip(net._layer_names, net.layers, strict=True):
        targets.setdefault(name, layer)
    for source in weights.layer:
        if not source.blobs or source.name not in targets:
            continue
        blobs = targets[source.name].blobs
        if len(blobs) != len(source.blobs):
            raise InputError(
                f"layer {source.name!r}: {len(source.blobs)} blobs of weights, {len(blobs)} parameters."
            )
        for index, (blob, target) in enumerate(zip(source.blobs, blobs, strict=True)):
            there = tuple(target.shape)
            if not fits(blob, there):
                shape = blob_shape(blob)
                raise InputError(
                    f"layer {source.name!r}, blob {index}: shape {shape}, the net has {there} there."
                )
            yield target, blob


def fill(net: Any, weights: NetParameter) -> None:
    """Copy `weights` into a `caffe.Net`.

    Raises:
        InputError: a shape or the number of blobs differs; names the layer and both sides.
    """
    for target, blob in matches(net, weights):
        target.data[...] = blob_array(blob).reshape(target.data.shape)
