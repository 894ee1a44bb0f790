"""A question that somebody waits for, and its state."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from caffe_viz.server.handlers import Handler
from caffe_viz.server.messages import Ask, EncodedAnswer, Failed, Finished, Progress


@dataclass(frozen=True)
class Queued:
    """Not started; `place` 1 is the next."""

    place: int


@dataclass(frozen=True)
class Underway:
    """Its progress, and the seconds it still needs, if known; `given` only if it is new."""

    done: float
    total: float
    remaining: float | None = None
    given: EncodedAnswer | None = None


Event = Queued | Underway | Finished | Failed


@dataclass(eq=False)
class Job:
    """One question; await `ended`, or the current `changed`, to hear of it."""

    ask: Ask
    question: Handler
    waiters: int = 0
    begun: bool = False
    end: Finished | Failed | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    _progress: Progress | None = None
    _given: EncodedAnswer | None = None
    _first: tuple[float, float] = (0.0, 0.0)  # when progress was heard of, and how much was done

    def change(self) -> None:
        """Wake those who follow it; next time they wait for another event."""
        self.changed.set()
        self.changed = asyncio.Event()

    def begin(self) -> None:
        """A worker has started it."""
        self.begun = True
        self.change()

    def advance(self, progress: Progress) -> None:
        """A worker has made progress."""
        if self._progress is None or progress.done < self._progress.done:  # in a new worker it begins again
            self._first = (time.monotonic(), progress.done)
        self._progress = progress
        self._given = progress.given or self._given
        self.change()

    def finish(self, end: Finished | Failed) -> None:
        """It is answered, or has failed."""
        self.end = end
        self.ended.set()
        self.change()

    def underway(self, seen: EncodedAnswer | None) -> Underway:
        """Its progress, for a client that has `seen` that much."""
        if self._progress is None:
            return Underway(0.0, 1.0)
        done, total, given = self._progress.done, self._progress.total, self._given
        since, before = self._first
        remaining = None
        if done > before:
            remaining = max(0.0, total - done) * (time.monotonic() - since) / (done - before)
        return Underway(done, total, remaining, None if given is seen else given)
