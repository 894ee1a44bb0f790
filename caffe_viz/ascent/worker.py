"""The process that climbs: takes a job and batches of goals, answers with their progress."""

from __future__ import annotations

import os
import pickle
import signal
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from caffe_viz.ascent.climb import Climb, Goal, Snapshot
from caffe_viz.ascent.evaluators import evaluator
from caffe_viz.ascent.pixel_range import PixelRange
from caffe_viz.ascent.recipe import Recipe
from caffe_viz.errors import CaffeVizError, CaffeVizWarning, RunError
from caffe_viz.geometry.python_layers import PERMITS
from caffe_viz.layers_file import load_layers
from caffe_viz.netdef import NetParameter
from caffe_viz.processes import pipes, send
from caffe_viz.surgery import Auxiliary
from caffe_viz.tasks import Tell, stop

REPORT_EVERY = 0.25  # seconds
SHOW_EVERY = 0.2  # to somebody who watches
Batch = tuple[int, ...]  # indices of goals


@dataclass(frozen=True)
class Job:
    """What every batch has in common; `auxiliaries` are those of the octaves, small ones first.

    `beside` are the values of inputs besides the image; `layers` and `permits` are for custom layer types.
    """

    auxiliaries: tuple[Auxiliary, ...]
    weights: NetParameter | None
    engine: str
    device: str
    recipe: Recipe
    units: PixelRange
    goals: tuple[Goal, ...]
    beside: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    layers: tuple[Path, ...] = ()
    permits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def evaluations(self) -> int:
        """Evaluations of one image: one before each step, and one of the result."""
        return self.recipe.steps * len(self.auxiliaries) + 1

    def named(self, batch: Batch) -> str:
        """The name of a batch in messages."""
        return ", ".join(dict.fromkeys(self.goals[i].name for i in batch))

    def open(self) -> Callable[[Batch], Iterator[BatchProgress]]:
        """Implements `tasks.Work`: the pieces are batches, the reports their progress."""
        load_layers(self.layers)
        PERMITS.update(self.permits)
        climb_of = climbs(self)
        return lambda batch: progress(self, batch, climb_of(batch))

    def gathered(
        self, reports: Iterator[BatchProgress], tell: Tell[BatchProgress]
    ) -> Sequence[BatchProgress]:
        """The reports that have arrays; the others are told at once."""
        kept = []
        for report in reports:
            if report.snapshot is None and report.frame is None:
                tell(report)
            else:
                kept.append(report)
        return kept


@dataclass(frozen=True)
class BatchProgress:
    """How many evaluations a batch has had. The `snapshot` comes with the last, and before a worker stops."""

    batch: Batch
    done: int
    snapshot: Snapshot | None = None
    frame: NDArray[np.float16] | None = None


def main() -> None:
    """Serve until the parent sends no more, or SIGTERM asks for the best so far."""
    signal.signal(signal.SIGTERM, lambda *_: stop.ask())
    orders, answers = pipes()
    try:
        _serve(orders, answers)
    except (EOFError, BrokenPipeError):
        os._exit(0)  # the parent is gone
    except CaffeVizError as error:
        send(answers, error)
    except Exception:
        send(answers, RunError(traceback.format_exc()))


def climbs(job: Job) -> Callable[[Batch], Climb]:
    """Return the function that starts the climb of a batch; nets are loaded once for all."""

    @cache
    def loaded(octave: int) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CaffeVizWarning)  # the parent has said it, once
            found = evaluator(job.auxiliaries[octave], job.weights, job.engine, job.device)
        found.set(job.beside)
        return found

    return lambda batch: Climb([job.goals[i] for i in batch], job.auxiliaries, loaded, job.recipe, job.units)


def _serve(orders: IO[bytes], answers: IO[bytes]) -> None:
    job: Job = pickle.load(orders)
    climbed = job.open()
    while not stop.asked:
        stop.idle = True
        batch: Batch = pickle.load(orders)
        stop.idle = False
        for report in climbed(batch):
            send(answers, report)


def progress(job: Job, batch: Batch, climb: Climb, *, watched: bool = False) -> Iterator[BatchProgress]:
    """Yield what a worker reports about a climb: progress now and then, frames, and the result at the end.

    If the climb is `watched`, each report includes the images so far.
    """
    reported, every = time.monotonic(), SHOW_EVERY if watched else REPORT_EVERY
    for done in climb:
        ends = done == job.evaluations or stop.asked  # asked once: it may change below
        frame = climb.frame() if _frame_due(job, done) else None
        if ends or frame is not None or time.monotonic() - reported > every:
            reported = time.monotonic()
            yield BatchProgress(batch, done, climb.snapshot() if ends or watched else None, frame)
        if ends:
            break


def _frame_due(job: Job, done: int) -> bool:
    every = job.recipe.save_every
    return bool(every) and ((done - 1) % every == 0 or done == job.evaluations)
