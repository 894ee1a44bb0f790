"""Schedule the questions of a worker: slow ones share it, step by step."""

from __future__ import annotations

import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from caffe_viz.errors import CaffeVizError, CaffeVizWarning, InputError
from caffe_viz.server.encoding import encode
from caffe_viz.server.handlers import Handler, Resources
from caffe_viz.server.messages import (
    Answer,
    Ask,
    Began,
    Drop,
    EncodedAnswer,
    Failed,
    Finished,
    Progress,
    Step,
)

REPORT_EVERY = 0.1  # seconds, of steps that show nothing
SUSPENDED = 4  # questions that were dropped half-way, and may be asked again
KEPT = 4  # answers whose data may be asked next


@dataclass
class _Task:
    """A question under way or answered; `wanted` has the tickets that wait, and whether for the data."""

    ask: Ask
    background: bool
    wanted: dict[str, bool]
    steps: Iterator[Step] = field(default_factory=lambda: iter(()))
    last: Step | None = None
    reported: float = float("-inf")
    answer: Answer | None = None
    notes: dict[str, None] = field(default_factory=dict)  # in order, each once

    def note(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        """In the place of `warnings.showwarning`."""
        if issubclass(category, CaffeVizWarning):
            self.notes[str(message)] = None

    def encoded(self, answer: Answer, *, data: bool) -> EncodedAnswer:
        return encode(answer, list(self.notes), data=data)


class Scheduler:
    """Takes questions and drops them, and says by `tell` what becomes of them."""

    def __init__(
        self, resources: Resources, questions: Mapping[str, Handler], tell: Callable[[Any], None]
    ) -> None:
        self._bench, self._questions, self._tell = resources, questions, tell
        self._busy = ""  # the ticket of the last Began, until its end
        self._waiting: dict[str, Ask] = {}  # by ticket; the tasks by key
        self._running: dict[str, _Task] = {}  # the next one first
        self._suspended: dict[str, _Task] = {}  # the oldest first, as below
        self._answered: dict[str, _Task] = {}

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not (self._waiting or self._running)

    def take(self, message: Ask | Drop) -> None:
        """What the server says."""
        if isinstance(message, Ask):
            self._waiting[message.ticket] = message
        else:
            self._waiting.pop(message.ticket, None)
            for task in list(self._running.values()):
                self._leave(task, message.ticket)

    def turn(self) -> None:
        """Begin what waits, or go on by a step: in the background only where there is nothing else."""
        if self._waiting:
            self._begin(self._waiting.pop(next(iter(self._waiting))))
        else:
            tasks = self._running.values()
            self._advance(next((task for task in tasks if not task.background), next(iter(tasks))))

    def _leave(self, task: _Task, ticket: str) -> None:
        if task.wanted.pop(ticket, None) is not None and not task.wanted:
            _keep(self._suspended, self._running.pop(task.ask.key), SUSPENDED)
            self._switch("")

    def _begin(self, ask: Ask) -> None:
        self._switch(ask.ticket)
        places = (self._running, self._suspended, self._answered)
        found = next((place.pop(ask.key) for place in places if ask.key in place), None)
        if found is None:
            self._open(ask)
        else:
            found.wanted[ask.ticket] = ask.data
            self._rejoin(found)

    def _open(self, ask: Ask) -> None:
        question = self._questions[ask.question]
        task = _Task(ask, question.background, {ask.ticket: ask.data})
        with self._working_on(task):
            for image, source in ask.images.items():
                self._bench.put(image, source)
            begun = question.answer(self._bench, ask.query)
            if isinstance(begun, Answer):
                task.answer = begun
                self._finish(task)
            else:
                task.steps = begun
                self._running[ask.key] = task

    def _rejoin(self, task: _Task) -> None:
        with self._working_on(task):
            if task.answer is not None:
                self._finish(task)
            else:
                self._running[task.ask.key] = task
                self._report(task)

    def _advance(self, task: _Task) -> None:
        self._running[task.ask.key] = self._running.pop(task.ask.key)  # now the last
        self._switch(next(iter(task.wanted)))
        with self._working_on(task):
            step = next(task.steps, None)
            if step is None:
                task.answer = task.last.answer if task.last else None
                self._finish(task)
                return
            task.last = step
            if step.answer is not None or time.monotonic() - task.reported > REPORT_EVERY:
                self._report(task)

    def _report(self, task: _Task) -> None:
        if (step := task.last) is None:
            return
        task.reported = time.monotonic()
        seen = None
        if step.answer is not None and not all(task.wanted.values()):
            seen = task.encoded(step.answer, data=False)
        for ticket, data in task.wanted.items():
            self._tell(Progress(ticket, step.done, step.total, None if data else seen))

    def _finish(self, task: _Task) -> None:
        if task.answer is None:
            raise RuntimeError(f"{task.ask.question} ended without an answer")
        made = {data: task.encoded(task.answer, data=data) for data in set(task.wanted.values())}
        for ticket, data in task.wanted.items():
            self._tell(Finished(ticket, made[data]))
        self._running.pop(task.ask.key, None)
        self._busy = ""
        task.wanted.clear()
        _keep(self._answered, task, KEPT)

    @contextmanager
    def _working_on(self, task: _Task) -> Iterator[None]:
        """Warnings of the package become its notes; what is raised is the end of it."""
        with warnings.catch_warnings():
            warnings.simplefilter("always", CaffeVizWarning)
            warnings.showwarning = task.note
            try:
                yield
            except Exception as error:
                self._running.pop(task.ask.key, None)
                self._busy = ""
                for ticket in task.wanted:
                    self._tell(Failed(ticket, reason(error), isinstance(error, InputError)))

    def _switch(self, ticket: str) -> None:
        if ticket != self._busy:
            self._busy = ticket
            self._tell(Began(ticket))


def _keep(tasks: dict[str, _Task], task: _Task, count: int) -> None:
    tasks[task.ask.key] = task
    while len(tasks) > count:
        del tasks[next(iter(tasks))]


def reason(error: Exception) -> str:
    """An error in a line; one that nobody expected, with its place."""
    words = " ".join(str(error).split())
    if isinstance(error, CaffeVizError):
        return words
    at = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {words} ({Path(at.filename).name}, line {at.lineno})"
