"""The last check: load the files in real Caffe in a child process; an abort ends only that one."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from caffe_viz.checking.report import Finding
from caffe_viz.netdef import NetParameter, without_quiet, write_net
from caffe_viz.netdef.net_pb2 import TRAIN, NetState

TIMEOUT = 300.0  # seconds; the largest published nets load in under ten
REASON_LENGTH = 400
NO_CAFFE = 96  # exit code of the child where `import caffe` itself fails
# Runs by itself, whatever folder it is started in; core files of expected aborts are not wanted.
CODE = f"""
import json
import sys
try:
    import resource
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
except ImportError:
    pass
try:
    import caffe
except Exception as error:
    print(error, file=sys.stderr)
    sys.exit({NO_CAFFE})
net, state = sys.argv[1], json.loads(sys.argv[2])
caffe.Net(net, state.pop("phase"), **state, **({{"weights": sys.argv[3]}} if len(sys.argv) > 3 else {{}}))
"""
FATAL = re.compile(
    r"^F\d{4,8} [\d:.]+\s+\d+ (?P<at>\S+:\d+)\] (?P<reason>.*?)(?=^\*\*\* |\Z)", re.MULTILINE | re.DOTALL
)
PARSER = re.compile(r"^\[libprotobuf ERROR [^\]]*\] (?P<reason>.*)$", re.MULTILINE)
OURS = Path(__file__).resolve().parent.parent
OTHER_FILES = re.compile(b"Data|DATA|HDF5|Python")  # in types of layers that read more than the prototxt
KNOWN_TYPES = re.compile(r"\s*\(known types: [^)]*\)")

_LOADED: set[bytes] = set()  # digests of what real Caffe has loaded


def caffe_is_installed() -> bool:
    """Whether `import caffe` would find real Caffe; it is not imported here."""
    found = importlib.util.find_spec("caffe")
    if found is None or found.origin is None:  # any folder of that name is a package without an origin
        return False
    return OURS not in Path(found.origin).resolve().parents  # in a script that `caffe_viz.run` runs


def probe(
    prototxt: Path, weights: Path | None, state: NetState | None = None, *, timeout: float = TIMEOUT
) -> tuple[Finding, ...]:
    """Load the files in a child process with real Caffe; return its reason if it aborts, raises or hangs.

    A prototxt without weights that was loaded before is not tried again.
    """
    own = json.dumps(arguments(state or NetState()))
    text = prototxt.read_bytes() if weights is None else b""
    known = hashlib.sha256(own.encode() + text).digest()
    if known in _LOADED:
        return ()
    command = [sys.executable, "-c", CODE, str(prototxt.resolve()), own]
    if weights is not None:
        command.append(str(weights.resolve()))
    try:
        done = subprocess.run(
            command,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return (
            Finding("error", "", f"Caffe had not loaded it after {timeout:g} s; the attempt was stopped."),
        )
    stderr = done.stderr.decode(errors="replace")
    if done.returncode == 0:
        if weights is None and not OTHER_FILES.search(text):
            _LOADED.add(known)
        return ()
    if done.returncode == NO_CAFFE:
        message = (
            f"could not be tried in real Caffe, which does not start: {_last_line(stderr)} (`make caffe`)"
        )
        return (Finding("warning", "", message),)
    return (Finding("error", "", explain(done.returncode, stderr)),)


def arguments(state: NetState) -> dict[str, Any]:
    """Return the arguments of pycaffe's Net for a state of a file: TRAIN is 0, everything else TEST."""
    return {"phase": int(state.phase != TRAIN), "level": state.level, "stages": list(state.stage)}


@contextmanager
def as_file(net: NetParameter) -> Iterator[Path]:
    """Write `net` as a prototxt for real Caffe, without fields that change nothing; then delete it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.prototxt"
        write_net(without_quiet(net), path)
        yield path


def _environment() -> dict[str, str]:
    """The parent's, with its module path (no current folder), and fatal messages on stderr only."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
        "PYTHONSAFEPATH": "1",
        "GLOG_minloglevel": "2",
        "GLOG_logtostderr": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


def explain(returncode: int, stderr: str) -> str:
    """One line for how a child ended: its signal or exit code, and the reason that Caffe gave on `stderr`.

    >>> explain(-6, "F1124 10:00:00.1 7 net.cpp:9] Check failed: a == b (1 vs. 2) so\\n*** Check failure ***")
    'Caffe aborts (SIGABRT, net.cpp:9): Check failed: a == b (1 vs. 2) so'
    """
    fatal = FATAL.search(stderr)
    reasons = [m["reason"] for m in PARSER.finditer(stderr)]
    reasons += [fatal["reason"]] if fatal else []
    text = KNOWN_TYPES.sub("", " ".join(" ".join(reasons).split()) or _last_line(stderr) or "no reason given")
    text = text if len(text) <= REASON_LENGTH else text[: REASON_LENGTH - 3] + "..."
    place = f", {fatal['at']}" if fatal else ""
    if returncode < 0:
        return f"Caffe aborts ({_signal_name(-returncode)}{place}): {text}"
    return f"Caffe cannot load it (exit code {returncode}{place}): {text}"


def _signal_name(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
    return f"{name}, out of memory?" if name == "SIGKILL" else name


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
