"""Two runs on one state: one is at it, the other says so; nothing is counted twice, nothing lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from caffe_viz.errors import RunError
from caffe_viz.resuming import Claim

HOLDING = """
import os, sys, time
from pathlib import Path
from caffe_viz.resuming import Claim
claim = Claim(Path(sys.argv[1]), "out.npz")
print("held", flush=True)
sys.stdin.read()
"""


def test_one_run_at_a_time_and_a_killed_one_holds_nothing(tmp_path: Path) -> None:
    file = tmp_path / "out" / ".lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING, file], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(
            RunError, match=r"^another run is at out\.npz: wait for its end, or give another output\.$"
        ):
            Claim(file, "out.npz")
        other.send_signal(signal.SIGKILL)
        other.wait(60)
    with Claim(file, "out.npz"), pytest.raises(RunError):
        Claim(file, "out.npz")
    assert not file.exists()


def test_where_there_are_no_locks_runs_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As some NFS answers."""

    def no_locks(descriptor: int, how: int) -> None:
        raise OSError(os.strerror(95))

    monkeypatch.setattr("fcntl.flock", no_locks)
    with Claim(tmp_path / "lock", "a"), Claim(tmp_path / "lock", "a"):
        pass
