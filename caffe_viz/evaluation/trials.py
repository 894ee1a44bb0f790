"""Evaluate cases one by one, so that any process can do it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from caffe_viz.attribution import METHODS, Reads, Settings, attribute
from caffe_viz.attribution.queries import NamedImage, QueryProgress, QueryResults, collected, told
from caffe_viz.attribution.steps import Steps
from caffe_viz.attribution.targets import Target, find_target
from caffe_viz.evaluation.cases import Array, Asked, Cases
from caffe_viz.probe import Probe


@dataclass(frozen=True)
class Sample:
    """One case in a net: an image (C, H, W), a target in it, and the methods that explain it."""

    probe: Probe
    image: Array
    given: int | str
    methods: tuple[str, ...]
    layer: str | None
    settings: Settings

    @cached_property
    def target(self) -> Target:
        """The target as it was given."""
        return find_target(self.probe, self.given)

    def map(self, method: str) -> Array:
        """The map (H, W) for the weights that the net has now."""
        layer = self.layer if METHODS[method].reads is Reads.LAYER else None
        made = attribute(self.probe, self.image[None], [self.given], method, layer, settings=self.settings)
        return np.asarray(made.maps[0], np.float32)


Test = Callable[[Sample, np.random.Generator], Steps[Array]]  # can be pickled; leaves the net as it was


@dataclass(frozen=True)
class Trial:
    """Case number `row`, put to a `test` whose random numbers depend on `seed` and that number."""

    row: int
    image: NamedImage
    given: int | str
    methods: tuple[str, ...]
    layer: str | None
    settings: Settings
    test: Test
    seed: int

    def answers(self, probe: Probe) -> Iterator[QueryProgress | QueryResults]:
        pixels = self.image.pixels(probe)
        subject = Sample(probe, pixels, self.given, self.methods, self.layer, self.settings)
        made = yield from told(self.row, self.test(subject, np.random.default_rng([self.seed, self.row])))
        if made is not None:
            yield QueryResults({self.row: made})

    def __str__(self) -> str:
        return f"case {self.row:,}, {self.given} in {self.image.name}"


def tried(
    cases: Cases,
    test: Test,
    seed: int,
    run: Asked | None,
    on_progress: Callable[[float], None],
    on_note: Callable[[str], None],
) -> tuple[tuple[int, ...], tuple[Array, ...]]:
    """Return the numbers of the finished cases, in order, with their results; after Ctrl-C not all."""
    trials = (
        Trial(
            row=row,
            image=image,
            given=given,
            methods=cases.methods,
            layer=cases.layer,
            settings=cases.settings,
            test=test,
            seed=seed,
        )
        for row, (image, given) in enumerate(zip(cases.images, cases.given, strict=True))
    )
    found = collected(run or cases.asking.run(), trials, len(cases), on_progress, on_note, keep=True)
    rows = tuple(row for row in range(len(cases)) if row in found)
    return rows, tuple(found[row] for row in rows)
