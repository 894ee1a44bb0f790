"""Cache answers: the latest in memory, and in a folder for the next time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from caffe_viz.errors import RunError
from caffe_viz.files import write_whole
from caffe_viz.server.lru import LRUCache
from caffe_viz.server.messages import EncodedAnswer, Picture

IN_MEMORY, ON_DISK = 256_000_000, 1_000_000_000  # bytes
ENDING = ".answer"
TIDY = 0.9  # of the bytes on disk, to which a full folder is emptied


class Cache:
    """Answers: up to `limit` bytes in memory, `on_disk` bytes in `folder`; the least used ones go first."""

    def __init__(self, limit: int = IN_MEMORY, folder: Path | None = None, on_disk: int = ON_DISK) -> None:
        self.limit = limit
        self._answers: LRUCache[EncodedAnswer] = LRUCache(limit, lambda given: given.size)
        self._folder = None if folder is None else _Folder(folder, on_disk)

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return self._answers.size

    def get(self, key: str) -> EncodedAnswer | None:
        """Return the answer stored under `key`, or None."""
        given = self._answers.find(key)
        if given is None and self._folder is not None and (given := self._folder.get(key)) is not None:
            self._remember(key, given)
        return given

    def put(self, key: str, given: EncodedAnswer) -> None:
        """Store an answer, unless it is too large or the folder cannot hold it."""
        self._remember(key, given)
        if self._folder is not None:
            self._folder.put(key, given)

    def _remember(self, key: str, given: EncodedAnswer) -> None:
        if given.size > self.limit:
            self._answers.drop(key)
        else:
            self._answers.put(key, given)


class _Folder:
    """Answers as files, including those of earlier servers."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder, self._limit = folder, limit
        self._size = sum(size for _, size, _ in self._files())

    def get(self, key: str) -> EncodedAnswer | None:
        path = self._path(key)
        try:
            given = _read(path.read_bytes())
            path.touch()
        except (OSError, ValueError, KeyError, TypeError):  # not there, or damaged
            return None
        return given

    def put(self, key: str, given: EncodedAnswer) -> None:
        written = _written(given)
        if len(written) <= self._limit:
            with suppress(RunError):  # a full disk: it is computed again
                write_whole(self._path(key), written)
                self._size += len(written)
                if self._size > self._limit:
                    self._tidy()

    def _path(self, key: str) -> Path:
        return self._folder / f"{hashlib.sha256(key.encode()).hexdigest()}{ENDING}"

    def _tidy(self) -> None:
        """Delete the oldest, some more than necessary: looking at all files takes time."""
        files = sorted(self._files())
        self._size = sum(size for _, size, _ in files)
        for _, size, path in files:
            if self._size <= TIDY * self._limit:
                break
            path.unlink(missing_ok=True)
            self._size -= size

    def _files(self) -> Iterator[tuple[int, int, Path]]:
        """Last use, size and path of each file; other servers may delete some meanwhile."""
        for path in self._folder.glob(f"*{ENDING}"):
            with suppress(OSError):
                found = path.stat()
                yield found.st_mtime_ns, found.st_size, path


def _written(given: EncodedAnswer) -> bytes:
    """A digest of the rest, a line of JSON, the pictures and the data."""
    pictures = [{**asdict(one), "data": len(one.data)} for one in given.pictures]
    about = json.dumps({"facts": given.facts, "ending": given.ending, "pictures": pictures}).encode()
    body = b"".join([about, b"\n", *(one.data for one in given.pictures), given.data])
    return hashlib.sha256(body).digest() + body


def _read(data: bytes) -> EncodedAnswer:
    """What `_written` wrote. Raises ValueError, KeyError or TypeError for anything else."""
    digest, body = data[:32], data[32:]
    if hashlib.sha256(body).digest() != digest:
        raise ValueError("damaged")
    line, _, rest = body.partition(b"\n")
    about, pictures, start = json.loads(line), [], 0
    for one in about["pictures"]:
        end = start + one["data"]
        pictures.append(Picture(**{**one, "data": rest[start:end]}))
        start = end
    return EncodedAnswer(about["facts"], tuple(pictures), rest[start:], about["ending"])
