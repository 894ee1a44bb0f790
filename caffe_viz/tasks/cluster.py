"""Do pieces in the processes of a dask cluster."""

from __future__ import annotations

import pickle
import queue
import threading
import time
import uuid
from asyncio import CancelledError
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import CancelledError as FuturesCancelledError
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Generic

import caffe_viz
from caffe_viz.errors import InputError, RunError
from caffe_viz.tasks import cluster_worker, parcels
from caffe_viz.tasks.client import LOOK_EVERY, ClusterClient
from caffe_viz.tasks.work import FatalPieceError, Piece, Report, Work, WorkerDeath

ENDING = 5.0  # seconds in which workers hear that they may end; one that hangs would never
ROUNDS = 5  # of the deaths that the scheduler allows a piece, where others die meanwhile
NOTED = 1000  # submissions of which the scheduler has notes, at most; half a kilobyte each
SMALL = 4  # workers with too little memory for a piece, after which no other tries
SENT = 3  # times that a machine is sent the same
STOP_WAIT = 20.0  # seconds in which pieces that are asked to stop hand over what they have


@dataclass(frozen=True)
class Cluster:
    """The processes to which a dask `client` is connected.

    Raises:
        InputError: It is not a connected client, or an asynchronous one.
    """

    client: Any

    def __post_init__(self) -> None:
        for name in ("submit", "run", "subscribe_topic"):
            if not hasattr(self.client, name):
                kind = type(self.client).__name__
                raise InputError(f"cluster is a {kind}: give a dask.distributed.Client.")
        if self.client.asynchronous:
            raise InputError("the dask client is asynchronous: give one that is not.")
        if self.client.status != "running":
            raise InputError(f"the dask client is {self.client.status}.")

    def __len__(self) -> int:
        """The number of workers at this moment."""
        return len(self.client.nthreads())

    def running(self, work: Work[Piece, Report]) -> Running[Piece, Report]:
        """Return a Run of `work` on the cluster."""
        return Running(self.client, work)


@dataclass(frozen=True)
class _Try(Generic[Piece]):
    """A piece that is to be done; `rounds` of it ended in deaths, workers at `small` lacked memory for it."""

    piece: Piece
    rounds: int = 0
    small: frozenset[str] = frozenset()


@dataclass
class _Given(Generic[Piece]):
    """A piece that a worker has; meanwhile workers died at `others`."""

    future: Any
    now: _Try[Piece]
    others: int = 0


@dataclass(frozen=True)
class _Told:
    """An event of the scheduler."""

    message: Mapping[str, Any]


@dataclass
class Running(Generic[Piece, Report]):
    """A Run on a cluster. It submits as many pieces as there are workers; the others wait here.

    That way the memory of client and scheduler does not grow with the number of pieces, and a worker's death
    is blamed on the piece it was working on, not on those that waited.
    """

    client: Any
    work: Work[Piece, Report]
    name: str = field(default_factory=lambda: f"caffe-viz-{uuid.uuid4().hex[:12]}")
    pids: tuple[int, ...] = ()  # none of this machine
    _given: dict[str, _Given[Piece]] = field(default_factory=dict)  # by key
    _again: deque[_Try[Piece]] = field(default_factory=deque)
    _heard: queue.Queue[Any] = field(default_factory=queue.Queue)
    _served: dict[tuple[str, str], list[int]] = field(default_factory=dict)  # see _send
    _listens: bool = False
    _count: int = 0

    def __post_init__(self) -> None:
        self._link = ClusterClient(self.client)

    def __enter__(self) -> Running[Piece, Report]:
        self._parcel = parcels.packed(self.work)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(Exception):  # the scheduler may be gone
            for topic in (self.name, "all"):
                self.client.unsubscribe_topic(topic)
            if self._given:
                self._end()
                self.client.cancel([one.future for one in self._given.values()], force=True)
        self._given.clear()

    def run(self, pieces: Iterable[Piece]) -> Iterator[Report | WorkerDeath]:
        waiting = iter(pieces)
        while True:
            self._fill(waiting)
            if not self._given:
                return
            with suppress(queue.Empty):
                yield from self._taken(self._heard.get(timeout=LOOK_EVERY))

    def stop(self) -> Iterator[Report]:
        self._end()
        until = time.monotonic() + STOP_WAIT
        while self._given and (left := until - time.monotonic()) > 0:
            with suppress(queue.Empty):
                for report in self._taken(self._heard.get(timeout=left)):
                    if not isinstance(report, WorkerDeath):
                        yield report
            self._again.clear()

    def _end(self) -> None:
        def tell() -> None:
            with suppress(Exception):  # the scheduler may be gone
                self.client.run(cluster_worker.end, self.name, on_error="ignore")

        telling = threading.Thread(target=tell, daemon=True)
        telling.start()
        telling.join(ENDING)

    def _fill(self, waiting: Iterator[Piece]) -> None:
        """Submit as many pieces as there are workers."""
        self._link.need()
        self._listen()
        self._link.look()
        while len(self._given) < max(1, len(self._link.workers)):
            try:
                now = self._again.popleft() if self._again else _Try(next(waiting))
            except StopIteration:
                return
            self._submit(now)

    def _listen(self) -> None:
        """Subscribe to deaths and to reports; a scheduler forgets subscribers when the connection is lost."""
        if not self._listens:
            for topic in (self.name, "all"):
                self.client.subscribe_topic(topic, lambda event: self._heard.put(_Told(event[1])))
            self._listens = True

    def _submit(self, now: _Try[Piece]) -> None:
        self._count += 1
        key = f"{self.name}-{self._count}"
        data = pickle.dumps(now.piece, protocol=pickle.HIGHEST_PROTOCOL)
        given = self.name, caffe_viz.__version__, self._parcel.digest, data
        where: dict[str, Any] = {}
        if now.small:  # let others do it too: all of these could die
            where = {"workers": sorted({*self._link.workers} - now.small), "allow_other_workers": True}
        try:
            future = self.client.submit(cluster_worker.do, *given, key=key, pure=False, **where)
        except Exception:  # dask has several for a client that was closed meanwhile
            self._link.need()
            raise
        self._given[key] = _Given(future, now)
        future.add_done_callback(self._heard.put)
        if self._count % NOTED == 0:
            with suppress(Exception):  # one that does not run functions, or another dask
                self.client.run_on_scheduler(cluster_worker.forget_submissions)

    def _taken(self, heard: Any) -> Iterator[Report | WorkerDeath]:
        if isinstance(heard, _Told):
            yield from self._told(heard.message)
            return
        given = self._given.pop(heard.key, None)
        if given is None:
            return
        now = given.now
        if heard.status == "error":
            error = heard.exception()
            if not given.others or now.rounds + 1 == ROUNDS or not _killed(error):
                raise self._error(now.piece, error)
            self._again.append(replace(now, rounds=now.rounds + 1))  # workers die of something else too
            return
        try:
            answer: cluster_worker.Answer = heard.result()
        except (CancelledError, FuturesCancelledError, OSError):  # whatever the scheduler had is gone with it
            self._listens = False
            self._again.append(now)
            yield WorkerDeath(now.piece, "the scheduler was gone")
            return
        if isinstance(answer, cluster_worker.Failed):
            raise answer.error
        if isinstance(answer, cluster_worker.TooLittleMemory):
            self._again.append(self._elsewhere(now, answer.address))
            yield WorkerDeath(now.piece, f"out of memory, that at {answer.address}")
        elif isinstance(answer, cluster_worker.MissingParcel):
            self._again.append(now)
            self._send(answer, int(heard.key.rpartition("-")[2]))
        elif isinstance(answer, cluster_worker.TakenBack):
            self._again.append(now)
        else:
            yield from answer

    def _elsewhere(self, now: _Try[Piece], address: str) -> _Try[Piece]:
        """The piece for a worker that has not tried it; raises FatalPieceError where none is left."""
        small = now.small | {address}
        self._link.look(now=True)
        if len(small) >= SMALL or not {*self._link.workers} - small:
            tried = f"{len(small)} worker{'' if len(small) == 1 else 's'}"
            raise FatalPieceError(
                f"{tried} had too little memory for {self.work.named(now.piece)}: start fewer on a machine, "
                f"or try less at once.",
                now.piece,
            )
        return replace(now, small=small)

    def _told(self, message: Mapping[str, Any]) -> Iterator[Report | WorkerDeath]:
        """Reports on the way, and deaths, of pieces that are not done."""
        if "report" in message:
            if message["piece"] in self._given:
                yield pickle.loads(message["report"])
        elif message.get("action") == "remove-worker" and not message.get("expected"):
            died = {key for key in message.get("processing-tasks", ()) if key in self._given}
            for key, given in self._given.items():
                given.others += len(died - {key})
            yield from [
                WorkerDeath(self._given[key].now.piece, f"that at {message['worker']}") for key in died
            ]

    def _send(self, lacks: cluster_worker.MissingParcel, number: int) -> None:
        """Send a parcel to a machine, once for all pieces that were submitted before it arrived."""
        sent = self._served.setdefault((lacks.machine, lacks.digest), [])
        if sent and number <= sent[-1]:
            return
        if len(sent) >= SENT:
            raise RunError(f"{lacks.machine} cannot keep what it is sent: is its disk full?")
        path = self._parcel.files[lacks.digest]
        size, first, there = path.stat().st_size, 0, {"workers": [lacks.address], "on_error": "return"}
        for part in parcels.parts(path):
            last = first + len(part) >= size
            given = lacks.digest, self.name, first, part, last
            ask = partial(self.client.run, parcels.receive, *given, **there)
            found: dict[str, Any] = self._link.asked(ask, {})
            error = found.get(lacks.address, OSError())
            if isinstance(error, RunError):
                raise RunError(f"worker {lacks.address}: {error}")
            if error is not None:  # it died: another one will ask
                return
            first += len(part)
        sent.append(self._count)

    def _error(self, piece: Piece, error: BaseException | None) -> RunError:
        name = self.work.named(piece)
        if _killed(error):
            tries = getattr(error, "allowed_failures", 0) + 1
            return FatalPieceError(
                f"{tries} workers died on {name}, one after another; try fewer at once.", piece
            )
        if isinstance(error, ModuleNotFoundError):
            return RunError(f"a worker cannot do this: {error}; caffe-viz must be installed there too.")
        return RunError(f"{name}: {type(error).__name__}: {error}")


def _killed(error: BaseException | None) -> bool:
    """Whether the error says that a piece killed as many workers as dask allows."""
    return type(error).__name__ == "KilledWorker"
