"""Do pieces in this process, one after another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic

from caffe_viz.tasks.work import Piece, Report, Work


@dataclass(frozen=True)
class InProcess(Generic[Piece, Report]):
    """A Run in this process, with reports as they are made."""

    work: Work[Piece, Report]
    pids: tuple[int, ...] = ()

    def __enter__(self) -> InProcess[Piece, Report]:
        return self

    def __exit__(self, *_: Any) -> None:
        pass

    def run(self, pieces: Iterable[Piece]) -> Iterator[Report]:
        done = self.work.open()
        for piece in pieces:
            yield from done(piece)

    def stop(self) -> Iterator[Report]:
        return iter(())
