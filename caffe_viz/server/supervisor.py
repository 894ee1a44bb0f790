"""The handle of a worker process: its questions, and its replacement when it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from caffe_viz.processes import Ended, Worker
from caffe_viz.server.messages import Ask, Began, Drop, Failed, Finished, Progress, Setup

TRIES = 2  # of workers that end before they have begun anything
STOP_WAIT = 1.0  # seconds in which a worker may end by itself: who stops a server does not wait


class Supervisor:
    """A worker that runs `program`, and after its end the next one.

    It may take `limit` seconds for a question if it is `hurried`, otherwise for one that was dropped.
    """

    def __init__(self, name: str, program: str, setup: Setup, limit: float, *, hurried: bool) -> None:
        self.name = name
        self.busy = ""  # the ticket of the current question
        self.restarts = 0
        self._program, self._setup, self._limit, self._hurried = program, setup, limit, hurried
        self._asks: dict[str, Ask] = {}  # without an answer yet, by ticket
        self._worker: Worker | None = None
        self._failures = 0  # workers in a row that ended before they had begun anything
        self._why = ""  # why this worker ends, if more is known than its exit code
        self._clock: asyncio.TimerHandle | None = None
        self._gone = asyncio.Event()
        self._stopping = False

    @property
    def alive(self) -> bool:
        """Whether there is a process."""
        return self._worker is not None

    def start(self, heard: Callable[[Any], None]) -> None:
        """Start the first worker; `heard` gets its messages in this event loop."""
        self._loop, self._tell = asyncio.get_running_loop(), heard
        self._begin()

    async def stop(self) -> None:
        """End the worker, by force if it does not; what it had fails."""
        self._stopping = True
        if (worker := self._worker) is None:
            return
        self._mail.submit(worker.close)
        try:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._gone.wait(), STOP_WAIT)
        finally:
            worker.kill()
        await self._gone.wait()

    def ask(self, ask: Ask) -> None:
        """Give it a question; where no worker could begin, another tries."""
        self._asks[ask.ticket] = ask
        if self._worker is not None:
            self._send(ask)
            self._watch()
        elif self._stopping:
            self._fail(ask.ticket, "the server has stopped.")
        else:
            self._failures = 0
            self._replace()

    def drop(self, ticket: str) -> None:
        """Take a question back, if this worker has it."""
        if self._asks.pop(ticket, None) is not None:
            self._send(Drop(ticket))
            self._watch()

    def _begin(self) -> None:
        self._gone.clear()
        self._mail = ThreadPoolExecutor(1)  # a worker may be too busy to take what is sent
        self._worker = Worker(self._program, self._arrived)
        for value in (self._setup, *self._asks.values()):
            self._send(value)

    def _replace(self) -> None:
        self.restarts += 1
        self._begin()

    def _send(self, value: Any) -> None:
        assert self._worker is not None
        self._mail.submit(self._worker.send, value)

    def _arrived(self, _: Worker, message: Any) -> None:
        """In the thread that reads."""
        with suppress(RuntimeError):  # the event loop is closed
            self._loop.call_soon_threadsafe(self._hear, message)

    def _hear(self, message: Any) -> None:
        HEARD[type(message)](self, message)

    def _began(self, began: Began) -> None:
        self._failures = 0
        self._at(began.ticket)
        self._tell(began)

    def _progressed(self, progress: Progress) -> None:
        self._tell(progress)

    def _answered(self, end: Finished | Failed) -> None:
        self._asks.pop(end.ticket, None)
        if end.ticket == self.busy:
            self._at("")
        self._tell(end)

    def _failed(self, failed: Failed) -> None:
        if failed.ticket:
            self._answered(failed)
        else:  # the next one would fail too
            self._why, self._failures = failed.reason, TRIES

    def _ended(self, ended: Ended) -> None:
        why, self._why = self._why or f"the computation stopped: its process ended ({ended.reason}).", ""
        busy, self._worker = self.busy, None
        self._mail.shutdown(wait=False)
        self._at("")
        self._gone.set()
        if busy:
            self._fail(busy, why)
        else:
            self._failures += 1
        if self._stopping or self._failures >= TRIES:
            for ticket in list(self._asks):
                self._fail(ticket, why)
        else:
            self._replace()

    def _fail(self, ticket: str, why: str) -> None:
        self._asks.pop(ticket, None)
        self._tell(Failed(ticket, why))

    def _at(self, ticket: str) -> None:
        self.busy = ticket
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None
        self._watch()

    def _watch(self) -> None:
        """Have the clock run where the worker may not take its time."""
        hurried = bool(self.busy) and (self._hurried or self.busy not in self._asks)
        if hurried and self._clock is None:
            self._clock = self._loop.call_later(self._limit, self._give_up)
        elif not hurried and self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _give_up(self) -> None:
        self._clock = None
        if self._worker is not None:
            self._why = f"it took longer than {self._limit:g} s and was stopped."
            self._worker.kill()


HEARD: dict[type, Callable[[Supervisor, Any], None]] = {
    Began: Supervisor._began,
    Progress: Supervisor._progressed,
    Finished: Supervisor._answered,
    Failed: Supervisor._failed,
    Ended: Supervisor._ended,
}
