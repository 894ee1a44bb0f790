"""Colours of classes: easy to tell apart, and the same for a class in every picture."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from caffe_viz.images.pixels import Floats

# Okabe and Ito's colours but black, the brightest last.
FIRST = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
STEPS = 12  # of each primary colour, among which the palette is looked for
LIGHTNESS = (30, 88)  # of CIELAB: neither lost on black nor on white
MOST = 256  # colours; more classes share them
# What dichromats without L cones, and without M cones, see of linear RGB.
# Source: Viénot, Brettel and Mollon 1999, "Digital video colourmaps for checking the legibility of displays
# by dichromats", for the primaries of sRGB.
DICHROMATS = np.array(
    [
        [[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]],
        [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]],
    ]
)
TRUST = 2.0  # distances that dichromats see count so much more: few of them are large


def class_colours(count: int) -> Floats:
    """(count, 3) RGB in 0..1, Okabe and Ito's first; each further one is far from all before it.

    So it is to people with and without colour blindness. The colour of a number is the same for any count.
    """
    palette = _distinct()
    return np.asarray(palette[np.arange(count) % len(palette)], np.float32)


def voc_colours(count: int) -> Floats:
    """(count, 3) RGB in 0..1 of PASCAL VOC's label files: the bits of a number in turn, the highest first.

    Colour-blind people cannot tell some of its 21 classes apart: they are for files, not for pictures.
    Source: VOClabelcolormap of the development kit of PASCAL VOC.
    """
    numbers = np.arange(count)
    channels = [
        sum(((numbers >> (3 * bit + channel)) & 1) << (7 - bit) for bit in range(8)) for channel in range(3)
    ]
    return np.asarray(np.stack(channels, -1) / 255, np.float32)


@cache
def _distinct() -> NDArray[np.float64]:
    """(MOST, 3) Colours; behind the first each is as far as may be from all before, black, grey and white.

    Distances are in CIELAB, the smallest of those that people with and without colour blindness see.
    Source: Glasbey et al. 2007, "Colour displays for categorical images".
    """
    from matplotlib.colors import to_rgb

    first = np.array([to_rgb(name) for name in FIRST])
    taken = _as_seen(np.concatenate([[[0, 0, 0], [0.5, 0.5, 0.5], [1, 1, 1]], first]))
    line = np.linspace(0, 1, STEPS)
    every = np.stack(np.meshgrid(line, line, line, indexing="ij"), -1).reshape(-1, 3)
    seen = _as_seen(every)
    nearest = np.min([_apart(seen, taken[:, k]) for k in range(taken.shape[1])], axis=0)
    nearest[(seen[0, :, 0] < LIGHTNESS[0]) | (seen[0, :, 0] > LIGHTNESS[1])] = 0
    chosen: list[int] = []
    while len(chosen) + len(first) < MOST:
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, _apart(seen, seen[:, chosen[-1]]))
    return np.concatenate([first, every[chosen]])


def _as_seen(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, n, 3) CIELAB of colours (n, 3) as three kinds of people see them."""
    from skimage.color import rgb2lab

    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    mixed = np.stack([linear, *(linear @ matrix.T for matrix in DICHROMATS)]).clip(0, 1)
    shown = np.where(mixed <= 0.0031308, mixed * 12.92, 1.055 * mixed ** (1 / 2.4) - 0.055)
    return np.asarray(rgb2lab(shown))


def _apart(seen: NDArray[np.float64], one: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n) The smallest distance that anybody sees between colours (3, n, 3) and `one` (3, 3)."""
    distances = np.linalg.norm(seen - one[:, None], axis=-1)
    return np.asarray(np.minimum(distances[0], TRUST * distances[1:].min(0)))
