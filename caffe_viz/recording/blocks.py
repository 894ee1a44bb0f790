"""A file that grows by whole blocks: if its writer is killed, every block before the last one is intact.

After the signature, each block is a header (kind, length, two checksums) and its content. Blocks that belong
together are written and flushed as one. A reader stops at the first incomplete block, so it may read while a
writer appends.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from caffe_viz.errors import InputError, RunError

SIGNATURE = b"caffe_viz record 1\n"
HEADER = struct.Struct("<4sQI")  # kind, length and CRC-32 of the content; a CRC-32 of these follows
CHECK = struct.Struct("<I")
SIZE = HEADER.size + CHECK.size


class Block(NamedTuple):
    """The position of a block: its kind, its header's place, length and checksum of its content."""

    kind: str
    at: int
    length: int
    crc: int

    @property
    def end(self) -> int:
        return self.at + SIZE + self.length


@dataclass(frozen=True)
class Blocks:
    """The blocks of `source`, a path or a file in memory; `tail` bytes follow the last complete one.

    `damaged` means that more than a writer's last block is missing: the tail was written whole and then
    changed.
    """

    source: Path | io.BytesIO
    found: tuple[Block, ...]
    tail: int
    damaged: bool

    @classmethod
    def of(cls, source: Path | io.BytesIO) -> Blocks:
        """Find the blocks by their headers.

        Raises:
            InputError: No such file, or not a record.
        """
        file = _opened(source)
        try:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            if file.read(len(SIGNATURE)) != SIGNATURE:
                raise InputError(f"{source} is not the record of a training.")
            found, damaged, at = [], False, len(SIGNATURE)
            while size - at >= SIZE:
                file.seek(at)
                block = _header(file.read(SIZE), at)
                damaged = block is None
                if block is None or block.end > size:
                    break
                found.append(block)
                at = block.end
        finally:
            _close(file)
        return cls(source, tuple(found), size - at, damaged)

    def read(self, block: Block) -> bytes:
        """Read the content of a block.

        Raises:
            InputError: It is damaged, or no longer there.
        """
        file = _opened(self.source)
        try:
            file.seek(block.at + SIZE)
            data = file.read(block.length)
        finally:
            _close(file)
        if len(data) != block.length or zlib.crc32(data) != block.crc:
            raise InputError(f"{self.source} is damaged at byte {block.at:,}.")
        return data


class Appender:
    """Appends blocks to a file on disk or in memory, which no other Appender may have open.

    Raises:
        RunError: The file cannot be written, or another run writes it.
    """

    def __init__(self, target: Path | io.BytesIO, end: int = 0) -> None:
        """Write after byte `end`, where a block ends; what comes later is cut off. 0: a new file."""
        self.target = target
        try:
            self._file: BinaryIO = target if isinstance(target, io.BytesIO) else _for_writing(target, end)
            self._file.truncate(end)
            self._file.seek(end)
            if not end:
                self._write(SIGNATURE)
        except OSError as error:
            raise RunError(f"{target} cannot be written: {error.strerror or error}.") from None

    def append(self, blocks: Iterable[tuple[str, bytes]]) -> None:
        """Write blocks (kind of 4 letters, content); they are on disk when this returns.

        Raises:
            RunError: The disk is full, or gone.
        """
        try:
            self._write(b"".join(packed(kind, data) for kind, data in blocks))
        except OSError as error:
            raise RunError(f"{self.target} cannot be written: {error.strerror or error}.") from None

    def close(self) -> None:
        """Close the file on disk; one in memory stays open."""
        _close(self._file)

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._file.flush()
        if not isinstance(self._file, io.BytesIO):
            os.fsync(self._file.fileno())


def packed(kind: str, data: bytes) -> bytes:
    """A block with its header."""
    header = HEADER.pack(kind.encode("ascii"), len(data), zlib.crc32(data))
    return header + CHECK.pack(zlib.crc32(header)) + data


def _header(data: bytes, at: int) -> Block | None:
    if CHECK.unpack(data[HEADER.size :])[0] != zlib.crc32(data[: HEADER.size]):
        return None
    kind, length, crc = HEADER.unpack(data[: HEADER.size])
    return Block(kind.decode("ascii", "replace"), at, length, crc)


def _opened(source: Path | io.BytesIO) -> BinaryIO:
    if isinstance(source, io.BytesIO):
        return io.BytesIO(source.getvalue())
    try:
        return source.open("rb")
    except FileNotFoundError:
        raise InputError(f"{source}: there is no such record.") from None
    except OSError as error:
        raise InputError(f"{source} cannot be read: {error.strerror}.") from None


def _for_writing(path: Path, end: int) -> BinaryIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("r+b" if end else "xb", buffering=0)
    _lock(file, path)
    return file


def _lock(file: BinaryIO, path: Path) -> None:
    """Keep other runs out until the file is closed, on systems that can."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise RunError(f"{path} is being written by another run: give another name.") from None


def _close(file: BinaryIO) -> None:
    if not isinstance(file, io.BytesIO):
        file.close()
