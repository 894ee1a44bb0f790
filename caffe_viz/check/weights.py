"""Whether the weights of a caffemodel fit a network, by Caffe's own rules (Net::CopyTrainedLayersFrom)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from caffe_viz.check.report import Finding
from caffe_viz.errors import near
from caffe_viz.geometry import Geometry, LayerGeometry
from caffe_viz.netdef import BlobProto, LayerParameter, NetParameter, blob_array, blob_shape

LEGACY_AXES = 4
NAMES_SHOWN = 8


def is_legacy(blob: BlobProto) -> bool:
    """Whether `blob` gives its shape as num, channels, height and width."""
    return any(blob.HasField(name) for name in ("num", "channels", "height", "width"))


def fits(blob: BlobProto, shape: Sequence[int]) -> bool:
    """Whether Caffe copies `blob` into a parameter of `shape`; a legacy blob counts its axes from the end."""
    if not is_legacy(blob):
        return tuple(blob.shape.dim) == tuple(shape)
    padded = (1,) * (LEGACY_AXES - len(shape)) + tuple(shape)
    return (blob.num, blob.channels, blob.height, blob.width) == padded


def weights_fit(net: NetParameter, geometry: Geometry, weights: NetParameter) -> Iterator[Finding]:
    """Layers of `weights` that Caffe would refuse, layers of the net that get none, values that are no numbers."""
    targets: dict[str, LayerGeometry] = {}
    for target in geometry.layers:
        targets.setdefault(target.name, target)
    loaded = []
    for source in weights.layer:
        if source.name in targets:
            yield from _layer(source, targets[source.name])
            if source.blobs:
                loaded.append(source.name)
    learned = [layer.name for layer in geometry.layers if layer.param_shapes]
    given = [source.name for source in weights.layer if source.blobs]
    if learned and not loaded:
        yield Finding(
            "error",
            "weights",
            f"share no layer with the net (Caffe would keep its random values silently): the weights have "
            f"{_names(given) or 'none at all'}, the net has {_names(learned)}. Layers are matched by name.",
        )
        return
    missing = _missing(net, learned, loaded)
    if missing:
        spare = [name for name in given if name not in targets]
        unused = f" Weights that no layer takes: {_names(spare)}.{near(missing[0], spare)}" if spare else ""
        yield Finding(
            "warning", "weights", f"none for {_names(missing)}, which keep their fillers' values.{unused}"
        )


def _missing(net: NetParameter, learned: Sequence[str], loaded: Sequence[str]) -> list[str]:
    """Layers without weights, save those whose parameters are another's that is loaded."""
    specs = {layer.name: [spec.name for spec in layer.param] for layer in net.layer}
    shared = {name for layer in loaded for name in specs.get(layer, ()) if name}
    return [
        name
        for name in learned
        if name not in loaded and not (specs.get(name) and set(specs[name]) <= shared)
    ]


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:NAMES_SHOWN]))
    return f"{shown} and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else shown


def _layer(source: LayerParameter, target: LayerGeometry) -> Iterator[Finding]:
    place = f"weights of layer {target.name!r} ({target.type})"
    if len(source.blobs) != len(target.param_shapes):
        yield Finding(
            "error",
            place,
            f"{len(source.blobs)} blobs, the net has {len(target.param_shapes)} parameters"
            f"{_bias(len(source.blobs), len(target.param_shapes))}. Rename the layer to leave it without weights.",
        )
        return
    for index, (blob, shape) in enumerate(zip(source.blobs, target.param_shapes, strict=True)):
        part = f"{place}, blob {index}"
        count = len(blob.double_data) or len(blob.data)
        if not fits(blob, shape):
            yield Finding("error", part, f"shape {blob_shape(blob)}, the net has {tuple(shape)}.")
        elif count != math.prod(shape):
            yield Finding(
                "error", part, f"{count} values for shape {tuple(shape)}, which takes {math.prod(shape)}."
            )
        else:
            yield from _values(blob, part, target.type == "BatchNorm" and index == 2)


def _bias(given: int, wanted: int) -> str:
    """A hint for the commonest difference: a bias on one side only."""
    return " (bias_term differs?)" if {given, wanted} == {1, 2} else ""


def _values(blob: BlobProto, part: str, is_scale_factor: bool) -> Iterator[Finding]:
    array = blob_array(blob)
    # One sum in float64 sees any NaN or infinity, without an array of booleans beside 240 MB of weights.
    if array.size and not np.isfinite(np.add.reduce(array, axis=None, dtype=np.float64)):
        bad = int(array.size - np.count_nonzero(np.isfinite(array)))
        yield Finding("warning", part, f"{bad} of {array.size} values are NaN or infinite.")
    elif is_scale_factor and not array.any():
        yield Finding(
            "warning", part, "statistics were never gathered (factor 0): mean and variance count as 0."
        )
