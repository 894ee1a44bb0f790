"""Commands whose output goes to a log; what a log's last errors are; the clock of the set-up."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path


class InstallError(Exception):
    """Something that the user can mend; the message says how."""


# What a line of a log means for the user.
HINTS = (
    (
        r"name resolution|new connection|Connection(Error| refused| reset)|timed out|Could not resolve|"
        r"Could not find a version|Failed to fetch",
        "No package registry could be reached, or it lacks the package: check the network, the proxy, "
        "PIP_INDEX_URL.",
    ),
    (
        r"\bKilled\b",
        "A compiler was killed, most likely for want of memory: close other programs, try again.",
    ),
    (r"No space left on device", "The disk is full."),
)

START = time.time()


def say(text: str) -> None:
    seconds = int(time.time() - START)
    print(f"[{seconds // 60}:{seconds % 60:02d}] {text}", flush=True)


def run(command: Sequence[str | Path], log: Path, env: dict[str, str] | None = None) -> Iterator[str]:
    """Run `command`, append its output to `log` and yield it line by line.

    The child gets its own process group, so that Ctrl-C ends a whole build.
    """
    with log.open("a", encoding="utf-8", errors="replace") as out:
        begin = out.tell()
        out.write(f"\n$ {' '.join(map(str, command))}\n")
        child = subprocess.Popen(
            [str(c) for c in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True,
            env={**(os.environ if env is None else env), "LC_ALL": "C"},  # errors are looked for in English
        )  # fmt: skip
        assert child.stdout is not None
        try:
            for line in child.stdout:
                out.write(line)
                out.flush()
                yield line.rstrip()
        except BaseException:
            end_group(child)
            raise
        code = child.wait()
    if code:
        name = Path(str(command[0])).name
        raise InstallError(f"`{name}` failed (exit {code}).\n{last_errors(log, begin)}\nWhole log: {log}")


def drain(lines: Iterator[str]) -> None:
    for _ in lines:
        pass


GRACE = 3.0  # seconds


def end_group(child: subprocess.Popen[str]) -> None:
    """End the child and what it started; by force what has not gone after GRACE."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with suppress(subprocess.TimeoutExpired):
            child.wait(GRACE)
            return


def last_errors(log: Path, begin: int = 0, count: int = 8) -> str:
    """The last error lines of the log after byte `begin`, or its last lines, and what they mean."""
    lines = log.read_bytes()[begin:].decode("utf-8", "replace").splitlines()
    told = [line for line in lines if not line.startswith("$ ")]  # the commands themselves
    bad = [line for line in told if re.search(r"\b(error|fatal|cannot find|killed)\b", line, re.I)]
    hints = [hint for pattern, hint in HINTS if any(re.search(pattern, line) for line in told)]
    return "\n".join(["    " + line for line in (bad or told)[-count:]] + hints)
