"""Make one page that shows a network: its parts are made one by one, kept on disk, and put into the page."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from caffe_viz.files import need_folder, safe_name, write_whole
from caffe_viz.network import PathLike
from caffe_viz.report.context import ReportContext
from caffe_viz.report.part_cache import PartCache, PartResult
from caffe_viz.report.part_requests import PartReport, PartRequest, PartsWork, told
from caffe_viz.report.parts import OutOfTime, why
from caffe_viz.report.plan import Part, Plan
from caffe_viz.tasks import Cluster, WorkerDeath

__all__ = ["BUDGET", "Progress", "RunningReport", "make_report"]

BUDGET = 70.0  # seconds
USUAL = 0.2  # seconds that a part takes which is always made, for the progress
WRITE_EVERY = 20.0  # seconds from one page to the next, while parts are made


@dataclass(frozen=True)
class Progress:
    """How much is done, of how much, in estimated seconds; `note` says what went wrong."""

    done: float
    total: float
    note: str = ""


class RunningReport:
    """A report in progress: iterate for its `Progress`. The page at `path` shows what is finished so far.

    Parts that take seconds are made first; after that, parts that take long, for `budget` seconds. The same
    call continues where an earlier one stopped. With `beside`, pictures are stored in a folder next to the
    page instead of in it. The page says that it was made by `command`. Among the parts that take long, those
    of the layer `first` come first. The workers of a `cluster`, a dask client, make them.

    Raises:
        InputError: A file cannot be read, Caffe would abort on the net, or the folder holds something else.
        RunError: No engine or no jinja2 is installed, the folder cannot be written, or another report was
            started in it since.
    """

    def __init__(
        self,
        context: ReportContext,
        folder: PathLike,
        *,
        budget: float = BUDGET,
        beside: bool = False,
        command: str = "",
        first: str = "",
        cluster: Any = None,
    ) -> None:
        from caffe_viz.report.page import need_jinja2

        need_jinja2()
        need_folder(folder)
        if context.runs:
            context.load()  # errors that affect every part come before the first
        stem = f"{safe_name(context.file_name).strip('-')[:80] or 'network'}_report"
        self.context, self.beside, self.command = context, beside, command
        self.path = Path(folder) / f"{stem}.html"
        self.cache = PartCache(Path(folder) / f"{stem}_parts", context.identity)
        self._budget, self._deadline, self._written = budget, float("inf"), float("-inf")
        self._cluster = None if cluster is None else Cluster(cluster)
        self._plan = Plan(context, self.cache, self._late, first, cluster)

    def __iter__(self) -> Iterator[Progress]:
        needed = list(self._plan.needed())
        first = USUAL * len(needed)
        total = first + self._budget
        for number, part in enumerate(needed):
            yield Progress(USUAL * number, total, self._make(part))
        self._deadline = time.monotonic() + self._budget
        waiting = [part for part in self._plan.extra() if not self._is_kept(part)]
        cluster = self._cluster
        notes = self._one_by_one(waiting) if cluster is None else self._by_workers(cluster, waiting)
        for note in notes:
            yield Progress(min(total, time.monotonic() - self._deadline + total), total, note)
        self.write()

    def _late(self) -> bool:
        return time.monotonic() > self._deadline

    def _one_by_one(self, waiting: list[Part]) -> Iterator[str]:
        """Make the parts there is time for in this process; yields notes, as `_make`."""
        while (chosen := self._fitting(waiting)) is not None:
            waiting.remove(chosen)
            yield self._make(chosen)

    def _by_workers(self, cluster: Cluster, waiting: list[Part]) -> Iterator[str]:
        """Have several parts made at once by workers.

        A search for places takes all workers, so searches wait until there is something of each layer.
        """
        searches = [part for part in waiting if part.request is None]
        count = waiting.index(searches[-1]) + 1 if searches else 0
        first = [part for part in waiting[:count] if part not in searches]
        yield from self._together(cluster, first)
        yield from self._one_by_one(searches)
        yield from self._together(cluster, [*first, *waiting[count:]])

    def _together(self, cluster: Cluster, waiting: list[Part]) -> Iterator[str]:
        while self._fitting(waiting) is not None:
            given: dict[str, Part] = {}
            with cluster.running(self._work) as run:
                for report in told(run, self._given(waiting, given)):
                    yield str(report) if isinstance(report, WorkerDeath) else self._taken(report, given)
                    if self._late():
                        for rest in run.stop():
                            self._taken(rest, given)
                        break
            waiting[:0] = given.values()  # parts in progress when one of them had killed its workers

    @cached_property
    def _work(self) -> PartsWork:
        return PartsWork.of(self.context)

    def _given(self, waiting: list[Part], given: dict[str, Part]) -> Iterator[PartRequest]:
        """Yield the parts for which there is time when a worker is free, and put them into `given`."""
        while (chosen := self._fitting(waiting)) is not None:
            assert chosen.request is not None
            waiting.remove(chosen)
            given[chosen.key] = chosen
            yield chosen.request()

    def _taken(self, report: PartReport, given: dict[str, Part]) -> str:
        """Store what a worker made; returns notes, as `_make`."""
        if not report.ends:
            return ""
        part = given.pop(report.key)
        if report.made is None:
            return self._failed(part, report.failed)
        part.took(report.seconds)
        return self._kept(part, report.made)

    def _fitting(self, waiting: list[Part]) -> Part | None:
        """Return the first part there is time for, judged by the speed of the machine so far."""
        rest = self._deadline - time.monotonic()
        return next((part for part in waiting if part.seconds() < rest), None) if rest > 0 else None

    @property
    def unfinished(self) -> list[str]:
        """What there was no time for at all so far, in words."""
        return self._plan.unfinished()

    def write(self) -> None:
        """Write the page with what is finished, whole or not at all."""
        from caffe_viz.report.page import page

        self.cache.need_own()
        write_whole(self.path, page(self.context, self.cache, self._plan, self.beside, self.command))
        self._written = time.monotonic()

    def _make(self, part: Part) -> str:
        """Make a part; returns a note if that failed."""
        if self._is_kept(part):
            return ""
        began = time.monotonic()
        try:
            made = part.make()
        except OutOfTime:
            return ""
        except Exception as error:  # one picture may fail in any way; the others are made
            return self._failed(part, why(error))
        part.took(time.monotonic() - began)
        return self._kept(part, made)

    def _kept(self, part: Part, made: PartResult) -> str:
        try:
            self.cache.keep(part.key, made)
        except Exception as error:  # as above
            return self._failed(part, why(error))
        if time.monotonic() - self._written > WRITE_EVERY:
            self.write()
        return ""

    def _failed(self, part: Part, reason: str) -> str:
        self.cache.fail(part.key, reason)
        return f"{part.title}: {reason}"

    def _is_kept(self, part: Part) -> bool:
        found = self.cache.get(part.key)
        return found is not None and not found.failed


def make_report(
    net: Any,
    images: PathLike | Sequence[PathLike] = (),
    folder: PathLike = "out",
    *,
    photos: PathLike | None = None,
    record: PathLike | None = None,
    budget: float = BUDGET,
    beside: bool = False,
    cluster: Any = None,
) -> Path:
    """Make one HTML page about `net` and what it sees in `images`, and return the page's path.

    Parts that take long are made until `budget` is used up. Call it again to continue.

    Args:
        net: A net from `load_net`.
        images: The images to show, as paths.
        folder: Where the page goes.
        photos: Many images, to search for the places that activate each filter most.
        record: The record of the training.
        budget: Seconds for the parts that take long.
        beside: Store the pictures in a folder next to the page instead of in it.
        cluster: A dask client whose workers make the parts that take long.

    Raises:
        InputError: A file cannot be read, Caffe would abort on the net, or the folder holds something else.
        RunError: No engine or no jinja2 is installed, or the folder cannot be written.

    Example::

        page = cv.make_report(net, ["cat.png"], "out", photos="photos")
    """
    given = [images] if isinstance(images, str | Path) else list(images)
    context = ReportContext.of(net, given, photos, record)
    reporting = RunningReport(context, folder, budget=budget, beside=beside, cluster=cluster)
    for _ in reporting:
        pass
    return reporting.path
