"""Who waits for which answer: the same question of several tabs is one, and one that nobody waits for goes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any

from caffe_viz.server.cache import Cache
from caffe_viz.server.messages import Ask, Failed, Finished, Given
from caffe_viz.server.pool import Pool
from caffe_viz.server.questions import Question


@dataclass(frozen=True)
class Queued:
    """Not begun; `place` 1 is the next."""

    place: int


@dataclass(frozen=True)
class Underway:
    """How far it is, and in how many seconds it will be done, if that is known; `given` only if it is new."""

    done: float
    total: float
    remaining: float | None = None
    given: Given | None = None


Event = Queued | Underway | Finished | Failed


class Board:
    """Questions to a pool of workers, their answers from the cache where it has them."""

    def __init__(self, pool: Pool, cache: Cache, questions: Mapping[str, Question]) -> None:
        raise NotImplementedError

    async def start(self) -> None:
        """Start the workers."""
        raise NotImplementedError

    async def stop(self) -> None:
        """End the workers; who waits still gets a failure."""
        raise NotImplementedError

    async def answer(self, ask: Ask) -> Given:
        """The answer.

        Raises:
            InputError: it was asked wrong.
            RunError: there is none: a worker died, or gave up.
        """
        raise NotImplementedError

    def follow(self, ask: Ask) -> AsyncGenerator[Event, None]:
        """What becomes of a question, until it is Finished or Failed.

        Close it (`contextlib.aclosing`) where the loop may be left before its end: that counts the waiter out.
        """
        raise NotImplementedError

    def status(self) -> dict[str, Any]:
        """For /api/status: {workers: [{name, alive, busy, waiting, restarts}], cached}.

        `busy` is the name of a question or "", `waiting` the number of those that have not begun.
        """
        raise NotImplementedError
