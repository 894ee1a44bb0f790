"""Worker processes: what goes in and out, how their end is told, and that none is left."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from caffe_viz.processes import Ended, Worker

pytestmark = pytest.mark.usefixtures("fresh_workers")
PATIENCE = 180.0  # seconds; what is waited for takes a fraction of one


class Told:
    """A worker and what it says, one by one."""

    def __init__(self) -> None:
        self._heard: queue.Queue[Any] = queue.Queue()
        self.worker = Worker("echoing", lambda _, value: self._heard.put(value))
        self.send = self.worker.send

    def next(self) -> Any:
        return self._heard.get(timeout=PATIENCE)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    for library in ("OPENBLAS", "OMP", "MKL"):
        monkeypatch.setenv(f"{library}_NUM_THREADS", "7")
    made = Told()
    yield made
    made.worker.kill()
    made.worker.wait()


def gone(pid: int) -> bool:
    """Whether a process that is nobody's child, or was waited for, is no more."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii").rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_values_go_in_and_out_in_order(told: Told) -> None:
    for n in range(3):
        told.send(f"answer({n} ** 2)")
    told.send("answer(bytes(10 ** 7))")
    assert [told.next() for _ in range(3)] == [0, 1, 4]
    assert told.next() == bytes(10**7)


def test_what_is_printed_does_not_get_between_and_there_is_no_input(told: Told) -> None:
    told.send("import os, sys; print('hello', flush=True); os.write(1, b'caffe'); answer(sys.stdin.read())")
    told.send("import os; answer(os.read(0, 9))")
    assert [told.next(), told.next()] == ["", b""]


def test_it_has_one_thread_the_path_that_is_given_and_no_ctrl_c(told: Told) -> None:
    told.send("import os; answer([os.environ[f'{name}_NUM_THREADS'] for name in ('OPENBLAS', 'OMP', 'MKL')])")
    told.send("import sys; answer(sys.path)")
    assert told.next() == ["1", "1", "1"]
    assert told.next() == sys.path
    os.kill(told.worker.pid, signal.SIGINT)
    told.send("answer('still here')")
    assert told.next() == "still here"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "signal 9"),
        ("import sys; sys.exit(7)", "exit code 7"),
        ("raise ValueError('no such thing')", "exit code 1: ValueError: no such thing"),
        (
            "import os, sys; sys.stderr.write('F1130 12:00:00 7 blob.cpp:32] Check failed: shape[i] >= 0 (-1 vs. 0)\\n"
            "*** Check failure stack trace: ***\\n    @ 0x7f abort\\n'); sys.stderr.flush(); os.kill(os.getpid(), 6)",
            "signal 6: F1130 12:00:00 7 blob.cpp:32] Check failed: shape[i] >= 0 (-1 vs. 0)",
        ),
    ],
)  # fmt: skip
def test_its_end_is_told_with_the_line_that_says_why(told: Told, line: str, reason: str) -> None:
    told.send("answer(1)")
    told.send(line)
    assert told.next() == 1
    assert told.next() == Ended(reason)
    told.send("answer(2)")  # nobody is there: no error
    told.worker.close()


def test_half_a_value_is_its_end(told: Told) -> None:
    """It does not wait for ever for a process that lives on but has lost its tongue."""
    told.send("raw.write(b'no pickle'); raw.flush(); import time; time.sleep(1000)")
    assert told.next() == Ended("signal 9")


def test_it_is_asked_to_end(told: Told) -> None:
    told.send(
        "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit('bye')); answer('ready')"
    )
    assert told.next() == "ready"
    told.worker.terminate()
    assert told.next() == Ended("exit code 1: bye")


def test_its_input_ends(told: Told) -> None:
    told.worker.close()
    assert told.next() == Ended("exit code 1: EOFError: Ran out of input")


PARENT = """
import sys, time
from caffe_viz.processes import Worker
worker = Worker("echoing", lambda worker, value: print(worker.pid, flush=True))
worker.send("answer(1)")
time.sleep(1000)
"""


def test_a_worker_ends_when_its_parent_is_killed() -> None:
    path = os.pathsep.join(sys.path)
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert not gone(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until(lambda: gone(pid))
