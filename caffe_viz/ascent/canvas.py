"""What is optimised in place of an image: its pixels, or coefficients from which it is computed.

A canvas turns parameters (N, ...) into images (N, C, H, W) in units of the input, with the pullback.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from caffe_viz.ascent.arrays import Arrays, Host, Pullback
from caffe_viz.ascent.pixel_range import PixelRange, spread

Shape = tuple[int, ...]
# Root of the covariance of ImageNet's colours, RGB; tensorflow/lucid: lucid/optvis/param/color.py.
IMAGENET_COLOURS = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))
NOISE = 10.0  # deviation of pixels at the start, of 0..255
CONTRAST = 4.0  # lucid's: Fourier coefficients of deviation 1 over it
LEAST_COLOUR = 1e-3  # of the largest variance, that of any other colour
EDGE = 1 / 64  # given images are kept this far from black and white, which a sigmoid cannot reach


class Canvas(Protocol):
    """The parameters of images."""

    def start(self, rng: np.random.Generator, shape: Shape, units: PixelRange, boost: float) -> Host:
        """Return parameters of a random image of `shape` (C, H, W), `boost` times the usual deviation."""

    def of(self, image: Host, units: PixelRange) -> Host:
        """Return the parameters of a given image (C, H, W)."""

    def images(self, arrays: Arrays, params: Any, units: PixelRange, shape: Shape) -> tuple[Any, Pullback]:
        """Return images of `shape` (N, C, H, W), and the function from their gradient to that of `params`."""

    def project(self, arrays: Arrays, params: Any, units: PixelRange) -> Any:
        """Bring parameters back into their bounds after a step."""

    @property
    def bounded(self) -> bool:
        """Whether images stay between black and white."""


@dataclass(frozen=True)
class Pixels:
    """The image itself, unbounded, or clipped to black and white."""

    clipped: bool = False

    def start(self, rng: np.random.Generator, shape: Shape, units: PixelRange, boost: float) -> Host:
        noise = rng.standard_normal(shape, np.float32) * NOISE * units.pixel * boost
        return np.asarray(spread(units.grey, len(shape) + 1) + noise, np.float32)

    def of(self, image: Host, units: PixelRange) -> Host:
        return np.asarray(image, np.float32)

    def images(self, arrays: Arrays, params: Any, units: PixelRange, shape: Shape) -> tuple[Any, Pullback]:
        return params, lambda gradient: gradient

    @property
    def bounded(self) -> bool:
        return self.clipped

    def project(self, arrays: Arrays, params: Any, units: PixelRange) -> Any:
        if not self.clipped:
            return params
        low, high = (arrays.put(spread(v, params.ndim)) for v in (units.black, units.white))
        return arrays.where(params < low, low, arrays.where(params > high, high, params))


@dataclass(frozen=True)
class Fourier:
    """Fourier coefficients, scaled by frequency, of decorrelated colours; a sigmoid keeps pixels in range.

    Photographs have amplitudes of about 1 / frequency, so large shapes change as quickly as small ones.
    `colours` (3, 3) is a square root of the covariance of RGB colours; () leaves channels as they are, and so
    does input that is not a colour picture.

    Olah, Mordvintsev and Schubert, Feature Visualization, 2017; tensorflow/lucid: lucid/optvis/param.
    """

    deviation: float = 0.01
    decay: float = 1.0
    colours: tuple[tuple[float, ...], ...] = IMAGENET_COLOURS

    def start(self, rng: np.random.Generator, shape: Shape, units: PixelRange, boost: float) -> Host:
        maps, height, width = _plane(shape)
        size = (maps, height, width // 2 + 1, 2)
        return np.asarray(rng.standard_normal(size, np.float32) * self.deviation * boost, np.float32)

    def of(self, image: Host, units: PixelRange) -> Host:
        low, high = (spread(v, image.ndim + 1) for v in (units.black, units.white))
        share = np.clip((image - low) / (high - low), EDGE, 1 - EDGE)
        values = np.log(share / (1 - share))
        if (matrix := self._matrix(units)) is not None:
            values = np.tensordot(np.linalg.inv(matrix), values, 1)
        found = np.fft.rfft2(values.reshape(_plane(image.shape)))
        _, height, width = _plane(image.shape)
        scale = _scale((height, width), self.decay)
        return np.asarray(np.stack([found.real, found.imag], -1) / scale[..., None], np.float32)

    def images(self, arrays: Arrays, params: Any, units: PixelRange, shape: Shape) -> tuple[Any, Pullback]:
        _, height, width = _plane(shape[1:])
        size = height, width
        scale = arrays.put(_scale(size, self.decay)[..., None])
        values = arrays.image(params * scale, size).reshape(shape)
        matrix = self._matrix(units)
        if matrix is not None:
            values = arrays.along(matrix, values, 1)
        share = arrays.sigmoid(values)
        low, high = (arrays.put(spread(v, len(shape))) for v in (units.black, units.white))

        def pull(gradient: Any) -> Any:
            gradient = gradient * (high - low) * share * (1 - share)
            if matrix is not None:
                gradient = arrays.along(matrix.T, gradient, 1)
            found = arrays.spectrum(gradient.reshape(-1, *size)).reshape(params.shape)
            return found * scale * arrays.put(_weights(size)[..., None])

        return low + (high - low) * share, pull

    @property
    def bounded(self) -> bool:
        return True

    def project(self, arrays: Arrays, params: Any, units: PixelRange) -> Any:
        return params

    def _matrix(self, units: PixelRange) -> NDArray[np.float32] | None:
        """The matrix (C, C) from decorrelated colours to the blob's; its largest column has length 1."""
        if not (units.rgb and self.colours):
            return None
        matrix = np.array(self.colours, np.float64)
        matrix = matrix / np.linalg.norm(matrix, axis=0).max()
        return np.asarray(matrix[list(units.rgb)], np.float32)


def colours_of(photos: Iterable[NDArray[np.float32]]) -> tuple[tuple[float, ...], ...]:
    """Return the `colours` of a Fourier canvas, as in these photographs (H, W, 3) RGB in 0..1."""
    pixels = np.concatenate([np.asarray(photo, np.float64).reshape(-1, 3) for photo in photos])
    values, vectors = np.linalg.eigh(np.cov(pixels.T, bias=True))
    # Grey photographs vary in one direction, blank ones in none: keep a little variance.
    values = np.maximum(values, max(LEAST_COLOUR * values.max(), np.finfo(np.float32).tiny))
    root = (vectors * np.sqrt(values))[:, ::-1]  # what varies most comes first
    return tuple(tuple(map(float, row)) for row in root * np.sign(root.sum(0)))


@lru_cache(maxsize=32)  # called at every step
def _scale(size: Shape, decay: float) -> NDArray[np.float32]:
    """The factors (H, W // 2 + 1) of the coefficients."""
    down, across = np.fft.fftfreq(size[0])[:, None], np.fft.rfftfreq(size[1])[None]
    frequency = np.maximum(np.hypot(down, across), 1 / max(size))
    return np.asarray(frequency**-decay * math.sqrt(math.prod(size)) / CONTRAST, np.float32)


@lru_cache(maxsize=32)
def _weights(size: Shape) -> NDArray[np.float32]:
    """How often each coefficient of a real image counts, (H, W // 2 + 1), over the number of pixels."""
    height, width = size
    twice = np.full((height, width // 2 + 1), 2.0)
    twice[:, 0] = 1
    if width % 2 == 0:
        twice[:, -1] = 1
    return np.asarray(twice / math.prod(size), np.float32)


def _plane(shape: Shape) -> Shape:
    """Reshape (C, ...) to exactly two axes after the first: a line has height 1, a volume is many maps."""
    channels, *space = shape
    *outer, height, width = [*[1] * (2 - len(space)), *space]
    return (channels * math.prod(outer), height, width)
