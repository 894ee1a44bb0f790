"""Worker processes and what each is doing; a batch whose worker died goes to another."""

from __future__ import annotations

import os
import pickle
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple

from caffe_viz.ascent.worker import Batch, Job, Tick, send
from caffe_viz.errors import CaffeVizError, RunError

STOP_WAIT = 20.0  # seconds in which a worker that is asked to stop hands over what it has
TRIES = 2  # of a batch, before the workers' deaths are taken to be its fault
# The path is given, not left to Python: the current folder must not be searched for modules.
CODE = "import sys; sys.path[:] = sys.argv[1:]; from caffe_viz.ascent.worker import main; main()"
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class Death(NamedTuple):
    """A worker that ended before its batch did, and why."""

    batch: Batch
    reason: str


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    orders: IO[bytes]
    log: Any
    batch: Batch = ()


@dataclass
class Crew:
    """Up to `jobs` workers on one job; a context manager, at the end of which none is left."""

    job: Job
    jobs: int
    _workers: dict[int, _Worker] = field(default_factory=dict)
    _answers: queue.Queue[tuple[int, Any]] = field(default_factory=queue.Queue)
    _tries: dict[Batch, int] = field(default_factory=dict)

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers.values():
            worker.process.kill()
        for worker in self._workers.values():
            worker.process.wait()

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes at work."""
        return tuple(self._workers)

    def run(self, batches: Sequence[Batch]) -> Iterator[Tick | Death]:
        """Climb all `batches`, in no fixed order.

        Raises:
            CaffeVizError: what a worker raised.
            RunError: a batch killed as many workers as it was given.
        """
        waiting = deque(batches)
        for _ in range(min(self.jobs, len(batches))):
            self._give(self._start(), waiting)
        while self._workers:
            pid, answer = self._answers.get()
            worker = self._workers[pid]
            if isinstance(answer, CaffeVizError):
                raise answer
            if isinstance(answer, Tick):
                yield answer
                if answer.snapshot is not None:
                    self._give(pid, waiting)
            elif worker.batch:
                yield self._died(pid, waiting)
            else:
                del self._workers[pid]

    def stop(self) -> Iterator[Tick]:
        """What the workers have so far, which then end; those that take too long are left out."""
        for worker in self._workers.values():
            worker.process.terminate()
        waiting, until = set(self._workers), time.monotonic() + STOP_WAIT
        while waiting and (left := until - time.monotonic()) > 0:
            try:
                pid, answer = self._answers.get(timeout=left)
            except queue.Empty:
                return
            if isinstance(answer, Tick):
                yield answer
            else:
                waiting.discard(pid)  # its end, or that of its luck

    def _give(self, pid: int, waiting: deque[Batch]) -> None:
        """The next batch for a worker; none left, it may go."""
        worker = self._workers[pid]
        worker.batch = waiting.popleft() if waiting else ()
        with suppress(BrokenPipeError):  # it died meanwhile, which its reader reports
            if worker.batch:
                send(worker.orders, worker.batch)
            else:
                worker.orders.close()

    def _died(self, pid: int, waiting: deque[Batch]) -> Death:
        worker = self._workers.pop(pid)
        code = worker.process.wait()
        worker.log.seek(0)
        lines = worker.log.read().decode(errors="replace").strip().splitlines()
        cause = next((line for line in lines if " Check failed" in line), lines[-1] if lines else "")
        reason = (f"signal {-code}" if code < 0 else f"exit code {code}") + (f": {cause}" if cause else "")
        tries = self._tries[worker.batch] = self._tries.get(worker.batch, 0) + 1
        if tries >= TRIES:
            raise RunError(
                f"{tries} workers died of {self.job.named(worker.batch)} ({reason}); try fewer at once, or a "
                f"smaller size."
            )
        waiting.append(worker.batch)
        self._give(self._start(), waiting)
        return Death(worker.batch, reason)

    def _start(self) -> int:
        log = tempfile.TemporaryFile()  # noqa: SIM115  # as long as the worker
        process = subprocess.Popen(
            [sys.executable, "-c", CODE, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, **ONE_THREAD},
        )
        assert process.stdin is not None
        assert process.stdout is not None
        self._workers[process.pid] = _Worker(process, process.stdin, log)
        threading.Thread(target=self._read, args=(process.pid, process.stdout), daemon=True).start()
        with suppress(BrokenPipeError):  # its reader reports it
            send(process.stdin, self.job)
        return process.pid

    def _read(self, pid: int, stream: IO[bytes]) -> None:
        try:
            while True:
                self._answers.put((pid, pickle.load(stream)))
        except Exception:  # the end of the stream, or half an answer: the worker is gone either way
            self._answers.put((pid, None))
