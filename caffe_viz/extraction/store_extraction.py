"""Extract into a store that many processes fill, each where it computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from caffe_viz.extraction.extraction import Extraction, Rowed
from caffe_viz.extraction.store import Store, located, need_names
from caffe_viz.network import PathLike
from caffe_viz.streaming import Failed, Progress, need_one, passed_over
from caffe_viz.tasks import Execution, ImageChunk, InProcess, Ranges, Tell, WorkerDeath, cut


class WrittenRows(NamedTuple):
    """The images first..last are in the store, except those that failed."""

    first: int
    last: int
    failed: tuple[Failed, ...]


@dataclass(frozen=True)
class StoreWork:
    """Implements `tasks.Work`: `rows` into a store; a piece is a chunk of that."""

    rows: Rowed
    store: Store

    def open(self) -> Callable[[ImageChunk], Iterator[WrittenRows]]:
        self.rows.load()
        return self.fill

    def fill(self, some: ImageChunk) -> Iterator[WrittenRows]:
        """Compute a chunk and write it, unless another process has; stop early if asked to."""
        first, last = some.first, some.first + len(some)
        if self.store.has(first, last):
            yield WrittenRows(first, last, tuple(self.store.failed(first, last)))
            return
        values = {
            blob: np.full((len(some), *shape), np.nan, np.float32) for blob, shape in self.rows.shapes.items()
        }
        failed, seen = list[Failed](), 0
        for batch in self.rows.batches(some):
            places = np.array(batch.numbers, int) - first
            for blob, part in batch.values.items():
                values[blob][places] = part
            failed += batch.failed
            seen += batch.size
        if seen == len(some):
            self.store.put(first, values, [some.name(number) for number in some.numbers], failed)
            yield WrittenRows(first, last, tuple(failed))

    def gathered(self, reports: Iterator[WrittenRows], tell: Tell[WrittenRows]) -> Sequence[WrittenRows]:
        return list(reports)

    def named(self, piece: ImageChunk) -> str:
        return str(piece)


class StoreExtraction:
    """Extract into the zarr store at `address`: iterate for its Progress.

    What is done is there at once; a later extraction continues from it, and another may work on it at the
    same time. Images that `failed` have rows of NaN.

    Raises:
        InputError: The store holds the rows of another extraction, or something else.
        RunError: It cannot be written, or a library is missing.
    """

    def __init__(self, extraction: Extraction, address: PathLike) -> None:
        where = located(address)
        need_names(where, extraction.blobs)
        # As for one worker, however many there are: the same store.
        piece = extraction.work.piece(1, extraction.bytes_of_one)
        self.store = Store(
            where, extraction.key, extraction.shapes, len(extraction.collection), piece
        ).begun()
        self.extraction, self.kept = extraction, str(self.store)
        self.done, self.failed = _done(self.store), self.store.failed()

    @property
    def seen(self) -> int:
        """How many images are done."""
        return len(self.done)

    @property
    def begun(self) -> str:
        """How far earlier extractions came, in words; "" if there is none."""
        if self.seen == self.rows:
            return f"{self.kept}: all {self.rows:,} images are there"
        return f"{self.kept}: resuming after {self.seen:,} images" if self.seen else ""

    def __iter__(self) -> Iterator[Progress]:
        extraction, total = self.extraction, len(self.extraction.collection)
        run: Execution[ImageChunk, WrittenRows]
        if extraction.cluster is None:
            run = InProcess(StoreWork(extraction.work, self.store))
        else:  # another machine might choose another engine
            run = extraction.cluster.running(
                StoreWork(extraction.work.of_engine(extraction.engine), self.store)
            )
        with run:
            for told in run.run(cut(extraction.collection, self.done.missing(total), self.store.piece)):
                if isinstance(told, WorkerDeath):
                    yield Progress(self.seen, total, str(told))
                    continue
                self.done = self.done.union(Ranges.of(told.first, told.last))
                self.failed += told.failed
                yield Progress(self.seen, total, passed_over(told.failed))
        self.failed.sort()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the images that have a row, in order; once everything is there."""
        failed = {number for number, _ in self.failed}
        return tuple(self.extraction.collection.name(n) for n in range(self.rows) if n not in failed)

    @property
    def rows(self) -> int:
        """The number of rows of each array."""
        return len(self.extraction.collection)

    def write(self) -> None:
        """Nothing is left to write; raises InputError if no image could be used."""
        need_one([one.reason for one in self.failed], self.seen)


def _done(store: Store) -> Ranges:
    """Whole pieces."""
    begins = range(0, store.images, store.piece)
    whole = np.logical_and.reduceat(store.status() != 0, begins)
    done = Ranges()
    edges = np.flatnonzero(np.diff(np.concatenate([[False], whole, [False]])))
    for first, last in edges.reshape(-1, 2) * store.piece:
        done = done.union(Ranges.of(int(first), min(int(last), store.images)))
    return done
