"""The unfinished extraction on disk: rows of blobs as raw numbers, and how many images are done."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from caffe_viz.errors import InputError
from caffe_viz.files import cannot_write, remove, write_whole
from caffe_viz.resuming import ADVICE, need_same
from caffe_viz.streaming import Batch, Failed
from caffe_viz.tasks import Ranges

PART = 2**22  # bytes of rows that are read at once
STATE = "state.json"
Piece = tuple[int, int, int]


class Spool:
    """Rows of blobs with these `shapes`, in `folder`; continues if that has rows of the same `key`.

    The images that are `done` came in any order; those that `failed` have no row. `pieces` are runs of images
    whose rows follow each other in the files: the first image, the last (excluded), the rows.

    Raises:
        InputError: The folder holds something else, or the rows of another run; says which.
    """

    def __init__(self, folder: Path, key: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.folder, self.shapes, self._key = folder, shapes, key
        self.failed, self.pieces = list[Failed](), list[Piece]()
        self.done, self.rows = Ranges(), 0
        self._files = {blob: folder / f"{n}.float32" for n, blob in enumerate(shapes)}
        self._open: dict[str, IO[bytes]] = {}
        self._closing = ExitStack()
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            self._resume()

    @property
    def seen(self) -> int:
        """How many images are done."""
        return len(self.done)

    def append(self, batch: Batch) -> None:
        """Add the rows of further images.

        Raises:
            RunError: They cannot be written.
            ValueError: Some of them exist already.
        """
        done = self.done.union(batch.covered)
        try:
            if not self._open:
                self._begin()
            for blob, values in batch.values.items():
                self._open[blob].write(values.data)
        except OSError as error:
            raise cannot_write(self.folder, error) from None
        self.done = done
        self.failed = sorted([*self.failed, *batch.failed])
        self._note(batch.covered.ends[0], len(batch.numbers))

    def save(self) -> None:
        """Record what is done, so that the next run continues there. Raises RunError if that fails."""
        try:
            for file in self._open.values():
                file.flush()
        except OSError as error:
            raise cannot_write(self.folder, error) from None
        state = {"key": self._key, "seen": self.seen, "pieces": self.pieces, "failed": self.failed}
        write_whole(self.folder / STATE, json.dumps(state).encode())

    def close(self) -> None:
        """Close the files; rows that were not saved are lost."""
        self._open = {}
        try:
            self._closing.close()
        except OSError as error:
            raise cannot_write(self.folder, error) from None

    def remove(self) -> None:
        """Delete the folder, once the rows are safe elsewhere."""
        self.close()
        remove(self.folder)

    def parts(self, blob: str) -> Iterator[NDArray[np.float32]]:
        """Yield the rows of a blob (n, ...), in the same parts as those of every other blob."""
        most = max(1, *(self._size(name) for name in self.shapes))
        step, shape = max(1, PART // most), self.shapes[blob]
        waiting = list[NDArray[np.float32]]()
        with open(self._files[blob], "rb") as file:
            for first, count in self._places(step):
                file.seek(first * self._size(blob))
                values = np.frombuffer(file.read(count * self._size(blob)), np.float32).reshape(count, *shape)
                waiting.append(values)
                if sum(map(len, waiting)) == step:
                    yield waiting[0] if len(waiting) == 1 else np.concatenate(waiting)
                    waiting = []
        if waiting:
            yield np.concatenate(waiting)

    def _places(self, step: int) -> Iterator[tuple[int, int]]:
        """Where in the files the rows are, in the order of the images; one ends at each `step` of them."""
        begins, taken = dict[int, tuple[int, int]](), 0
        for first, _, rows in self.pieces:
            begins[first] = taken, rows
            taken += rows
        done = 0
        for _, (place, rows) in sorted(begins.items()):
            end = place + rows
            while place < end:
                count = min(end - place, step - done % step)
                yield place, count
                place, done = place + count, done + count

    def _note(self, numbers: tuple[int, int], rows: int) -> None:
        """Where the rows of further images are."""
        self.rows += rows
        first, last = numbers
        if self.pieces and self.pieces[-1][1] == first:
            first, _, before = self.pieces.pop()
            rows += before
        self.pieces.append((first, last, rows))

    def _size(self, blob: str) -> int:
        """Bytes of a row."""
        return 4 * int(np.prod(self.shapes[blob]))

    def _begin(self) -> None:
        self.save()
        for blob, path in self._files.items():
            self._open[blob] = self._closing.enter_context(path.open("ab"))
            self._open[blob].truncate(self.rows * self._size(blob))  # rows that were not saved

    def _resume(self) -> None:
        try:
            state = json.loads((self.folder / STATE).read_bytes())
            found = dict(state["key"])
            pieces = [(int(first), int(last), int(rows)) for first, last, rows in state["pieces"]]
            done = Ranges.read([(first, last) for first, last, _ in pieces])
            failed = [Failed(int(number), str(reason)) for number, reason in state["failed"]]
            rows = len(done) - len(failed)
            sizes = {blob: os.path.getsize(self._files[blob]) for blob in self.shapes if rows}
            whole = all(size >= rows * self._size(blob) for blob, size in sizes.items())
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{self.folder} holds no unfinished features ({type(error).__name__}): {ADVICE}."
            ) from None
        need_same(self._key, found, f"{self.folder} holds unfinished features")
        if not whole:
            raise InputError(f"{self.folder} is damaged, rows are missing: {ADVICE}.")
        self.pieces, self.done, self.failed, self.rows = pieces, done, failed, rows
