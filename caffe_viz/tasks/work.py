"""The protocols: what can be cut into pieces, and what does the pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Protocol, TypeVar

from caffe_viz.errors import RunError

Piece = TypeVar("Piece")
Piece_contra = TypeVar("Piece_contra", contravariant=True)
Report = TypeVar("Report")
Tell = Callable[[Report], None]


class WorkerDeath(NamedTuple):
    """A process died before its piece was done, and why; the piece is done again."""

    piece: Any
    reason: str

    def __str__(self) -> str:
        return f"a worker died ({self.reason}); another takes over {self.piece}"


class FatalPieceError(RunError):
    """A `piece` killed every process that tried it."""

    def __init__(self, message: str, piece: Any = None) -> None:
        super().__init__(message)
        self.piece = piece


class Work(Protocol[Piece_contra, Report]):
    """What all pieces have in common, as a value that can be pickled."""

    def open(self) -> Callable[[Piece_contra], Iterator[Report]]:
        """Load what it needs, once per process. The returned function does a piece and yields its reports."""

    def gathered(self, reports: Iterator[Report], tell: Tell[Report]) -> Sequence[Report]:
        """Combine a piece's reports into those sent at its end; `tell` sends a small one at once."""

    def named(self, piece: Piece_contra) -> str:
        """The name of a piece in messages."""


class Execution(Protocol[Piece, Report]):
    """Pieces of one work in progress; a context manager that ends all of them."""

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes on this machine that work for it."""

    def __enter__(self) -> Execution[Piece, Report]: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None, /
    ) -> None: ...

    def run(self, pieces: Iterable[Piece], /) -> Iterator[Report | WorkerDeath]:
        """Do `pieces`, in no fixed order.

        Raises:
            CaffeVizError: What a piece raised.
            RunError: A piece killed every process that tried it; on a cluster it is `FatalPieceError`.
        """

    def stop(self) -> Iterator[Report]:
        """Ask the pieces in progress for what they have; no other is started."""
