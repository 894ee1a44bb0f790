"""Files at addresses such as s3://bucket/cat.jpg, through fsspec, which handles protocols and credentials."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from caffe_viz.errors import CaffeVizError, InputError, RunError, near
from caffe_viz.files import shown

Found = TypeVar("Found")

PACKAGES = {"http": "aiohttp", "https": "aiohttp", "s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs"}
WAITS = (0.5, 2.0)  # seconds before an address is tried again, by HTTP: the others try again by themselves
DEEPEST = 16  # pages of links below a page of links
# S3's codes of a refusal of one object; other codes are about who asks, and so about all objects.
REFUSED = frozenset({"403", "AccessDenied", "AllAccessDisabled", "Forbidden", "InvalidObjectState"})
LATER = frozenset({401, 407, 408, 425, 429})  # statuses of HTTP that say nothing of the file


class Info(NamedTuple):
    """What is at an address: a folder, or a file's size in bytes (0: unknown), and what changes with it."""

    folder: bool
    size: int
    version: str


@dataclass(frozen=True, slots=True)
class Address:
    """A file or a folder at an address. Its text shows no passwords.

    All methods raise InputError if it does not exist or may not be read, and RunError if that cannot be found
    out because the network or the server fails, or because a library is missing.
    """

    url: str = field(repr=False)

    def __str__(self) -> str:
        return shown(self.url)

    @property
    def kind(self) -> str:
        """The protocol, such as s3 or https."""
        return self.url.partition("://")[0].lower()

    @property
    def path(self) -> str:
        """The address without an HTTP query, which tells nothing about the kind of file."""
        return self.url.partition("?")[0] if self._http else self.url

    @property
    def query(self) -> str:
        """The part that `path` leaves out."""
        return self.url[len(self.path) :]

    def archive(self) -> tuple[Address, str] | None:
        """The first part that ends in .zip, and the rest behind it; None if there is no such part."""
        host = "[^/]*/" if self._http else ""
        pattern = rf"(.+?://{host}.*?[^/]\.zip)(?:/+(.*))?$"
        found = re.match(pattern, self.path, re.IGNORECASE | re.DOTALL)
        return found and (Address(found[1] + self.query), (found[2] or "").strip("/"))

    def info(self) -> Info:
        """What is there."""

        def look(fs: Any, path: str) -> Info:
            found = fs.info(path)
            page = self._http and (self.path.endswith("/") or found.get("mimetype") == "text/html")
            folder = page or found["type"] == "directory"
            return Info(folder, found.get("size") or 0, repr(sorted(found.items(), key=str)))

        return self._reached(look)

    def files(self) -> list[tuple[str, int]]:
        """The files below a folder, in any order: relative names and sizes in bytes (0: unknown).

        A folder of HTTP is a page of links.
        """
        if self._http:
            return list(self._linked())

        def find(fs: Any, path: str) -> list[tuple[str, int]]:
            base = f"{path.rstrip('/')}/"
            found = fs.find(path, detail=True)
            fs.invalidate_cache()  # of a million files it is large
            return [
                (name[len(base) :], x.get("size") or 0) for name, x in found.items() if x["type"] == "file"
            ]

        return self._reached(find)

    def below(self, name: str) -> Address:
        """A file in this folder."""
        return Address(f"{self.path.rstrip('/')}/{name}{self.query}")

    def read(self, size: int = 0) -> bytes:
        """Read the whole file; if you pass its `size`, S3 is not asked for it again."""
        part = {"start": 0, "end": size + 1} if size and not self._http else {}
        data: bytes = self._reached(lambda fs, path: fs.cat_file(path, **part))
        if part and len(data) > size:
            raise InputError(f"{self} has changed since it was listed.")
        return data

    def opened(self) -> Any:
        """Open the file to read parts of it: each `read` requests just those bytes."""
        return self._reached(lambda fs, path: fs.open(path, "rb", cache_type="none"))

    def part(self, file: Any, first: int, last: int) -> bytes:
        """Bytes `first` to `last` (excluded) of the `opened` file."""

        def read(fs: Any, path: str) -> bytes:
            try:
                file.seek(first)
                data: bytes = file.read(last - first)
            except ValueError:  # of HTTP, where the server would send all of it
                raise InputError(f"{self}: the server sends whole files only: download it first.") from None
            return data

        return self._reached(read)

    @property
    def _http(self) -> bool:
        return self.kind in ("http", "https")

    def _linked(self, depth: int = DEEPEST) -> Iterator[tuple[str, int]]:
        """The files that a page of links and those below it name; links to elsewhere are not followed."""
        base = f"{self.path.rstrip('/')}/"
        page = Address(base + self.query)
        for link in page._reached(lambda fs, path: fs.ls(path, detail=True)):
            name = link["name"].removeprefix(base).removeprefix("./")
            if not name or name.startswith((".", "/")) or "/." in name or "?" in name or "://" in name:
                continue
            if not name.endswith("/"):
                yield name, link["size"] or 0
            elif depth:
                yield from ((name + inner, size) for inner, size in self.below(name)._linked(depth - 1))

    def _reached(self, do: Callable[[Any, str], Found]) -> Found:
        """Return what `do(file system, path there)` finds; HTTP is tried again."""
        fs, path = self._told(lambda: _system(self))
        for wait in WAITS if self._http else ():
            with suppress(RunError):
                return self._told(lambda: do(fs, path))
            time.sleep(wait)
        return self._told(lambda: do(fs, path))

    def _told(self, do: Callable[[], Found]) -> Found:
        """Return what `do` finds, and turn each file system's exceptions into ours."""
        try:
            return do()
        except CaffeVizError:
            raise
        except Exception as error:
            cause = _cause(error) if self._http else error
            if _of_file(cause):
                raise InputError(f"{self}: {_refusal(cause)}.") from None
            if isinstance(cause, ValueError) and not isinstance(
                cause, OSError
            ):  # it is no address of its kind
                raise InputError(f"{self} cannot be read: {self._reason(cause)}.") from None
            raise RunError(f"{self} cannot be reached: {self._reason(cause)}.") from None

    def _reason(self, error: Exception) -> str:
        """In one line, and without passwords."""
        status, message = getattr(error, "status", None), getattr(error, "message", "")
        text = f"{status} {message}" if isinstance(status, int) else str(error)
        words = " ".join(text.replace(self.url, str(self)).split())
        return re.sub(r"\S+://\S+", lambda found: shown(found[0]), words).rstrip(".") or type(error).__name__


def _system(address: Address) -> tuple[Any, str]:
    """The file system, one for all addresses of one kind and place in a process, and the path there."""
    kind = address.kind
    package = PACKAGES.get(kind, "")
    try:
        from fsspec.core import url_to_fs
        from fsspec.registry import available_protocols, registry
    except ImportError:
        needed = f"'caffe-viz[remote]' {package}".rstrip()
        raise RunError(f"{kind}:// needs libraries: pip install {needed}.") from None
    if kind not in (kinds := [*available_protocols(), *registry]):
        raise InputError(f"{address}: fsspec knows no addresses {kind}://.{near(kind, kinds)}")
    try:
        fs, path = url_to_fs(address.url)
    except ImportError as error:
        how = f"pip install {package}" if package else " ".join(str(error).split()).rstrip(".")
        raise RunError(f"{kind}:// needs a library: {how}.") from None
    return fs, path


def _cause(error: Exception) -> Exception:
    """The real cause: HTTP's file system reports every error as a missing file."""
    while isinstance(error, FileNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return error


def _of_file(error: Exception) -> bool:
    """Whether it is about the file, so that others may be read all the same."""
    if isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError):
        return True
    if isinstance(error, PermissionError):
        response = getattr(error.__cause__, "response", {})  # botocore's
        return response.get("Error", {}).get("Code", "403") in REFUSED
    status = getattr(error, "status", None) or getattr(error, "code", None)
    if isinstance(status, int):
        return 400 <= status < 500 and status not in LATER
    return str(error).startswith("Forbidden")  # gcsfs: an OSError


def _refusal(error: Exception) -> str:
    status = getattr(error, "status", None)
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        return "there is no such file or folder"
    return f"it may not be read ({status})" if isinstance(status, int) else "it may not be read"
