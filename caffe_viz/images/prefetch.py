"""Read ahead: where each read has to wait for an answer, several wait at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from threading import Lock

AHEAD = 8  # that are on their way at once


@cache
def _readers() -> ThreadPoolExecutor:
    """The threads of the whole process."""
    return ThreadPoolExecutor(AHEAD, "read-ahead")


class Prefetcher:
    """`read(number)` for numbers up to `last`; after two consecutive numbers, the next are read ahead.

    Other threads call `read`. Numbers in random order are read one by one.
    """

    def __init__(self, read: Callable[[int], bytes | None], last: int) -> None:
        self._read, self._last = read, last
        self._before: int | None = None
        self._coming: dict[int, Future[bytes | None]] = {}
        self._turn = Lock()

    def __call__(self, number: int) -> bytes | None:
        """Return or raise what `read` returns or raises."""
        with self._turn:
            found = self._coming.pop(number, None)
            in_order = found is not None or self._before == number - 1
            self._before = number
            wanted = range(number + 1, min(number + AHEAD, self._last) + 1) if in_order else range(0)
            for other in [n for n in self._coming if n not in wanted]:
                self._coming.pop(other).cancel()
            for n in wanted:
                if n not in self._coming:
                    self._coming[n] = _readers().submit(self._read, n)
        return self._read(number) if found is None else found.result()
