"""Keep track of which numbered things are done, as ranges that come in any order, each number once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Ranges:
    """`ends` are pairs (first, last), last excluded: sorted, not adjacent, none empty.

    >>> Ranges.of(0, 4).union(Ranges.of(8, 12)).union(Ranges.of(4, 8))
    Ranges(ends=((0, 12),))
    """

    ends: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, first: int, last: int) -> Ranges:
        """Return one range, or none if it is empty."""
        return cls(((first, last),) if first < last else ())

    @classmethod
    def read(cls, given: Sequence[Sequence[int]]) -> Ranges:
        """Read `ends` from JSON. Raises ValueError if they are something else."""
        out = cls()
        for first, last in given:
            if not 0 <= int(first) < int(last):
                raise ValueError(f"{first} to {last} is no range")
            out = out.union(cls.of(int(first), int(last)))
        return out

    def __len__(self) -> int:
        """The number of numbers."""
        return sum(last - first for first, last in self.ends)

    def union(self, other: Ranges) -> Ranges:
        """Join both. Raises ValueError if they have a number in common, which would count twice."""
        out: list[tuple[int, int]] = []
        for first, last in sorted([*self.ends, *other.ends]):
            if out and first < out[-1][1]:
                raise ValueError(f"{first} is in both")
            if out and first == out[-1][1]:
                out[-1] = out[-1][0], last
            else:
                out.append((first, last))
        return Ranges(tuple(out))

    def missing(self, total: int) -> Iterator[range]:
        """Return what is missing from 0..total, in order."""
        begin = 0
        for first, last in (*self.ends, (total, total)):
            if begin < first:
                yield range(begin, first)
            begin = last
