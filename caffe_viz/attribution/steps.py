"""Work that is done step by step, so that the caller can do something in between, or stop it."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
Steps = Generator[float, None, T]  # yields which share of the work is done, returns what it made


class SteppedRun(Generic[T]):
    """Iterate for the shares of `steps`; afterwards `made` holds what they returned."""

    made: T

    def __init__(self, steps: Steps[T]) -> None:
        self._steps = steps

    def __iter__(self) -> Iterator[float]:
        self.made = yield from self._steps
