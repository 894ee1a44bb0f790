"""Deletion and insertion curves: the score while pixels are removed or restored, most important first.

Source: Petsiuk, Das, Saenko, RISE, arXiv:1806.07421.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from caffe_viz.answers import Head
from caffe_viz.attribution.steps import Steps
from caffe_viz.attribution.targets import Target
from caffe_viz.errors import InputError
from caffe_viz.evaluation.baselines import BASELINES
from caffe_viz.evaluation.cases import Array, Asked, Cases
from caffe_viz.evaluation.measures import Floats, area
from caffe_viz.evaluation.saved import load, save
from caffe_viz.evaluation.trials import Sample, tried

BLUR = 16  # deviation of the blur: this part of the shorter side


@dataclass(frozen=True)
class Curves:
    """R cases by M methods, including baselines: the score after each of S shares of the pixels.

    `deletion` (M, R, S) begins with the image and ends with the zero blob, the training's mean image;
    `insertion` (M, R, S) begins with the blurred image and ends with the image. Scores are probabilities of a
    class, as of `Head.probabilities`, or the activation of a filter, as `unit` says. `asked` cases were
    wanted; after an interrupt there are fewer. `numbers` (R,) are the indices of the cases among those (empty
    in files of earlier versions: the first ones).
    """

    engine: str
    unit: str
    names: tuple[str, ...]
    targets: tuple[str, ...]
    methods: tuple[str, ...]
    asked: int
    shares: Floats
    deletion: Array
    insertion: Array
    numbers: tuple[int, ...] = ()

    @property
    def interrupted(self) -> bool:
        return len(self.names) < self.asked

    @property
    def deletion_areas(self) -> Floats:
        """The areas under the deletion curves, (M, R); lower is better."""
        return area(self.shares, self.deletion)

    @property
    def insertion_areas(self) -> Floats:
        """The areas under the insertion curves, (M, R); higher is better."""
        return area(self.shares, self.insertion)

    def beats(self, method: str, baseline: str) -> tuple[int, int]:
        """Count the cases in which its deletion and insertion areas are better than those of `baseline`."""
        m, other = self.methods.index(method), self.methods.index(baseline)
        lower = self.deletion_areas[m] < self.deletion_areas[other]
        higher = self.insertion_areas[m] > self.insertion_areas[other]
        return int(lower.sum()), int(higher.sum())

    def save(self, path: str | Path) -> None:
        """Write everything as npz."""
        save(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Curves:
        """Read what `save` wrote.

        Raises:
            InputError: The file is missing or of another kind.
        """
        return load(cls, path)


def curves(
    cases: Cases,
    *,
    points: int = 64,
    seed: int = 0,
    run: Asked | None = None,
    on_progress: Callable[[float], None] = lambda share: None,
    on_note: Callable[[str], None] = lambda note: None,
) -> Curves:
    """Delete and insert pixels in the order of each method's maps, and the baselines', in `points` steps.

    Equal values of a map are put in random order; that and the random maps depend on `seed` and the number of
    the case. The cases are done in a `run` (None: here), in any order; `on_progress` is told the share that
    is done, `on_note` when a worker has died. Ctrl-C keeps the finished cases, if there are any.

    Raises:
        InputError: Less than one point.
    """
    if points < 1:
        raise InputError(f"points is {points}: 1 or more is expected.")
    _, height, width = cases.asking.probe.network.shape
    counts = _counts(points, (height, width))
    rows, made = tried(cases, partial(_curves, counts=counts), seed, run, on_progress, on_note)
    both = np.stack(made, axis=2)  # (2, M, R, S)
    unit = "probability" if _probable(cases.targets[0]) else "score"
    return Curves(
        engine=cases.asking.probe.engine,
        unit=unit,
        names=cases.names(rows),
        targets=cases.words(rows),
        methods=(*cases.methods, *BASELINES),
        asked=len(cases),
        shares=counts / counts[-1],
        deletion=both[0],
        insertion=both[1],
        numbers=rows,
    )


def _probable(target: Target) -> Head | None:
    """Return the answer whose probabilities count, if the target is a class of one that has any."""
    return target.head if target.head is not None and target.head.probable else None


def _score(subject: Sample, images: Array) -> Array:
    """Score (N, C, H, W) as (N,): a class by its probability among all, anything else by its own value."""
    probe, target = subject.probe, subject.target
    if head := _probable(target):
        answer = probe.forward(images, [head.answer])[head.answer]
        return np.asarray(head.probabilities(answer)[:, target.number], np.float32)
    values = probe.forward(images, [target.blob])[target.blob].astype(np.float64)
    return np.asarray((values * target.seed(values.shape[1:])).reshape(len(values), -1).sum(1), np.float32)


def order(values: Array, rng: np.random.Generator) -> NDArray[np.intp]:
    """Return the pixels of a map (H, W), the highest value first, equal ones in random order."""
    flat = values.ravel()
    places = np.empty(flat.size, np.intp)
    places[np.lexsort((rng.random(flat.size), -flat))] = np.arange(flat.size)
    return places.reshape(values.shape)


def blurred(image: Array) -> Array:
    """Blur (C, H, W) by a Gaussian whose deviation is a sixteenth of the shorter side."""
    from scipy.ndimage import gaussian_filter

    deviation = min(image.shape[1:]) / BLUR
    return np.asarray(gaussian_filter(image, (0, deviation, deviation), mode="nearest"), np.float32)


def _counts(points: int, size: tuple[int, int]) -> NDArray[np.intp]:
    """The numbers of pixels (S,), from 0 to all."""
    total = size[0] * size[1]
    return np.asarray(np.unique(np.linspace(0, total, points + 1).round()), np.intp)


def _curves(subject: Sample, rng: np.random.Generator, *, counts: NDArray[np.intp]) -> Steps[Array]:
    """The deletion and insertion curves of one case, (2, M, S)."""
    maps = list[Array]()
    work = len(subject.methods) + 2  # the curves take as long as two maps, to say something
    for method in subject.methods:
        maps.append(subject.map(method))
        yield len(maps) / work
    image, batch = subject.image, subject.probe.batch
    maps += [make((image.shape[1], image.shape[2]), rng) for make in BASELINES.values()]
    places = [order(values, rng) for values in maps]
    ways = (image, np.zeros_like(image)), (blurred(image), image)
    total = 2 * len(places) * (len(counts) - 2)
    between, steps = np.empty(total, np.float32), _steps(ways, places, counts[1:-1])
    for first in range(0, total, batch):
        part = slice(first, min(first + batch, total))
        between[part] = _score(subject, np.stack([next(steps) for _ in range(part.start, part.stop)]))
        yield (len(subject.methods) + 2 * part.stop / total) / work
    ends = _score(subject, np.stack([end for way in ways for end in way])).reshape(2, 1, 2)
    ends = np.broadcast_to(ends, (2, len(places), 2))
    return np.concatenate([ends[..., :1], between.reshape(2, len(places), -1), ends[..., 1:]], axis=2)


def _steps(
    ways: tuple[tuple[Array, Array], ...], places: list[NDArray[np.intp]], counts: NDArray[np.intp]
) -> Iterator[Array]:
    """The images (C, H, W) between both ends of each way, for each order, after so many pixels each."""
    for start, end in ways:
        for place in places:
            for count in counts:
                yield np.where(place < count, end, start)
