"""Worker processes: pickled values go in and out through their pipes.

Such a process has its own engine and one BLAS thread, and can die without taking the user's Python along.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

# The path is given, not left to Python: the current folder must not be searched for modules.
CODE = "import sys; sys.path[:] = sys.argv[1:]; from {program} import main; main()"
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
LAST = 1_000_000  # bytes of a log that are looked at


@dataclass(frozen=True)
class Ended:
    """The last that is heard of a worker: how it ended."""

    reason: str


class Worker:
    """A process that runs `main()` of the module `program`.

    A thread calls `heard(worker, value)` with each value that it sends, and at last with Ended.
    """

    def __init__(self, program: str, heard: Callable[[Worker, Any], None]) -> None:
        self._heard = heard
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # as long as the worker
        self._process = subprocess.Popen(
            [sys.executable, "-c", CODE.format(program=program), *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, **ONE_THREAD},
        )
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def send(self, value: Any) -> None:
        """Give it a value, as soon as it takes it; one that is dead takes none."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # its reader reports that
            send(self._process.stdin, value)

    def close(self) -> None:
        """Tell it that no more will be sent."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()

    def terminate(self) -> None:
        """Ask it to stop, by SIGTERM."""
        self._process.terminate()

    def kill(self) -> None:
        """End it."""
        self._process.kill()

    def wait(self) -> None:
        """Return once the process is gone."""
        self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        try:
            while True:
                self._heard(self, pickle.load(self._process.stdout))
        except EOFError:
            pass
        except Exception:  # half a value: it died meanwhile, or writes what nobody can read
            self._process.kill()
        self._heard(self, Ended(self._reason()))

    def _reason(self) -> str:
        code = self._process.wait()
        self._log.seek(max(0, self._log.seek(0, os.SEEK_END) - LAST))
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        cause = next((line for line in lines if " Check failed" in line), lines[-1] if lines else "")
        return (f"signal {-code}" if code < 0 else f"exit code {code}") + (f": {cause}" if cause else "")


def send(stream: IO[bytes], value: Any) -> None:
    """One pickled value; both ends are this package."""
    pickle.dump(value, stream, protocol=pickle.HIGHEST_PROTOCOL)
    stream.flush()


def pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Return a worker's streams of values in and out, for its main(). Ctrl-C is handled by the parent.

    What libraries print goes to the log, not between the values, and they get no input.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    values, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    return values, answers
