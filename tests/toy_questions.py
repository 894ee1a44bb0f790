"""Questions about nothing, and the program of a worker that answers them as the live view's does.

Each notes what it does in a file of the folder of the setup, where tests also open its gates.
"""

from __future__ import annotations

import os
import signal
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

import numpy as np

from caffe_viz.errors import CaffeVizWarning, InputError, RunError
from caffe_viz.report.part_cache import Figure
from caffe_viz.server.handlers import Handler
from caffe_viz.server.messages import Answer, Ask, Setup, Source, Step
from caffe_viz.server.queries import Query
from caffe_viz.server.worker import serve

PATIENCE = 180.0  # seconds; what is waited for takes a fraction of one
STEPS = 6


class Toy(Query):
    n: int = 0
    gated: bool = False  # goes on only where there is a file


class Bench:
    def __init__(self, setup: Setup) -> None:
        assert setup.folder is not None
        self.folder = setup.folder
        self.images: dict[str, Source] = {}
        with (self.folder / "pids").open("a") as file:
            file.write(f"{os.getpid()}\n")

    def warm(self) -> None:
        if (self.folder / "unloadable").exists():
            raise InputError("the network cannot be loaded.")
        if (self.folder / "fatal").exists():
            os.kill(os.getpid(), signal.SIGKILL)

    def put(self, image: str, source: Source) -> None:
        self.images[image] = source

    def did(self, what: str) -> None:
        with (self.folder / "log").open("a") as file:
            file.write(f"{what}\n")

    def pass_gate(self, name: str) -> None:
        end = time.monotonic() + PATIENCE
        while not (self.folder / name).exists():
            assert time.monotonic() < end
            time.sleep(0.002)


def square(bench: Bench, toy: Toy) -> Answer:
    bench.did(f"square {toy.n}")
    if toy.gated:
        bench.pass_gate(f"square-{toy.n}")
    return Answer({"square": toy.n**2, "pid": os.getpid()})


def steps(bench: Bench, toy: Toy) -> Iterator[Step]:
    """Its result depends on all steps, in this order."""
    random, total = np.random.default_rng(toy.n), 0.0
    for k in range(STEPS):
        while toy.gated and not (bench.folder / f"steps-{toy.n}-{k}").exists():
            time.sleep(0.002)
            yield Step(k, STEPS)
        bench.did(f"steps {toy.n} {k}")
        total = total / 2 + random.random()
        yield Step(k + 1, STEPS, Answer({"total": total}, arrays={"total": np.array(total)}))


def stuck(bench: Bench, toy: Toy) -> Iterator[Step]:
    """Its only step takes long."""
    bench.did(f"stuck {toy.n}")
    bench.pass_gate(f"stuck-{toy.n}")
    yield Step(1, 1, Answer({"pid": os.getpid()}))


def tidying(bench: Bench, toy: Toy) -> Iterator[Step]:
    """It would go on for ever."""
    try:
        while True:
            bench.did(f"tidying {toy.n}")
            time.sleep(0.01)
            yield Step(0, 1)
    finally:
        bench.did("tidied")


def photo(bench: Bench, toy: Toy) -> Answer:
    bench.did("photo")
    rgb = np.linspace(0, 1, 5 * 7 * 3, dtype=np.float32).reshape(5, 7, 3)
    facts = {"nan": np.nan, "deep": [{"inf": np.float32("inf")}], "array": np.arange(2), "n": np.int64(toy.n)}
    arrays = {"file": rgb, "../x": np.arange(3)}
    return Answer(
        facts, (Figure(rgb, "a ramp", "ramp"), Figure(rgb, "the same", "photo", photo=True)), arrays
    )


def page(bench: Bench, toy: Toy) -> Answer:
    return Answer({}, page=b"<p>")


def names(bench: Bench, toy: Toy) -> Answer:
    return Answer({"names": {image: source.name for image, source in bench.images.items()}})


def warned(bench: Bench, toy: Toy) -> Iterator[Step]:
    warnings.warn("two layers are left out", CaffeVizWarning, stacklevel=1)
    warnings.warn("of another package", RuntimeWarning, stacklevel=1)
    yield Step(1, 2)
    warnings.warn("two layers are left out", CaffeVizWarning, stacklevel=1)
    warnings.warn("one is old", CaffeVizWarning, stacklevel=1)
    yield Step(2, 2, Answer({}))


def silent(bench: Bench, toy: Toy) -> Iterator[Step]:
    yield from (Step(k + 1, 4, Answer({}) if k == 3 else None) for k in range(4))


def wrong(bench: Bench, toy: Toy) -> Answer:
    raise InputError("there is no layer 'x'.")


def failing(bench: Bench, toy: Toy) -> Iterator[Step]:
    yield Step(1, 2)
    raise RunError("the engine\nfailed.")


def faulty(bench: Bench, toy: Toy) -> Answer:
    return Answer({"n": {}["n"]})


def endless(bench: Bench, toy: Toy) -> Iterator[Step]:
    yield Step(1, 2)


def dying(bench: Bench, toy: Toy) -> Answer:
    """As real Caffe does, by an abort."""
    line = "F1130 12:00:00.000000 7 blob.cpp:32] Check failed: shape[i] >= 0 (-1 vs. 0)\n"
    os.write(2, f"{line}*** Check failure stack trace: ***\n    @ 0x7f google::LogMessage::Fail()\n".encode())
    os.kill(os.getpid(), signal.SIGABRT)
    return Answer({})


QUESTIONS = MappingProxyType(
    {
        "square": Handler(Toy, square),
        "photo": Handler(Toy, photo),
        "page": Handler(Toy, page),
        "names": Handler(Toy, names),
        "wrong": Handler(Toy, wrong),
        "faulty": Handler(Toy, faulty),
        "dying": Handler(Toy, dying),
        "silent": Handler(Toy, silent),
        "warned": Handler(Toy, warned),
        "steps": Handler(Toy, steps, patient=True),
        "stuck": Handler(Toy, stuck, patient=True),
        "tidying": Handler(Toy, tidying, patient=True),
        "failing": Handler(Toy, failing, patient=True),
        "endless": Handler(Toy, endless, patient=True),
        "search": Handler(Toy, steps, patient=True, background=True),
    }
)


def ask(question: str, n: int = 0, *, data: bool = False, **options: bool) -> Ask:
    return Ask(f"{question}-{n}", question, Toy(n=n, **options), data=data)


def lines(folder: Path, name: str = "log") -> list[str]:
    """What was noted."""
    path = folder / name
    return path.read_text().splitlines() if path.exists() else []


def main() -> None:
    serve(QUESTIONS, Bench)
