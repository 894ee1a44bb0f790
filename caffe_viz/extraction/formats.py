"""Write rows of blobs as files: NumPy's npz, HDF5, CSV, and LMDB as Caffe's own tool writes it."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from caffe_viz import files
from caffe_viz.errors import InputError, RunError
from caffe_viz.extraction import databases
from caffe_viz.extraction.extraction import Rows, Shape

NAMES = "names"  # of the array that has the images' names
FEW = 4096  # names that are written at once
Shapes = Mapping[str, Shape]


class Format(NamedTuple):
    """How rows are written to a path, and a check of that before a long run."""

    write: Callable[[Path, Rows], None]
    check: Callable[[Path, Shapes], None]


def need_format(path: Path, shapes: Shapes) -> None:
    """Check before a long run that rows of `shapes` can be written to `path` at its end.

    Raises:
        InputError: A suffix that is not in FORMATS, or blobs that the format cannot hold.
        RunError: A library is missing.
    """
    _format(path).check(path, shapes)


def write(path: Path, rows: Rows, folder: Path | None = None) -> None:
    """Write a file, whole or not at all, by the suffix of `path`; it is made in `folder`, as `files.whole`.

    Raises:
        InputError, RunError: As `need_format`, or it cannot be written.
    """
    need_format(path, rows.shapes)
    with files.whole(path, folder) as partial:
        _format(path).write(partial, rows)


def _format(path: Path) -> Format:
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"{path}: the name must end in {', '.join(FORMATS)}.")
    return FORMATS[path.suffix.lower()]


def _need_free_name(path: Path, shapes: Shapes) -> None:
    if NAMES in shapes:
        raise InputError(
            f"blob {NAMES!r}: {path} uses this name for the names of the images: write an .lmdb or a .csv."
        )


def _npz(path: Path, rows: Rows) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        kind = f"<U{max(map(len, rows.names))}"
        names = (np.array(some, kind) for some in _few(rows.names))
        _member(archive, NAMES, kind, (len(rows.names),), names)
        for blob, shape in rows.whole.items():
            _member(archive, blob, "<f4", shape, rows.parts(blob))


def _member(
    archive: zipfile.ZipFile, name: str, kind: str, shape: Shape, parts: Iterable[NDArray[Any]]
) -> None:
    """An array in an archive; without the time, so that the same rows make the same file."""
    with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
        head = {"descr": kind, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_2_0(member, head)
        for part in parts:
            member.write(part.astype(kind, copy=False).tobytes())


def _few(names: Sequence[str]) -> Iterator[Sequence[str]]:
    """Names, some at once: an array of them all takes more memory than they do."""
    return (names[first : first + FEW] for first in range(0, len(names), FEW))


def _need_hdf5(path: Path, shapes: Shapes) -> None:
    files.h5py()
    _need_free_name(path, shapes)


def _hdf5(path: Path, rows: Rows) -> None:
    h5py = files.h5py()
    with Patient(path) as stream:
        try:
            with h5py.File(stream, "w") as file:
                _dataset(file, NAMES, h5py.string_dtype(), (len(rows.names),), _few(rows.names))
                for blob, shape in rows.whole.items():
                    _dataset(file, blob, np.float32, shape, rows.parts(blob))
        except (RuntimeError, ValueError) as error:  # such as two blobs a and a/b
            reason = " ".join(str(error).split())
            raise stream.failure or RunError(f"HDF5 cannot hold this: {reason}.") from None
        if stream.failure:
            raise stream.failure


def _dataset(file: Any, name: str, kind: Any, shape: Shape, parts: Iterable[Any]) -> None:
    values, first = file.create_dataset(name, shape, kind), 0
    for part in parts:
        values[first : first + len(part)] = part
        first += len(part)


class Patient(io.FileIO):
    """A file that reports write errors only at the end: HDF5, if told at once, ends the process."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")
        self.failure: OSError | None = None

    def write(self, data: Any, /) -> int:
        left = memoryview(data).cast("B")
        size = len(left)
        try:
            while self.failure is None and left:
                left = left[super().write(left) :]
        except OSError as error:
            self.failure = error
        return size

    def truncate(self, size: int | None = None, /) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.failure = self.failure or error
            return size or 0


def _csv(path: Path, rows: Rows) -> None:
    """A line for each image: its name, then all values, in columns such as fc7.12 and pool5.3.0.1."""
    columns = [
        ".".join(map(str, (blob, *place)))
        for blob, shape in rows.shapes.items()
        for place in np.ndindex(shape)
    ]
    names, line = iter(rows.names), ",%.9g" * len(columns) + "\n"
    with open(path, "w", encoding="utf-8") as file:
        file.write(",".join(map(_quoted, ["name", *columns])) + "\n")
        for parts in zip(*map(rows.parts, rows.shapes), strict=True):
            values = np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)
            for row, name in zip(values.tolist(), names, strict=False):
                file.write(_quoted(name) + line % tuple(row))


def _quoted(text: str) -> str:
    """A cell of a table; see RFC 4180."""
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"') else text


FORMATS: Mapping[str, Format] = {
    ".npz": Format(_npz, _need_free_name),
    ".h5": Format(_hdf5, _need_hdf5),
    ".hdf5": Format(_hdf5, _need_hdf5),
    ".lmdb": Format(databases.write, databases.check),
    ".csv": Format(_csv, lambda path, shapes: None),
}
