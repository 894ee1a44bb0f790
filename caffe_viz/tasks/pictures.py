"""Pieces of an album."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from caffe_viz.images import Album
from caffe_viz.images.pixels import Floats


@dataclass(frozen=True)
class Pictures:
    """Some images of a larger album, by their numbers in that one: from `first` on, those of `album`."""

    first: int
    album: Album

    @property
    def numbers(self) -> range:
        """Those that are meant."""
        return range(self.first, self.first + len(self.album))

    def name(self, number: int) -> str:
        """As of `Album.name`."""
        return self.album.name(number - self.first)

    def load(self, number: int) -> Floats:
        """As of `Album.load`."""
        return self.album.load(number - self.first)

    def __len__(self) -> int:
        return len(self.album)

    def __str__(self) -> str:
        return f"images {self.numbers[0]:,} to {self.numbers[-1]:,}, {self.name(self.first)} and on"


def cut(album: Album, ranges: Iterable[range], size: int | None = None) -> Iterator[Pictures]:
    """The images of `ranges` in order, each range a piece, or pieces that end at multiples of `size`."""
    for numbers in ranges:
        first = numbers.start
        while first < numbers.stop:
            last = numbers.stop if size is None else min(numbers.stop, (first // size + 1) * size)
            yield Pictures(first, album.part(first, last))
            first = last
