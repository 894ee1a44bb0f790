"""A work that does nothing, for `cluster_memory.py`: workers import it from here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Nothing:
    """As of `caffe_viz.tasks.Work`: the report on a number is that number."""

    def open(self) -> Callable[[int], Iterator[int]]:
        return lambda number: iter((number,))

    def gathered(self, reports: Iterator[int], tell: Callable[[int], None]) -> Sequence[int]:
        return tuple(reports)

    def named(self, number: int) -> str:
        return f"number {number}"
