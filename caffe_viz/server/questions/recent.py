"""What was made last, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """The last values by key that fit into `most` bytes together; the very last is kept in any case."""

    def __init__(self, most: int, size: Callable[[T], int]) -> None:
        self._most, self._size = most, size
        self._kept: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of `key`, made if it is not there."""
        if key not in self._kept:
            self.put(key, make())
        self._kept.move_to_end(key)
        return self._kept[key]

    def put(self, key: Hashable, value: T) -> None:
        """Keep a value, and drop those that were used longest ago where it takes their room."""
        self._kept[key] = value
        self._kept.move_to_end(key)
        total = sum(map(self._size, self._kept.values()))
        while total > self._most and len(self._kept) > 1:
            total -= self._size(self._kept.popitem(last=False)[1])

    def find(self, key: Hashable) -> T | None:
        """The value of `key`, if it is there."""
        return self._kept.get(key)
