"""The gradient ascent of one batch of images, each with its own objective."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_viz.ascent.arrays import Host, Pullback
from caffe_viz.ascent.evaluators import Evaluator
from caffe_viz.ascent.pixel_range import PixelRange, spread
from caffe_viz.ascent.recipe import Recipe
from caffe_viz.ascent.transforms import Draws, transformed
from caffe_viz.errors import RunError
from caffe_viz.images import resized
from caffe_viz.objectives import Diversity, Objective
from caffe_viz.surgery import Auxiliary

TRIES = 10  # attempts to find a start with a gradient: each with another seed, and up to eightfold noise
DIVERSITY = 0.5  # the penalty for pictures that are all alike, as a share of their objective
LOOK_EVERY = 16  # steps between two checks that all values are numbers: a look waits for the device
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Goal:
    """What one image maximises. `stream` is its part of the seed: equal streams start equally.

    `apart` is a layer in which the image is kept different from other images of equal objectives, if any.
    """

    objective: Objective
    stream: int
    name: str
    apart: str = ""

    def at(self, weight: float) -> Objective:
        """Return the objective with this weight of diversity."""
        return self.objective + weight * Diversity(self.apart) if self.apart else self.objective


@dataclass(frozen=True)
class Snapshot:
    """A batch of K images (K, C, H, W) on the host: `curve` (K, evaluations so far), and `values` (K,).

    `alive` (K,) is False if no start had a gradient, `faded` (K,) True if the end has none.
    """

    images: Host
    curve: Host
    values: Host
    alive: NDArray[np.bool_]
    faded: NDArray[np.bool_]


@dataclass
class Climb:
    """The ascent of one batch: iterate for the number of evaluations done; the first is that of the start.

    Images have the average mean subtracted, see `PixelRange`. `evaluators` returns the net for each of
    `auxiliaries` by index; small octaves come first.
    """

    goals: Sequence[Goal]
    auxiliaries: Sequence[Auxiliary]
    evaluators: Callable[[int], Evaluator]
    recipe: Recipe
    units: PixelRange
    alive: NDArray[np.bool_] = field(init=False)
    faded: NDArray[np.bool_] = field(init=False)
    _curve: list[Any] = field(default_factory=list)
    _octave_from: int = 0
    _best: Any = None
    _best_values: Any = None
    _params: Any = None
    _offsets: Any = None
    _made: Callable[[Any], tuple[Any, Pullback]] = field(init=False)

    def __iter__(self) -> Iterator[int]:
        """Climb.

        Raises:
            RunError: A value is not a number, or as `Evaluator`.
        """
        start = self.recipe.start
        self.faded = np.zeros(len(self.goals), bool)
        carried: Host | None = None
        for octave, auxiliary in enumerate(self.auxiliaries):
            evaluator = self.evaluators(octave)
            self._weigh(evaluator, auxiliary, 0.0)
            size = auxiliary.image_shape[2:]
            base = None if start is None else fitted(start, size)
            begin = base
            if carried is not None:
                # A photograph's own details at this size, plus what was added at the smaller one.
                begin = fitted(carried, size) if base is None else base + fitted(carried, size)
            last = octave == len(self.auxiliaries) - 1
            yield from self._octave(evaluator, auxiliary, begin, base, last)
            if not last:
                ended = evaluator.arrays.host(self._images())
                carried = ended if base is None else ended - base
                self._best, self._octave_from = None, len(self._curve)

    def snapshot(self) -> Snapshot:
        """Return a copy of the state, on the host.

        Raises:
            RunError: A value is not a number.
        """
        arrays, count = self._arrays, len(self.goals)
        curve = arrays.host(arrays.stack(self._curve, 1))[:count]
        self._need_numbers(curve)
        best = self.recipe.keep_best
        images = arrays.host(self._best if best else self._images())[:count]
        values = curve[:, self._octave_from :].max(1) if best else curve[:, -1]
        return Snapshot(images, curve, values, self.alive, self.faded)

    def frame(self) -> NDArray[np.float16]:
        """Return the images (K, C, H, W) as they are now."""
        return self._arrays.host(self._images())[: len(self.goals)].astype(np.float16)

    def _octave(
        self, evaluator: Evaluator, auxiliary: Auxiliary, begin: Host | None, base: Host | None, last: bool
    ) -> Iterator[int]:
        recipe, units, arrays = self.recipe, self.units, evaluator.arrays
        self._arrays, shape = arrays, auxiliary.image_shape
        offsets = units.offsets(shape[1:])
        self._offsets = None if offsets is None else arrays.put(offsets)
        masked = self._mask(base, shape)

        def images(params: Any) -> tuple[Any, Pullback]:
            found, pull = recipe.canvas.images(arrays, params, units, shape)
            return masked(found, pull)

        self._made = images
        params = self._starts(evaluator, images, begin, shape)
        streams = [goal.stream for goal in self.goals]
        draws = Draws.of(recipe.seed, [*streams, *[0] * (shape[0] - len(streams))])
        step = recipe.optimizer.begin(arrays, units, recipe.steps)
        for number in range(recipe.steps + last):
            ended = number == recipe.steps
            self._params = params
            seen, pull = images(params)
            changes = () if ended and not recipe.keep_best else recipe.transforms
            changed, pull_changes = transformed(changes, arrays, seen, units, draws)
            if ended and self.goals[0].apart:
                self._weigh(evaluator, auxiliary, 0.0)  # the value does not include diversity
            values, gradient = self._evaluated(evaluator, changed)
            self._record(values, seen)
            if ended:
                self.faded = arrays.host(arrays.inverse_rms(gradient))[: len(self.goals)] == 0
            if len(self._curve) % LOOK_EVERY == 1:
                self._need_numbers(arrays.host(values)[: len(self.goals), None])
            if self.goals[0].apart:
                size = np.abs(arrays.host(values)[: len(self.goals)]).mean()
                self._weigh(evaluator, auxiliary, DIVERSITY * float(size))
            yield len(self._curve)
            if not ended:
                params = recipe.canvas.project(arrays, step(params, pull(pull_changes(gradient))), units)
        self._params = params

    def _weigh(self, evaluator: Evaluator, auxiliary: Auxiliary, weight: float) -> None:
        """Set the objectives' numbers in the net, with a weight of diversity."""
        evaluator.set(auxiliary.settings([goal.at(weight) for goal in self.goals]))

    def _images(self) -> Any:
        return self._made(self._params)[0]

    def _record(self, values: Any, images: Any) -> None:
        self._curve.append(values)
        if not self.recipe.keep_best:
            return
        if self._best is None:
            self._best, self._best_values = images, values
            return
        better = values > self._best_values
        self._best_values = self._arrays.where(better, values, self._best_values)
        self._best = self._arrays.where(better.reshape(-1, *[1] * (images.ndim - 1)), images, self._best)

    def _mask(self, base: Host | None, shape: Shape) -> Callable[[Any, Pullback], tuple[Any, Pullback]]:
        """Return the function that keeps the start where the mask is 0."""
        if self.recipe.mask is None or base is None:
            return lambda found, pull: (found, pull)
        mask = self._arrays.put(resized(self.recipe.mask[..., None], (shape[2], shape[3]))[..., 0])
        kept = self._arrays.put(base)
        return lambda found, pull: (kept + mask * (found - kept), lambda gradient: pull(mask * gradient))

    def _starts(
        self,
        evaluator: Evaluator,
        images: Callable[[Any], tuple[Any, Pullback]],
        begin: Host | None,
        shape: Shape,
    ) -> Any:
        """Return parameters to start with; where the objective's gradient is zero there, from other seeds."""
        arrays = evaluator.arrays
        waiting, params = list(range(len(self.goals))), None
        for attempt in range(TRIES):
            for n in waiting:
                mine = begin if begin is None or begin.ndim < len(shape) else begin[n]
                one = self._start(self.goals[n], mine, attempt, shape)
                params = np.zeros((shape[0], *one.shape), np.float32) if params is None else params
                params[n] = one
            assert params is not None
            found = arrays.put(params)
            values, gradient = self._evaluated(evaluator, images(found)[0])
            self._need_numbers(arrays.host(values)[: len(self.goals), None])
            moves = arrays.host(arrays.inverse_rms(gradient))
            waiting = [n for n in waiting if not moves[n]]
            if not waiting:
                break
        self.alive = np.ones(len(self.goals), bool)
        self.alive[waiting] = False
        return found

    def _start(self, goal: Goal, begin: Host | None, attempt: int, shape: Shape) -> Host:
        """Noise of its own for each goal, so that no image depends on its neighbours."""
        canvas, units = self.recipe.canvas, self.units
        if begin is not None and attempt == 0:
            return canvas.of(begin, units)
        rng = np.random.default_rng([self.recipe.seed, goal.stream, attempt])
        noise = canvas.start(rng, shape[1:], units, min(2**attempt, 8))
        if begin is None:
            return noise
        zero = canvas.of(np.broadcast_to(spread(units.grey, len(shape)), shape[1:]), units)
        return canvas.of(begin, units) + noise - zero

    def _evaluated(self, evaluator: Evaluator, images: Any) -> tuple[Any, Any]:
        """Return values (N,) and gradient; all get the sum if a layer's first axis is time, not images."""
        values, gradient = evaluator(images if self._offsets is None else images - self._offsets)
        same = len(values) == len(images)
        return values if same else evaluator.arrays.stack([values.sum()] * len(images), 0), gradient

    def _need_numbers(self, values: Host) -> None:
        bad = np.flatnonzero(~np.isfinite(values).all(1))
        if bad.size:
            raise RunError(
                f"{self.goals[bad[0]].name}: its value is not a number: are there NaN weights (caffe-viz "
                f"check), or is the rate too high?"
            )


def fitted(image: Host, size: Shape) -> Host:
    """Resize (..., C, H, W) to the height and width of `size`, with smoothing where it shrinks."""
    if tuple(image.shape[-2:]) == tuple(size) or len(size) != 2:
        return image
    planes = np.moveaxis(image.reshape(-1, *image.shape[-2:]), 0, -1)
    small = resized(np.ascontiguousarray(planes), (size[0], size[1]), antialias=True)
    return np.moveaxis(small, -1, 0).reshape(*image.shape[:-2], *size)
