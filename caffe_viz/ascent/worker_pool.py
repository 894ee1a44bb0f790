"""Worker processes and what each is doing; a batch whose worker died goes to another."""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from caffe_viz.ascent.worker import Batch, BatchProgress, Job
from caffe_viz.errors import CaffeVizError, RunError
from caffe_viz.processes import Worker
from caffe_viz.tasks import WorkerDeath

STOP_WAIT = 20.0  # seconds in which a worker that is asked to stop hands over what it has
TRIES = 2  # of a batch, before the workers' deaths are taken to be its fault
PROGRAM = "caffe_viz.ascent.worker"


@dataclass
class WorkerPool:
    """Up to `jobs` worker processes for one job; a context manager that ends all of them."""

    job: Job
    jobs: int
    _workers: dict[Worker, Batch] = field(default_factory=dict)  # and the batch each is working on
    _answers: queue.Queue[tuple[Worker, Any]] = field(default_factory=queue.Queue)
    _tries: dict[Batch, int] = field(default_factory=dict)

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.kill()
        for worker in self._workers:
            worker.wait()

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes at work."""
        return tuple(worker.pid for worker in self._workers)

    def run(self, batches: Iterable[Batch]) -> Iterator[BatchProgress | WorkerDeath]:
        """Climb all `batches`, in no fixed order.

        Raises:
            CaffeVizError: what a worker raised.
            RunError: a batch killed as many workers as it was given.
        """
        waiting = deque(batches)
        for _ in range(min(self.jobs, len(waiting))):
            self._give(self._start(), waiting)
        while self._workers:
            worker, answer = self._answers.get()
            if isinstance(answer, CaffeVizError):
                raise answer
            if isinstance(answer, BatchProgress):
                yield answer
                if answer.snapshot is not None:
                    self._give(worker, waiting)
            elif batch := self._workers.pop(worker):
                yield self._died(batch, answer.reason, waiting)

    def stop(self) -> Iterator[BatchProgress]:
        """Stop the workers and return what they have so far; those that take too long are left out."""
        for worker in self._workers:
            worker.terminate()
        waiting, until = set(self._workers), time.monotonic() + STOP_WAIT
        while waiting and (left := until - time.monotonic()) > 0:
            try:
                worker, answer = self._answers.get(timeout=left)
            except queue.Empty:
                return
            if isinstance(answer, BatchProgress):
                yield answer
            else:
                waiting.discard(worker)  # it ended, or failed

    def _start(self) -> Worker:
        worker = Worker(PROGRAM, lambda *heard: self._answers.put(heard))
        self._workers[worker] = ()
        worker.send(self.job)
        return worker

    def _give(self, worker: Worker, waiting: deque[Batch]) -> None:
        """The next batch for a worker; none left, it may go."""
        batch = self._workers[worker] = waiting.popleft() if waiting else ()
        if batch:
            worker.send(batch)
        else:
            worker.close()

    def _died(self, batch: Batch, reason: str, waiting: deque[Batch]) -> WorkerDeath:
        tries = self._tries[batch] = self._tries.get(batch, 0) + 1
        if tries >= TRIES:
            raise RunError(
                f"{tries} workers died on {self.job.named(batch)} ({reason}); try fewer at once, or a "
                f"smaller size."
            )
        waiting.append(batch)
        self._give(self._start(), waiting)
        return WorkerDeath(batch, reason)
