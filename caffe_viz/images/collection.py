"""Many images as one numbered list: files, folders, archives, videos, on disk or at addresses."""

from __future__ import annotations

import hashlib
import socket
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any

from caffe_viz.errors import CaffeVizError, InputError, RunError
from caffe_viz.files import need_no_stream, shown
from caffe_viz.images.addresses import Address
from caffe_viz.images.arrays import load_array
from caffe_viz.images.discovery import ImageEntry, found
from caffe_viz.images.files import load_image, png_bytes
from caffe_viz.images.open_files import OpenContainers, shared, to_open
from caffe_viz.images.pixels import Floats
from caffe_viz.images.prefetch import Prefetcher

MOST_BYTES = 2**29  # of one file in an archive, which can be far smaller there, or at an address


@dataclass(frozen=True)
class ImageCollection:
    """Images by number. `digest` distinguishes collections by the names and sizes of their files.

    It can be pickled; in another process it reads the same paths and addresses.
    """

    entries: tuple[ImageEntry, ...]
    _opened: OpenContainers = field(default_factory=to_open, repr=False, compare=False)

    @classmethod
    def of(cls, *sources: str | Path, root: Path | None = None) -> ImageCollection:
        """Collect images in the order of `sources`: files, folders, .zip archives, folders in these, videos.

        Of a folder, all images below it are taken, sorted by name with 2 before 10, without hidden ones. A
        folder in an archive is written a.zip/test, frames of a video a.mp4#12 or a.mp4#0:300:10. A list a.txt
        has the path and the label of an image on each line; the paths are relative to `root`, by default the
        list's folder. A text such as s3://bucket/photos.zip/test is an address that fsspec can read.

        Raises:
            InputError: A source does not exist, cannot be read or holds no image.
            RunError: Videos or addresses need a library that is not installed, or an address is unreachable.
        """
        opened = to_open()
        entries: list[ImageEntry] = []
        for source in sources:
            some = tuple(found(source, opened, root))
            if not some:
                raise InputError(
                    f"{shown(source)} holds no images: files such as .jpg, .png, .tif, or arrays .npy. "
                    f"A video is given by its own name."
                )
            entries += some
        if not entries:
            raise InputError("no images are given: give a file, a folder or a .zip.")
        return cls(tuple(entries), opened)

    def __len__(self) -> int:
        return len(self.entries)

    def name(self, number: int) -> str:
        """Return the path of an image, printable."""
        return self.entries[number].name

    def load(self, number: int) -> Floats:
        """Read an image as (H, W, 3) RGB in 0..1, as `load_image`; of a .npy file return its array.

        Raises:
            InputError: It cannot be read.
            RunError: Its address cannot be reached.
        """
        entry = self.entries[number]
        if entry.frame is not None:
            return self._opened.videos[entry.file].frame(entry.frame)
        load = load_array if PurePath(entry.member or entry.name).suffix.lower() == ".npy" else load_image
        if entry.member:
            return load(entry.name, self._bytes(entry))
        if isinstance(entry.file, Path):
            return load(entry.file)
        return load(entry.name, self._ahead(number))

    def content(self, number: int) -> bytes:
        """Read the file of an image without decoding it; a frame of a video becomes a PNG.

        Raises:
            InputError: It cannot be read.
            RunError: Its address cannot be reached.
        """
        entry = self.entries[number]
        if entry.frame is not None:
            return png_bytes(self.load(number))
        if entry.member or isinstance(entry.file, Address):
            return self._bytes(entry)
        need_no_stream(entry.file)
        try:
            return entry.file.read_bytes()
        except OSError as error:
            raise InputError(f"{entry.name} cannot be read: {error.strerror}.") from None

    @property
    def digest(self) -> str:
        """SHA-256 of names and sizes."""
        lines = "".join(f"{entry.size} {entry.name}{_query(entry)}\n" for entry in self.entries)
        return hashlib.sha256(lines.encode()).hexdigest()

    def part(self, first: int, last: int) -> ImageCollection:
        """Return the images `first` to `last` (excluded)."""
        return ImageCollection(self.entries[first:last], self._opened)

    def __reduce__(self) -> tuple[Any, ...]:
        return _elsewhere, (tuple(map(_anywhere, self.entries)),)

    @cached_property
    def _ahead(self) -> Prefetcher:
        return Prefetcher(self._far, len(self) - 1)

    def _far(self, number: int) -> bytes | None:
        """The address of an image, or None if it is on disk."""
        entry = self.entries[number]
        return None if entry.member or isinstance(entry.file, Path) else self._bytes(entry)

    def _bytes(self, entry: ImageEntry) -> bytes:
        """Read a member of an archive, or a file at an address."""
        if entry.size > MOST_BYTES:
            raise InputError(f"{entry.name} takes {entry.size:,} bytes, more than an image should.")
        try:
            if isinstance(entry.file, Address) and not entry.member:
                return entry.file.read(entry.size)
            return self._opened.archives[entry.file].read(entry.member)
        except CaffeVizError:
            raise
        except Exception as error:  # a damaged archive ends in any exception
            reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
            raise InputError(f"{entry.name} cannot be unpacked: {reason}.") from None


class _Elsewhere(ImageCollection):
    """A collection in another process; errors use the names that the images have where they were listed."""

    def load(self, number: int) -> Floats:
        entry = self.entries[number]
        try:
            return super().load(number)
        except InputError as error:
            if entry.member:  # the message has its name already
                raise
            name = entry.name if entry.frame is None else entry.name.removesuffix(f"#{entry.frame}")
            raise InputError(str(error).replace(str(entry.file), name)) from None


def _elsewhere(entries: tuple[ImageEntry, ...]) -> ImageCollection:
    """Rebuild a collection in another process, where all collections share their open files.

    Raises:
        RunError: A folder, an archive or a video is not on this machine.
    """
    local = [(e.file, e.member or e.frame is not None) for e in entries if isinstance(e.file, Path)]
    for place in dict.fromkeys(file if alone else file.parent for file, alone in local):
        if not place.exists():
            raise RunError(f"{place} is not on {socket.gethostname()}: images are read where the net runs.")
    return _Elsewhere(entries, shared())


def _anywhere(entry: ImageEntry) -> ImageEntry:
    return entry._replace(file=entry.file.absolute()) if isinstance(entry.file, Path) else entry


def _query(entry: ImageEntry) -> str:
    """The part of an address that its name leaves out, as it may be a password."""
    return entry.file.query if isinstance(entry.file, Address) else ""
