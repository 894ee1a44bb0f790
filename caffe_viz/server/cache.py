"""Answers by what was asked: the latest in memory, and in a folder for the next time."""

from __future__ import annotations

from pathlib import Path

from caffe_viz.server.messages import Given

IN_MEMORY, ON_DISK = 256_000_000, 1_000_000_000  # bytes


class Cache:
    """Up to `limit` bytes of answers, and up to `on_disk` bytes in `folder`; the least used ones go first."""

    def __init__(self, limit: int = IN_MEMORY, folder: Path | None = None, on_disk: int = ON_DISK) -> None:
        raise NotImplementedError

    @property
    def size(self) -> int:
        """Bytes in memory."""
        raise NotImplementedError

    def get(self, key: str) -> Given | None:
        """The answer that was put under `key`, or None."""
        raise NotImplementedError

    def put(self, key: str, given: Given) -> None:
        """Keep an answer; one that is too large, or that the folder cannot take, is left out."""
        raise NotImplementedError
