"""Random changes under which an image must keep its effect: shapes survive them, noise does not.

Each is linear in the image, is drawn for each image at each step, and comes with its pullback. Angles are
in degrees, lengths in fractions of the image's sides. Images are (N, C, H, W) in units of the input.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from caffe_viz.ascent.arrays import Arrays, Host, Pullback, gaussian
from caffe_viz.ascent.pixel_range import PixelRange, spread

TRANSFORMS = 1000  # sets their draws apart from those of starts


@dataclass(frozen=True)
class Draws:
    """The random numbers: one generator for each image, so that none depends on its neighbours."""

    each: tuple[np.random.Generator, ...]
    common: np.random.Generator

    @classmethod
    def of(cls, seed: int, streams: Sequence[int]) -> Draws:
        """Return the generators of images with these parts of the seed."""
        each = (np.random.default_rng([seed, stream, TRANSFORMS]) for stream in streams)
        return cls(tuple(each), np.random.default_rng([seed, 0]))


class Transform(Protocol):
    """One change of a batch of images."""

    def __call__(self, arrays: Arrays, images: Any, units: PixelRange, draws: Draws) -> tuple[Any, Pullback]:
        """Return the changed images, and the function from their gradient to that of `images`."""


@dataclass(frozen=True)
class RandomAffine:
    """Rotate by up to `degrees`, shift by up to `translate` of the sides, scale by a factor in `scale`.

    All in one bilinear resampling about the centre; outside is grey. Input that is not a picture is only
    shifted.
    """

    degrees: float = 0.0
    translate: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)

    def __call__(self, arrays: Arrays, images: Any, units: PixelRange, draws: Draws) -> tuple[Any, Pullback]:
        if images.ndim != 4:
            return images, lambda gradient: gradient
        size = (images.shape[2], images.shape[3])
        places = np.stack([self._places(size, rng, units.picture) for rng in draws.each])
        grey = arrays.put(spread(units.grey, images.ndim))
        found, pull = arrays.resample(images - grey, places)
        return found + grey, pull

    def _places(self, size: tuple[int, int], rng: np.random.Generator, picture: bool) -> Host:
        """Where each pixel of the result comes from, (2, H, W): rows, columns."""
        angle = math.radians(rng.uniform(-self.degrees, self.degrees)) if picture else 0.0
        zoom = rng.uniform(*self.scale) if picture else 1.0
        move = rng.uniform(-self.translate, self.translate, 2) * size
        middle = (np.array(size) - 1) / 2
        grid = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij")) - middle[:, None, None]
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]) / zoom
        return np.asarray(np.einsum("ij,jhw->ihw", turn, grid) + (middle + move)[:, None, None], np.float32)


@dataclass(frozen=True)
class RandomBlur:
    """A Gaussian whose deviation is one of `sigmas`, in pixels, but at most 1/100 of a side."""

    sigmas: tuple[float, ...]

    def __call__(self, arrays: Arrays, images: Any, units: PixelRange, draws: Draws) -> tuple[Any, Pullback]:
        most = min(images.shape[2:], default=0) / 100
        drawn = np.array([min(rng.choice(self.sigmas), most) for rng in draws.each])

        def blurred(values: Any, back: bool = False) -> Any:
            out = values + 0
            for sigma in sorted({*drawn} - {0}):
                rows = np.flatnonzero(drawn == sigma)
                out[rows] = _filtered(arrays, values[rows], float(sigma), back)
            return out

        return blurred(images), lambda gradient: blurred(gradient, back=True)


def _filtered(arrays: Arrays, images: Any, sigma: float, back: bool) -> Any:
    for axis in range(2, images.ndim):
        matrix = gaussian(images.shape[axis], sigma)
        images = arrays.along(matrix.T if back else matrix, images, axis)
    return images


@dataclass(frozen=True)
class RandomGrayscale:
    """Remove the colour, with this probability; input that is not a colour picture stays as it is."""

    probability: float

    def __call__(self, arrays: Arrays, images: Any, units: PixelRange, draws: Draws) -> tuple[Any, Pullback]:
        drawn = np.array([rng.random() < self.probability for rng in draws.each])
        if units.luma is None or not drawn.any():
            return images, lambda gradient: gradient
        rows, weights = np.flatnonzero(drawn), units.luma
        grey = arrays.put(spread(units.grey, images.ndim))
        matrix = np.tile(weights, (len(weights), 1))
        out = images + 0
        out[rows] = arrays.along(matrix, images[rows] - grey, 1) + grey

        def pull(gradient: Any) -> Any:
            out = gradient + 0
            out[rows] = arrays.along(matrix.T, gradient[rows], 1)
            return out

        return out, pull


@dataclass(frozen=True)
class Roll:
    """Shift by up to `pixels`, around the edges; the same for all images of a batch.

    Mordvintsev et al., Inceptionism, 2015.
    """

    pixels: int

    SHARE = 16  # the largest shift, as a fraction of a side: small images must not move too much to grow

    def __call__(self, arrays: Arrays, images: Any, units: PixelRange, draws: Draws) -> tuple[Any, Pullback]:
        if images.ndim < 4:
            return images, lambda gradient: gradient
        most = min([self.pixels, *(n // self.SHARE for n in images.shape[2:])])
        y, x = (int(n) for n in draws.common.integers(-most, most + 1, 2))
        return arrays.roll(images, (y, x)), lambda gradient: arrays.roll(gradient, (-y, -x))


def transformed(
    transforms: Sequence[Transform], arrays: Arrays, images: Any, units: PixelRange, draws: Draws
) -> tuple[Any, Pullback]:
    """One transform after the other."""
    pulls: list[Pullback] = []
    for transform in transforms:
        images, pull = transform(arrays, images, units, draws)
        pulls.append(pull)

    def pull_all(gradient: Any) -> Any:
        for pull in reversed(pulls):
            gradient = pull(gradient)
        return gradient

    return images, pull_all
