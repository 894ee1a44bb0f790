"""A zarr store of rows that any number of processes fill.

It is in zarr's format 2, which versions 2 and 3 of the library read and write, without a compressor: equal
rows are equal bytes. The library writes a chunk whole or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_viz.errors import CaffeVizError, InputError, RunError
from caffe_viz.extraction.extraction import Shape
from caffe_viz.files import cannot_write, is_address, shown
from caffe_viz.resuming import ADVICE, need_same
from caffe_viz.streaming import Failed

NAMES, REASONS, STATUS = OWN = ("names", "reasons", "status")  # arrays beside those of the blobs
THERE, PASSED_OVER = 1, 2  # in status; 0: not yet
RUN = "caffe_viz"  # the attribute with what the store was begun with
MARKS = {".zgroup", ".zattrs"}  # files of a group


@dataclass(frozen=True)
class Store:
    """Rows of blobs with these `shapes`, for `images` images; in a folder, or at an `address` for fsspec.

    There is an array (N, ...) for each blob, NaN where an image has no row; and (N,) `names`, `status`, and
    the `reasons` of images that were skipped, else "". All are cut into chunks of `piece` images. One process
    writes a chunk, its `status` last. `key` identifies the extraction.
    """

    address: str
    key: Mapping[str, Any]
    shapes: Mapping[str, Shape]
    images: int
    piece: int

    def __str__(self) -> str:
        return shown(self.address)

    def begun(self) -> Store:
        """Create what is missing of it, with the `piece` that it was started with.

        Raises:
            InputError: There is something else, or the rows of another run; says which.
            RunError: It cannot be written, or a library is missing.
        """
        with self._trouble():
            names = self._listed()
            if names and not names & MARKS:
                raise self._strange()
            try:
                return self._made()
            except (KeyError, TypeError, ValueError):  # of files that are no zarr's
                raise self._strange() from None

    def status(self) -> NDArray[np.uint8]:
        """The status of all images, (N,)."""
        with self._trouble():
            return np.asarray(self._mine()[STATUS][:])

    def failed(self, first: int = 0, last: int | None = None) -> list[Failed]:
        """The images first..last that were skipped."""
        last = self.images if last is None else last
        with self._trouble():
            group, out = self._mine(), list[Failed]()
            numbers = first + np.flatnonzero(group[STATUS][first:last] == PASSED_OVER)
            for begin in np.unique(numbers // self.piece) * self.piece:
                reasons = group[REASONS][begin : begin + self.piece]
                some = numbers[(numbers >= begin) & (numbers < begin + self.piece)]
                out += [Failed(int(number), str(reasons[number - begin])) for number in some]
        return out

    def has(self, first: int, last: int) -> bool:
        """Whether the images first..last are done."""
        with self._trouble():
            return bool(self._mine()[STATUS][first:last].all())

    def put(
        self,
        first: int,
        rows: Mapping[str, NDArray[np.float32]],
        names: Sequence[str],
        failed: Iterable[Failed],
    ) -> None:
        """Write the `rows` (n, ...) of a chunk by blob, from the image `first` on.

        Raises:
            InputError: The store belongs to another run by now.
            RunError: It cannot be written.
        """
        last, reasons = first + len(names), [""] * len(names)
        status = np.full(len(names), THERE, np.uint8)
        for number, reason in failed:
            reasons[number - first], status[number - first] = reason, PASSED_OVER
        with self._trouble():
            group = self._mine()
            for blob, values in rows.items():
                group[blob][first:last] = values
            group[NAMES][first:last] = _texts(names)
            if any(reasons):
                group[REASONS][first:last] = _texts(reasons)
            group[STATUS][first:last] = status

    @property
    def _run(self) -> dict[str, Any]:
        return {"key": self.key, "piece": self.piece}

    def _group(self, mode: str) -> Any:
        """As `_library().open_group`."""
        if not _is_new():
            return _library().open_group(self.address, mode=mode)
        more = {"attributes": {RUN: self._run}} if mode == "a" else {}  # whoever sees the group sees them
        return _library().open_group(self.address, mode=mode, zarr_format=2, **more)

    def _made(self) -> Store:
        group = self._opened()
        own = group.attrs[RUN]
        self._need_same(own)
        if type(own["piece"]) is not int or own["piece"] < 1:
            raise self._strange()
        made = replace(self, piece=own["piece"])
        for blob, shape in self.shapes.items():
            made._need_array(group, blob, shape, np.float32, float("nan"))
        made._need_array(group, NAMES, (), str, "")
        made._need_array(group, REASONS, (), str, "")
        made._need_array(group, STATUS, (), np.uint8, 0)
        return made

    def _opened(self) -> Any:
        """The group, made if need be. Another process may be making it: its attributes, then its arrays."""
        try:
            group = self._group("a")
        except _library().errors.ContainsGroupError:
            group = self._group("r+")
        if RUN not in group.attrs:
            if self._listed() - MARKS:
                group = self._group("r+")
                if RUN not in group.attrs:
                    raise self._strange()
            else:
                group.attrs[RUN] = self._run
        return group

    def _mine(self) -> Any:
        """The group, read again: others may have changed it."""
        try:
            group = self._group("r+")
        except (FileNotFoundError, ValueError) as error:
            if not is_address(self.address) and not Path(self.address).exists():
                raise RunError(
                    f"{self} does not exist where the net runs: give a folder that all machines share, or an "
                    f"address such as s3://bucket/features.zarr."
                ) from None
            raise RunError(f"{self} cannot be read: {self._reason(error)}.") from None
        self._need_same(group.attrs.get(RUN))
        return group

    def _need_same(self, own: Any) -> None:
        if not isinstance(own, Mapping) or not isinstance(own.get("key"), Mapping):
            raise self._strange()
        need_same(self.key, own["key"], f"{self} holds features")

    def _need_array(self, group: Any, name: str, shape: Shape, kind: Any, fill: Any) -> None:
        """Another process may just have made it."""
        shape, chunks = (self.images, *shape), (self.piece, *shape)
        form = {"zarr_format": 2} if _is_new() else {}
        try:
            array = group.full(
                name=name, shape=shape, chunks=chunks, dtype=kind, fill_value=fill, compressor=None, **form
            )
        except _library().errors.ContainsArrayError:
            array = group[name]
        if (array.shape, array.chunks) != (shape, chunks):
            raise self._strange()

    def _listed(self) -> set[str]:
        """The names of what is in the folder; raises InputError if it is a file."""
        from fsspec.core import url_to_fs

        system, path = url_to_fs(self.address)
        system.invalidate_cache()
        if system.isfile(path):
            raise self._strange()
        there = system.ls(path, detail=False) if system.exists(path) else []
        names = {name.rstrip("/").rpartition("/")[2] for name in there}
        return {name for name in names if not name.endswith(".partial")}  # not yet written

    def _strange(self) -> InputError:
        return InputError(f"{self} holds something other than features: {ADVICE}.")

    @contextmanager
    def _trouble(self) -> Iterator[None]:
        try:
            yield
        except CaffeVizError:
            raise
        except ImportError as error:  # of what an address needs
            raise RunError(f"{self} needs a library: {self._reason(error)}.") from None
        except Exception as error:  # each service has errors of its own
            if is_address(self.address):
                raise RunError(f"{self} cannot be written: {self._reason(error)}.") from None
            if isinstance(error, OSError):
                raise cannot_write(self.address, error) from None
            raise

    def _reason(self, error: Exception) -> str:
        """In one line."""
        words = " ".join(str(error).replace(self.address, str(self)).split())
        return words.rstrip(".") or type(error).__name__


def need_names(address: str, blobs: Iterable[str]) -> None:
    """Raise InputError if arrays cannot be named like the blobs."""
    paths = [tuple(blob.split("/")) for blob in blobs]
    for path in paths:
        blob = "/".join(path)
        if path[0] in OWN:
            raise InputError(f"blob {blob!r}: {address} holds something else under this name; write an .npz.")
        within = any(path == other[: len(path)] for other in paths if other != path)
        if within or any(not part or part.startswith((".", "__")) or not part.isprintable() for part in path):
            raise InputError(f"blob {blob!r}: zarr does not allow this name; write an .npz.")


def located(path: str | os.PathLike[str]) -> str:
    """Return the address of a store, the same for each process."""
    address = os.fspath(path).removeprefix("file://")
    return address if is_address(address) else os.path.abspath(address)


def _texts(texts: Iterable[str]) -> NDArray[Any]:
    """As arrays of texts take them; names of files need not be valid Unicode."""
    return np.array([text.encode(errors="backslashreplace").decode() for text in texts], object)


def _is_new() -> bool:
    """Whether the library is of version 3, where Python 3.10 has 2."""
    return int(_library().__version__.split(".")[0]) > 2


def _library() -> Any:
    try:
        import fsspec  # noqa: F401  # zarr is installed without it
        import zarr
    except ImportError:
        raise RunError("zarr needs a library: pip install 'caffe-viz[zarr]'.") from None
    return zarr
