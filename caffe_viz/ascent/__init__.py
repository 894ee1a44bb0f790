"""Gradient ascent: images that maximise objectives, made by worker processes on the auxiliary net."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_viz.ascent.canvas import Fourier, Pixels, colours_of
from caffe_viz.ascent.climb import fitted
from caffe_viz.ascent.goals import canvas_size, goals_of, octave_sizes
from caffe_viz.ascent.optimizers import Adam, NormalizedSteps
from caffe_viz.ascent.pixel_range import PixelRange
from caffe_viz.ascent.recipe import DREAM, INVERT, METHODS, Recipe
from caffe_viz.ascent.result import Ascent
from caffe_viz.ascent.transforms import RandomAffine, RandomBlur, RandomGrayscale, Roll
from caffe_viz.ascent.worker import Batch, BatchProgress, Job, climbs, progress
from caffe_viz.ascent.worker_pool import WorkerPool
from caffe_viz.backend import chosen as chosen_engine
from caffe_viz.checking import announce, check_messages, raise_for
from caffe_viz.errors import InputError
from caffe_viz.geometry.python_layers import permits_of
from caffe_viz.images import Preprocess
from caffe_viz.layers_file import loaded_files
from caffe_viz.netdef import NetParameter, read_weights
from caffe_viz.objectives import Objective
from caffe_viz.surgery import auxiliary_net, held, input_shapes
from caffe_viz.tasks import Cluster, Execution, WorkerDeath

__all__ = [
    "DREAM",
    "INVERT",
    "METHODS",
    "Adam",
    "Ascent",
    "Fourier",
    "NormalizedSteps",
    "PixelRange",
    "Pixels",
    "Progress",
    "RandomAffine",
    "RandomBlur",
    "RandomGrayscale",
    "Recipe",
    "Roll",
    "RunningAscent",
    "ascend",
    "canvas_size",
    "colours_of",
]

BATCH = 4  # images a worker climbs at once; more gains nothing, as Caffe convolves one image after another


@dataclass(frozen=True)
class Progress:
    """How many evaluations of images are done, of how many; `note` reports e.g. that a worker died."""

    done: int
    total: int
    note: str = ""


@dataclass
class RunningAscent:
    """An ascent in progress: iterate for its `Progress`; after `stop`, `result` has the best so far."""

    job: Job
    batches: tuple[Batch, ...]
    running: Callable[[Job], Execution[Batch, BatchProgress]]  # what runs the ascent
    layer: str
    filters: tuple[int, ...]
    pids: tuple[int, ...] = ()
    _running: weakref.ref[Generator[Progress, None, None]] | None = None
    _reports: dict[Batch, BatchProgress] = field(default_factory=dict)
    _frames: dict[Batch, list[Any]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Progress]:
        running = self._run()
        self._running = weakref.ref(running)
        return running

    def watched(self) -> Iterator[Progress]:
        """Climb in this process, batch by batch; `result` always holds what has been made so far.

        You may pause between two steps; the final result is the same.
        """
        climb_of = climbs(self.job)
        for batch in self.batches:
            for report in progress(self.job, batch, climb_of(batch), watched=True):
                yield self._progress(report)

    def stop(self) -> None:
        """Stop early. Not needed if you leave the loop with `break`."""
        running = None if self._running is None else self._running()
        if running is not None:
            running.close()

    def _run(self) -> Generator[Progress, None, None]:
        with self.running(self.job) as pool:
            try:
                for event in pool.run(self.batches):
                    self.pids = pool.pids
                    yield self._progress(event)
            except (GeneratorExit, KeyboardInterrupt):
                for report in pool.stop():
                    self._take(report)
                raise
        self.pids = ()

    def _progress(self, event: BatchProgress | WorkerDeath) -> Progress:
        note = ""
        if isinstance(event, WorkerDeath):
            self._reports.pop(event.piece, None)
            self._frames.pop(event.piece, None)
            names = self.job.named(event.piece)
            note = f"a worker died ({event.reason}); another takes over {names}"
        else:
            self._take(event)
        done = sum(len(report.batch) * report.done for report in self._reports.values())
        return Progress(done, self.job.evaluations * sum(map(len, self.batches)), note)

    def _take(self, report: BatchProgress) -> None:
        self._reports[report.batch] = report
        if report.frame is not None:
            self._frames.setdefault(report.batch, []).append(report.frame)

    @property
    def result(self) -> Ascent:
        """What is finished; of a stopped ascent, the best images so far."""
        columns, shape = self.job.evaluations, self.job.auxiliaries[-1].image_shape[1:]
        images, curves, values, frames = [], [], [], []
        kept: list[int] = []
        dead: list[int] = []
        faded: list[int] = []
        for batch in self.batches:
            snapshot = self._reports[batch].snapshot if batch in self._reports else None
            if snapshot is None:
                continue
            alive = snapshot.alive
            padded = np.full((len(batch), columns), np.nan, np.float32)
            padded[:, : snapshot.curve.shape[1]] = snapshot.curve
            curves.append(padded[alive])
            # It may have stopped in a smaller octave.
            images.append(self._as_input(snapshot.images)[alive])
            values.append(snapshot.values[alive])
            kept += [i for i, lives in zip(batch, alive, strict=True) if lives]
            faded += [i for i, gone in zip(batch, snapshot.faded & alive, strict=True) if gone]
            dead += [i for i, lives in zip(batch, alive, strict=True) if not lives]
            if batch in self._frames:
                same = [self._as_input(frame.astype(np.float32)) for frame in self._frames[batch]]
                frames.append(np.stack(same)[:, alive].astype(np.float16))
        count = min(map(len, frames), default=0)
        recipe = self.job.recipe
        return Ascent(
            layer=self.layer,
            filters=tuple(self.filters[i] for i in kept),
            dead=tuple(self.filters[i] for i in dead),
            images=np.concatenate([np.empty((0, *shape), np.float32), *images]),
            curve=np.concatenate([np.empty((0, columns), np.float32), *curves]),
            values=np.concatenate([np.empty(0, np.float32), *values]),
            frames=np.concatenate([f[:count] for f in frames], axis=1) if frames else np.empty(0, np.float16),
            objectives=tuple(str(self.job.goals[i].objective) for i in kept),
            bounded=recipe.canvas.bounded,
            method=recipe.name,
            seed=recipe.seed,
            engine=self.job.engine,
            faded=tuple(dict.fromkeys(self.filters[i] for i in faded)),
        )

    def _as_input(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Convert (K, C, ..) of any octave to the units and the size of the last octave's input."""
        shape = self.job.auxiliaries[-1].image_shape[1:]
        offsets = self.job.units.offsets(shape)
        found = fitted(images, shape[1:])
        return found if offsets is None else found - offsets


def ascend(
    net: NetParameter,
    weights: str | Path | NetParameter,
    layer: str | Objective,
    filters: Sequence[int] | None = None,
    *,
    method: str | Recipe = "natural",
    neuron: tuple[int, ...] | bool = False,
    pictures: int = 1,
    preprocess: Preprocess | None = None,
    jobs: int | None = None,
    cluster: Any = None,
    engine: str = "auto",
    device: str = "cpu",
    image: str | None = None,
    inputs: Mapping[str, NDArray[np.float32]] | None = None,
    **changes: Any,
) -> RunningAscent:
    """Prepare the gradient ascent of `filters` of `layer`, or of any objective.

    Iterate over the result to run it; its `result` is an `Ascent`. The same arguments give the same numbers,
    with any number of jobs and on a cluster.

    Args:
        net: The network message.
        weights: The caffemodel, or a message.
        layer: The name of a layer, whose filters' mean activation is maximised, or an objective.
        filters: Numbers of filters. Default: all.
        method: A `Recipe`, or the name of one: "natural", "regularised", "plain".
        neuron: Maximise one unit of each filter instead of its mean: the place (y, x), or True for the
            centre.
        pictures: How many images of each filter or objective. Each starts differently, and a diversity term
            keeps them apart.
        preprocess: How images get into the net. Without it the input is not taken to be a picture: it starts
            at 0, and a pixel is 1/64 of its unit.
        jobs: The number of worker processes. Default: one for each core, or one if the device is not the CPU.
        cluster: A dask client whose workers do the work instead.
        engine: "caffe", "torch" or "auto".
        device: Where the embedded engine runs, such as "cpu" or "cuda".
        image: The input to optimise, if there are several candidates.
        inputs: Values of the other inputs.
        **changes: Fields of the recipe to change, such as steps, size, seed, start, and the optimizer's
            `rate`. The default size (H, W) is the receptive field plus a margin, at most the net's input.

    Raises:
        InputError: The layer, filter, method, size or start does not fit the net, or Caffe would abort on it.
        RunError: The engine is not installed.

    Example::

        ascending = cv.ascend(cv.read_net("deploy.prototxt"), "net.caffemodel", "conv3", [16], steps=64)
        for progress in ascending:
            print(progress.done, progress.total)
        ascending.result.images  # (K, C, H, W)
    """
    recipe = Recipe.of(method, **changes)
    if cluster is not None and jobs is not None:
        raise InputError("jobs are processes of this machine; a cluster has its own workers: leave jobs out.")
    given = weights if isinstance(weights, NetParameter) else read_weights(weights, net)
    own = auxiliary_net(net, layer, batch=max(BATCH, pictures), neuron=bool(neuron), image=image)
    # Here, not in the workers, so that a missing engine is told before any of them starts.
    runner = chosen_engine(engine, device, own.message)
    raise_for(check_messages(net, given, allow_code=True, engine=runner), f"net {net.name!r}")
    announce(own.message, runner, engine, device)
    goals, numbers = goals_of(net, layer, own.activation_shape[1], filters, neuron, pictures)
    size = recipe.size or _size_of(recipe.start) or canvas_size(net, layer, image)
    batch = max(BATCH // pictures, 1) * pictures  # pictures that are kept apart climb together
    batch = min(batch, len(goals), own.image_shape[0]) or 1
    auxiliaries = tuple(
        auxiliary_net(net, goals[0].at(1.0) if goals else layer, batch=batch, size=one, image=image)
        for one in octave_sizes(size, own.image_shape, recipe.octaves)[::-1]  # errors name the one asked for
    )[::-1]
    batches = tuple(tuple(range(i, min(i + batch, len(goals)))) for i in range(0, len(goals), batch))
    for some in batches:
        auxiliaries[-1].settings([goals[i].at(1.0) for i in some])  # raises if there is no such filter
    if recipe.mask is not None and recipe.start is None:
        raise InputError("a mask keeps the start where it is black: give a start too.")
    message, shape = auxiliaries[-1].message, auxiliaries[-1].image_shape[1:]
    if recipe.start is not None and recipe.start.shape != shape:
        raise InputError(f"the start has the shape {recipe.start.shape}; the input takes {shape}.")
    others = [name for name in input_shapes(net.layer) if name in auxiliaries[-1].made]
    beside = held(message, others, inputs or {}, auxiliaries[-1].made)
    units = PixelRange.of(preprocess, shape[0])
    job = Job(
        auxiliaries=auxiliaries,
        weights=_of_layers(given, message),
        engine=runner,
        device=device,
        recipe=_level(recipe, units),
        units=units,
        goals=tuple(goals),
        beside=beside,
        layers=loaded_files(),
        permits=permits_of(message),
    )
    count = jobs or (_cores() if device == "cpu" else 1)
    running = (lambda job: WorkerPool(job, count)) if cluster is None else Cluster(cluster).running
    return RunningAscent(job, batches, running, str(layer), numbers)


def _level(recipe: Recipe, units: PixelRange) -> Recipe:
    """Subtract the average mean from the recipe's start, as a climb works without it."""
    start = recipe.start
    offsets = None if start is None else units.offsets(start.shape)
    return recipe if start is None or offsets is None else replace(recipe, start=start + offsets)


def _size_of(start: NDArray[np.float32] | None) -> tuple[int, int] | None:
    return start.shape[-2:] if start is not None and start.ndim == 3 else None


def _cores() -> int:
    """The number of cores that this process may use, if the system tells it."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _of_layers(weights: NetParameter, net: NetParameter) -> NetParameter:
    """Keep only the weights that `net` needs: in many files most belong to fully connected layers."""
    names = {layer.name for layer in net.layer}
    out = NetParameter()
    for layer in weights.layer:
        if layer.name in names and layer.blobs:
            out.layer.add().CopyFrom(layer)
    return out
