"""Which objective each image of an ascent maximises, and how large the image is."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from caffe_viz.ascent.climb import Goal
from caffe_viz.errors import InputError
from caffe_viz.geometry import measure
from caffe_viz.netdef import NetParameter, for_phase
from caffe_viz.objectives import Channel, Content, Neuron, Objective, Style, leaves
from caffe_viz.surgery import auxiliary_net

Array = NDArray[np.float32]
OCTAVE = 1.4  # from one size to the next
LEAST_SIDE = 32  # of the smallest octave
PICTURES_APART = 100_000  # between the streams of two pictures of one filter; no layer has so many filters


def goals_of(
    net: NetParameter,
    layer: str | Objective,
    count: int,
    filters: Sequence[int] | None = None,
    neuron: tuple[int, ...] | bool = False,
    pictures: int = 1,
) -> tuple[list[Goal], tuple[int, ...]]:
    """Return a goal for each picture, and the numbers they go by: those of filters, or 0, 1, ..

    Raises:
        InputError: Filters or a neuron were given with an objective that is not a layer.
    """
    if isinstance(layer, Objective):
        if filters is not None or neuron is not False:
            raise InputError(f"objective {layer}: filters and neuron go with a layer, not with an objective.")
        near = isinstance(next(leaves(layer)), Content | Style)  # these objectives determine the image
        away = apart_layer(net, layer) if pictures > 1 and not near else ""
        return [Goal(layer, n + 1, str(layer), away) for n in range(pictures)], tuple(range(pictures))
    place = None if isinstance(neuron, bool) else tuple(neuron)
    goals, numbers = [], []
    away = apart_layer(net, Channel(layer, 0)) if pictures > 1 else ""
    for chosen in range(count) if filters is None else dict.fromkeys(filters):
        objective = Channel(layer, chosen) if neuron is False else Neuron(layer, chosen, place)
        for n in range(pictures):
            goals.append(Goal(objective, chosen + 1 + n * PICTURES_APART, str(objective), away))
            numbers.append(chosen)
    return goals, tuple(numbers)


def apart_layer(net: NetParameter, objective: Objective) -> str:
    """Return the layer in which pictures of an objective are compared: its own, or the last one with maps.

    A layer without maps has no Gram matrix that would distinguish shapes.
    """
    layer = next(leaves(objective)).layer
    seen = ""
    for one in measure(for_phase(net)).layers:
        shape = one.shapes[0] if one.shapes else ()
        if len(shape) == 4 and shape[2] * shape[3] > 1 and (one.name == layer or one.type == "Convolution"):
            seen = one.name
        if one.name == layer:
            break
    return seen or layer


def canvas_size(
    net: NetParameter, layer: str | Objective, image: str | None = None
) -> tuple[int, int] | None:
    """Return the (H, W) on which `layer` is drawn: its receptive field and a margin, at most the input.

    With several layers, the largest counts. None means that the net's own size is needed: a layer sees the
    whole input, the input is not an image, or the content of a photograph is matched.
    """
    if isinstance(layer, Objective):
        if any(isinstance(leaf, Content) for leaf in leaves(layer)):
            return None
        sizes = [
            canvas_size(net, name, image) for name in dict.fromkeys(leaf.layer for leaf in leaves(layer))
        ]
        known = [size for size in sizes if size is not None]
        return (max(h for h, _ in known), max(w for _, w in known)) if len(known) == len(sizes) else None
    auxiliary = auxiliary_net(net, layer, image=image)
    own, sees = auxiliary.image_shape[2:], auxiliary.field
    if sees is None or len(own) != 2 or 0 in sees.stride:
        return None
    wanted = [math.ceil(n) + int(n) // 32 for n in sees.size]
    return min(wanted[0], own[0]), min(wanted[1], own[1])


def octave_sizes(
    size: tuple[int, int] | None, own: tuple[int, ...], octaves: int
) -> list[tuple[int, int] | None]:
    """Return the sizes of all octaves, small ones first; the last is `size`, or the net's own (None)."""
    if octaves == 1 or len(own) != 4:
        return [size]
    height, width = size or own[2:]
    factors = [OCTAVE**n for n in range(octaves - 1, 0, -1)]
    smaller = [(round(height / f), round(width / f)) for f in factors]
    return [*(s for s in smaller if min(s) >= min(LEAST_SIDE, height, width)), size]
