"""Draw boxes over an image, each with its name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from caffe_viz.figures.picture import Picture, Text, shorten, text_width, write_on
from caffe_viz.figures.screen import on_screen
from caffe_viz.images import display_rgb
from caffe_viz.images.pixels import Floats

TAG, INSET = 14, 3  # pixels of a tag's height, and beside its words
PALE = 0.6  # how much white a tag has: its words are black
LINES = 400  # pixels of the picture's longer side for each pixel of a frame's width


class Frame(NamedTuple):
    """A box in pixels of the image, what stands at it, and its colour, RGB in 0..1."""

    left: float
    top: float
    right: float
    bottom: float
    words: str
    colour: Sequence[float]


def framed(rgb: ArrayLike, frames: Sequence[Frame]) -> Picture:
    """(h, w, 3) RGB with `frames`, the first of them in front; at a size for screens.

    Raises:
        InputError: no such image.
    """
    image = display_rgb(rgb)
    canvas = np.array(on_screen(image))
    scale = canvas.shape[0] / image.shape[0], canvas.shape[1] / image.shape[1]
    width = max(2, round(max(canvas.shape) / LINES))
    placed = [_placed(frame, scale, canvas.shape[:2]) for frame in frames]
    for box, frame in reversed(list(zip(placed, frames, strict=True))):
        _outline(canvas, box, frame.colour, width)
    tags, taken = list[Text](), list[tuple[int, int, int, int]]()
    for box, frame in zip(placed, frames, strict=True):
        words = shorten(frame.words, canvas.shape[1] - 2 * INSET, keep=5)
        place = _tag(box, round(text_width(words)) + 2 * INSET, canvas.shape[:2], taken)
        if place is None:
            continue
        taken.append(place)
        left, top, right, bottom = place
        canvas[top:bottom, left:right] = np.asarray(frame.colour, np.float32) * (1 - PALE) + PALE
        tags.append(Text(left + INSET, top + TAG / 2, words, color="0"))
    return write_on(canvas, tags)


def _placed(frame: Frame, scale: tuple[float, float], size: tuple[int, ...]) -> tuple[int, int, int, int]:
    down, across = scale
    left, right = (int(np.clip(round(x * across), 0, size[1])) for x in (frame.left, frame.right))
    top, bottom = (int(np.clip(round(y * down), 0, size[0])) for y in (frame.top, frame.bottom))
    return left, top, right, bottom


def _outline(canvas: Floats, box: tuple[int, int, int, int], colour: Sequence[float], width: int) -> None:
    left, top, right, bottom = box
    inside = canvas[
        top + width : max(bottom - width, top + width), left + width : max(right - width, left + width)
    ]
    kept = inside.copy()
    canvas[top:bottom, left:right] = np.asarray(colour, np.float32)
    inside[...] = kept


def _tag(
    box: tuple[int, int, int, int],
    width: int,
    size: tuple[int, ...],
    taken: Sequence[tuple[int, int, int, int]],
) -> tuple[int, int, int, int] | None:
    """Above the box if there is room, else within it; below tags that are there; None where none is."""
    left = max(0, min(box[0], size[1] - width))
    top = box[1] - TAG if box[1] >= TAG else box[1]
    top = max(0, min(top, size[0] - TAG))
    for other in sorted(taken, key=lambda place: place[1]):
        apart = left + width <= other[0] or other[2] <= left or top + TAG <= other[1] or other[3] <= top
        if not apart:
            top = other[3]
    place = left, top, min(left + width, size[1]), min(top + TAG, size[0])
    return place if top == 0 or top + TAG <= size[0] else None
