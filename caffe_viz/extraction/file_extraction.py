"""Extract into a file, and continue after an interruption."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from caffe_viz.errors import InputError
from caffe_viz.extraction.extraction import Extraction, Rows
from caffe_viz.extraction.formats import need_format, write
from caffe_viz.extraction.spool import Spool
from caffe_viz.resuming import SAVE_EVERY, RunLock
from caffe_viz.streaming import Failed, Progress, need_one
from caffe_viz.tasks import WorkerDeath


class FileExtraction:
    """Extract into the file `path`: iterate for its Progress, then call `write`.

    Until then, what is done is kept in the folder `spool.folder` beside it, and a later extraction continues
    from there.

    Raises:
        InputError: No such format, blobs that it cannot hold, or rows of another extraction in the folder.
        RunError: The format needs a library that is not installed, or another run uses the same file.
    """

    def __init__(self, extraction: Extraction, path: Path) -> None:
        need_format(path, extraction.shapes)
        self.extraction, self.path = extraction, path
        self._claim = RunLock(path.with_name(f".{path.name}.lock"), path)  # what is there stays as it is read
        try:
            self.spool = Spool(path.with_name(f"{path.name}.unfinished"), extraction.key, extraction.shapes)
        except BaseException:
            self._claim.release()
            raise

    def __iter__(self) -> Iterator[Progress]:
        spool, total, saved = self.spool, len(self.extraction.collection), time.monotonic()
        whole = False
        try:
            for batch in self.extraction.batches(spool.done):
                if isinstance(batch, WorkerDeath):
                    yield Progress(spool.seen, total, str(batch))
                    continue
                spool.append(batch)
                if time.monotonic() - saved > SAVE_EVERY:
                    spool.save()
                    saved = time.monotonic()
                yield batch.progress(spool.seen, total)
            whole = True
        finally:
            with ExitStack() as ending:
                if not whole:
                    ending.callback(self._claim.release)
                ending.callback(spool.close)
                spool.save()

    @property
    def seen(self) -> int:
        """How many images are done."""
        return self.spool.seen

    @property
    def begun(self) -> str:
        """How far an earlier extraction came, in words; "" if there is none."""
        return f"{self.kept}: resuming after {self.seen:,} images" if self.seen else ""

    @property
    def kept(self) -> Path:
        """Where unfinished work is kept."""
        return self.spool.folder

    @property
    def failed(self) -> list[Failed]:
        """The images that have no row."""
        return self.spool.failed

    @property
    def rows(self) -> int:
        """The number of rows of each array."""
        return self.spool.rows

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the images that have a row, in order."""
        failed = {number for number, _ in self.spool.failed}
        return tuple(self.extraction.collection.name(n) for first, last in self.spool.done.ends
                     for n in range(first, last) if n not in failed)  # fmt: skip

    def write(self) -> None:
        """Write the file.

        Raises:
            InputError: No image could be used.
            RunError: It cannot be written.
        """
        spool = self.spool
        with self._claim:
            try:
                need_one([one.reason for one in spool.failed], spool.seen)
            except InputError:
                spool.remove()  # there is nothing to go on from
                raise
            write(self.path, Rows(self.names, spool.shapes, spool.parts), spool.folder)
            spool.remove()
