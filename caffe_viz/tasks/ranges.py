"""Which of many numbered things are done: ranges that come in any order, each number once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Ranges:
    """`ends` are pairs (first, last), the last excluded: sorted, apart from each other, none empty.

    >>> Ranges.of(0, 4).union(Ranges.of(8, 12)).union(Ranges.of(4, 8))
    Ranges(ends=((0, 12),))
    """

    ends: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, first: int, last: int) -> Ranges:
        """One range; none where it is empty."""
        return cls(((first, last),) if first < last else ())

    @classmethod
    def read(cls, given: Sequence[Sequence[int]]) -> Ranges:
        """`ends` as JSON has them; raises ValueError where they are none."""
        out = cls()
        for first, last in given:
            if not 0 <= int(first) < int(last):
                raise ValueError(f"{first} to {last} is no range")
            out = out.union(cls.of(int(first), int(last)))
        return out

    def __len__(self) -> int:
        """How many numbers."""
        return sum(last - first for first, last in self.ends)

    def union(self, other: Ranges) -> Ranges:
        """Both; raises ValueError if they have a number in common: it would count twice."""
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
        """What of 0..total is not there, in order."""
        begin = 0
        for first, last in (*self.ends, (total, total)):
            if begin < first:
                yield range(begin, first)
            begin = last
