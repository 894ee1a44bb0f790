"""Slow parts of a report as values, so that the workers of a cluster can make them."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from caffe_viz.attribution import SteppedRun, Steps
from caffe_viz.backend import chosen
from caffe_viz.errors import CaffeVizWarning, RunError, no_memory
from caffe_viz.report import making
from caffe_viz.report.shelf import Made
from caffe_viz.report.subject import Subject
from caffe_viz.tasks import Execution, FatalPieceError, Tell, WorkerDeath, stop


@dataclass(frozen=True)
class Asked:
    """A part: its `key` on the shelf, what to call it."""

    key: str
    title: str

    def steps(self, subject: Subject, alone: bool = False) -> Steps[Made]:
        """Make it step by step; `alone` means in this process only, while others make other parts."""
        raise NotImplementedError

    def __str__(self) -> str:
        return self.title


@dataclass(frozen=True)
class Climbed(Asked):
    """Inputs that maximise `filters` of a layer."""

    layer: str
    filters: tuple[int, ...]

    def steps(self, subject: Subject, alone: bool = False) -> Steps[Made]:
        return making.ascent(subject, subject.network.geometry.layer(self.layer), self.filters, alone)


@dataclass(frozen=True)
class Attributed(Asked):
    """The map of a method for the image `number`."""

    number: int
    method: str

    def steps(self, subject: Subject, alone: bool = False) -> Steps[Made]:
        return making.attribution(subject, self.number, self.method)


@dataclass(frozen=True)
class Report:
    """The state of the part `key`: `made` in so many `seconds`, `failed` with the reason, or in progress."""

    key: str
    made: Made | None = None
    failed: str = ""
    seconds: float = 0.0

    @property
    def ends(self) -> bool:
        """Whether it is the last report on its part."""
        return self.made is not None or bool(self.failed)


@dataclass(frozen=True)
class Parts:
    """Implements `tasks.Work`: parts of the report on `subject`; `engine` was chosen on the machine that
    asks.
    """

    subject: Subject
    engine: str

    @classmethod
    def of(cls, subject: Subject) -> Parts:
        """Make them ready for another process."""
        return cls(subject.elsewhere(), chosen(subject.network.engine, subject.network.device))

    def open(self) -> Callable[[Asked], Iterator[Report]]:
        network = self.subject.network
        own = chosen(network.engine, network.device)
        if own != self.engine:
            raise RunError(f"the engine is {self.engine} here and {own} at a worker: name one by --engine.")
        network.trained  # noqa: B018  # read once, for all parts
        return self._reports

    def gathered(self, reports: Iterator[Report], tell: Tell[Report]) -> Sequence[Report]:
        kept = []
        for report in reports:
            if report.ends:
                kept.append(report)
            else:
                tell(report)
        return kept

    def named(self, piece: Asked) -> str:
        return piece.title

    def _reports(self, asked: Asked) -> Iterator[Report]:
        began, run = time.monotonic(), SteppedRun(asked.steps(self.subject, alone=True))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", CaffeVizWarning)  # the page says it
                for _ in run:
                    if stop.asked:
                        return
                    yield Report(asked.key)
        except Exception as error:  # one part may fail in any way; the others are made
            if no_memory(error):  # another worker may have enough
                raise
            yield Report(asked.key, failed=making.why(error))
            return
        yield Report(asked.key, run.made, seconds=time.monotonic() - began)


def told(run: Execution[Asked, Report], asked: Iterable[Asked]) -> Iterator[Report | WorkerDeath]:
    """Yield what the workers report; a part that killed one worker after another has failed."""
    try:
        yield from run.run(asked)
    except FatalPieceError as error:
        yield Report(error.piece.key, failed=str(error))
