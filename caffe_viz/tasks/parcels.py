"""What is sent to other machines, stored by content: a parcel is a file named by its SHA-256.

A work is one parcel. Weights in it are parcels of their own, so that they are sent once for many works, and
not at all to a machine that has the same file.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from platformdirs import user_cache_dir

from caffe_viz.files import cannot_write, sha256, write_whole
from caffe_viz.netdef import NetParameter
from caffe_viz.network import Network

LARGE = 2**16  # bytes of a message that is worth a parcel
KEPT = 8 * 2**30  # bytes of all parcels on a machine, of which the ones used last stay
CHUNK = 2**20
OWN = frozenset({"_said", "folder"})  # fields of a network that mean something to its own process only


class Absent(Exception):
    """A parcel that this machine does not have."""

    def __init__(self, digest: str) -> None:
        super().__init__(digest)
        self.digest = digest


@dataclass(frozen=True)
class Parcel:
    """A packed value: its digest, and by digest the files of it and of all that it refers to."""

    digest: str
    files: Mapping[str, Path]


def packed(value: Any) -> Parcel:
    """Pack a value. Raises RunError if the cache folder cannot be written."""
    stream = io.BytesIO()
    packer = _Packer(stream)
    packer.dump(value)
    digest = _keep(stream.getvalue())
    _forget_old()
    return Parcel(digest, {**packer.files, digest: folder() / digest})


def unpacked(digest: str) -> Any:
    """Unpack a parcel. Raises Absent if it, or one that it refers to, is not on this machine."""
    path = folder() / digest
    try:
        data = path.read_bytes()
    except OSError:
        raise Absent(digest) from None
    if hashlib.sha256(data).hexdigest() != digest:
        raise Absent(digest)
    _use(path)
    return _Unpacker(io.BytesIO(data)).load()


def folder() -> Path:
    """The folder for parcels on this machine."""
    return Path(user_cache_dir("caffe_viz")) / "cluster"


def parts(path: Path) -> Iterator[bytes]:
    """Split a file into the parts that are sent one by one."""
    with path.open("rb") as file:
        while part := file.read(32 * CHUNK):
            yield part


def receive(digest: str, sender: str, first: int, data: bytes, last: bool) -> None:
    """Store a part of a parcel, from byte `first` on; after the last one the parcel is checked.

    Raises:
        RunError: There is no room for it; nothing of it is left.
    """
    path = folder() / digest
    partial = path.with_name(f"{digest}.{sender}.coming")  # others may send the same
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("r+b" if first else "wb") as file:
            file.seek(first)
            file.write(data)
        if last and sha256(partial) == digest:
            os.replace(partial, path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise cannot_write(path, error) from None
    if last:
        _forget_old()


class _Packer(pickle.Pickler):
    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream, protocol=pickle.HIGHEST_PROTOCOL)
        self.files: dict[str, Path] = {}

    def persistent_id(self, value: Any) -> Any:
        """What replaces weights in the pickle: files as they are, messages as bytes."""
        if isinstance(value, _File):
            path = value.path.absolute()
            digest = sha256(path)
            self.files[digest] = path
            return digest, str(path)
        if isinstance(value, NetParameter) and value.ByteSize() > LARGE:
            digest = _keep(value.SerializeToString(deterministic=True))
            self.files[digest] = folder() / digest
            return digest, ""
        return None

    def reducer_override(self, value: Any) -> Any:
        return (_network, (_fields(value),)) if isinstance(value, Network) else NotImplemented


class _Unpacker(pickle.Unpickler):
    def persistent_load(self, name: Any) -> Any:
        digest, file = name
        if not file:
            return NetParameter.FromString(_here(digest).read_bytes())
        own = Path(file)
        return own if own.is_file() and _known(own) == digest else _here(digest)


@dataclass(frozen=True)
class _File:
    """A file of weights, which may have another name elsewhere."""

    path: Path


def _fields(network: Network) -> dict[str, Any]:
    """The fields that rebuild a network elsewhere; its prototxt is read here."""
    out = {f.name: getattr(network, f.name) for f in fields(network) if f.name not in OWN}
    out["prototxt"] = network.given
    for name in ("layers", "python_path"):
        paths = [out[name]] if isinstance(out[name], str | Path) else out[name]
        out[name] = [str(Path(path).absolute()) for path in paths]
    if isinstance(network.weights, str | Path):
        out["weights"] = _File(Path(network.weights))
    return out


class _Checked(Network):
    """A network that was checked before it was sent."""

    def check(self) -> None:
        pass


def _network(given: dict[str, Any]) -> Network:
    return _Checked(**given)


def _here(digest: str) -> Path:
    path = folder() / digest
    if not path.is_file() or _known(path) != digest:
        raise Absent(digest)
    _use(path)
    return path


def _keep(data: bytes) -> str:
    digest = hashlib.sha256(data).hexdigest()
    path = folder() / digest
    if not path.is_file() or _known(path) != digest:
        write_whole(path, data)
    _use(path)
    return digest


def _known(path: Path) -> str:
    """The digest of a file, computed again only if the file has changed."""
    found = path.stat()
    return _digest_of(path, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=64)
def _digest_of(path: Path, changed: int, size: int) -> str:
    return sha256(path)


def _use(path: Path) -> None:
    with suppress(OSError):
        os.utime(path)


def _forget_old() -> None:
    """Delete the least recently used parcels if there are too many."""
    with suppress(OSError):
        found = sorted(folder().iterdir(), key=lambda path: -path.stat().st_mtime_ns)
        left = KEPT
        for path in found:
            left -= path.stat().st_size
            if left < 0:
                path.unlink()
