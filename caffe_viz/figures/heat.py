"""Draw attribution maps as heat, alone or over their image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from caffe_viz.errors import InputError, near
from caffe_viz.figures.blocks import visible
from caffe_viz.figures.inputs import frames
from caffe_viz.figures.picture import Picture, Text, shorten, write_on
from caffe_viz.images import display_rgb
from caffe_viz.images.pixels import RED_GREEN_BLUE, Floats
from caffe_viz.tiling import finite

COLOURS = ("inferno", "jet")  # of even lightness, and the blue to red that many papers have
SIDE = 454  # pixels that the longer side is enlarged to, at most
FADED, COVER = 0.35, 0.75  # how much of the heat shows where the map is 0, and where it is largest
LARGEST = 0.995  # the share of the values below full colour: a gradient has lone peaks
THICK = 24  # pixels of the thin side of a flat picture
LINE, MARGIN = 14, 8


def heat(values: ArrayLike, colours: str = COLOURS[0]) -> Floats:
    """Colour a map (H, W) as RGB (H, W, 3) in 0..1; the top 0.5 % of values are clipped, negative ones are 0.

    The slices of a volume (D, H, W) are drawn side by side.

    Raises:
        InputError: Another rank, values that are not finite, or unknown colours.
    """
    array = np.asarray(values)
    if array.ndim != 3:
        return _coloured(_share(array), colours)
    flat = _coloured(_share(array.reshape(-1, array.shape[2])), colours)
    return frames(flat.reshape(*array.shape, 3))


def heat_over(rgb: ArrayLike, values: ArrayLike, colours: str = COLOURS[0]) -> Floats:
    """The heat of `values` (H, W) over the image (H, W, 3) RGB in 0..1, which shows where they are low.

    Raises:
        InputError: as `heat`; or image and values of different sizes.
    """
    image, share = display_rgb(rgb), _share(values)
    if image.shape[:2] != share.shape:
        raise InputError(f"the image is {image.shape[:2]}, its heat map {share.shape}: one size is expected.")
    part = (FADED + (COVER - FADED) * share)[..., None]
    return np.asarray(image * (1 - part) + _coloured(share, colours) * part, np.float32)


def signed_colours(values: ArrayLike, channel_order: str) -> Floats:
    """An attribution (C, H, W) as RGB (H, W, 3): grey where it is 0, its colours by `channel_order`.

    Raises:
        InputError: another number of channels, values that are not finite.
    """
    array = finite(values, "attribution")
    if array.ndim != 3 or len(array) != len(set(RED_GREEN_BLUE[channel_order])):
        raise InputError(f"an attribution of {array.shape} is not an image in {channel_order} order.")
    limit = float(np.quantile(np.abs(array), LARGEST, method="higher")) or 1.0
    picture = array[list(RED_GREEN_BLUE[channel_order])].transpose(1, 2, 0)
    return np.asarray(np.clip(picture / (2 * limit) + 0.5, 0, 1), np.float32)


def captioned(rgb: ArrayLike, lines: Sequence[str]) -> Picture:
    """(H, W, 3) RGB in 0..1 with `lines` below it; small pictures are enlarged."""
    image = display_rgb(rgb)
    image = visible(image, max(1, SIDE // max(image.shape[:2])), THICK)
    height, width, _ = image.shape
    room = max(0, 240 - width)  # a narrow image still needs words
    below = MARGIN + LINE * len(lines) + (MARGIN if lines else 0)
    canvas = np.pad(image, [(MARGIN, below), (MARGIN, MARGIN + room), (0, 0)], constant_values=1)
    texts = [
        Text(MARGIN, MARGIN + height + MARGIN + LINE * (k + 0.5), shorten(words, width + room), color="0")
        for k, words in enumerate(lines)
    ]
    return write_on(np.asarray(canvas, np.float32), texts)


def _share(values: ArrayLike) -> Floats:
    array = finite(values, "attribution map")
    if array.ndim != 2 or not array.size:
        raise InputError(f"an attribution map of shape {array.shape} was given: (H, W) is expected.")
    positive = np.maximum(np.asarray(array, np.float64), 0)
    limit = float(np.quantile(positive, LARGEST, method="higher")) or positive.max() or 1.0
    return np.asarray(np.minimum(positive / limit, 1), np.float32)


def _coloured(share: Floats, colours: str) -> Floats:
    if colours not in COLOURS:
        raise InputError(f"colours {colours!r} are unknown.{near(colours, COLOURS)}")
    from matplotlib import colormaps

    return np.asarray(colormaps[colours](share)[..., :3], np.float32)
