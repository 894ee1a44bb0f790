"""Find images in folders and everything below them, archives, videos, lists, and at addresses."""

from __future__ import annotations

import os
import re
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath
from typing import NamedTuple

from caffe_viz.errors import InputError, near
from caffe_viz.files import is_address
from caffe_viz.images.addresses import Address
from caffe_viz.images.lists import LISTS, is_list, read_list
from caffe_viz.images.open_files import OpenContainers, OpenFiles
from caffe_viz.images.videos import SUFFIXES as VIDEOS
from caffe_viz.images.videos import Video, chosen, frames_of, is_video

SUFFIXES = frozenset(
    {
        ".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".npy", ".pbm", ".pgm", ".png",
        ".ppm", ".tga", ".tif", ".tiff", ".webp",
    }
)  # fmt: skip


class ImageEntry(NamedTuple):
    """One image: its printable name, its size in bytes (0: unknown), its file.

    `member` is its name inside an archive, `frame` its number in a video, `told` the label from a list.
    """

    name: str
    size: int
    file: Path | Address
    member: str = ""
    frame: int | None = None
    told: str = ""


def found(source: str | Path, opened: OpenContainers, root: Path | None) -> Iterator[ImageEntry]:
    """Return the images of a source, as `ImageCollection.of`; raises as that."""
    if is_address(source):
        yield from _at_address(Address(str(source)), opened)
    else:
        yield from _on_disk(Path(source), opened, root)


def _on_disk(source: Path, opened: OpenContainers, root: Path | None) -> Iterator[ImageEntry]:
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
        yield from _in_archive(file, source.relative_to(file).as_posix(), opened.archives)
    elif file != source or not source.exists():
        raise InputError(f"{source}: there is no such image, folder or archive.")
    else:
        yield _entry(source)


def _in_folder(folder: Path) -> Iterator[ImageEntry]:
    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename} cannot be read: {error.strerror}.") from None

    for place, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(filter(_shown, folders), key=_in_order)
        images = sorted((name for name in files if _shown(name) and _image(name)), key=_in_order)
        yield from (_entry(Path(place) / name) for name in images)


def _at_address(source: Address, opened: OpenContainers) -> Iterator[ImageEntry]:
    kind = PurePath(source.path.partition("#")[0]).suffix.lower()
    if kind in LISTS | VIDEOS:
        what = "a list of images" if kind in LISTS else "a video"
        raise InputError(f"{source}: {what} is read from disk only: download it first.")
    archive = source.archive()
    if archive is not None and not archive[0].info().folder:
        yield from _in_archive(archive[0], archive[1] or ".", opened.archives)
        return
    info = source.info()
    if not info.folder:
        yield ImageEntry(printable(str(source)), info.size, source)
        return
    for name, size in _in_order_of_disks(source.files()):
        file = source.below(name)
        yield ImageEntry(printable(str(file)), size, file)


def _in_order_of_disks(files: Iterable[tuple[str, int]]) -> Iterator[tuple[str, int]]:
    """Sort the images among files with sizes like `_in_folder`: files come before folders."""
    folders = defaultdict[str, list[tuple[str, int]]](list)
    for name, size in files:
        folder, _, file = name.rpartition("/")
        if _shown(file) and _image(file):
            folders[folder].append((file, size))
    parts = {folder: folder.split("/") for folder in folders}
    for folder in sorted(folders, key=lambda one: [*map(_in_order, parts[one])]):
        if all(map(_shown, parts[folder])):
            for file, size in sorted(folders[folder], key=lambda one: _in_order(one[0])):
                yield f"{folder}/{file}" if folder else file, size


def _in_archive(
    file: Path | Address, inside: str, archives: OpenFiles[zipfile.ZipFile]
) -> Iterator[ImageEntry]:
    """The images in the folder `inside`, or the image of that name; "." means all."""
    try:
        archive = archives[file]
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{file} cannot be read as an archive: {error}.") from None
    members = [
        x for x in archive.infolist() if all(map(_shown, x.filename.split("/"))) and _image(x.filename)
    ]
    chosen = [x for x in members if inside in (".", x.filename) or x.filename.startswith(f"{inside}/")]
    if members and not chosen:
        tops = {x.filename.split("/")[0] for x in members}
        raise InputError(f"{file} has no images in {inside!r}.{near(inside, sorted(tops))}")
    for x in sorted(chosen, key=lambda x: [*map(_in_order, x.filename.split("/"))]):
        yield ImageEntry(printable(f"{file}/{x.filename}"), x.file_size, file, x.filename)


def _in_video(file: Path, frames: str, videos: OpenFiles[Video]) -> Iterator[ImageEntry]:
    video = videos[file]
    name, size = printable(str(file)), file.stat().st_size
    for number in chosen(file, frames, len(video)):
        yield ImageEntry(f"{name}#{number}", size, file, frame=number)


def _entry(path: Path) -> ImageEntry:
    try:
        return ImageEntry(printable(str(path)), path.stat().st_size, path)
    except OSError:  # a dangling link: reading it will say so
        return ImageEntry(printable(str(path)), 0, path)


def _in_order(name: str) -> tuple[list[str | int], str]:
    """The sort key of a name: frame2 comes before frame10."""
    parts = re.split(r"([0-9]{1,300})", name)
    return [int(part) if n % 2 else part for n, part in enumerate(parts)], name


def _image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES


def _shown(part: str) -> bool:
    return not part.startswith((".", "__MACOSX"))


def printable(name: str) -> str:
    """Return `name` without characters that a terminal would obey or could not show."""
    if name.isprintable():
        return name
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
