"""Slow parts of a report as values, so that the workers of a cluster can make them."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from caffe_viz.attribution import SteppedRun, Steps
from caffe_viz.backend import chosen
from caffe_viz.errors import CaffeVizWarning, RunError, no_memory
from caffe_viz.report import parts
from caffe_viz.report.context import ReportContext
from caffe_viz.report.part_cache import PartResult
from caffe_viz.tasks import Execution, FatalPieceError, Tell, WorkerDeath, stop


@dataclass(frozen=True)
class PartRequest:
    """A part: its `key` in the cache, what to call it."""

    key: str
    title: str

    def steps(self, context: ReportContext, alone: bool = False) -> Steps[PartResult]:
        """Make it step by step; `alone` means in this process only, while others make other parts."""
        raise NotImplementedError

    def __str__(self) -> str:
        return self.title


@dataclass(frozen=True)
class AscentRequest(PartRequest):
    """Inputs that maximise `filters` of a layer."""

    layer: str
    filters: tuple[int, ...]

    def steps(self, context: ReportContext, alone: bool = False) -> Steps[PartResult]:
        return parts.ascent(context, context.network.geometry.layer(self.layer), self.filters, alone)


@dataclass(frozen=True)
class AttributionRequest(PartRequest):
    """The map of a method for the image `number`."""

    number: int
    method: str

    def steps(self, context: ReportContext, alone: bool = False) -> Steps[PartResult]:
        return parts.attribution(context, self.number, self.method)


@dataclass(frozen=True)
class PartReport:
    """The state of the part `key`: `made` in so many `seconds`, `failed` with the reason, or in progress."""

    key: str
    made: PartResult | None = None
    failed: str = ""
    seconds: float = 0.0

    @property
    def ends(self) -> bool:
        """Whether it is the last report on its part."""
        return self.made is not None or bool(self.failed)


@dataclass(frozen=True)
class PartsWork:
    """Implements `tasks.Work`: parts of the report on `context`; `engine` was chosen on the machine that
    asks.
    """

    context: ReportContext
    engine: str

    @classmethod
    def of(cls, context: ReportContext) -> PartsWork:
        """Make them ready for another process."""
        return cls(context.elsewhere(), chosen(context.network.engine, context.network.device))

    def open(self) -> Callable[[PartRequest], Iterator[PartReport]]:
        network = self.context.network
        own = chosen(network.engine, network.device)
        if own != self.engine:
            raise RunError(f"the engine is {self.engine} here and {own} at a worker: name one by --engine.")
        network.trained  # noqa: B018  # read once, for all parts
        return self._reports

    def gathered(self, reports: Iterator[PartReport], tell: Tell[PartReport]) -> Sequence[PartReport]:
        kept = []
        for report in reports:
            if report.ends:
                kept.append(report)
            else:
                tell(report)
        return kept

    def named(self, piece: PartRequest) -> str:
        return piece.title

    def _reports(self, request: PartRequest) -> Iterator[PartReport]:
        began, run = time.monotonic(), SteppedRun(request.steps(self.context, alone=True))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", CaffeVizWarning)  # the page says it
                for _ in run:
                    if stop.asked:
                        return
                    yield PartReport(request.key)
        except Exception as error:  # one part may fail in any way; the others are made
            if no_memory(error):  # another worker may have enough
                raise
            yield PartReport(request.key, failed=parts.why(error))
            return
        yield PartReport(request.key, run.made, seconds=time.monotonic() - began)


def told(
    run: Execution[PartRequest, PartReport], requests: Iterable[PartRequest]
) -> Iterator[PartReport | WorkerDeath]:
    """Yield what the workers report; a part that killed one worker after another has failed."""
    try:
        yield from run.run(requests)
    except FatalPieceError as error:
        yield PartReport(error.piece.key, failed=str(error))
