"""Images by id: those from the start of the server, and uploads."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from os.path import basename
from pathlib import Path
from typing import NamedTuple

from caffe_viz.errors import InputError
from caffe_viz.images import ImageCollection
from caffe_viz.images.discovery import ImageEntry, printable
from caffe_viz.report.context import short_names
from caffe_viz.server.lru import LRUCache
from caffe_viz.server.messages import Source

UPLOADS = 256 * 2**20  # bytes that uploads may take
LONGEST = 200  # characters of a name


class Unknown(InputError):
    """No image has this id, or no longer."""


class Listed(NamedTuple):
    """An image of the strip, read on demand."""

    number: int
    name: str
    stamp: tuple[int, int]


@dataclass(frozen=True)
class Known:
    """An image's id and name."""

    id: str
    name: str


class ImageLibrary:
    """`collection` is the strip; of uploads, the latest `limit` bytes are kept.

    The id of an upload is the SHA-256 of its bytes, that of an image of the strip a digest of its file's
    name, size and time, so that the strip need not be read at the start.
    """

    def __init__(self, collection: ImageCollection | None, limit: int = UPLOADS) -> None:
        self._collection = collection
        entries = () if collection is None else collection.entries
        names = short_names([entry.name for entry in entries])
        listed = [Listed(k, names[k], _stamp(entry)) for k, entry in enumerate(entries)]
        self._listed = {_id(entries[one.number], one.stamp): one for one in listed}
        self._uploads: LRUCache[Source] = LRUCache(limit, lambda source: len(source.data))

    @property
    def strip(self) -> Sequence[Known]:
        """The images from the start of the server, in order."""
        return [Known(id, one.name) for id, one in self._listed.items()]

    def add(self, name: str, data: bytes) -> Known:
        """Store an upload; the least recently used ones are dropped."""
        known = Known(hashlib.sha256(data).hexdigest(), _clean(name))
        self._uploads.put(known.id, Source(known.name, data))
        return known

    def source(self, id: str) -> Source:
        """Return the bytes of an image. Raises Unknown, or InputError if the file has changed or is gone."""
        if (upload := self._uploads.find(id)) is not None:
            return upload
        if id not in self._listed or self._collection is None:
            raise Unknown("the server does not have this image, or not any more: drop or choose it again.")
        number, name, stamp = self._listed[id]
        if _stamp(self._collection.entries[number]) != stamp:
            raise InputError(f"{name} has changed since the server began: start it again.")
        return Source(name, self._collection.content(number))


def _stamp(entry: ImageEntry) -> tuple[int, int]:
    """What changes with the content of a file; at an address, what the server said at the start."""
    if not isinstance(entry.file, Path):
        return (entry.size, 0)
    try:
        found = entry.file.stat()
    except OSError:  # reading it will report that
        return (0, 0)
    return (found.st_size, found.st_mtime_ns)


def _id(entry: ImageEntry, stamp: tuple[int, int]) -> str:
    file = entry.file.absolute() if isinstance(entry.file, Path) else f"{entry.file}{entry.file.query}"
    told = (str(file), entry.member, entry.frame, stamp)
    return hashlib.sha256(repr(told).encode()).hexdigest()


def _clean(name: str) -> str:
    """Return the name of a file without folders, in printable characters."""
    return printable(basename(name.replace("\\", "/"))).strip()[-LONGEST:] or "image"
