"""Reading ahead: where one answer takes long to come, several are waited for at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from threading import Lock

AHEAD = 8  # that are on their way at once


@cache
def _readers() -> ThreadPoolExecutor:
    """Of the whole process."""
    return ThreadPoolExecutor(AHEAD, "read-ahead")


class Prefetcher:
    """`read(number)` for numbers up to `last`; where two were asked for in order, the next begin meanwhile.

    Other threads call `read`. Those that are picked here and there are read one by one.
    """

    def __init__(self, read: Callable[[int], bytes | None], last: int) -> None:
        self._read, self._last = read, last
        self._before: int | None = None
        self._coming: dict[int, Future[bytes | None]] = {}
        self._turn = Lock()

    def __call__(self, number: int) -> bytes | None:
        """What `read` gives or raises."""
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
