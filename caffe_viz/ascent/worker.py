"""The process that climbs: takes a job and batches of filters from stdin, answers ticks on stdout.

A process of its own has its own Caffe, one BLAS thread, and can die without taking the user's Python along.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from caffe_viz.ascent.climb import Climber, Recipe, Tick
from caffe_viz.backend import load_net
from caffe_viz.errors import CaffeVizError, CaffeVizWarning, RunError
from caffe_viz.geometry.python_layers import PERMITS
from caffe_viz.layers_file import load_layers
from caffe_viz.netdef import NetParameter
from caffe_viz.surgery import Auxiliary

REPORT_EVERY = 0.25  # seconds


@dataclass(frozen=True)
class Job:
    """What every batch has in common; `layers` and `permits` are what its types of one's own need."""

    auxiliary: Auxiliary
    weights: NetParameter | None
    engine: str
    device: str
    recipe: Recipe
    layers: tuple[Path, ...] = ()
    permits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def send(stream: IO[bytes], value: Any) -> None:
    """One pickled value; both ends are this package."""
    pickle.dump(value, stream, protocol=pickle.HIGHEST_PROTOCOL)
    stream.flush()


def main() -> None:
    """Serve until stdin ends. Ctrl-C is the parent's affair."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get between the answers
    try:
        _serve(sys.stdin.buffer, answers)
    except (EOFError, BrokenPipeError):
        os._exit(0)  # the parent is gone
    except CaffeVizError as error:
        send(answers, error)
    except Exception:
        send(answers, RunError(traceback.format_exc()))


def _serve(orders: IO[bytes], answers: IO[bytes]) -> None:
    job: Job = pickle.load(orders)
    load_layers(job.layers)
    PERMITS.update(job.permits)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CaffeVizWarning)  # the parent has said it, once
        net = load_net(
            job.auxiliary.message, job.weights, engine=job.engine, device=job.device, checked=False
        )
    climber = Climber(net, job.auxiliary, job.recipe)
    while True:
        filters = pickle.load(orders)
        reported = time.monotonic()
        for tick in climber.climb(filters):
            if _due(tick, reported):
                reported = time.monotonic()
                send(answers, tick)


def _due(tick: Tick, reported: float) -> bool:
    first = tick.curve.shape[1] == 1  # so that an early interrupt finds something
    return first or tick.last or tick.frame is not None or time.monotonic() - reported > REPORT_EVERY
