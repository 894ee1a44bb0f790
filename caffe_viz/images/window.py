"""Which part of an image a network saw."""

from __future__ import annotations

from typing import NamedTuple

from caffe_viz.images.preprocess import Preprocess


class Window(NamedTuple):
    """A part of an image, in its pixels from the top left."""

    top: float
    left: float
    height: float
    width: float


def window_of(preprocess: Preprocess, image: tuple[int, int], size: tuple[int, int]) -> Window:
    """Return the part of an image (h, w) that `Preprocess.to_caffe` puts into an input (H, W).

    >>> window_of(Preprocess(resize=256), (512, 1024), (224, 224))
    Window(top=32.0, left=64.0, height=448.0, width=896.0)
    """
    frame = preprocess.frame(size)
    down, across = image[0] / frame[0], image[1] / frame[1]
    top, left = ((whole - part) // 2 for whole, part in zip(frame, size, strict=True))
    return Window(top * down, left * across, size[0] * down, size[1] * across)
