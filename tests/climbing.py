"""Ascents in the process of the test: to start another takes longer than most of them climb."""

from __future__ import annotations

from caffe_viz.ascent.crew import Crew
from caffe_viz.ascent.worker import Batch, Job, Tick
from caffe_viz.tasks import Here, Run


def here(job: Job, jobs: int) -> Run[Batch, Tick]:
    """In place of `Crew`: climbs in this process."""
    return Here(job)


def crew(job: Job, jobs: int) -> Run[Batch, Tick]:
    """Other processes only where several are asked for."""
    return here(job, jobs) if jobs == 1 else Crew(job, jobs)
