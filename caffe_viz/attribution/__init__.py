"""Attributions: which pixels are responsible for an answer, by the methods of one table."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

import numpy as np

from caffe_viz.attribution.cost import PASSES
from caffe_viz.attribution.job import Job, Settings
from caffe_viz.attribution.pooled import class_maps
from caffe_viz.attribution.results import Attribution, centre
from caffe_viz.attribution.steps import SteppedRun, Steps, T
from caffe_viz.attribution.table import METHODS, Method, Reads, need_method
from caffe_viz.attribution.targets import Array, Target, find_layer, find_targets, likeliest_class
from caffe_viz.errors import InputError
from caffe_viz.probe import Probe

__all__ = [
    "METHODS",
    "PASSES",
    "Attribution",
    "Reads",
    "Settings",
    "SteppedRun",
    "Steps",
    "attribute",
    "attributing",
    "centre",
    "need_method",
]


def attribute(
    probe: Probe,
    images: Array,
    targets: Sequence[int | str] | None = None,
    method: str = "grad-cam",
    layer: str | None = None,
    *,
    names: Sequence[str] = (),
    settings: Settings | None = None,
    on_progress: Callable[[float], None] = lambda share: None,
) -> Attribution:
    """Explain each of `targets` in each of `images` by one method.

    Args:
        probe: The net to ask.
        images: (I, C, H, W) in units of the input.
        targets: Classes by number or label, filters such as "conv4:16", or neurons such as "conv4:16:3,5"
            (y, x). None: the most likely class of each image.
        method: The name of a method.
        layer: The blob whose maps a CAM reads. Default: the last spatial one that is not the top of a
            pooling layer.
        names: The names of the images.
        settings: The settings of methods that sample.
        on_progress: Called with the share of the work that is done.

    Raises:
        InputError: No such method, target or layer; images of another shape; or a net that CAM does not fit.
    """
    run = SteppedRun(attributing(probe, images, targets, method, layer, names=names, settings=settings))
    for share in run:
        on_progress(share)
    return run.made


def attributing(
    probe: Probe,
    images: Array,
    targets: Sequence[int | str] | None = None,
    method: str = "grad-cam",
    layer: str | None = None,
    *,
    names: Sequence[str] = (),
    settings: Settings | None = None,
) -> Steps[Attribution]:
    """Run `attribute` step by step, so that you can do other things in between; raises as that does."""
    need_method(method)
    inputs = np.asarray(images, np.float32)
    if inputs.ndim < 2 or not len(inputs) or not np.isfinite(inputs).all():
        raise InputError(
            f"images of {inputs.shape}: expected finite numbers (N, C, H, W), with at least one image."
        )
    asked = _asked(probe, inputs, targets)
    layers = [_layer(probe, method, layer, target) for _, target in asked]
    groups: dict[tuple[str, str], list[int]] = {}
    for m, (_, target) in enumerate(asked):
        groups.setdefault((target.blob, layers[m]), []).append(m)
    rows: dict[int, tuple[Array, Array, Array]] = {}
    for (_, name), some in groups.items():
        job = Job(
            probe, inputs[[asked[m][0] for m in some]], tuple(asked[m][1] for m in some), name,
            settings or Settings(),
        )  # fmt: skip
        found = yield from _within(_explained(job, METHODS[method]), len(rows), len(some), len(asked))
        rows.update(zip(some, zip(*found, strict=True), strict=True))
        yield len(rows) / len(asked)
    stacks = (np.stack(some) for some in zip(*(rows[m] for m in sorted(rows)), strict=True))
    scores, values, completeness = stacks
    place = [i for i, _ in asked]
    preprocess = probe.network.pictures
    read = list(dict.fromkeys(filter(None, layers)))
    return Attribution(
        method=method,
        layer=", ".join(read),
        state=probe.state(read[0]) if len(read) == 1 else "",
        engine=probe.engine,
        names=tuple(names[i] if names else str(i) for i in place),
        targets=tuple(str(target) for _, target in asked),
        scores=scores,
        values=values,
        completeness=completeness,
        pictures=np.empty((0, 0, 0, 3), np.float32)
        if preprocess is None
        else preprocess.to_display(inputs[place]),
        channel_order="" if preprocess is None else preprocess.channel_order,
        settings=settings or Settings(),
    )


def _explained(job: Job, method: Method) -> Steps[tuple[Array, Array, Array]]:
    """Return scores, values and completeness of one job."""
    scores = job.scores(job.images, job.targets)
    found = method.function(job)
    values = (yield from found) if isinstance(found, Generator) else found
    if not method.complete:
        return scores, values, np.full_like(scores, np.nan)
    gained = scores - job.scores(np.zeros_like(job.images), job.targets)
    return scores, values, np.abs(values.reshape(len(values), -1).sum(1, dtype=np.float64) - gained)


def _within(steps: Steps[T], done: int, count: int, of: int) -> Steps[T]:
    """Convert the steps of `count` parts of the work to shares of all of it."""
    run = SteppedRun(steps)
    for share in run:
        yield (done + share * count) / of
    return run.made


def _asked(probe: Probe, images: Array, targets: Sequence[int | str] | None) -> list[tuple[int, Target]]:
    """The (number of the image, target) pairs, image by image."""
    if targets is not None:
        found = find_targets(probe, targets)
        return [(i, target) for i in range(len(images)) for target in found]
    return list(enumerate(likeliest_class(probe, image) for image in images))


def _layer(probe: Probe, method: str, given: str | None, target: Target) -> str:
    reads = METHODS[method].reads
    if reads is Reads.LAYER:
        return find_layer(probe, given, target)
    return class_maps(probe, target) if reads is Reads.CLASS else ""
