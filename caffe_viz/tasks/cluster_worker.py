"""What a process of a cluster does: a piece of a work, which it loads once."""

from __future__ import annotations

import pickle
import socket
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Lock
from typing import Any

import caffe_viz
from caffe_viz.errors import CaffeVizError, RunError, no_memory
from caffe_viz.tasks.cancellation import CancelWatch
from caffe_viz.tasks.parcels import Absent, folder, unpacked
from caffe_viz.tasks.stopping import stop
from caffe_viz.tasks.work import Work

LOADED = 2  # works that a process keeps, with their nets
TELL_EVERY = 1.0  # seconds between two reports that are sent at once


@dataclass(frozen=True)
class MissingParcel:
    """A parcel is missing on the `machine` of the process at `address`."""

    digest: str
    machine: str
    address: str


@dataclass(frozen=True)
class Failed:
    """The exception of a piece, which would fail elsewhere too."""

    error: CaffeVizError


@dataclass(frozen=True)
class TooLittleMemory:
    """The process at `address` has too little memory for the piece; another may have enough."""

    address: str


@dataclass(frozen=True)
class TakenBack:
    """The scheduler took the piece back; what was done of it does not count."""


Answer = MissingParcel | Failed | TooLittleMemory | TakenBack | tuple[Any, ...]

_turn = Lock()  # nets are not thread-safe
_whose = Lock()  # the thread that may be asked to stop
_loaded: OrderedDict[str, tuple[Work[Any, Any], Callable[[Any], Iterator[Any]]]] = OrderedDict()
_stopped: set[str] = set()
_now = ""  # the run of the piece under way


def do(run: str, version: str, digest: str, piece: bytes) -> Answer:
    """Do a piece of the work in a parcel, for a run, and return the reports."""
    from distributed import get_worker

    global _now
    address = get_worker().address
    if version != caffe_viz.__version__:
        own = caffe_viz.__version__
        return Failed(RunError(f"worker {address} has caffe_viz {own}, and this is {version}."))
    with _turn:
        if run in _stopped:
            return ()
        with _whose:
            _now, stop.asked = run, False
        try:
            with CancelWatch() as wanted:
                work, reports_of = _work(digest)
                found = tuple(work.gathered(reports_of(pickle.loads(piece)), _teller(run)))
            return TakenBack() if wanted.left else found
        except Absent as absent:
            return MissingParcel(absent.digest, machine(), address)
        except CaffeVizError as error:
            return Failed(error)
        except Exception as error:
            if no_memory(error):
                _loaded.clear()
                return TooLittleMemory(address)
            return Failed(RunError(f"worker {address}: {traceback.format_exc()}"))
        finally:
            with _whose:
                _now = ""


def end(run: str) -> None:
    """End a run: the piece in progress stops with what it has. Called while a piece is being done."""
    _stopped.add(run)
    with _whose:
        if _now == run:
            stop.ask()


def forget_submissions(dask_scheduler: Any) -> None:
    """Called in the scheduler: delete dask's records of single submissions, which it would keep forever."""
    for span in getattr(dask_scheduler.extensions.get("spans"), "spans", {}).values():
        notes = (getattr(span, "_metadata", None) or {}).get("collections", [])
        notes[:] = [note for note in notes if note != {"type": "Future"}]


def machine() -> str:
    """Identify the processes that share their parcels."""
    return f"{socket.gethostname()}:{folder()}"


def _work(digest: str) -> tuple[Work[Any, Any], Callable[[Any], Iterator[Any]]]:
    if digest not in _loaded:
        work: Work[Any, Any] = unpacked(digest)
        _loaded[digest] = work, work.open()
        while len(_loaded) > LOADED:
            _loaded.popitem(last=False)
    _loaded.move_to_end(digest)
    return _loaded[digest]


def _teller(run: str) -> Callable[[Any], None]:
    """Return the function that sends reports to the client while the piece is done, not too many."""
    from distributed import get_worker

    worker = get_worker()
    key, told = worker.get_current_task(), time.monotonic()

    def tell(report: Any) -> None:
        nonlocal told
        if time.monotonic() - told > TELL_EVERY:
            told = time.monotonic()
            worker.log_event(run, {"piece": key, "report": pickle.dumps(report)})

    return tell
