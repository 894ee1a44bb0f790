"""Ascents in the process of the test: to start another takes longer than most of them climb."""

from __future__ import annotations

from caffe_viz.ascent.worker import Batch, BatchProgress, Job
from caffe_viz.ascent.worker_pool import WorkerPool
from caffe_viz.tasks import Execution, InProcess


def here(job: Job, jobs: int) -> Execution[Batch, BatchProgress]:
    """In place of `WorkerPool`: climbs in this process."""
    return InProcess(job)


def worker_pool(job: Job, jobs: int) -> Execution[Batch, BatchProgress]:
    """Other processes only where several are asked for."""
    return here(job, jobs) if jobs == 1 else WorkerPool(job, jobs)
