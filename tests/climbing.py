"""Ascents in the process of the test: to start another takes longer than most of them climb."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from caffe_viz.ascent.crew import Crew
from caffe_viz.ascent.worker import Job, Tick, climbs, ticks


@dataclass
class OneProcess:
    """In place of `Crew`: climbs in this process."""

    job: Job
    jobs: int
    pids: tuple[int, ...] = ()

    def __enter__(self) -> OneProcess:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(self, batches: Any) -> Iterator[Tick]:
        climb_of = climbs(self.job)
        for batch in batches:
            yield from ticks(self.job, batch, climb_of(batch))


def crew(job: Job, jobs: int) -> Crew | OneProcess:
    """Other processes only where several are asked for."""
    return OneProcess(job, jobs) if jobs == 1 else Crew(job, jobs)
