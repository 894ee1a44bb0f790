"""What an attribution explains: a class, a filter or one neuron; and the layer whose maps it reads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caffe_viz.classification import answer_blobs
from caffe_viz.errors import InputError, missing, near
from caffe_viz.netdef import LayerParameter, NetParameter, left_out
from caffe_viz.probe import Probe

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Target:
    """Channel `index` of `blob`, its map's mean or one place of it; `layer` is what users call it.

    Of a blob that is one number for each image, the only channel is 0.
    """

    layer: str
    blob: str
    index: int
    place: tuple[int, ...] | None = None
    label: str = ""

    def seed(self, shape: Sequence[int]) -> Array:
        """The factor of each value (K, ...) of the blob in the score: 1, or 1 / (H W) over a map."""
        if not shape:
            return np.ones(shape, np.float32)
        out = np.zeros(shape, np.float32)
        if self.place is None:
            out[self.index] = 1 / int(np.prod(shape[1:]))
        else:
            index = (self.index, *self.place)
            out[index] = 1
        return out

    def __str__(self) -> str:
        where = "" if self.place is None else f" at {','.join(map(str, self.place))}"
        return f"{self.layer} {self.index}{where}{' ' + self.label if self.label else ''}"


def asked_blobs(
    net: NetParameter, targets: Sequence[int | str] | None, layer: str | None = None
) -> tuple[str, ...]:
    """The blobs that must be computed for `targets` (None: classes) and for the maps of `layer`.

    What names no layer of the net counts as a class; `find_target` says what is wrong with it.
    """
    tops = {one.name: one.top[0] for one in reversed(net.layer) if one.top}
    blobs = {top: top for one in net.layer for top in one.top}
    found = [] if layer is None else [(tops | blobs).get(layer, "")]
    for target in targets or [0]:
        names = [str(target).rsplit(":", parts)[0] for parts in (1, 2)]
        found.append(next((tops[name] for name in names if name in tops), answer_blobs(net)[0]))
    return tuple(dict.fromkeys(filter(None, found)))


def find_target(probe: Probe, given: int | str) -> Target:
    """A class by number or label; `conv4:16`, the filter of a layer; `conv4:16:3,5`, its neuron at (y, x).

    A filter is taken as its layer computes it, before a ReLU that works on it in place.

    Raises:
        InputError: no such class, layer, filter or neuron.
    """
    if isinstance(given, int) or given.strip().isdigit():
        return class_target(probe, int(given))
    names = {layer.name for layer in probe.layers()}
    for parts in range(2, 4):
        layer, *rest = given.rsplit(":", parts - 1)
        if len(rest) == parts - 1 and layer in names:
            return _filter(probe, given, layer, *rest)
    layer, gone = given.split(":")[0], left_out(probe.network.message)
    if f"layer {layer}" in gone:
        raise missing(f"target {given!r}: the net", "layer", layer, names, gone)
    labels = probe.network.preprocess.labels
    if not labels:
        raise InputError(
            f"target {given!r}: the classes have no labels; give a class as 3, or a filter as LAYER:3."
        )
    found = [i for i, label in enumerate(labels) if given.lower() in _names(label)]
    if len(found) > 1:
        raise InputError(
            f"target {given!r} is the label of classes {', '.join(map(str, found))}: give a number."
        )
    if not found:
        known = names if ":" in given else {name for label in labels for name in _names(label)}
        what = f"no layer {layer!r}" if ":" in given else f"no class {given!r}"
        raise InputError(f"target {given!r}: the net has {what}.{near(layer, known)}")
    return class_target(probe, found[0])


def class_target(probe: Probe, number: int) -> Target:
    """A class, by its score before the softmax."""
    blob = answer_blobs(probe.network.message)[1]
    count = channels(probe, blob)
    if not 0 <= number < count:
        has = "is one number, which is target 0" if count == 1 else f"has classes 0 to {count - 1}"
        raise InputError(f"target {number}: {blob!r} {has}.")
    labels = probe.network.preprocess.labels
    return Target(blob, blob, number, None, labels[number] if len(labels) == count else "")


def best_class(probe: Probe, values: Array) -> Target:
    """The class that the scores (K, ...) of one image are highest for; the only one of one number ()."""
    rows = np.reshape(values, ((*values.shape, 1)[0], -1))
    return class_target(probe, int(rows.mean(1).argmax()))


def likeliest_class(probe: Probe, image: Array) -> Target:
    """The class that the net finds likeliest in an image (C, H, W)."""
    blob = class_target(probe, 0).blob
    return best_class(probe, probe.forward(image[None], [blob])[blob][0])


def channels(probe: Probe, blob: str) -> int:
    """How many channels a blob has for one image: 1 where it is one number."""
    return (probe.shape(blob) or (1,))[0]


def _filter(probe: Probe, given: str, layer: str, index: str, place: str | None = None) -> Target:
    blob = probe.output(layer)
    shape, count = probe.shape(blob), channels(probe, blob)
    if not index.isdigit() or int(index) >= count:
        has = f"filters 0 to {count - 1}" if count > 1 else "one filter, 0"
        raise InputError(f"target {given!r}: layer {layer!r} has {has}.")
    if place is None:
        return Target(layer, blob, int(index))
    at = tuple(int(p) if p.strip().isdigit() else -1 for p in place.split(","))
    if len(at) != max(len(shape) - 1, 0) or not all(0 <= p < n for p, n in zip(at, shape[1:], strict=True)):
        raise InputError(f"target {given!r}: the maps of layer {layer!r} are {shape[1:]}; give Y,X in them.")
    return Target(layer, blob, int(index), at)


def _names(label: str) -> set[str]:
    """ImageNet's labels list synonyms: "great white shark, white shark"."""
    whole = label.lower()
    return {whole, *(part.strip() for part in whole.split(","))}


def find_layer(probe: Probe, given: str | None, target: Target) -> str:
    """The blob of maps that a CAM reads: `given`, a blob or a layer, or the last spatial one before `target`.

    A blob is what it holds after a full forward, post-ReLU where the ReLU works in place. Tops of pooling
    layers are passed over: they have fewer places for the same maps.

    Raises:
        InputError: no such blob, it has no maps, or the target does not depend on it.
    """
    before = _before(probe, target)
    if given is None:
        for layer, blob in before:
            if layer.type not in ("Parameter", "Pooling") and is_spatial(probe, blob):
                return blob
        raise InputError(f"{target}: no layer between the image and it has maps: choose another method.")
    blob = given if probe.has(given) else probe.output(given)
    if not is_spatial(probe, blob):
        raise InputError(
            f"layer {given!r} has no maps: its shape is {probe.shape(blob)}, as many axes as those of the "
            f"input, {probe.shape(probe.image)}, are expected."
        )
    if blob not in [name for _, name in before]:
        raise InputError(f"{target} does not depend on {given!r}: choose a layer before it.")
    return blob


def is_spatial(probe: Probe, blob: str) -> bool:
    """Whether it has maps with more than one place, in as many directions as the image."""
    shape, image = probe.shape(blob), probe.shape(probe.image)
    rows = probe.alone(blob) and not probe.alone(probe.image)  # steps or regions, no places
    return len(shape) == len(image) and math.prod(shape[1:]) > 1 and not rows


def _before(probe: Probe, target: Target) -> list[tuple[LayerParameter, str]]:
    """Layers and their tops that `target` depends on, the last first."""
    needed, found = {target.blob}, list[tuple[LayerParameter, str]]()
    for layer in reversed(probe.layers()):
        tops = needed.intersection(layer.top)
        found += [(layer, top) for top in layer.top if top in tops and top != target.blob]
        needed.update(layer.bottom if tops else ())
    return found
