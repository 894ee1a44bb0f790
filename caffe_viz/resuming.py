"""What an interrupted run over many images must have in common with the run that continues it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import finalize

from caffe_viz.errors import InputError, RunError
from caffe_viz.files import cannot_write, sha256
from caffe_viz.images import ImageCollection, Labels
from caffe_viz.netdef import NetParameter
from caffe_viz.network import Network
from caffe_viz.streaming import Runner

ADVICE = "delete it to start again, or give another output"
SAVE_EVERY = 5.0  # seconds


def identity(part: Network, collection: ImageCollection, runner: Runner) -> dict[str, Any]:
    """Return what determines the numbers of a run, for JSON; errors use these names."""
    net = part.message.SerializeToString(deterministic=True)
    how = part.preprocess
    return {
        "net": hashlib.sha256(net).hexdigest(),
        "weights": _digest(part.weights),
        "images": collection.digest,
        "inputs": part.inputs_digest,
        "preprocessing": [repr(replace(how, labels=Labels())), how.mean.digest],
        "engine": [runner.engine, part.device, runner.batch],
    }


def need_same(key: Mapping[str, Any], found: Mapping[str, Any], what: str) -> None:
    """Raise InputError if `found`, the key with which `what` was saved, differs; says in what."""
    others = [name for name in key if json.loads(json.dumps(key[name])) != found.get(name)]
    if others:
        raise InputError(f"{what} with other {', '.join(others)}: {ADVICE}.")


class RunLock:
    """Makes sure that no other run works on `what` until `release` or the end of the process; holds `file`.

    If the file system has no locks, like an old NFS, nothing is locked.

    Raises:
        RunError: Another run works on it, or `file` cannot be written.
    """

    def __init__(self, file: Path, what: str | Path) -> None:
        self._file = file
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._close = finalize(self, os.close, _locked(file))  # where nobody releases it too
        except BlockingIOError:
            raise RunError(
                f"another run is working on {what}: wait until it ends, or give another output."
            ) from None
        except OSError as error:
            raise cannot_write(file, error) from None

    def release(self) -> None:
        """Another run may begin."""
        if self._close.alive:
            with suppress(OSError):
                self._file.unlink()  # while it is held: who opens it after that has another one
            self._close()

    def __enter__(self) -> RunLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _locked(file: Path) -> int:
    """A descriptor of `file`, locked as far as that can be; raises BlockingIOError where another one is."""
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(descriptor)
            if os.path.samestat(os.fstat(descriptor), os.stat(file)):
                return descriptor
        except FileNotFoundError:  # its holder has just removed it
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    try:
        import fcntl
    except ImportError:  # of Unix only
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:  # no locks there
        pass


def _digest(weights: str | Path | NetParameter | None) -> str:
    if isinstance(weights, str | Path):
        return sha256(weights)
    held = b"" if weights is None else weights.SerializeToString(deterministic=True)
    return hashlib.sha256(held).hexdigest()
