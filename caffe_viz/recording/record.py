"""The record of a training. Values that were kept in full are read from the file when you ask for them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from caffe_viz.errors import InputError, near
from caffe_viz.files import write_whole
from caffe_viz.recording.blocks import SIGNATURE, Block, Blocks, packed
from caffe_viz.recording.periods import Floats, Head, Period, Unfinished, pack, unpack

T = TypeVar("T")
Values = dict[str, NDArray[Any]]  # "w3": parameter 3 of the head, "g3": its gradient
WRONG = (ValueError, KeyError, TypeError, zipfile.BadZipFile)
HEAD, VALUES, FRAME, REST = "head", "vals", "fram", "rest"


@dataclass(frozen=True)
class Frame:
    """A moment of the training: its summary, what reads the values kept then, its block's end in the file."""

    period: Period
    values: Callable[[], Values]
    end: int = 0


@dataclass(frozen=True)
class Record:
    """A recorded training: its start and P periods, with K parameters in the order of `net.params`.

    Example::

        record = cv.Record.load("net.record")
        iterations, losses = record.losses
    """

    head: Head
    frames: tuple[Frame, ...]
    rest: Unfinished | None = None
    note: str = ""

    @classmethod
    def load(cls, source: str | Path | io.BytesIO) -> Record:
        """Read a record; while it is still being written, up to its last complete period.

        Raises:
            InputError: No such file, a file of another kind, or a damaged one.
        """
        blocks = Blocks.of(source if isinstance(source, io.BytesIO) else Path(source))
        if not blocks.found or blocks.found[0].kind != HEAD:
            raise InputError(f"{source} is not the record of a training: it has no head.")
        head = _parsed(blocks, blocks.found[0], Head.from_bytes)
        frames, rest = list[Frame](), None
        for before, block in zip(blocks.found, blocks.found[1:], strict=False):
            if block.kind == FRAME:
                period = _parsed(blocks, block, lambda data: Period.from_bytes(data, head))
                frames.append(Frame(period, _reader(blocks, before), block.end))
            rest = _parsed(blocks, block, Unfinished.from_bytes) if block.kind == REST else None
        note = f"{source}: {blocks.tail:,} bytes at the end cannot be read." if blocks.damaged else ""
        return cls(head, tuple(frames), rest, note)

    @property
    def periods(self) -> tuple[Period, ...]:
        """The P periods, without the start."""
        return tuple(frame.period for frame in self.frames[1:])

    @property
    def iterations(self) -> NDArray[np.int64]:
        """The number of updates made by the end of each period, (P,)."""
        return np.array([p.iteration for p in self.periods], np.int64)

    @property
    def losses(self) -> tuple[NDArray[np.int64], Floats]:
        """The iterations (S,), from 1, and the loss of each (S,), including those after the last period."""
        seen = [(p.iteration, p.losses) for p in self.periods]
        seen += [(self.rest.iteration, self.rest.losses)] if self.rest else []
        counts = [np.arange(end - len(losses) + 1, end + 1) for end, losses in seen]
        return _joined(counts, np.int64), _joined([losses for _, losses in seen], np.float32)

    def curve(self, name: str) -> Floats:
        """Return a field of `Period` over time, (P, ...): rate, gradients, weights, updates or dead."""
        return np.array([getattr(p, name) for p in self.periods], np.float32)

    @property
    def ratios(self) -> Floats:
        """The norm of each period's last update over that of the weights, (P, K); NaN if these are 0."""
        weights = self.curve("weights")
        return np.divide(self.curve("updates"), weights, out=np.full_like(weights, np.nan), where=weights > 0)

    def scores(self, name: str) -> Floats:
        """Return an output of the test net over time, (P,); NaN where it was not measured."""
        return np.array([p.scores.get(name, np.nan) for p in self.periods], np.float32)

    def number(self, layer: str, blob: int = 0) -> int:
        """Return the index of a parameter among the K. Raises InputError if it is unknown or not kept."""
        names = {(p.layer, p.blob): k for k, p in enumerate(self.head.parameters)}
        if (layer, blob) not in names:
            known = dict.fromkeys(p.layer for p in self.head.parameters)
            raise InputError(f"the record has no parameter {blob} of a layer {layer!r}.{near(layer, known)}")
        k = names[layer, blob]
        if not self.head.parameters[k].kept:
            kept = dict.fromkeys(p.layer for p in self.head.parameters if p.kept)
            raise InputError(
                f"the record keeps no values of layer {layer!r}, only norms; it keeps those of "
                f"{', '.join(kept) or 'none'}."
            )
        return k

    def values(self, layer: str, blob: int = 0) -> tuple[NDArray[np.int64], Floats]:
        """Return the iterations (P + 1,) and the weights at these (P + 1, ...), beginning with the start.

        Raises:
            InputError: No such parameter, or its values were not kept.
        """
        k = self.number(layer, blob)
        iterations = np.array([frame.period.iteration for frame in self.frames], np.int64)
        return iterations, self._read(self.frames, "w", k)

    def gradient(self, layer: str, blob: int = 0) -> Floats:
        """Return the gradient (P, ...) of each period's last batch, before its update; raises as `values`."""
        return self._read(self.frames[1:], "g", self.number(layer, blob))

    @property
    def gradients(self) -> NDArray[Any]:
        """Return the gradients of all parameters in all periods, (P, K) of arrays. Raises as `values`."""
        out = np.empty((len(self.periods), len(self.head.parameters)), object)
        for k, one in enumerate(self.head.parameters):
            for p, array in enumerate(self.gradient(one.layer, one.blob)):
                out[p, k] = array
        return out

    def reduced(self, layers: Sequence[str], path: str | Path) -> None:
        """Write a copy that keeps the values of `layers` only.

        Raises:
            InputError: Their values were not kept.
        """
        for layer in layers:
            self.number(layer)
        parameters = tuple(replace(p, kept=p.kept and p.layer in layers) for p in self.head.parameters)
        blocks = [(HEAD, replace(self.head, parameters=parameters).to_bytes())]
        chosen = {f"{side}{k}" for k, p in enumerate(parameters) if p.kept for side in "wg"}
        for frame in self.frames:
            kept = {name: array for name, array in frame.values().items() if name in chosen}
            blocks += [(VALUES, pack(kept)), (FRAME, frame.period.to_bytes())]
        write_whole(path, SIGNATURE + b"".join(packed(*block) for block in blocks))

    def _read(self, frames: Sequence[Frame], side: str, k: int) -> Floats:
        shape = self.head.parameters[k].shape
        out = np.empty((len(frames), *shape), np.float32)
        for row, frame in zip(out, frames, strict=True):
            array = frame.values().get(f"{side}{k}")
            if array is None or array.shape != shape:
                raise InputError(f"the record is damaged: iteration {frame.period.iteration} lacks values.")
            row[...] = array
        return out


def _reader(blocks: Blocks, block: Block) -> Callable[[], Values]:
    return lambda: _parsed(blocks, block, unpack) if block.kind == VALUES else {}


def _parsed(blocks: Blocks, block: Block, parse: Callable[[bytes], T]) -> T:
    data = blocks.read(block)
    try:
        return parse(data)
    except WRONG as error:
        raise InputError(f"{blocks.source} is damaged: {error}.") from None


def _joined(parts: Sequence[Any], kind: Any) -> Any:
    return np.concatenate([np.empty(0, kind), *parts]).astype(kind)
