"""Works that workers of a cluster import for tests."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from caffe_viz.errors import InputError
from caffe_viz.tasks import Tell, cluster_worker, stop


@dataclass(frozen=True)
class Squares:
    """Of numbers; `deadly` ones end the process, `bad` ones raise, `slow` ones wait until it is asked to stop.

    Each that is begun leaves a file in `folder`. `ballast` is sent along.
    """

    folder: Path
    deadly: int = -1
    bad: int = -1
    slow: int = -1
    ballast: bytes = b""

    def open(self) -> Callable[[int], Iterator[int]]:
        return self._square

    def gathered(self, reports: Iterator[int], tell: Tell[int]) -> Sequence[int]:
        return list(reports)

    def named(self, piece: int) -> str:
        return f"number {piece}"

    def _square(self, number: int) -> Iterator[int]:
        note(self.folder, number)
        if number == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        if number == self.bad:
            raise InputError("this number is bad.")
        while number == self.slow and not stop.asked:
            pass
        yield number**2


@dataclass(frozen=True)
class Gated(Squares):
    """Squares that wait until there is a file `gate` in the folder, and tell "waiting" meanwhile."""

    def gathered(self, reports: Iterator[Any], tell: Tell[Any]) -> Sequence[Any]:
        found = []
        for report in reports:
            if report == "waiting":
                tell(report)
            else:
                found.append(report)
        return found

    def _square(self, number: int) -> Iterator[Any]:
        note(self.folder, number)
        while not (self.folder / "gate").exists():
            if stop.asked:
                return
            time.sleep(0.01)
            yield "waiting"
        yield number**2


@dataclass(frozen=True)
class Large(Squares):
    """Squares of which `large` takes more memory than there is, with `once` at the first try only.

    The kernel refuses it, or dask ends the process.
    """

    large: int = -1
    once: bool = False
    limited_by_dask: bool = False

    def _square(self, number: int) -> Iterator[int]:
        note(self.folder, number)
        if number == self.large and not (self.once and len(list(self.folder.glob(f"{number} *"))) > 1):
            (grow_until_killed if self.limited_by_dask else exhaust)()
        yield number**2


def grow_until_killed() -> None:
    """Pages that are written to, some every moment: whoever watches the memory sees it grow."""
    held = []
    for _ in range(200):  # 3 GiB
        held.append(np.ones(2**21))
        time.sleep(0.05)
    time.sleep(100)


def exhaust() -> None:
    """Raises MemoryError, as the kernel refuses."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**26, hard))
    try:
        np.ones(2**28)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@dataclass(frozen=True)
class Convolved:
    """Sums of what real Caffe makes of ones; for the number `wrong` it is given an image of four channels."""

    folder: Path
    wrong: int = -1

    def open(self) -> Callable[[int], Iterator[float]]:
        import caffe

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        return partial(self._convolved, caffe.Net(str(self.folder / "deploy.prototxt"), caffe.TEST))

    def gathered(self, reports: Iterator[float], tell: Tell[float]) -> Sequence[float]:
        return list(reports)

    def named(self, piece: int) -> str:
        return f"image {piece}"

    def _convolved(self, net: Any, number: int) -> Iterator[float]:
        note(self.folder, number)
        if number == self.wrong:
            net.blobs["data"].reshape(1, 4, 12, 12)
        net.blobs["data"].data[...] = number
        net.forward()  # a CHECK of Caffe's ends the process here
        note(self.folder, f"done-{number}")
        yield float(net.blobs["fc"].data.sum())


def tell_every(seconds: float) -> None:
    """How often this process sends reports of a piece that it is at."""
    cluster_worker.TELL_EVERY = seconds


def note(folder: Path, what: object) -> None:
    """Leave a file that says so, and which process did it."""
    (folder / f"{what} {os.getpid()} {os.urandom(4).hex()}").touch()
