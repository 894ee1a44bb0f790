"""Keep the latest results in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class LRUCache(Generic[T]):
    """The last values by key that fit into `most` bytes together; the very last is kept in any case."""

    def __init__(self, most: int, size_of: Callable[[T], int]) -> None:
        self._most, self._size_of = most, size_of
        self._kept: OrderedDict[Hashable, T] = OrderedDict()
        self.size = 0  # of all that is kept

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of `key`, made if it is not there."""
        if key not in self._kept:
            self.put(key, make())
        self._kept.move_to_end(key)
        return self._kept[key]

    def put(self, key: Hashable, value: T) -> None:
        """Keep a value, and drop those that were used longest ago where it takes their room."""
        self.drop(key)
        self._kept[key] = value
        self.size += self._size_of(value)
        while self.size > self._most and len(self._kept) > 1:
            self.size -= self._size_of(self._kept.popitem(last=False)[1])

    def find(self, key: Hashable) -> T | None:
        """The value of `key`, if it is there; used now."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def drop(self, key: Hashable) -> None:
        """Keep the value of `key` no longer, if it is there."""
        if key in self._kept:
            self.size -= self._size_of(self._kept.pop(key))
