"""Compare the same net on both engines, layer by layer: how far they differ, and where that begins."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_viz.backend import load_net
from caffe_viz.checking import need_no_abort
from caffe_viz.checking.in_place import in_place_findings
from caffe_viz.checking.layers import NO_BACKWARD
from caffe_viz.geometry import Geometry, measure
from caffe_viz.markup import html_lines, html_table
from caffe_viz.netdef import LayerParameter, NetParameter, for_phase, make_blob
from caffe_viz.probe import need_maxima
from caffe_viz.surgery import NO_GRADIENT, ONLY_FORWARD_IN_CAFFE

Array = NDArray[np.float32]
LIMIT, DEEP_LIMIT, DEEP = 1e-4, 1e-3, 50  # of a blob's largest value; beyond 50 layers
# Types whose tops are rows (1, 1, D, ..) of image, label, confidence and more.
DETECTIONS = {"DetectionEvaluate", "DetectionOutput"}
COLUMNS = ("layer", "type", "forward", "backward", "parameters")


@dataclass(frozen=True)
class Difference:
    """The largest |difference| over the largest value in one layer: tops, bottom and parameter diffs."""

    layer: str
    type: str
    forward: float
    backward: float | None
    params: float | None

    @property
    def worst(self) -> float:
        return max(self.forward, self.backward or 0, self.params or 0)


@dataclass(frozen=True)
class Parity:
    """Both engines compared on one net; `layers` are in the order of the net.

    Gradients are compared after a forward in which the embedded engine got real Caffe's bottoms at each
    layer. Without that, a value that rounds to the other side of a ReLU, or another maximum of a pool, sends
    the gradient elsewhere: `scattered` is how far the input's gradients then differ. `warnings` name
    gradients around in-place layers that real Caffe computes wrongly, and the embedded engine does not.
    """

    name: str
    layers: tuple[Difference, ...]
    scattered: float | None
    warnings: tuple[str, ...] = ()

    @property
    def limit(self) -> float:
        """The difference that is allowed between two engines that round differently."""
        return DEEP_LIMIT if len(self.layers) > DEEP else LIMIT

    @property
    def forward(self) -> float:
        """The largest difference of all layers."""
        return max(x.forward for x in self.layers)

    @property
    def gradient(self) -> float | None:
        """The largest difference of all layers; None if the net has a layer without gradient."""
        found = [max(x.backward or 0, x.params or 0) for x in self.layers if x.backward is not None]
        return max(found) if found else None

    @property
    def first(self) -> Difference | None:
        """The first layer that differs by more than the limit: forward if any does, else backward."""
        forward = (x for x in self.layers if not x.forward <= self.limit)
        backward = (x for x in reversed(self.layers) if not x.worst <= self.limit)
        return next(forward, None) or next(backward, None)

    @property
    def rows(self) -> tuple[tuple[str | None, ...], ...]:
        """Layer, type, and differences of tops, bottom diffs and parameter diffs; without Split layers."""
        return tuple(
            (x.layer, x.type, *(None if v is None else f"{v:.1e}" for v in (x.forward, x.backward, x.params)))
            for x in self.layers
            if x.type != "Split"
        )

    def _repr_html_(self) -> str:
        verdict = "agree" if self.first is None else f"differ from {self.first.layer} on"
        cells = [[v or "" for v in row] for row in self.rows]
        title = f"{self.name}: the engines {verdict} (limit {self.limit:.0e})"
        return html_table(title, COLUMNS, cells, (False, False, True, True, True)) + html_lines(self.warnings)


def compare(
    net: NetParameter, weights: NetParameter | None = None, *, seed: int = 0, amplitude: float = 1.0
) -> Parity:
    """Run `net` (TEST phase) on real Caffe and on the embedded engine, with the same noise in its inputs.

    Without `weights` it gets those of `seeded_weights`. Noise is normal, of deviation `amplitude`; seeds of
    the gradient are normal in the diffs of all outputs.

    Raises:
        InputError: the net would abort Caffe.
        RunError: an engine is not installed, or as `need_maxima`.
    """
    message = for_phase(net)
    backward = not any(
        layer.type in NO_GRADIENT | ONLY_FORWARD_IN_CAFFE | NO_BACKWARD for layer in message.layer
    )
    message.force_backward = backward
    need_no_abort(message, "caffe")
    trained = seeded_weights(message, seed) if weights is None else weights
    real, ours = (load_net(message, trained, engine=engine) for engine in ("caffe", "torch"))
    rng = np.random.default_rng(seed)
    _put_inputs(real, ours, message, rng, amplitude)
    forward = list(_forward(real, ours))
    backs: list[tuple[float | None, float | None]] = [(None, None)] * len(forward)
    scattered = None
    if backward:
        need_maxima(real, range(len(real.layers)))
        seeds = {name: rng.normal(size=real.blobs[name].data.shape) for name in real.outputs}
        for each in (real, ours):
            _seed(each, seeds)
            each.backward()
        scattered = max((apart(real.blobs[n].diff, ours.blobs[n].diff) for n in real.inputs), default=0.0)
        for each in (real, ours):
            each.clear_param_diffs()
        for _ in _forward(real, ours, together=True):
            pass
        for each in (real, ours):
            _seed(each, seeds)
        backs = _backward(real, ours)
    layers = zip(real._layer_names, real.layers, forward, backs, strict=True)
    found = tuple(Difference(n, x.type, f, b, p) for n, x, f, (b, p) in layers)
    warnings = tuple(str(f) for f in in_place_findings(message, "caffe"))  # errors were raised before
    return Parity(net.name, found, scattered, warnings)


def apart(theirs: Array, mine: Array) -> float:
    """The largest |difference| over the largest value; NaN counts as equal to NaN."""
    if theirs.shape != mine.shape:
        return math.inf
    if not theirs.size or np.array_equal(theirs, mine, equal_nan=True):
        return 0.0
    scale = np.nanmax(np.abs(theirs.astype(np.float64)), initial=0)
    gap = np.abs(np.nan_to_num(theirs.astype(np.float64)) - np.nan_to_num(mine.astype(np.float64))).max()
    return math.inf if (np.isnan(theirs) != np.isnan(mine)).any() else float(gap / (scale or 1e-30))


def detections_apart(theirs: Array, mine: Array, keep: int = -1) -> float:
    """Compare rows (1, 1, D, ..) as a set, like `apart`: Caffe leaves the order of equal confidences open.

    It also leaves open which of several boxes of the same confidence are the last of the `keep` best of an
    image. In an image with that many rows, those of the lowest confidence are compared by confidence alone.
    """
    if theirs.shape != mine.shape or not (np.isfinite(theirs).all() and np.isfinite(mine).all()):
        return apart(theirs, mine)
    rows, others = (_without_border(x.reshape(-1, x.shape[-1]), keep) for x in (theirs, mine))
    ordered, free = np.empty_like(others), np.ones(len(others), bool)
    for i, row in enumerate(rows):
        nearest = np.where(free, np.abs(others - row).max(1), np.inf).argmin()
        ordered[i], free[nearest] = others[nearest], False
    return apart(rows, ordered)


def _without_border(rows: Array, keep: int) -> Array:
    """Rows (D, ..) reduced to image and confidence where another box could be there as well."""
    out: Array = rows.copy()
    for image in np.unique(rows[:, 0]):
        own = rows[:, 0] == image
        if own.sum() == keep:
            # Engines that round differently make equal confidences differ by the last digit.
            last = own & (rows[:, 2] <= rows[own, 2].min() + 1e-6)
            out[last, 1], out[last, 3:] = 0, 0
    return out


def seeded_weights(net: NetParameter, seed: int = 0) -> NetParameter:
    """Weights that let values neither grow nor vanish from layer to layer, like those of a trained net."""
    rng = np.random.default_rng(seed)
    geometry: Geometry = measure(net)
    out = NetParameter()
    for layer in geometry.layers:
        if layer.param_shapes:
            blobs = [_seeded(rng, layer.type, i, shape) for i, shape in enumerate(layer.param_shapes)]
            out.layer.add(name=layer.name, type=layer.type, blobs=map(make_blob, blobs))
    return out


def _seeded(rng: np.random.Generator, kind: str, place: int, shape: tuple[int, ...]) -> Array:
    noise = rng.standard_normal(shape, np.float32)
    if kind == "BatchNorm" and place < 3:  # mean, variance, factor; some forks' have scale and bias too
        return np.asarray((0.1 * noise, 0.5 + noise**2, np.ones_like(noise))[place], np.float32)
    if place == 0 and kind in ("Scale", "PReLU", "Normalize"):
        return np.asarray(0.5 + 0.1 * noise, np.float32)
    fan_in = math.prod(shape[1:]) if len(shape) > 1 else 100
    return np.asarray(noise * np.float32(math.sqrt(2 / fan_in)), np.float32)


def _put_inputs(real: Any, ours: Any, net: NetParameter, rng: np.random.Generator, amplitude: float) -> None:
    """Set noise as inputs, and whole numbers where a layer takes labels."""
    labels = {b for layer in net.layer for i, b in enumerate(layer.bottom) if i in _labels(ours, layer)}
    for name in real.inputs:
        shape = real.blobs[name].data.shape
        values = rng.integers(0, 2, shape) if name in labels else rng.normal(0, amplitude, shape)
        for each in (real, ours):
            each.blobs[name].data[...] = values


def _labels(ours: Any, layer: LayerParameter) -> set[int]:
    """The indices of bottoms that take whole numbers."""
    return set(ours.layer_dict[layer.name].labels())


def _forward(real: Any, ours: Any, *, together: bool = False) -> Iterator[float]:
    """How far the tops of each layer differ; `together` means on real Caffe's bottoms."""
    for i, name in enumerate(real._layer_names):
        for bottom in real.bottom_names[name] if together else ():
            ours.blobs[bottom].data[...] = real.blobs[bottom].data
        for each in (real, ours):
            each._forward(i, i)
        tops, layer = real.top_names[name], ours.layer_dict[name].param
        pairs = [(real.blobs[t].data, ours.blobs[t].data) for t in tops]
        if layer.type in DETECTIONS:
            keep = layer.detection_output_param.keep_top_k
            yield max(detections_apart(theirs, mine, keep) for theirs, mine in pairs)
        else:
            yield max((apart(theirs, mine) for theirs, mine in pairs), default=0.0)


def _seed(net: Any, seeds: dict[str, Any]) -> None:
    """Put the diffs that a backward starts from into the outputs; pycaffe's own way takes no scalar."""
    for name, values in seeds.items():
        net.blobs[name].diff[...] = values


def _backward(real: Any, ours: Any) -> list[tuple[float | None, float | None]]:
    found: list[tuple[float | None, float | None]] = []
    for i in reversed(range(len(real.layers))):
        for each in (real, ours):
            each._backward(i, i)
        bottoms = real.bottom_names[real._layer_names[i]]
        diffs = max((apart(real.blobs[b].diff, ours.blobs[b].diff) for b in bottoms), default=0.0)
        pairs = zip(real.layers[i].blobs, ours.layers[i].blobs, strict=True)
        params = max((apart(a.diff, b.diff) for a, b in pairs), default=None)
        found.append((diffs, params))
    return found[::-1]
