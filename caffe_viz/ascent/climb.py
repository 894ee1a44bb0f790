"""One batch of images climbing, each its own filter, on one auxiliary net."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_viz.errors import RunError
from caffe_viz.probe import need_maxima
from caffe_viz.surgery import Auxiliary

Array = NDArray[np.float32]
SMALLEST = 1e-37  # a root mean square below it is zero: its inverse is no float32
JITTER_SHARE = 16  # of a side, no shift is larger: a small image would not stand still enough to grow
TRIES = 10  # to find a start with a gradient: each from another seed, with more noise up to eightfold


@dataclass(frozen=True)
class Method:
    """What is done to the images beside adding the gradient; lengths in pixels, each after every step.

    `jitter` is the largest shift at which a gradient is taken (Mordvintsev et al., Inceptionism, 2015);
    `decay` shrinks the image towards its start's grey and `blur` is the deviation of a Gaussian, applied
    every `blur_every` steps (Yosinski et al., Deep Visualization, 2015).
    """

    jitter: int = 0
    decay: float = 0.0
    blur: float = 0.0
    blur_every: int = 1


METHODS = {
    "plain": Method(),
    "regularised": Method(jitter=4, decay=0.01, blur=0.8, blur_every=2),
}


@dataclass(frozen=True)
class Recipe:
    """How to climb, in units of the image's blob. `grey` (C,) and `noise`, or `start` (C, H, W), begin it."""

    method: Method
    steps: int
    rate: float
    grey: Array
    noise: float
    seed: int
    start: Array | None
    neuron: tuple[int, ...] | None
    save_every: int


@dataclass(frozen=True)
class Tick:
    """The state of a batch of K filters: their best `images` (K, C, H, W), each `curve` (K, steps so far).

    `alive` (K,) is False where no start had a gradient. `frame` (K, C, H, W) is there at every
    `save_every`-th step.
    """

    filters: tuple[int, ...]
    images: Array
    curve: Array
    alive: NDArray[np.bool_]
    frame: NDArray[np.float16] | None
    last: bool


class Climber:
    """An auxiliary net with its weights, as a function from images to objectives and gradients."""

    def __init__(self, net: Any, auxiliary: Auxiliary, recipe: Recipe) -> None:
        self.net, self.auxiliary, self.recipe = net, auxiliary, recipe
        self.image = net.params[auxiliary.image_layer][0]

    def climb(self, filters: Sequence[int]) -> Iterator[Tick]:
        """Climb `filters`, at most as many as the batch; yields after every step, and once more at the end.

        Raises:
            RunError: as `evaluate`.
        """
        recipe, count = self.recipe, len(filters)
        self.net.blobs[self.auxiliary.selector].data[...] = self.auxiliary.select(filters, recipe.neuron)
        images, alive = self._starts(filters)
        rng = np.random.default_rng([recipe.seed, 0])
        best, best_values = images[:count].copy(), np.full(count, -np.inf, np.float32)
        curve = np.empty((count, recipe.steps + 1), np.float32)
        jitter = min([recipe.method.jitter, *(n // JITTER_SHARE for n in images.shape[2:])])
        for step in range(recipe.steps + 1):
            shift = rng.integers(-jitter, jitter + 1, 2)
            values, gradient = self.evaluate(_rolled(images, shift), filters)
            curve[:, step] = values
            better = values > best_values
            best[better], best_values[better] = images[:count][better], values[better]
            last = step == recipe.steps
            keep = recipe.save_every and (step % recipe.save_every == 0 or last)
            frame = images[:count].astype(np.float16) if keep else None
            yield Tick(tuple(filters), best, curve[:, : step + 1], alive, frame, last)
            if not last:
                images = self._step(images, _rolled(gradient, -shift), step + 1)

    def evaluate(self, images: Array, filters: Sequence[int]) -> tuple[Array, Array]:
        """Objective (K,) of each filter on its image, and the gradient (N, C, H, W); a view of the net.

        Raises:
            RunError: an activation is no number, or as `need_maxima`.
        """
        names, net = self.auxiliary, self.net
        self.image.data[...] = images
        net.forward()
        need_maxima(net, range(len(net.layers)))
        activation, selector = net.blobs[names.activation].data, net.blobs[names.selector].data
        values = np.array(
            [np.sum(activation[n, f] * selector[n, f]) for n, f in enumerate(filters)], np.float32
        )
        if not np.isfinite(values).all():
            bad = filters[int(np.argmin(np.isfinite(values)))]
            raise RunError(
                f"layer {names.layer!r}: the activation of filter {bad} is no number; "
                f"are there NaN weights (caffe-viz check), or is the rate too high?"
            )
        net.backward()
        return values, np.asarray(self.image.diff)

    def _step(self, images: Array, gradient: Array, step: int) -> Array:
        """`images` plus the gradient, divided by its root mean square, times the rate; then the method."""
        method, recipe = self.recipe.method, self.recipe
        out = images + np.float32(recipe.rate) * normalised(gradient)
        if method.decay:
            grey = _spread(recipe.grey, out.ndim)
            out = grey + (1 - method.decay) * (out - grey)
        if method.blur and step % method.blur_every == 0 and step < recipe.steps:
            from scipy.ndimage import gaussian_filter

            sigma = [0.0, 0.0, *[method.blur] * (out.ndim - 2)]
            out = gaussian_filter(out, sigma, mode="nearest")
        return np.asarray(out, np.float32)

    def _starts(self, filters: Sequence[int]) -> tuple[Array, NDArray[np.bool_]]:
        """Images (N, C, H, W) to begin with; where a filter's gradient is zero there, from other seeds."""
        images = np.zeros(self.auxiliary.image_shape, np.float32)
        waiting = list(range(len(filters)))
        for attempt in range(TRIES):
            for n in waiting:
                images[n] = self._start(filters[n], attempt)
            _, gradient = self.evaluate(images, filters)
            waiting = [n for n in waiting if not np.any(gradient[n])]
            if not waiting:
                break
        alive = np.ones(len(filters), bool)
        alive[waiting] = False
        return images, alive

    def _start(self, chosen: int, attempt: int) -> Array:
        """(C, H, W): noise of its own for each filter, so that no filter depends on its neighbours."""
        recipe, shape = self.recipe, self.auxiliary.image_shape[1:]
        if recipe.start is not None and attempt == 0:
            return recipe.start
        rng = np.random.default_rng([recipe.seed, chosen + 1, attempt])
        noise = rng.standard_normal(shape, np.float32) * recipe.noise * min(2**attempt, 8)
        base = _spread(recipe.grey, len(shape) + 1)[0] if recipe.start is None else recipe.start
        return np.asarray(base + noise, np.float32)


def normalised(gradient: Array) -> Array:
    """(N, ...) divided by the root mean square of each image; zero stays zero."""
    flat = gradient.reshape(len(gradient), -1)
    # A gradient of a mean can be 1e-30, whose square float32 does not hold.
    squares = np.einsum("ni,ni->n", flat, flat, dtype=np.float64) / flat.shape[1]
    factors = np.divide(1, np.sqrt(squares), out=np.zeros_like(squares), where=squares > SMALLEST**2)
    return np.asarray(gradient * factors.astype(np.float32).reshape(-1, *[1] * (gradient.ndim - 1)))


def _rolled(images: Array, shift: NDArray[np.int64]) -> Array:
    if images.ndim < 4 or not shift.any():
        return images
    return np.roll(images, tuple(shift), axis=(-2, -1))


def _spread(grey: Array, axes: int) -> Array:
    """(C,) as (1, C, 1, ...)."""
    return grey.reshape(1, -1, *[1] * (axes - 2))
