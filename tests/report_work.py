"""Parts of a report that workers of a cluster import for tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from dataclasses import dataclass

from caffe_viz.report.context import ReportContext
from caffe_viz.report.part_cache import PartResult
from caffe_viz.report.part_requests import PartRequest


@dataclass(frozen=True)
class Bad(PartRequest):
    """It ends its process if it is `deadly`, else it raises."""

    deadly: bool

    def steps(self, subject: ReportContext, alone: bool = False) -> Generator[float, None, PartResult]:
        if self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        yield 0.5
        raise ValueError("this part is bad.")
