"""Archives (.zip). Of those at addresses, only the directory and the requested members are fetched."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from threading import Lock

from caffe_viz.errors import InputError, RunError
from caffe_viz.images.addresses import Address

TAIL = 2**16  # bytes at its end that are read first: a small directory lies there
HEAD = 30 + 2**8  # of a member: a fixed part, and room for what its second name and times may take


def open_archive(file: Path | Address) -> zipfile.ZipFile:
    """Open an archive. Raises OSError or BadZipFile if it is none, and otherwise as `Address`."""
    return RemoteZip(file) if isinstance(file, Address) else zipfile.ZipFile(file)


class RemoteZip(zipfile.ZipFile):
    """An archive at an address: opening it takes a few requests, each member one more."""

    def __init__(self, address: Address) -> None:
        self._parts, self._turn = _Parts(address), Lock()
        super().__init__(self._parts)

    def read(self, name: str | zipfile.ZipInfo, pwd: bytes | None = None) -> bytes:
        """As ZipFile.read. Raises RunError if the archive can no longer be reached."""
        member = name if isinstance(name, zipfile.ZipInfo) else self.getinfo(name)
        length = HEAD + 4 * len(member.orig_filename) + len(member.extra) + member.compress_size
        with self._turn:
            try:
                self._parts.fetch(member.header_offset, length)
                return super().read(member, pwd)
            except InputError as error:  # of all members, not of this one
                raise RunError(str(error)) from None


class _Parts(io.RawIOBase):
    """A file at an address of which one part is held; what lies elsewhere is read when it is needed."""

    def __init__(self, address: Address) -> None:
        self._address, self._file = address, address.opened()
        if not (size := address.info().size):
            raise InputError(f"{address} is empty, or the server does not tell its size: download it first.")
        self._size = size
        self._place = self._first = 0
        self._held = b""
        self.fetch(self._size - TAIL, TAIL)

    def fetch(self, first: int, count: int) -> None:
        """Hold the part of `count` bytes from `first` on."""
        self._first, last = max(first, 0), min(first + count, self._size)
        self._held = self._address.part(self._file, self._first, last)
        if len(self._held) != last - self._first:
            raise RunError(f"{self._address} has changed, or ended early, while it was read.")

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        if self._place < 0:
            raise OSError("before the file")
        return self._place

    def read(self, count: int | None = -1) -> bytes:
        left = max(self._size - self._place, 0)
        count = left if count is None or count < 0 else min(count, left)
        if not self._first <= self._place <= self._place + count <= self._first + len(self._held):
            self.fetch(self._place, max(count, TAIL))
        begin = self._place - self._first
        self._place += count
        return self._held[begin : begin + count]
