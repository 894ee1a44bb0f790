"""Maps that know nothing of the net; a method that is no better than these explains nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from caffe_viz.evaluation.cases import Array
from caffe_viz.images import resized

GRAIN = 7  # random values along a side


def pixels(size: tuple[int, int], rng: np.random.Generator) -> Array:
    """Random values (H, W), each pixel by itself."""
    return rng.random(size, np.float32)


def smooth(size: tuple[int, int], rng: np.random.Generator) -> Array:
    """7 x 7 random values, resized to (H, W) like class activation maps.

    Single grey pixels all over an image affect a net differently than a patch does, so maps of patches have a
    chance level of their own.
    """
    return np.ascontiguousarray(resized(rng.random((GRAIN, GRAIN, 1), np.float32), size)[..., 0])


def centre(size: tuple[int, int], rng: np.random.Generator) -> Array:
    """(H, W), highest in the middle, where photographers put things. Both sides count alike."""
    y, x = (np.abs((np.arange(n) + 0.5) / n - 0.5) for n in size)
    return np.asarray(-np.hypot(y[:, None], x), np.float32)


BASELINES: dict[str, Callable[[tuple[int, int], np.random.Generator], Array]] = {
    "random": pixels,
    "random-smooth": smooth,
    "centre": centre,
}
