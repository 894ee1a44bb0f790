"""Parts of a report that workers of a cluster import for tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from dataclasses import dataclass

from caffe_viz.report.asked import Asked
from caffe_viz.report.shelf import Made
from caffe_viz.report.subject import Subject


@dataclass(frozen=True)
class Bad(Asked):
    """It ends its process if it is `deadly`, else it raises."""

    deadly: bool

    def steps(self, subject: Subject, alone: bool = False) -> Generator[float, None, Made]:
        if self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        yield 0.5
        raise ValueError("this part is bad.")
