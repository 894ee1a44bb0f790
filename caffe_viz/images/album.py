"""Many images as one numbered list: files, folders with all below them, archives, videos; read one by one."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from caffe_viz.errors import InputError, RunError, near
from caffe_viz.files import need_no_stream
from caffe_viz.images.arrays import load_array
from caffe_viz.images.files import load_image, png_bytes
from caffe_viz.images.lists import is_list, read_list
from caffe_viz.images.pixels import Floats
from caffe_viz.images.videos import Video, chosen, frames_of, is_video

SUFFIXES = frozenset(
    {
        ".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".npy", ".pbm", ".pgm", ".png",
        ".ppm", ".tga", ".tif", ".tiff", ".webp",
    }
)  # fmt: skip
MOST_BYTES = 2**29  # of one file in an archive, which can be far smaller there


class Entry(NamedTuple):
    """One image: its printable name, its size in bytes, its file.

    `member` is its name inside if that is an archive, `frame` its number if that is a video; `told` is the
    label that a list gives it.
    """

    name: str
    size: int
    file: Path
    member: str = ""
    frame: int | None = None
    told: str = ""


Held = TypeVar("Held")


class _Files(dict[Path, Held], Generic[Held]):
    """Files that hold several images, opened when they are needed."""

    def __init__(self, opened: Callable[[Path], Held]) -> None:
        super().__init__()
        self._opened = opened

    def __missing__(self, path: Path) -> Held:
        self[path] = self._opened(path)
        return self[path]


class _Opened(NamedTuple):
    archives: _Files[zipfile.ZipFile]
    videos: _Files[Video]


def _to_open() -> _Opened:
    return _Opened(_Files(zipfile.ZipFile), _Files(Video))


@dataclass(frozen=True)
class Album:
    """Images by number. `digest` tells albums apart by the names and sizes of their files.

    It can be pickled: in another process it reads the same paths.
    """

    entries: tuple[Entry, ...]
    _opened: _Opened = field(default_factory=_to_open, repr=False, compare=False)

    @classmethod
    def of(cls, *sources: str | Path, root: Path | None = None) -> Album:
        """The images of `sources`, in order: files, folders, .zip archives, folders in those, videos.

        A folder's images are those below it with a usual suffix, in the order of their names, 2 before 10;
        hidden ones are left out. A folder in an archive is a.zip/test; some frames of a video, where not all
        are meant, a.mp4#12 or a.mp4#0:300:10. A list, a.txt, has an image's path and its label in each line;
        the paths are in `root`, by default the list's folder.

        Raises:
            InputError: a source does not exist, cannot be read or holds no image.
            RunError: videos need a library that is not installed.
        """
        opened = _to_open()
        entries: list[Entry] = []
        for source in map(Path, sources):
            found = tuple(_found(source, opened, root))
            if not found:
                raise InputError(
                    f"{source} holds no images: files such as .jpg, .png, .tif, or arrays .npy. "
                    f"A video is given by its own name."
                )
            entries += found
        if not entries:
            raise InputError("no images are given: give a file, a folder or a .zip.")
        return cls(tuple(entries), opened)

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
        if entry.frame is not None:
            return self._opened.videos[entry.file].frame(entry.frame)
        data = self._unpacked(entry) if entry.member else None
        if Path(entry.member or entry.file).suffix.lower() == ".npy":
            return load_array(entry.file if data is None else entry.name, data)
        return load_image(entry.file if data is None else entry.name, data)

    def content(self, number: int) -> bytes:
        """The file of an image, not decoded; of a frame of a video a PNG.

        Raises:
            InputError: it cannot be read.
        """
        entry = self.entries[number]
        if entry.frame is not None:
            return png_bytes(self.load(number))
        if entry.member:
            return self._unpacked(entry)
        need_no_stream(entry.file)
        try:
            return entry.file.read_bytes()
        except OSError as error:
            raise InputError(f"{entry.name} cannot be read: {error.strerror}.") from None

    @property
    def digest(self) -> str:
        """SHA-256 over names and sizes."""
        lines = "".join(f"{entry.size} {entry.name}\n" for entry in self.entries)
        return hashlib.sha256(lines.encode()).hexdigest()

    def part(self, first: int, last: int) -> Album:
        """The images from `first` on, before `last`."""
        return Album(self.entries[first:last], self._opened)

    def __reduce__(self) -> tuple[Any, ...]:
        return _elsewhere, (tuple(entry._replace(file=entry.file.absolute()) for entry in self.entries),)

    def _unpacked(self, entry: Entry) -> bytes:
        if entry.size > MOST_BYTES:
            raise InputError(f"{entry.name} takes {entry.size:,} bytes unpacked, more than an image should.")
        try:
            return self._opened.archives[entry.file].read(entry.member)
        except Exception as error:  # a damaged archive ends in any exception
            reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
            raise InputError(f"{entry.name} cannot be unpacked: {reason}.") from None


class _Elsewhere(Album):
    """An album in another process; its errors say the names that the images have where they were listed."""

    def load(self, number: int) -> Floats:
        entry = self.entries[number]
        try:
            return super().load(number)
        except InputError as error:
            name = entry.name if entry.frame is None else entry.name.removesuffix(f"#{entry.frame}")
            raise InputError(str(error).replace(str(entry.file), name)) from None


def _elsewhere(entries: tuple[Entry, ...]) -> Album:
    """An album in another process, in which all albums share the files that they open.

    Raises:
        RunError: a folder, an archive or a video is not on this machine.
    """
    alone = (e.file.parent if e.frame is None and not e.member else e.file for e in entries)
    for place in dict.fromkeys(alone):
        if not place.exists():
            raise RunError(f"{place} is not on {socket.gethostname()}: images are read where the net runs.")
    shared = (_Files[Any](partial(_open_here, kind)) for kind in (zipfile.ZipFile, Video))
    return _Elsewhere(entries, _Opened(*shared))


def _open_here(kind: Callable[[Path], Any], path: Path) -> Any:
    return _shared(kind, path, *_version(path))


@lru_cache(maxsize=8)
def _shared(kind: Callable[[Path], Any], path: Path, changed: int, size: int) -> Any:
    return kind(path)


def _version(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def _found(source: Path, opened: _Opened, root: Path | None) -> Iterator[Entry]:
    if is_list(source):
        yield from (_entry(path)._replace(told=label) for path, label in read_list(source, root, SUFFIXES))
        return
    if source.is_dir():
        yield from _in_folder(source)
        return
    if video := (source, ":") if is_video(source) else frames_of(source):
        yield from _in_video(*video, opened.videos)
        return
    file = next((p for p in (source, *source.parents) if p.exists()), source)
    if file.is_file() and zipfile.is_zipfile(file):
        yield from _in_archive(source, file, opened.archives)
    elif file != source or not source.exists():
        raise InputError(f"{source}: there is no such image, folder or archive.")
    else:
        yield _entry(source)


def _in_folder(folder: Path) -> Iterator[Entry]:
    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename} cannot be read: {error.strerror}.") from None

    for place, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(filter(_shown, folders), key=_in_order)
        images = sorted((name for name in files if _shown(name) and _image(name)), key=_in_order)
        yield from (_entry(Path(place) / name) for name in images)


def _in_archive(source: Path, file: Path, archives: _Files[zipfile.ZipFile]) -> Iterator[Entry]:
    try:
        archive = archives[file]
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
    for x in sorted(chosen, key=lambda x: [*map(_in_order, x.filename.split("/"))]):
        yield Entry(printable(f"{file}/{x.filename}"), x.file_size, file, x.filename)


def _in_video(file: Path, frames: str, videos: _Files[Video]) -> Iterator[Entry]:
    video = videos[file]
    name, size = printable(str(file)), file.stat().st_size
    for number in chosen(file, frames, len(video)):
        yield Entry(f"{name}#{number}", size, file, frame=number)


def _entry(path: Path) -> Entry:
    try:
        return Entry(printable(str(path)), path.stat().st_size, path)
    except OSError:  # a dangling link: reading it will say so
        return Entry(printable(str(path)), 0, path)


def _in_order(name: str) -> tuple[list[str | int], str]:
    """What names are sorted by: frame2 stands before frame10."""
    parts = re.split(r"([0-9]{1,300})", name)
    return [int(part) if n % 2 else part for n, part in enumerate(parts)], name


def _image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES


def _shown(part: str) -> bool:
    return not part.startswith((".", "__MACOSX"))


def printable(name: str) -> str:
    """`name` without what a terminal would obey or could not show."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
