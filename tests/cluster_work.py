"""Works that workers of a cluster import for tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from caffe_viz.errors import InputError
from caffe_viz.tasks import Tell, stop


@dataclass(frozen=True)
class Squares:
    """Of numbers; `deadly` ones end the process, `bad` ones raise, `slow` ones wait until it is asked to stop.

    Each that is begun leaves a file in `folder`.
    """

    folder: Path
    deadly: int = -1
    bad: int = -1
    slow: int = -1

    def open(self) -> Callable[[int], Iterator[int]]:
        return self._square

    def gathered(self, reports: Iterator[int], tell: Tell[int]) -> Sequence[int]:
        return list(reports)

    def named(self, piece: int) -> str:
        return f"number {piece}"

    def _square(self, number: int) -> Iterator[int]:
        (self.folder / f"{number} {os.getpid()} {os.urandom(4).hex()}").touch()
        if number == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        if number == self.bad:
            raise InputError("this number is bad.")
        while number == self.slow and not stop.asked:
            pass
        yield number**2
