"""Targets (a class, a filter or one neuron), and the layer whose maps a CAM reads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caffe_viz.answers import Head
from caffe_viz.errors import InputError
from caffe_viz.netdef import LayerParameter
from caffe_viz.network import Network
from caffe_viz.objectives import Channel
from caffe_viz.probe import Probe
from caffe_viz.units import Unit, need_channel, read_unit

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Target:
    """Channel `index` of `blob`: its map's mean, or one place. `layer` is the name that users know.

    If a blob is one number for each image, its only channel is 0. For a class, `head` is the answer of the
    net that it belongs to, and `number` its number there.
    """

    layer: str
    blob: str
    index: int
    place: tuple[int, ...] | None = None
    label: str = ""
    head: Head | None = None
    number: int = 0

    def seed(self, shape: Sequence[int]) -> Array:
        """Return the factor of each value (K, ...) of the blob in the score: 1, or 1 / (H W) over a map."""
        if not shape:
            return np.ones(shape, np.float32)
        out = np.zeros(shape, np.float32)
        if self.place is None:
            out[self.index] = 1 / int(np.prod(shape[1:]))
        else:
            index = (self.index, *self.place)
            out[index] = 1
        return out

    def score(self, values: Array) -> float:
        """Return the score from the blob's values (K, ...) for one image."""
        return float((values * self.seed(values.shape)).sum(dtype=np.float64))

    def __str__(self) -> str:
        where = "" if self.place is None else f" at {','.join(map(str, self.place))}"
        return f"{self.layer} {self.index}{where}{' ' + self.label if self.label else ''}"


def asked_blobs(
    network: Network, targets: Sequence[int | str] | None, layer: str | None = None
) -> tuple[str, ...]:
    """Return the blobs needed for `targets` (None: the first answer) and for the maps of `layer`.

    Raises:
        InputError: As `read_unit`.
    """
    tops = {one.name: one.top[0] for one in reversed(network.message.layer) if one.top}
    blobs = {top: top for one in network.message.layer for top in one.top}
    found = [] if layer is None else [(tops | blobs).get(layer, "")]
    for target in [0] if targets is None else targets:
        unit = read_unit(network, target)
        found.append(tops[unit.layer] if unit.head is None else unit.head.answer)
    return tuple(dict.fromkeys(filter(None, found)))


def find_target(probe: Probe, given: int | str) -> Target:
    """Return the target that `read_unit` finds: a class, a filter `conv4:16`, or a neuron `conv4:16:3,5`.

    Raises:
        InputError: No such class, layer, filter or neuron.
    """
    unit = read_unit(probe.network, given)
    blob = probe.output(unit.layer)
    return target_of(unit, given, blob, probe.shape(blob))


def find_targets(probe: Probe, given: Sequence[int | str]) -> tuple[Target, ...]:
    """Return the target for each of `given`.

    Raises:
        InputError: There is none, or as `find_target`.
    """
    if not len(given):
        raise InputError("no target is given: leave it out to explain each image's most likely class.")
    return tuple(find_target(probe, one) for one in given)


def target_of(unit: Unit, given: int | str, blob: str, shape: Sequence[int]) -> Target:
    """Return a unit as a target in the `blob` (C, ..) of this shape that its layer makes.

    Raises:
        InputError: It is a whole layer, or a place outside the maps.
    """
    channel, space = need_channel(unit, given), tuple(shape[1:])
    place = None
    if not isinstance(channel, Channel):
        place = channel.position or tuple(n // 2 for n in space)
        if len(place) != len(space) or not all(p < n for p, n in zip(place, space, strict=True)):
            raise InputError(
                f"target {given!r}: the maps of layer {unit.layer!r} are {space}; give Y,X in them."
            )
    return Target(
        layer=unit.layer,
        blob=blob,
        index=channel.channel,
        place=place,
        label=unit.label,
        head=unit.head,
        number=unit.number,
    )


def likeliest_class(probe: Probe, image: Array) -> Target:
    """Return the most likely class of an image (C, H, W), by the net's first answer.

    If several are certain, as after a Sigmoid, it is the one with the highest score.
    """
    head = probe.network.heads[0]
    answer = probe.forward(image[None], [head.answer])[head.answer]
    chances = np.reshape(answer, (len(head), -1)).mean(1)
    best = [find_target(probe, int(number)) for number in np.flatnonzero(chances == chances.max())]
    if len(best) < 2:
        return best[0] if best else find_target(probe, 0)
    values = probe.forward(image[None], list(dict.fromkeys(target.blob for target in best)))
    return max(best, key=lambda target: target.score(values[target.blob][0]))


def find_layer(probe: Probe, given: str | None, target: Target) -> str:
    """Return the blob of maps that a CAM reads: `given`, or the last spatial one before `target`.

    A blob means its values after a full forward, post-ReLU if the ReLU works in place. Tops of pooling layers
    are skipped: they have fewer places for the same maps.

    Raises:
        InputError: No such blob, it has no maps, or the target does not depend on it.
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
    """The layers and their tops that `target` depends on, the last first."""
    needed, found = {target.blob}, list[tuple[LayerParameter, str]]()
    for layer in reversed(probe.layers()):
        tops = needed.intersection(layer.top)
        found += [(layer, top) for top in layer.top if top in tops and top != target.blob]
        needed.update(layer.bottom if tops else ())
    return found
