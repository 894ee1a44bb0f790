"""How an image is optimised, as one value; `METHODS` are those with a name."""

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
    """Canvas, transforms and optimizer of an ascent, its number of `steps`, and where it begins.

    `size` (H, W) of the images; None: what suits the layer. `octaves`: the first is so many times smaller, by
    factors of 1.4, and each begins as the last one ended. `start` (C, H, W) in units of the input begins it,
    else noise from `seed`. `keep_best`: the result is the image of the highest objective on the way, not the
    last. `mask` (H, W) in 0..1: where it is 0 the start stays. Every `save_every`-th step leaves a frame.

    Raises:
        InputError: steps or octaves below 1, or a rate that is not above 0.
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
        """A method by its name, or a recipe, with `changes` of its fields; `rate` is the optimizer's.

        What is None stays as it is.

        Raises:
            InputError: no such method or field, or as `Recipe`.
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
