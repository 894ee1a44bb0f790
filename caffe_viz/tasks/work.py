"""What can be cut into pieces, and what has them done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Protocol, TypeVar

from caffe_viz.errors import RunError

Piece = TypeVar("Piece")
Piece_contra = TypeVar("Piece_contra", contravariant=True)
Report = TypeVar("Report")
Tell = Callable[[Report], None]


class Death(NamedTuple):
    """A process that ended before its piece did, and why; the piece is done again."""

    piece: Any
    reason: str

    def __str__(self) -> str:
        return f"a worker died ({self.reason}); another takes over {self.piece}"


class Deadly(RunError):
    """A `piece` ended each process that was given it."""

    def __init__(self, message: str, piece: Any = None) -> None:
        super().__init__(message)
        self.piece = piece


class Work(Protocol[Piece_contra, Report]):
    """What all pieces have in common, as a value that can be pickled."""

    def open(self) -> Callable[[Piece_contra], Iterator[Report]]:
        """Load what it needs, once in a process; the function does a piece, and reports on it."""

    def gathered(self, reports: Iterator[Report], tell: Tell[Report]) -> Sequence[Report]:
        """All that a piece's reports say, where they come at its end; `tell` sends a small one at once."""

    def named(self, piece: Piece_contra) -> str:
        """What a piece is called in messages."""


class Run(Protocol[Piece, Report]):
    """Pieces of one work under way; a context manager, at the end of which none is."""

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes of this machine that it has at work."""

    def __enter__(self) -> Run[Piece, Report]: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None, /
    ) -> None: ...

    def run(self, pieces: Iterable[Piece], /) -> Iterator[Report | Death]:
        """Do `pieces`, in no fixed order.

        Raises:
            CaffeVizError: what a piece raised.
            RunError: a piece ended each process that was given it; on a cluster it is `Deadly`.
        """

    def stop(self) -> Iterator[Report]:
        """Ask the pieces under way for what they have; no other is begun."""
