"""Who waits for which answer: tabs with the same question share it, and it is dropped with the last."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from caffe_viz.errors import InputError, RunError
from caffe_viz.server.cache import Cache
from caffe_viz.server.handlers import Handler
from caffe_viz.server.jobs import Event, Job, Queued, Underway
from caffe_viz.server.messages import Ask, Began, EncodedAnswer, Failed, Finished, Progress
from caffe_viz.server.pool import Pool

__all__ = ["Dispatcher", "Event", "Queued", "Underway"]


class Dispatcher:
    """Sends questions to a pool of workers, or answers them from the cache."""

    def __init__(self, pool: Pool, cache: Cache, questions: Mapping[str, Handler]) -> None:
        self._pool, self._cache, self._questions = pool, cache, questions
        self._jobs: dict[str, Job] = {}  # without an end, by ticket, in the order in which they were asked

    async def start(self) -> None:
        """Start the workers."""
        await self._pool.start(self._hear)

    async def stop(self) -> None:
        """Stop the workers; questions that are waited for fail."""
        await self._pool.stop()

    async def answer(self, ask: Ask) -> EncodedAnswer:
        """Return the answer.

        Raises:
            InputError: The question is wrong.
            RunError: There is no answer: a worker died, or took too long.
        """
        with self._waiting_for(ask) as job:
            await job.ended.wait()
        if isinstance(job.end, Finished):
            return job.end.given
        assert job.end is not None
        raise (InputError if job.end.asked_wrong else RunError)(job.end.reason)

    async def follow(self, ask: Ask) -> AsyncGenerator[Event, None]:
        """Yield the progress of a question until it is Finished or Failed.

        Close it (`contextlib.aclosing`) if you may leave the loop early, so that nobody is counted as
        waiting.
        """
        told: Event | None = None
        seen: EncodedAnswer | None = None
        with self._waiting_for(ask) as job:
            while job.end is None:
                changed = job.changed
                event = job.underway(seen) if job.begun else Queued(self._place(job))
                if event != told:
                    yield event
                    told, seen = event, getattr(event, "given", None) or seen
                await changed.wait()
            yield job.end

    def status(self) -> dict[str, Any]:
        """For /api/status: {workers: [{name, alive, busy, waiting, restarts}], cached}.

        `busy` is the name of a question or "", `waiting` the number of those that have not begun.
        """
        workers = [
            {
                "name": seat.name,
                "alive": seat.alive,
                "busy": self._jobs[seat.busy].ask.question if seat.busy in self._jobs else "",
                "waiting": len(self._queue(patient=patient)),
                "restarts": seat.restarts,
            }
            for patient, seat in self._pool.seats.items()
        ]
        return {"workers": workers, "cached": self._cache.size}

    @contextmanager
    def _waiting_for(self, ask: Ask) -> Iterator[Job]:
        job = self._jobs.get(ask.ticket) or self._open(ask)
        job.waiters += 1
        try:
            yield job
        finally:
            job.waiters -= 1
            goes_on = job.begun and job.question.background
            if job.end is None and not job.waiters and not goes_on:
                del self._jobs[ask.ticket]
                self._pool.drop(ask.ticket)
                self._move_up()

    def _open(self, ask: Ask) -> Job:
        job = Job(ask, self._questions[ask.question])
        if (given := self._cache.get(ask.ticket)) is not None:
            job.finish(Finished(ask.ticket, given))
        else:
            self._jobs[ask.ticket] = job
            self._pool.ask(ask, patient=job.question.patient)
        return job

    def _hear(self, message: Began | Progress | Finished | Failed) -> None:
        if isinstance(message, Finished):  # whether or not anybody still waits
            self._cache.put(message.ticket, message.given)
        if (job := self._jobs.get(message.ticket)) is not None:
            HEARD[type(message)](self, job, message)

    def _begin(self, job: Job, _: Began) -> None:
        job.begin()
        self._move_up()

    def _advance(self, job: Job, progress: Progress) -> None:
        job.advance(progress)

    def _end(self, job: Job, end: Finished | Failed) -> None:
        del self._jobs[end.ticket]
        job.finish(end)
        self._move_up()

    def _queue(self, *, patient: bool) -> list[Job]:
        return [job for job in self._jobs.values() if not job.begun and job.question.patient == patient]

    def _place(self, job: Job) -> int:
        return 1 + self._queue(patient=job.question.patient).index(job)

    def _move_up(self) -> None:
        """Wake those who wait in the queue, so that they look at their place."""
        for job in self._jobs.values():
            if not job.begun:
                job.change()


HEARD: dict[type, Callable[[Dispatcher, Job, Any], None]] = {
    Began: Dispatcher._begin,
    Progress: Dispatcher._advance,
    Finished: Dispatcher._end,
    Failed: Dispatcher._end,
}
