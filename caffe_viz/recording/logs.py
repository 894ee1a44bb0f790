"""Parse Caffe's own log of a training, run by run.

The lines are those of Caffe's src/caffe/solver.cpp and solvers/sgd_solver.cpp, of 2013 to 2020, of NVIDIA's
fork, and of `caffe-viz train` itself.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from caffe_viz.errors import InputError
from caffe_viz.files import need_no_stream
from caffe_viz.recording.blocks import SIGNATURE

GZIP = b"\x1f\x8b"
LINE = 4096  # bytes of a line that are looked at
NUMBER = r"[-+]?(?:\d\.#\w+|\d+\.?\d*(?:e[-+]?\d+)?|nan|inf)"  # 1.#QNAN is Windows's

ITERATION = re.compile(r"\bIteration (\d+)(?:, | \()(.*)")
TESTING = re.compile(r"\bTesting net(?: \(#(\d+)\))?")
LOSS, RATE = (re.compile(rf"\b{name} = ({NUMBER})", re.IGNORECASE) for name in ("loss", "lr"))
OUTPUT = re.compile(rf"\b(Train|Test) net output #(\d+): (.+?) = ({NUMBER})(?: \(|$)", re.IGNORECASE)
SCORE = re.compile(rf"\bTest score #(\d+): ({NUMBER})", re.IGNORECASE)  # of 2013
TOTAL = re.compile(rf"\bTest loss: ({NUMBER})", re.IGNORECASE)
OWN = re.compile(
    rf"\biteration ([\d,]+) of [\d,]+  loss ({NUMBER})((?:  test .+? {NUMBER})*)  rate ({NUMBER})  "
)
OWN_SCORE = re.compile(rf"  test (.+?) ({NUMBER})(?=  |$)")

Key = tuple[
    str, int, int, str
]  # "loss", "rate", "train" or "test"; number of the net and of the output; name


@dataclass(frozen=True)
class Curve:
    """Values (P,) at iterations (P,), in their order; NaN and infinity as they were logged."""

    iterations: NDArray[np.int64]
    values: NDArray[np.float64]


@dataclass(frozen=True)
class Run:
    """A training from its start, including resumptions, or the part of it in a file; curves by name.

    `loss` is the displayed one, a mean over average_loss iterations; the others are `learning rate`,
    `train NAME`, `test NAME`, and `test 1 NAME` of a second test net. `note` says what could not be read.
    """

    name: str
    curves: dict[str, Curve]
    note: str = ""


def is_log(path: str | Path) -> bool:
    """Whether a file may be a log, and is not a record or a caffemodel."""
    path = Path(path)
    if not path.is_file() or any(part in path.name for part in (".caffemodel", ".h5", ".solverstate")):
        return False
    with path.open("rb") as file:
        head = file.read(LINE)
    return not head.startswith(SIGNATURE) and (head.startswith(GZIP) or b"\0" not in head)


def read_logs(paths: Sequence[str | Path]) -> tuple[Run, ...]:
    """Return the runs in logs, in the order of the files; they may be gzipped, cut short, or still growing.

    A run that continues from a snapshot replaces the later iterations of its file; one that starts again is
    another run.

    Raises:
        InputError: A file cannot be read, or is not the log of a training.
    """
    files = [Path(path) for path in paths]
    stems = [file.name.removesuffix(".gz").removesuffix(".log") for file in files]
    names = [s if stems.count(s) == 1 else str(file) for s, file in zip(stems, files, strict=True)]
    return tuple(run for file, name in zip(files, names, strict=True) for run in _runs(file, name))


@dataclass
class _Seen:
    """What the lines of one run have told so far."""

    values: dict[Key, dict[int, float]] = field(default_factory=dict)
    last: int = -1
    train: int = -1  # iterations that outputs belong to
    test: tuple[int, int] = (-1, 0)  # and the number of the test net

    def put(self, key: Key, iteration: int, value: str) -> None:
        if iteration >= 0:
            self.values.setdefault(key, {})[iteration] = _number(value)

    def back_to(self, iteration: int) -> None:
        """Forget what came after, as the training did."""
        for found in self.values.values():
            for late in [n for n in found if n >= iteration]:
                del found[late]


def _runs(path: Path, name: str) -> Iterator[Run]:
    notes: list[str] = []
    seen = [one for one in _read(_lines(path, notes)) if any(one.values.values())]
    if not seen:
        raise InputError(
            f"{path} is neither the record nor the log of a training: no line says "
            "'Iteration 100, loss = ..', as in Caffe's logs."
        )
    note = f"{path}: {notes[0]}." if notes else ""
    for number, one in enumerate(seen, 1):
        yield Run(f"{name}, run {number}" if len(seen) > 1 else name, _named(one.values), note)


def _lines(path: Path, notes: list[str]) -> Iterator[str]:
    """Whole lines, without what a writer has not finished; `notes` gets what is wrong with the file."""
    need_no_stream(path)
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == GZIP
        with gzip.open(path) if zipped else path.open("rb") as file:
            for line in iter(lambda: file.readline(LINE), b""):
                if line.endswith(b"\n") or len(line) == LINE:
                    yield line.decode(errors="replace").rstrip()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        notes.append(f"the archive is damaged, its end is missing ({error})")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from None


def _read(lines: Iterable[str]) -> Iterator[_Seen]:
    now = _Seen()
    for line in lines:
        iteration = _iteration(line)
        if iteration is not None:
            if iteration < now.last and not iteration:
                yield now
                now = _Seen()
            elif iteration < now.last:
                now.back_to(iteration)
            now.last = iteration
        for read in (_of_iteration, _of_output, _of_own):
            read(line, now)
    yield now


def _iteration(line: str) -> int | None:
    found = ITERATION.search(line) or OWN.search(line)
    return int(found[1].replace(",", "")) if found else None


def _of_iteration(line: str, now: _Seen) -> None:
    found = ITERATION.search(line)
    if not found:
        return
    iteration, rest = int(found[1]), found[2]
    if testing := TESTING.search(rest):
        now.test = iteration, int(testing[1] or 0)
    elif rate := RATE.search(rest):
        now.put(("rate", 0, 0, ""), iteration, rate[1])
    elif loss := LOSS.search(rest):
        now.put(("loss", 0, 0, ""), iteration, loss[1])
        now.train = iteration


def _of_output(line: str, now: _Seen) -> None:
    iteration, net = now.test
    if output := OUTPUT.search(line):
        trained = output[1].lower() == "train"
        key = ("train" if trained else "test", 0 if trained else net, int(output[2]), output[3])
        now.put(key, now.train if trained else iteration, output[4])
    elif score := SCORE.search(line):
        now.put(("test", net, int(score[1]), f"score {score[1]}"), iteration, score[2])
    elif total := TOTAL.search(line):
        now.put(("test", net, -1, "total loss"), iteration, total[1])


def _of_own(line: str, now: _Seen) -> None:
    found = OWN.search(line)
    if not found:
        return
    iteration = int(found[1].replace(",", ""))
    now.put(("loss", 0, 0, ""), iteration, found[2])
    now.put(("rate", 0, 0, ""), iteration, found[4])
    for k, (name, value) in enumerate(OWN_SCORE.findall(found[3])):
        now.put(("test", 0, k, name), iteration, value)


def _named(values: dict[Key, dict[int, float]]) -> dict[str, Curve]:
    """By what to call them; outputs of several numbers are told apart by their place."""
    order = ("loss", "rate", "train", "test")
    keys = sorted((key for key in values if values[key]), key=lambda k: (order.index(k[0]), *k[1:]))
    out = {}
    for side, net, number, name in keys:
        alike = [k[2] for k in keys if (k[0], k[1], k[3]) == (side, net, name)]
        place = f" [{alike.index(number)}]" if len(alike) > 1 else ""
        plain = {"loss": "loss", "rate": "learning rate"}
        found = values[side, net, number, name]
        at = np.array(sorted(found), np.int64)
        title = plain.get(side, f"{side}{f' {net}' if net else ''} {name}{place}")
        out[title] = Curve(at, np.array([found[k] for k in at.tolist()], np.float64))
    return out


def _number(text: str) -> float:
    return float("nan") if "#" in text else float(text)
