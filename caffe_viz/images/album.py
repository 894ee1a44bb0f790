"""Many images as one numbered list: files, folders with all that is below them, archives; read one by one."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from caffe_viz.errors import InputError, near
from caffe_viz.images.files import load_image
from caffe_viz.images.pixels import Floats

SUFFIXES = frozenset(
    {
        ".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".npy", ".pbm", ".pgm", ".png",
        ".ppm", ".tga", ".tif", ".tiff", ".webp",
    }
)  # fmt: skip
MOST_BYTES = 2**29  # of one file in an archive, which can be far smaller there


class Entry(NamedTuple):
    """One image: its printable name, its size in bytes, its file, its name inside if that is an archive."""

    name: str
    size: int
    file: Path
    member: str = ""


@dataclass(frozen=True)
class Album:
    """Images by number. `digest` tells albums apart by the names and sizes of their files."""

    entries: tuple[Entry, ...]
    _archives: dict[Path, zipfile.ZipFile] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, *sources: str | Path) -> Album:
        """The images of `sources`, in order: files, folders, .zip archives, folders in those (a.zip/test).

        A folder's images are those below it with a usual suffix, sorted by name; hidden ones are left out.

        Raises:
            InputError: a source does not exist, cannot be read or holds no image.
        """
        archives: dict[Path, zipfile.ZipFile] = {}
        entries: list[Entry] = []
        for source in map(Path, sources):
            found = tuple(_found(source, archives))
            if not found:
                raise InputError(f"{source} holds no images: files such as .jpg, .png, .tif, or arrays .npy.")
            entries += found
        if not entries:
            raise InputError("no images are given: give a file, a folder or a .zip.")
        return cls(tuple(entries), archives)

    def __len__(self) -> int:
        return len(self.entries)

    def name(self, number: int) -> str:
        """The path of an image, printable."""
        return self.entries[number].name

    def load(self, number: int) -> Floats:
        """(H, W, 3) RGB in 0..1 as of `load_image`; of a file .npy its array.

        Raises:
            InputError: it cannot be read.
        """
        entry = self.entries[number]
        data = self._bytes(entry) if entry.member else None
        if Path(entry.member or entry.file).suffix.lower() == ".npy":
            return load_array(entry.file if data is None else entry.name, data)
        return load_image(entry.file if data is None else entry.name, data)

    @property
    def digest(self) -> str:
        """SHA-256 over names and sizes."""
        lines = "".join(f"{entry.size} {entry.name}\n" for entry in self.entries)
        return hashlib.sha256(lines.encode()).hexdigest()

    def _bytes(self, entry: Entry) -> bytes:
        if entry.size > MOST_BYTES:
            raise InputError(f"{entry.name} takes {entry.size:,} bytes unpacked, more than an image should.")
        try:
            return self._archives[entry.file].read(entry.member)
        except Exception as error:  # a damaged archive ends in any exception
            reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
            raise InputError(f"{entry.name} cannot be unpacked: {reason}.") from None


def _found(source: Path, archives: dict[Path, zipfile.ZipFile]) -> Iterator[Entry]:
    if source.is_dir():
        yield from _in_folder(source)
        return
    file = next((p for p in (source, *source.parents) if p.exists()), source)
    if file.is_file() and zipfile.is_zipfile(file):
        yield from _in_archive(source, file, archives)
    elif file != source or not source.exists():
        raise InputError(f"{source}: there is no such image, folder or archive.")
    else:
        yield _entry(source)


def _in_folder(folder: Path) -> Iterator[Entry]:
    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename} cannot be read: {error.strerror}.") from None

    for place, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if _shown(name))
        yield from (_entry(Path(place) / name) for name in sorted(files) if _shown(name) and _image(name))


def _in_archive(source: Path, file: Path, archives: dict[Path, zipfile.ZipFile]) -> Iterator[Entry]:
    try:
        archive = archives[file] if file in archives else archives.setdefault(file, zipfile.ZipFile(file))
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{file} cannot be read as an archive: {error}.") from None
    inside = source.relative_to(file).as_posix()
    members = [
        x for x in archive.infolist() if all(map(_shown, x.filename.split("/"))) and _image(x.filename)
    ]
    chosen = [x for x in members if inside in (".", x.filename) or x.filename.startswith(f"{inside}/")]
    if members and not chosen:
        tops = {x.filename.split("/")[0] for x in members}
        raise InputError(f"{file} has no images in {inside!r}.{near(inside, sorted(tops))}")
    for x in sorted(chosen, key=lambda x: x.filename.split("/")):
        yield Entry(printable(f"{file}/{x.filename}"), x.file_size, file, x.filename)


def _entry(path: Path) -> Entry:
    try:
        return Entry(printable(str(path)), path.stat().st_size, path)
    except OSError:  # a dangling link: reading it will say so
        return Entry(printable(str(path)), 0, path)


def _image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES


def _shown(part: str) -> bool:
    return not part.startswith((".", "__MACOSX"))


def printable(name: str) -> str:
    """`name` without what a terminal would obey or could not show."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)


def load_array(name: str | Path, data: bytes | None = None) -> Floats:
    """The array of a file .npy, or of its content `data`, as float32.

    Raises:
        InputError: it cannot be read, or is no array of numbers.
    """
    try:
        source = io.BytesIO(data) if data is not None else name
        return np.asarray(np.load(source, allow_pickle=False), np.float32)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{name} cannot be read as an array: {error}.") from None
