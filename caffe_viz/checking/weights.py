"""Check that weights fit a network, by Caffe's own rules (Net::CopyTrainedLayersFrom)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from caffe_viz.checking.report import Finding
from caffe_viz.errors import near
from caffe_viz.geometry import Geometry, LayerGeometry
from caffe_viz.netdef import BlobProto, NetParameter, StoredLayer, blob_shape

LEGACY_AXES = 4
NAMES_SHOWN = 8


def fits(blob: BlobProto, shape: Sequence[int]) -> bool:
    """Whether Caffe copies `blob` into a parameter of `shape`; a legacy blob counts its axes from the end."""
    if any(blob.HasField(name) for name in ("num", "channels", "height", "width")):
        shape = (1,) * (LEGACY_AXES - len(shape)) + tuple(shape)
    return blob_shape(blob) == tuple(shape)


def weight_findings(
    net: NetParameter, geometry: Geometry, weights: Sequence[StoredLayer]
) -> Iterator[Finding]:
    """Find layers of `weights` that Caffe would refuse, layers of the net without weights, and NaN."""
    targets: dict[str, LayerGeometry] = {}
    for target in geometry.layers:
        targets.setdefault(target.name, target)
    for source in weights:
        if source.name in targets:
            yield from _layer(source, targets[source.name])
    given = [source.name for source in weights if source.blobs]
    loaded = {name for name in given if name in targets}
    learned = [layer.name for layer in geometry.layers if layer.param_shapes]
    if learned and not loaded:
        message = (
            f"share no layer with the net, and Caffe would silently keep its random values: they are of "
            f"{_names(given) or 'no layer'}, the net has {_names(learned)}. Layers are matched by name."
        )
        yield Finding("error", "weights", message)
        return
    missing = _missing(net, learned, loaded)
    if missing:
        spare = [name for name in given if name not in targets]
        unused = f" Weights that no layer takes: {_names(spare)}." if spare else ""
        message = f"none for {_names(missing)}: they keep the values of their fillers.{unused}"
        yield Finding("warning", "weights", message + (near(missing[0], spare) if spare else ""))


def _missing(net: NetParameter, learned: Sequence[str], loaded: set[str]) -> list[str]:
    """Layers without weights, save those whose parameters are another's that is loaded."""
    specs = {layer.name: {spec.name for spec in layer.param} for layer in net.layer}
    shared = {spec for name in loaded for spec in specs.get(name, ())} - {""}
    return [name for name in learned if name not in loaded and not (specs[name] and specs[name] <= shared)]


def _names(names: Sequence[str]) -> str:
    more = len(names) - NAMES_SHOWN
    return ", ".join(map(repr, names[:NAMES_SHOWN])) + (f" and {more} more" if more > 0 else "")


def _layer(source: StoredLayer, target: LayerGeometry) -> Iterator[Finding]:
    """One layer of the weights beside the layer of its name."""
    place = f"weights of layer {target.name!r} ({target.type})"
    given, wanted = len(source.blobs), len(target.param_shapes)
    if given != wanted:
        hint = " Does bias_term differ?" if {given, wanted} == {1, 2} else ""
        yield Finding("error", place, f"{given} blobs, the net has {wanted} parameters there.{hint}")
        return
    for index, (blob, shape) in enumerate(zip(source.blobs, target.param_shapes, strict=True)):
        part = f"{place}, blob {index}"
        count, size = blob.count, math.prod(shape)
        if not fits(blob.proto, shape):
            yield Finding("error", part, f"shape {blob_shape(blob.proto)}, the net has {shape} there.")
        elif count != size:
            yield Finding("error", part, f"{count} values for shape {shape}, which takes {size}: cut short?")
        else:
            yield from _values(blob.values, part, target.type == "BatchNorm" and index == 2)


def _values(array: NDArray[np.float32], part: str, is_scale_factor: bool) -> Iterator[Finding]:
    # One sum in float64 sees any NaN or infinity, without an array of booleans beside 240 MB of weights.
    if array.size and not np.isfinite(np.add.reduce(array, axis=None, dtype=np.float64)):
        bad = array.size - np.count_nonzero(np.isfinite(array))
        yield Finding("warning", part, f"{bad} of {array.size} values are NaN or infinite.")
    elif is_scale_factor and not array.any():
        yield Finding(
            "warning", part, "statistics were never gathered (factor 0): mean and variance count as 0."
        )
