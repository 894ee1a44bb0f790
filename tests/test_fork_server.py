"""Forks in the place of interpreters: what a test sees of a process is the same."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import fork_server
import pytest

PROGRAMS = [
    "import os, sys; print(sys.argv, os.getcwd(), os.environ['A'], sys.stdin.read()); print('said', file=sys.stderr)",
    "import sys; sys.exit(7)",
    "import sys; sys.exit('bad')",
    "import atexit, threading; atexit.register(print, 'end'); threading.Timer(0.1, print, ['late']).start()",
    "import os; os.kill(os.getpid(), 15)",
    "import os; os._exit(3)",
    "import signal; print(signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))",
]


@pytest.mark.parametrize("program", PROGRAMS)
def test_as_an_interpreter(program: str, tmp_path: Path) -> None:
    made: list[tuple[Any, ...]] = []
    for run in (fork_server.run, subprocess.run):
        done = run(
            [sys.executable, "-c", program, "a", "b"], input="in", capture_output=True, text=True, cwd=tmp_path, env={"A": "1"},
        )  # fmt: skip
        made.append((done.returncode, done.stdout, done.stderr))
    assert made[0] == made[1]


def test_an_error_ends_with_its_traceback() -> None:
    done = fork_server.run([sys.executable, "-c", "1 / 0"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.endswith('File "<string>", line 1, in <module>\nZeroDivisionError: division by zero\n')


def test_modules_and_scripts(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("x = 5")
    (tmp_path / "script.py").write_text("import sys, beside\nprint(__name__, __file__, beside.x, sys.argv)")
    for line, cwd in (
        [["script.py", "a"], tmp_path],
        [[tmp_path / "script.py"], "/"],
        [["-m", "script", "a"], tmp_path],
    ):
        words = [sys.executable, *map(str, line)]
        a, b = (
            run(words, capture_output=True, text=True, cwd=cwd) for run in (fork_server.run, subprocess.run)
        )
        assert (a.stdout, a.stderr) == (b.stdout, b.stderr)
        assert a.returncode == b.returncode == 0


def test_a_session_of_its_own_is_interrupted() -> None:
    words = [sys.executable, "-c", "import time; print(1, flush=True); time.sleep(100)"]
    with fork_server.Popen(
        words, stdout=fork_server.PIPE, stderr=fork_server.DEVNULL, start_new_session=True
    ) as one:
        assert one.stdout is not None
        assert one.stdout.readline() == b"1\n"
        assert os.getpgid(one.pid) == one.pid
        os.killpg(one.pid, signal.SIGINT)
    assert one.returncode == -signal.SIGINT


def test_what_is_imported_before_is_there() -> None:
    assert [
        name
        for name in fork_server.PRELOADED
        if name.startswith("caffe_viz") and not importlib.util.find_spec(name)
    ] == []
