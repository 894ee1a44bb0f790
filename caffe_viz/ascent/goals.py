"""What the images of an ascent are to maximise, and on which canvas."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from caffe_viz.ascent.climb import Goal
from caffe_viz.netdef import NetParameter
from caffe_viz.objectives import (
    Channel,
    Content,
    Diversity,
    Neuron,
    Objective,
    leaves,
)
from caffe_viz.surgery import auxiliary_net

Array = NDArray[np.float32]
OCTAVE = 1.4  # from one size to the next
LEAST_SIDE = 32  # of the smallest octave
PICTURES_APART = 100_000  # between the streams of two pictures of one filter; no layer has so many filters
DIVERSITY = 0.5  # how much of an objective goes where a picture is like all the others


def goals_of(
    layer: str | Objective,
    count: int,
    filters: Sequence[int] | None,
    neuron: tuple[int, ...] | bool,
    pictures: int,
) -> tuple[list[Goal], tuple[int, ...]]:
    """A goal for each picture, and the numbers that these go by: of filters of a layer, or 0, 1 .."""
    if isinstance(layer, Objective):
        kept = apart(layer, pictures)
        return [Goal(kept, n + 1, str(layer)) for n in range(pictures)], tuple(range(pictures))
    place = None if isinstance(neuron, bool) else tuple(neuron)
    goals, numbers = [], []
    for chosen in range(count) if filters is None else dict.fromkeys(filters):
        objective = Channel(layer, chosen) if neuron is False else Neuron(layer, chosen, place)
        for n in range(pictures):
            goals.append(Goal(apart(objective, pictures), chosen + 1 + n * PICTURES_APART, str(objective)))
            numbers.append(chosen)
    return goals, tuple(numbers)


def apart(objective: Objective, pictures: int) -> Objective:
    """The objective, less for pictures that are like each other; in shares of itself, whatever its size."""
    if pictures == 1:
        return objective
    return objective + DIVERSITY * (objective * Diversity(next(leaves(objective)).layer))


def canvas_size(net: NetParameter, layer: str | Objective) -> tuple[int, int] | None:
    """The (H, W) on which `layer` is drawn: its receptive field and a small margin, at most the input.

    Of an objective of several layers the largest. None where the net's own size is needed: a layer
    sees the whole input, the input is no image, or the content of a photograph is wanted.
    """
    if isinstance(layer, Objective):
        if any(isinstance(leaf, Content) for leaf in leaves(layer)):
            return None
        sizes = [canvas_size(net, name) for name in dict.fromkeys(leaf.layer for leaf in leaves(layer))]
        known = [size for size in sizes if size is not None]
        return (max(h for h, _ in known), max(w for _, w in known)) if len(known) == len(sizes) else None
    auxiliary = auxiliary_net(net, layer)
    own, sees = auxiliary.image_shape[2:], auxiliary.field
    if sees is None or len(own) != 2 or 0 in sees.stride:
        return None
    wanted = [math.ceil(n) + int(n) // 32 for n in sees.size]
    return min(wanted[0], own[0]), min(wanted[1], own[1])


def octave_sizes(
    size: tuple[int, int] | None, own: tuple[int, ...], octaves: int
) -> list[tuple[int, int] | None]:
    """The sizes of all octaves, small ones first; the last is `size`, or the net's own (None)."""
    if octaves == 1 or len(own) != 4:
        return [size]
    height, width = size or own[2:]
    factors = [OCTAVE**n for n in range(octaves - 1, 0, -1)]
    smaller = [(round(height / f), round(width / f)) for f in factors]
    return [*(s for s in smaller if min(s) >= min(LEAST_SIDE, height, width)), size]
