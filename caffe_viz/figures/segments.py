"""Draw maps of classes in colours, alone or over their image, with a legend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caffe_viz.errors import InputError
from caffe_viz.figures.picture import Picture, Text, shorten, text_width, write_on
from caffe_viz.images import display_rgb
from caffe_viz.images.pixels import Floats

COVER = 0.6  # how much of a class's colour lies over the image
FADED = 0.75  # how much white lies over what no class is said of
EDGE = 0.9  # how much white a line between two classes has
SWATCH, LINE, MARGIN, GAP = 11, 17, 8, 14
LEAST = 240  # pixels of the width, so that the legend has room
ROWS = 30  # of a legend; what is beyond is counted


class Entry(NamedTuple):
    """A line of a legend."""

    colour: Sequence[float]
    words: str


def class_map(labels: ArrayLike, colours: Floats) -> Floats:
    """Colour class numbers (h, w) as RGB (h, w, 3) by `colours` (K, 3); numbers beyond K are white.

    Raises:
        InputError: `labels` are not whole numbers (h, w).
    """
    numbers = _numbers(labels)
    known = numbers < len(colours)
    return np.where(known[..., None], colours[np.where(known, numbers, 0)], np.float32(1))


def class_map_over(rgb: ArrayLike, labels: ArrayLike, colours: Floats, clear: Sequence[int] = ()) -> Floats:
    """Draw the map over its image (h, w, 3) RGB, with white lines between classes.

    Where a class is in `clear`, such as a background, the image is shown as it is; without a class it is
    faded.

    Raises:
        InputError: As `class_map`; or image and map of different sizes.
    """
    image, numbers = display_rgb(rgb), _numbers(labels)
    if image.shape[:2] != numbers.shape:
        raise InputError(f"the image is {image.shape[:2]}, its map {numbers.shape}: one size is expected.")
    grey = image.mean(axis=2, keepdims=True)  # its own colours would change those of the classes
    cover = np.where(numbers < len(colours), COVER, FADED)[..., None]
    covered = grey * (1 - cover) + class_map(numbers, colours) * cover
    plain = np.isin(numbers, list(clear))[..., None]
    out = np.where(plain, image, covered)
    edge = _edges(numbers)[..., None]
    return np.asarray(np.where(edge, out * (1 - EDGE) + EDGE, out), np.float32)


def with_legend(rgb: ArrayLike, entries: Sequence[Entry]) -> Picture:
    """(h, w, 3) RGB with the legend of its colours below, in columns."""
    image = display_rgb(rgb)
    height, width, _ = image.shape
    room = max(width, LEAST)
    shown = _shortened(entries, room)
    wide = max((SWATCH + 6 + text_width(entry.words) + GAP for entry in shown), default=1.0)
    columns = max(1, int((room + GAP) // wide))
    lines = -(-len(shown) // columns)
    below = MARGIN + LINE * lines + (MARGIN if lines else 0)
    canvas = np.pad(image, [(MARGIN, below), (MARGIN, MARGIN + room - width), (0, 0)], constant_values=1)
    texts = []
    for k, entry in enumerate(shown):
        column, line = divmod(k, lines)
        x, y = MARGIN + round(column * wide), 2 * MARGIN + height + LINE * line
        _swatch(canvas[y + 3 : y + 3 + SWATCH, x : x + SWATCH], entry.colour)
        texts.append(Text(x + SWATCH + 6, y + LINE / 2, entry.words, color="0"))
    return write_on(np.asarray(canvas, np.float32), texts)


def _shortened(entries: Sequence[Entry], room: int) -> list[Entry]:
    few = list(entries[:ROWS])
    if len(entries) > ROWS:
        few.append(Entry((1, 1, 1), f"and {len(entries) - ROWS} more classes"))
    return [Entry(entry.colour, shorten(entry.words, room - SWATCH - 6, keep=10)) for entry in few]


def _swatch(place: Floats, colour: Sequence[float]) -> None:
    place[:] = 0.6
    place[1:-1, 1:-1] = np.asarray(colour, np.float32)


def _numbers(labels: ArrayLike) -> NDArray[np.int64]:
    array = np.asarray(labels)
    if array.ndim != 2 or not array.size or not np.issubdtype(array.dtype, np.integer):
        raise InputError(
            f"a map of shape {array.shape} and type {array.dtype}: whole numbers (h, w) are expected."
        )
    return array.astype(np.int64)


def _edges(numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the class of a pixel is another than that of its neighbour to the right or below."""
    edge = np.zeros(numbers.shape, bool)
    edge[:-1] |= numbers[1:] != numbers[:-1]
    edge[:, :-1] |= numbers[:, 1:] != numbers[:, :-1]
    return edge
