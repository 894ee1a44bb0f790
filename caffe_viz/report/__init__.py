"""One page that shows a network: parts are made, kept on disk, and put into the page."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caffe_viz.errors import CaffeVizError
from caffe_viz.files import need_folder, safe_name, write_whole
from caffe_viz.network import PathLike
from caffe_viz.report.making import OutOfTime
from caffe_viz.report.plan import Part, Plan
from caffe_viz.report.shelf import Shelf
from caffe_viz.report.subject import Subject

__all__ = ["BUDGET", "Progress", "Reporting", "make_report"]

BUDGET = 70.0  # seconds
USUAL = 0.2  # seconds that a part takes which is always made, for the progress
WRITE_EVERY = 20.0  # seconds from one page to the next, while parts are made


@dataclass(frozen=True)
class Progress:
    """How much is done, of how much, in about seconds; `note` says what went wrong."""

    done: float
    total: float
    note: str = ""


class Reporting:
    """A report under way: iterate for its `Progress`; the page `path` shows, at any time, what is finished.

    Parts that need seconds are made first, then for `budget` seconds those that take long. The same call
    goes on where an earlier one ended. `beside`: pictures lie in a folder beside the
    page, not in it. `command` is what the page says it was made by. Of what takes long, the layer `first` is
    made before others.

    Raises:
        InputError: a file cannot be read, Caffe would abort on the net, or the folder holds something else.
        RunError: no engine or no jinja2 is installed, the folder cannot be written, or another report has
            begun in it since.
    """

    def __init__(
        self,
        subject: Subject,
        folder: PathLike,
        *,
        budget: float = BUDGET,
        beside: bool = False,
        command: str = "",
        first: str = "",
    ) -> None:
        from caffe_viz.report.page import need_jinja2

        need_jinja2()
        need_folder(folder)
        if subject.runs:
            subject.load()  # what stops every part is said before the first
        stem = f"{safe_name(subject.file_name).strip('-')[:80] or 'network'}_report"
        self.subject, self.beside, self.command = subject, beside, command
        self.path = Path(folder) / f"{stem}.html"
        self.shelf = Shelf(Path(folder) / f"{stem}_parts", subject.identity)
        self._budget, self._deadline, self._written = budget, float("inf"), float("-inf")
        self._plan = Plan(subject, self.shelf, lambda: time.monotonic() > self._deadline, first)

    def __iter__(self) -> Iterator[Progress]:
        needed = list(self._plan.needed())
        first = USUAL * len(needed)
        total = first + self._budget
        for number, part in enumerate(needed):
            yield Progress(USUAL * number, total, self._make(part))
        self._deadline = time.monotonic() + self._budget
        waiting = [part for part in self._plan.extra() if not self._is_kept(part)]
        while (chosen := self._fitting(waiting)) is not None:
            waiting.remove(chosen)
            note = self._make(chosen)
            yield Progress(min(total, time.monotonic() - self._deadline + total), total, note)
        self.write()

    def _fitting(self, waiting: list[Part]) -> Part | None:
        """The first that there is time for, as far as is known by now how fast the machine is."""
        rest = self._deadline - time.monotonic()
        return next((part for part in waiting if part.seconds() < rest), None) if rest > 0 else None

    @property
    def unfinished(self) -> list[str]:
        """What there was no time for at all yet, in words."""
        return self._plan.unfinished()

    def write(self) -> None:
        """Write the page with what is finished, whole or not at all."""
        from caffe_viz.report.page import page

        self.shelf.need_own()
        write_whole(self.path, page(self.subject, self.shelf, self._plan, self.beside, self.command))
        self._written = time.monotonic()

    def _make(self, part: Part) -> str:
        """A note if it could not be made."""
        if self._is_kept(part):
            return ""
        try:
            self.shelf.keep(part.key, part.make())
        except OutOfTime:
            return ""
        except Exception as error:  # one picture may fail in any way; the others are made
            reason = str(error) if isinstance(error, CaffeVizError) else f"{type(error).__name__}: {error}"
            self.shelf.fail(part.key, reason)
            return f"{part.title}: {reason}"
        if time.monotonic() - self._written > WRITE_EVERY:
            self.write()
        return ""

    def _is_kept(self, part: Part) -> bool:
        found = self.shelf.get(part.key)
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
) -> Path:
    """One page about `net` and what it sees in `images`; the path of its HTML.

    `photos` are many images, in which the places that activate each filter most are looked for; `record` is
    that of the training. For the rest see `Reporting`.

    Raises:
        InputError, RunError: as `Reporting`.
    """
    given = [images] if isinstance(images, str | Path) else list(images)
    reporting = Reporting(Subject.of(net, given, photos, record), folder, budget=budget, beside=beside)
    for _ in reporting:
        pass
    return reporting.path
