"""Step a solver and record what happens to its net, without changing the training."""

from __future__ import annotations

import io
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np

from caffe_viz.backend import engine_name
from caffe_viz.errors import InputError, near
from caffe_viz.netdef import SolverParameter, read_solver
from caffe_viz.recording.blocks import Appender
from caffe_viz.recording.measured import Feed, TestNet
from caffe_viz.recording.periods import Floats, Head, Parameter, Period, Unfinished, histogram, pack
from caffe_viz.recording.record import FRAME, HEAD, REST, VALUES, Record
from caffe_viz.recording.relu_activity import ReluActivity
from caffe_viz.recording.seen import seen_in_net
from caffe_viz.solving import learning_rate, net_to_train, next_step

Values = list[Floats]


class Step(NamedTuple):
    """An iteration: how many updates are made now, the loss before the last, and its learning rate."""

    iteration: int
    loss: float
    rate: float
    scores: dict[str, float] | None = None  # of the test net, where a period has ended


class Recorder:
    """Step a solver of either engine, and record its net at regular intervals.

    The norms and the histogram of every parameter are recorded; weights and gradients in full only for
    `layers`. The gradients are those of the last batch of a period, before its update: without weight decay,
    momentum and clipping, averaged over its batches with iter_size. With iter_size, the losses are those of
    the last batch of each iteration.

    Args:
        solver: A solver from `load_solver` or pycaffe. If it was restored from a snapshot, the record in
            `file` is continued from the solver's iteration.
        file: Where to write the record. Default: memory.
        layers: The names of the layers to keep in full, or "all".
        every: The length of a period in iterations, or "epoch" if `feed` fills the net.
        feed: Fills the net with batches before each iteration.
        test: Measures the test net. Default: the solver's first test net, by its test_iter.
        settings: The solver's prototxt or message, needed if the solver is not from `load_solver`.

    Raises:
        InputError: No such layer, a period shorter than one iteration, or the record in `file` is of
            another training.
        RunError: `file` cannot be written.

    Example::

        with cv.Recorder(cv.load_solver("solver.prototxt"), "net.record", every=100) as recorder:
            recorder.step(1000)
        cv.show_evolution("net.record").save("out")
    """

    def __init__(
        self,
        solver: Any,
        file: str | Path | None = None,
        *,
        layers: Sequence[str] | str = (),
        every: int | str = "epoch",
        feed: Feed | None = None,
        test: TestNet | None = None,
        settings: SolverParameter | str | Path | None = None,
    ) -> None:
        self.solver, self._net, self._feed = solver, solver.net, feed
        self.settings = _settings(solver, settings)
        self._every = _period(every, feed)
        self._test = test or TestNet.of(solver, self.settings)
        self._blobs = [blob for blobs in self._net.params.values() for blob in blobs]
        self._units = ReluActivity(self._net)
        self._losses: list[float] = []
        self._policy = 0
        for iteration in range(solver.iter):
            self._policy = next_step(self.settings, iteration, self._policy)
        self._head = self._make_head(layers)
        self._kept = [k for k, p in enumerate(self._head.parameters) if p.kept]
        self._gradients: Values | None = None
        self._weights: Values = []
        self._recording = True
        self._file: Path | io.BytesIO = io.BytesIO() if file is None else Path(file)
        self._appender = self._begun()
        ready = weakref.WeakMethod(self._on_gradients)  # a solver cannot let go of its callbacks
        solver.add_callback(_nothing, lambda: _call(ready))

    @property
    def record(self) -> Record:
        """What has been recorded so far, as a `Record`."""
        return Record.load(self._file)

    def step(self, count: int = 1) -> Step:
        """Make `count` iterations and return the last one.

        Raises:
            InputError: `count` is below 1, or the feed met data that cannot be read.
            RunError: The record cannot be written.
        """
        if count < 1:
            raise InputError(f"count is {count}: 1 iteration or more is expected.")
        for _ in range(count):
            step = self._step()
        return step

    def close(self) -> None:
        """Finish the record; the losses of an unfinished period are written too."""
        if self._recording and self._losses:
            active = tuple(self._units.active)
            rest = Unfinished(self.solver.iter, np.array(self._losses, np.float32), active)
            self._appender.append([(REST, rest.to_bytes())])
        self._recording = False
        self._appender.close()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _step(self) -> Step:
        iteration = self.solver.iter
        if self._feed is not None:
            self._feed.fill(iteration)
        self._gradients = None
        self._policy = next_step(self.settings, iteration, self._policy)
        rate = learning_rate(self.settings, iteration, self._policy)
        self.solver.step(1)
        loss = _loss(self._net)
        self._losses.append(loss)
        if self._gradients is None:
            return Step(self.solver.iter, loss, rate)
        scores = self._test.scores(self._net) if self._test else {}
        self._append(self._period(rate, scores))
        self._losses.clear()
        self._units.reset()
        return Step(self.solver.iter, loss, rate, scores)

    def _on_gradients(self) -> None:
        """Called by the solver between the backward pass and the update."""
        if not self._recording:
            return
        self._units.look()
        if (self.solver.iter + 1) % self._every == 0:
            scale = np.float32(1 / self.settings.iter_size)
            self._gradients = [blob.diff * scale for blob in self._blobs]
            self._weights = [np.array(blob.data) for blob in self._blobs]

    def _period(self, rate: float, scores: dict[str, float]) -> Period:
        assert self._gradients is not None
        changes = [blob.data - old for blob, old in zip(self._blobs, self._weights, strict=True)]
        return self._summary(
            losses=np.array(self._losses, np.float32), rate=rate, gradients=_norms(self._gradients),
            weights=_norms(self._weights), updates=_norms(changes), dead=self._units.dead(), scores=scores,
        )  # fmt: skip

    def _start(self) -> Period:
        nothing = np.full(len(self._blobs), np.nan, np.float32)
        weights = _norms(blob.data for blob in self._blobs)
        return self._summary(
            losses=np.empty(0, np.float32), rate=np.nan, gradients=nothing, weights=weights, updates=nothing,
            dead=np.full(len(self._head.relus), np.nan, np.float32), scores={},
        )  # fmt: skip

    def _summary(self, **seen: Any) -> Period:
        counts, low, high = zip(*(histogram(blob.data) for blob in self._blobs), strict=True)
        return Period(
            iteration=self.solver.iter, counts=np.array(counts), low=np.array(low, np.float32),
            high=np.array(high, np.float32), **seen,
        )  # fmt: skip

    def _append(self, period: Period) -> None:
        values = {f"w{k}": self._blobs[k].data for k in self._kept}
        if self._gradients is not None:
            values |= {f"g{k}": self._gradients[k] for k in self._kept}
        self._appender.append([(VALUES, pack(values)), (FRAME, period.to_bytes())])

    def _begun(self) -> Appender:
        if isinstance(self._file, Path) and self._file.exists():
            return self._continued(self._file)
        appender = Appender(self._file)
        appender.append([(HEAD, self._head.to_bytes())])
        self._appender = appender
        self._append(self._start())
        return appender

    def _continued(self, file: Path) -> Appender:
        """Go on after the last period that this solver has seen; later ones are of another run."""
        if not self.solver.iter:
            raise InputError(f"{file} exists already: give another name, or a snapshot to go on from.")
        record = Record.load(file)
        if record.head != self._head:
            raise InputError(
                f"{file} is the record of another training: {_difference(record.head, self._head)}."
            )
        if record.note:
            raise InputError(f"{record.note} Give another name for the record.")
        frames = [frame for frame in record.frames if frame.period.iteration <= self.solver.iter]
        if not frames:
            first = record.frames[0].period.iteration if record.frames else "no iteration"
            raise InputError(f"{file} begins at {first}; the solver is at iteration {self.solver.iter}.")
        rest = record.rest
        if rest is not None and rest.iteration == self.solver.iter:
            self._losses = rest.losses.tolist()
            for mine, seen in zip(self._units.active, rest.active, strict=True):
                mine[:] = seen
        return Appender(file, frames[-1].end)

    def _make_head(self, layers: Sequence[str] | str) -> Head:
        known = list(self._net.params)
        chosen = known if layers == "all" else [layers] if isinstance(layers, str) else list(layers)
        for name in chosen:
            if name not in known:
                raise InputError(f"no layer {name!r} with parameters.{near(name, known)}")
        seen = seen_in_net(self._net)
        parameters = tuple(
            Parameter(
                name, i, tuple(map(int, blob.data.shape)), name in chosen, () if i else seen.get(name, ())
            )
            for name, blobs in self._net.params.items()
            for i, blob in enumerate(blobs)
        )
        name, engine = _name(self._net, self.settings), engine_name(self._net)
        return Head(name, self.settings.type, engine, self._every, parameters, self._units.layers)


def _nothing() -> None:
    pass


def _call(method: weakref.WeakMethod[Callable[[], None]]) -> None:
    alive = method()
    if alive is not None:
        alive()


def _name(net: Any, settings: SolverParameter) -> str:
    """Of the net; real Caffe's do not tell."""
    try:
        return str(net.name if hasattr(net, "name") else net_to_train(settings).name)
    except InputError:  # its file may have moved since
        return ""


def _settings(solver: Any, given: SolverParameter | str | Path | None) -> SolverParameter:
    if isinstance(given, str | Path):
        return read_solver(given)
    found: SolverParameter | None = given or getattr(solver, "settings", None)
    if found is None:
        raise InputError("the solver's settings are not known: give settings, its solver.prototxt.")
    return found


def _period(every: int | str, feed: Feed | None) -> int:
    if every == "epoch" and feed is not None:
        return feed.epoch
    if every == "epoch":
        raise InputError("the length of an epoch is not known: give every as a number of iterations.")
    if isinstance(every, str) or every < 1:
        raise InputError(f"every is {every!r}: 'epoch' or a number of iterations, 1 or more, is expected.")
    return every


def _loss(net: Any) -> float:
    """The loss of the last forward."""
    weights = net.blob_loss_weights.items()
    return sum(float(weight * net.blobs[name].data.sum()) for name, weight in weights if weight)


def _norms(arrays: Iterable[Floats]) -> Floats:
    return np.array([np.linalg.norm(array.ravel()) for array in arrays], np.float32)


def _difference(there: Head, here: Head) -> str:
    name = next(f.name for f in fields(Head) if getattr(there, f.name) != getattr(here, f.name))
    if name in ("parameters", "relus"):
        return f"its {name}, or those that it keeps, are others"
    return f"its {name} is {getattr(there, name)!r}, not {getattr(here, name)!r}"
