"""Check that maps depend on what the net has learned: weights are randomised, from the top layer down.

A map that does not change shows the image, not the net's answer.
Source: Adebayo and others, Sanity checks for saliency maps, arXiv:1810.03292 (cascading randomisation).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from caffe_viz.attribution.steps import Steps
from caffe_viz.errors import RunError
from caffe_viz.evaluation.cases import Array, Asked, Cases
from caffe_viz.evaluation.measures import rank_correlation, ssim
from caffe_viz.evaluation.saved import load, save
from caffe_viz.evaluation.trials import Sample, tried
from caffe_viz.probe import Probe

LIMIT = 0.5
RULE = (
    f"a method fails if, with the upper half of the layers random, the rank correlation of its maps with "
    f"those of the trained net is above {LIMIT} in the mean over cases"
)


@dataclass(frozen=True)
class Sanity:
    """R cases by M methods: how similar a map is to that of the trained net when L layers become random.

    `layers` (L,) are in the order in which their weights become random, the top one first; each stays random.
    `correlation` (M, L, R) is Spearman's, `similarity` (M, L, R) SSIM; NaN if the trained net's map is
    constant. `asked` cases were wanted; after an interrupt there are fewer. `numbers` (R,) are the indices of
    the cases among those (empty in files of earlier versions: the first ones).
    """

    engine: str
    names: tuple[str, ...]
    targets: tuple[str, ...]
    methods: tuple[str, ...]
    asked: int
    layers: tuple[str, ...]
    correlation: Array
    similarity: Array
    numbers: tuple[int, ...] = ()

    @property
    def interrupted(self) -> bool:
        return len(self.names) < self.asked

    @property
    def half(self) -> int:
        """The index in `layers` at which the upper half of them is random."""
        return (len(self.layers) - 1) // 2

    @property
    def failed(self) -> tuple[str, ...]:
        """The methods that fail by RULE."""
        found = mean(self.correlation[:, self.half])
        return tuple(name for name, value in zip(self.methods, found, strict=True) if value > LIMIT)

    def save(self, path: str | Path) -> None:
        """Write everything as npz."""
        save(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Sanity:
        """Read what `save` wrote.

        Raises:
            InputError: The file is missing or of another kind.
        """
        return load(cls, path)


def mean(values: Array) -> Array:
    """Average (..., R) to (...) over the cases that have a value; NaN if none has."""
    known = np.isfinite(values)
    count = known.sum(-1)
    total = np.where(known, values, 0).sum(-1)
    out = np.full(total.shape, np.nan, np.float32)
    return np.asarray(np.divide(total, count, out=out, where=count > 0))


def sanity(
    cases: Cases,
    *,
    seed: int = 0,
    run: Asked | None = None,
    on_progress: Callable[[float], None] = lambda share: None,
    on_note: Callable[[str], None] = lambda note: None,
) -> Sanity:
    """Compute the maps of every method again each time one more layer has become random; then restore all.

    The random weights of a case depend on `seed` and its number. The cases are done in a `run` (None: here),
    in any order; `on_progress` is told the share that is done, `on_note` when a worker has died. Ctrl-C keeps
    the finished cases, if there are any.

    Raises:
        RunError: No layer that the target depends on has weights.
    """
    probe = cases.asking.probe
    layers = weighted_layers(probe, cases.targets[0].blob)
    if not layers:
        raise RunError(f"{cases.targets[0]}: no layer before it has weights that could be made random.")
    rows, made = tried(cases, partial(_likeness, layers=layers), seed, run, on_progress, on_note)
    both = np.stack(made, axis=-1)  # (2, M, L, R)
    return Sanity(
        engine=probe.engine,
        names=cases.names(rows),
        targets=cases.words(rows),
        methods=cases.methods,
        asked=len(cases),
        layers=layers,
        correlation=both[0],
        similarity=both[1],
        numbers=rows,
    )


def weighted_layers(probe: Probe, blob: str) -> tuple[str, ...]:
    """Return the layers with weights that `blob` depends on, the top one first."""
    needed, found = {blob}, list[str]()
    for layer in reversed(probe.layers()):
        if needed.intersection(layer.top):
            needed.update(layer.bottom)
            if layer.name in probe.net.params and probe.image not in layer.top:
                found.append(layer.name)
    return tuple(found)


@contextmanager
def cascade(net: Any, layers: Sequence[str], rng: np.random.Generator) -> Iterator[Iterator[str]]:
    """Randomise the weights of one of `layers` after another and yield each; restore all at the end.

    Each blob of weights keeps its own values, in random order: as many, as large, with the same mean, and no
    variance below 0.
    """
    kept = [[np.array(blob.data) for blob in net.params[name]] for name in layers]
    try:
        yield _shuffled(net, layers, rng)
    finally:
        for name, arrays in zip(layers, kept, strict=True):
            for blob, values in zip(net.params[name], arrays, strict=True):
                blob.data[...] = values


def _shuffled(net: Any, layers: Sequence[str], rng: np.random.Generator) -> Iterator[str]:
    for name in layers:
        for blob in net.params[name]:
            values = np.array(blob.data)
            blob.data[...] = rng.permutation(values.ravel()).reshape(values.shape)
        yield name


def _likeness(subject: Sample, rng: np.random.Generator, *, layers: tuple[str, ...]) -> Steps[Array]:
    """Rank correlation and SSIM of one case, (2, M, L)."""
    found = np.empty((2, len(subject.methods), len(layers)), np.float32)
    originals = [subject.map(method) for method in subject.methods]
    with cascade(subject.probe.net, layers, rng) as stages:
        for k, _ in enumerate(stages):
            for m, (method, original) in enumerate(zip(subject.methods, originals, strict=True)):
                values = subject.map(method)
                found[:, m, k] = rank_correlation(original, values), ssim(original, values)
                yield (k + (m + 1) / len(originals)) / len(layers)
    return found
