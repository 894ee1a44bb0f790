"""Write files whole or not at all; recognise addresses given instead of files."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path
from typing import Any

from caffe_viz.errors import InputError, RunError


def write_whole(path: str | Path, data: bytes) -> None:
    """Write `data` under another name beside `path`, then rename it; missing folders are created.

    Raises:
        RunError: It cannot be written; an old file is kept.
    """
    with whole(path) as partial:
        partial.write_bytes(data)


@contextmanager
def whole(path: str | Path, folder: Path | None = None) -> Iterator[Path]:
    """Yield where to write a file or folder, which is renamed to `path` at the end; folders are created.

    That is in `folder`, by default the one of `path`; both must be on one disk.

    Raises:
        RunError: It cannot be written; an old file is kept.
    """
    path = Path(path)
    # Not tempfile's: its files are for the owner alone, and stay so when they are renamed.
    partial = (folder or path.parent) / f".{path.name}.{secrets.token_hex(4)}.part"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            os.replace(partial, path)
        finally:
            remove(partial)
    except OSError as error:
        raise cannot_write(path, error) from None


def cannot_write(path: str | Path, error: OSError) -> RunError:
    """Return the error that `path` cannot be written."""
    of_folder = isinstance(error, FileExistsError | NotADirectoryError)  # as its folder was made
    why = f"{Path(path).parent} is no folder" if of_folder else error.strerror or error
    return RunError(f"{path} cannot be written: {why}.")


def remove(path: Path) -> None:
    """Delete a file, or a folder with its contents, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def need_no_stream(path: Path) -> None:
    """Raise InputError if `path` is a pipe or a device, which cannot be read twice and may never end."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise InputError(f"{path} is a pipe or a device: save what it gives as a file, and give that.")


def need_folder(path: str | Path) -> None:
    """Raise RunError, before a long run, if `path` is not a folder that can be written or created."""
    path = Path(path).absolute()
    there = next(p for p in (path, *path.parents) if p.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise RunError(f"{path} cannot be written: {there} is not a folder that you can write to.")


def h5py() -> Any:
    """The library, which only those need who have HDF5 files.

    Raises:
        RunError: it is not installed.
    """
    try:
        import h5py as library
    except ImportError:
        raise RunError("HDF5 needs h5py: pip install h5py.") from None
    return library


ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def is_address(given: object) -> bool:
    """Whether it is a text such as s3://bucket/folder. A Path never is: what files name stays in folders.

    >>> is_address("https://host/cat.jpg"), is_address(Path("https://host/cat.jpg")), is_address("cat.jpg")
    (True, False, False)
    """
    return isinstance(given, str) and ADDRESS.match(given) is not None


def shown(given: object) -> str:
    """Return a path, or an address without possible passwords; it may begin with NAME=.

    >>> shown("https://me:secret@host/cat.jpg?signature=secret"), shown("sftp://me:secret@host/cat.jpg")
    ('https://host/cat.jpg', 'sftp://me@host/cat.jpg')
    """
    kind, sign, rest = str(given).partition("://")
    if kind.lower().endswith(("http", "https")):
        rest = re.sub(r"^[^/?#]*@", "", rest).partition("?")[0]
    return kind + sign + re.sub(r"^([^/:@]*):[^/@]*@", r"\1@", rest)


LONGEST = 100  # characters of a part of a name: file systems take 255 bytes


def sha256(path: str | Path) -> str:
    """The digest of a file's content, in hex. Raises OSError if it cannot be read."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while part := stream.read(2**22):
            digest.update(part)
    return digest.hexdigest()


def safe_name(name: str) -> str:
    """`name` of a layer or blob, which may hold anything, as a part of a file's name.

    >>> safe_name("inception_3a/1x1"), safe_name("../../etc")
    ('inception_3a-1x1', '-..-etc')
    """
    safe = re.sub(r"[^\w.-]", "-", name, flags=re.ASCII).lstrip(".") or "-"
    if len(safe) <= LONGEST:
        return safe
    return f"{safe[: LONGEST - 9]}-{zlib.crc32(name.encode()):08x}"


def stems(names: Iterable[str]) -> Iterator[str]:
    """Yield the name of each file without folder and suffix, like `safe_name`; no two are the same.

    >>> list(stems(["a/cat.png", "b/cat.jpg", "dog.mp4#12"]))
    ['cat', 'cat_1', 'dog_12']
    """
    taken: set[str] = set()
    for name in names:
        file, sign, frame = name.rpartition("#")  # of a video
        first = safe_name(f"{Path(file).stem}_{frame}" if sign and frame.isdecimal() else Path(name).stem)
        stem = next(s for s in chain([first], (f"{first}_{n}" for n in count(1))) if s not in taken)
        taken.add(stem)
        yield stem
