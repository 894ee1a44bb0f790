"""Pieces of an image collection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from caffe_viz.images import ImageCollection
from caffe_viz.images.pixels import Floats


@dataclass(frozen=True)
class ImageChunk:
    """Some images of a larger collection, by their numbers in that one: from `first` on, those of
    `collection`.
    """

    first: int
    collection: ImageCollection

    @property
    def numbers(self) -> range:
        """The numbers of these images in the larger collection."""
        return range(self.first, self.first + len(self.collection))

    def name(self, number: int) -> str:
        """As of `ImageCollection.name`."""
        return self.collection.name(number - self.first)

    def load(self, number: int) -> Floats:
        """As of `ImageCollection.load`."""
        return self.collection.load(number - self.first)

    def __len__(self) -> int:
        return len(self.collection)

    def __str__(self) -> str:
        return f"images {self.numbers[0]:,} to {self.numbers[-1]:,}, {self.name(self.first)} and on"


def cut(
    collection: ImageCollection, ranges: Iterable[range], size: int | None = None
) -> Iterator[ImageChunk]:
    """Cut the images of `ranges`, in order, into pieces: each range, or parts up to multiples of `size`."""
    for numbers in ranges:
        first = numbers.start
        while first < numbers.stop:
            last = numbers.stop if size is None else min(numbers.stop, (first // size + 1) * size)
            yield ImageChunk(first, collection.part(first, last))
            first = last
