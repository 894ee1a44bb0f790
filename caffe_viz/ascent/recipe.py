"""Methods of gradient ascent as values; `METHODS` are the named ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_viz.ascent.canvas import Canvas, Fourier, Pixels
from caffe_viz.ascent.optimizers import Adam, NormalizedSteps, Optimizer
from caffe_viz.ascent.transforms import RandomAffine, RandomBlur, RandomGrayscale, Roll, Transform
from caffe_viz.errors import InputError, near

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Recipe:
    """A method of gradient ascent: canvas, transforms, optimizer, number of steps, and where it starts.

    Args:
        canvas: What is optimised: pixels, or Fourier coefficients.
        transforms: The random changes under which the image must keep its effect.
        optimizer: How the steps are made.
        steps: The number of steps, in each octave.
        keep_best: Return the image with the highest objective along the way instead of the last one.
        octaves: Start with an image that is smaller by a factor of 1.4 for each further octave. Each octave
            starts with the result of the one before.
        size: (H, W) of the images. Default: what suits the layer.
        start: An image (C, H, W) in units of the input to start with. Default: noise from `seed`.
        mask: (H, W) in 0..1; where it is 0, the start is kept.
        seed: Of all randomness.
        save_every: Keep a frame after every so many steps. 0: keep none.
        name: The name of the method.

    Raises:
        InputError: Fewer than 1 step or octave, or a rate that is not above 0.
    """

    canvas: Canvas
    transforms: tuple[Transform, ...]
    optimizer: Optimizer
    steps: int
    keep_best: bool = False
    octaves: int = 1
    size: tuple[int, int] | None = None
    start: Array | None = None
    mask: Array | None = None
    seed: int = 0
    save_every: int = 0
    name: str = ""

    def __post_init__(self) -> None:
        if self.steps < 1 or not self.optimizer.rate > 0:
            raise InputError(f"steps {self.steps} and rate {self.optimizer.rate:g} must be above 0.")
        if self.octaves < 1:
            raise InputError(f"octaves {self.octaves}: 1 or more is expected.")

    @classmethod
    def of(cls, method: str | Recipe, **changes: Any) -> Recipe:
        """Return a method by its name, or a recipe, with `changes` of its fields; `rate` is the optimizer's.

        A change of None keeps the field as it is.

        Raises:
            InputError: No such method or field, or as `Recipe`.

        Example::

            cv.Recipe.of("natural", steps=64, rate=0.05)
        """
        if isinstance(method, str) and method not in METHODS:
            raise InputError(f"method {method!r} is unknown.{near(method, METHODS)}")
        recipe = METHODS[method] if isinstance(method, str) else method
        given = {name: value for name, value in changes.items() if value is not None}
        for name in given:
            if name != "rate" and name not in cls.__dataclass_fields__:
                raise InputError(
                    f"option {name!r} is unknown.{near(name, [*cls.__dataclass_fields__, 'rate'])}"
                )
        if "rate" in given:
            given["optimizer"] = replace(recipe.optimizer, rate=given.pop("rate"))  # type: ignore[type-var]
        return replace(recipe, **given)


DREAM = Recipe(Pixels(clipped=True), (Roll(32),), NormalizedSteps(1.5), steps=10, octaves=4, name="dream")
INVERT = Recipe(Fourier(decay=1.5), (), Adam(0.1, decay=0.1), steps=200, name="invert")
METHODS: Mapping[str, Recipe] = MappingProxyType(
    {
        "natural": Recipe(
            Fourier(),
            (
                RandomAffine(degrees=15, translate=0.07, scale=(0.75, 1.25)),
                RandomBlur((0, 0, 1, 2)),
                RandomGrayscale(0.3),
            ),
            Adam(0.1, decay=0.1),
            steps=64,
            name="natural",
        ),
        "regularised": Recipe(
            Pixels(), (Roll(4),), NormalizedSteps(decay=0.01, blur=0.8, blur_every=2), 40, keep_best=True,
            name="regularised",
        ),
        "plain": Recipe(Pixels(), (), NormalizedSteps(), 40, keep_best=True, name="plain"),
    }
)  # fmt: skip
