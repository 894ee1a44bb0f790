"""What `caffe_viz.checking` asks real Caffe in a process of its own, asked of one process for all tests.

`run` is that of `subprocess`: for what loads a net in real Caffe, the code runs in a fork of a process that has
imported it, the same for all until one aborts. What reads more than the files it is given is run as it is.
"""

from __future__ import annotations

import atexit
import os
import pickle
import subprocess
import sys
import tempfile
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

from forked import Forked

DEVNULL, TimeoutExpired = subprocess.DEVNULL, subprocess.TimeoutExpired
_LOADERS: list[subprocess.Popen[bytes]] = []


def run(command: list[str], *, env: dict[str, str], timeout: float, **options: Any) -> Any:
    """As `subprocess.run` of real Caffe on a prototxt, and weights."""
    from caffe_viz.checking import child

    known = command[:3] == [sys.executable, "-c", child.CODE] and timeout == child.TIMEOUT
    if not known or child.OTHER_FILES.search(Path(command[3]).read_bytes()):
        return subprocess.run(command, env=env, timeout=timeout, **options)
    with tempfile.NamedTemporaryFile() as said:
        code = _asked((command[2:], said.name), env)
        return subprocess.CompletedProcess(command, code, b"", said.read())


def _asked(request: Any, env: dict[str, str]) -> int:
    if not _LOADERS or _LOADERS[-1].poll() is not None:
        paths = os.pathsep.join([os.path.dirname(os.path.abspath(__file__)), env["PYTHONPATH"]])
        process = subprocess.Popen(
            [sys.executable, __file__], env={**env, "PYTHONPATH": paths}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=DEVNULL, start_new_session=True,
        )  # fmt: skip
        _LOADERS.append(process)
        atexit.register(process.communicate)
    loader = _LOADERS[-1]
    assert loader.stdin is not None
    assert loader.stdout is not None
    pickle.dump(request, loader.stdin)
    loader.stdin.flush()
    code: int = pickle.load(loader.stdout)
    return code


def _loaded(request: tuple[list[str], str]) -> int:
    """The exit code of Python code with its arguments; what it says goes into a file."""
    (code, *words), said = request
    with open(said, "wb") as file:
        os.dup2(file.fileno(), 2)
    sys.argv = ["-c", *words]
    try:
        exec(code, {"__name__": "__main__"})
    except SystemExit as end:
        return int(end.code or 0)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stderr.flush()
    return 0


def _serve() -> None:
    with suppress(ImportError):
        import caffe  # noqa: F401  # here, so that forks have it
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    loaded = Forked(_loaded)
    with suppress(EOFError):
        while True:
            code = loaded(pickle.load(sys.stdin.buffer))
            pickle.dump(loaded.ended if code is None else code, answers)
            answers.flush()


if __name__ == "__main__":
    _serve()
