"""Files that hold several images, archives and videos: opened once, when they are needed."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from caffe_viz.errors import InputError, RunError
from caffe_viz.images.addresses import Address
from caffe_viz.images.archives import open_archive
from caffe_viz.images.videos import Video

Held = TypeVar("Held")


class OpenFiles(dict[Any, Held], Generic[Held]):
    """Open files by Path or Address."""

    def __init__(self, opened: Callable[[Any], Held]) -> None:
        super().__init__()
        self._opened = opened

    def __missing__(self, file: Any) -> Held:
        self[file] = self._opened(file)
        return self[file]


class OpenContainers(NamedTuple):
    """The open archives and videos of a collection."""

    archives: OpenFiles[zipfile.ZipFile]
    videos: OpenFiles[Video]


def to_open() -> OpenContainers:
    """Return containers of which none is open yet."""
    return OpenContainers(OpenFiles(open_archive), OpenFiles(Video))


def shared() -> OpenContainers:
    """Return the containers that all collections of this process share; changed files are opened again."""
    kinds = (open_archive, Video)
    return OpenContainers(*(OpenFiles[Any](partial(_open_here, kind)) for kind in kinds))


def _open_here(kind: Callable[[Any], Any], file: Path | Address) -> Any:
    try:
        return _shared(kind, file, _version(file))
    except InputError as error:
        if isinstance(file, Address):  # it was there when the images were listed
            raise RunError(str(error)) from None
        raise


@lru_cache(maxsize=8)
def _shared(kind: Callable[[Any], Any], file: Path | Address, version: object) -> Any:
    return kind(file)


def _version(file: Path | Address) -> object:
    if isinstance(file, Address):
        return file.info().version
    found = file.stat()
    return found.st_mtime_ns, found.st_size
