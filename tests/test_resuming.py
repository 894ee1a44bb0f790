"""Two runs on one state: one is at it, the other says so; nothing is counted twice, nothing lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import clusters
import fork_server
import pytest
from commands import ran

import caffe_viz as cv
from caffe_viz.errors import RunError
from caffe_viz.network import Network
from caffe_viz.resuming import RunLock

HOLDING = """
import os, sys, time
from pathlib import Path
from caffe_viz.resuming import RunLock
lock = RunLock(Path(sys.argv[1]), "out.npz")
print("held", flush=True)
sys.stdin.read()
"""


def test_one_run_at_a_time_and_a_killed_one_holds_nothing(tmp_path: Path) -> None:
    file = tmp_path / "out" / ".lock"
    with fork_server.Popen(
        [sys.executable, "-c", HOLDING, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(
            RunError,
            match=r"^another run is working on out\.npz: wait until it ends, or give another output\.$",
        ):
            RunLock(file, "out.npz")
        other.send_signal(signal.SIGKILL)
        other.wait(60)
    with RunLock(file, "out.npz"), pytest.raises(RunError):
        RunLock(file, "out.npz")
    assert not file.exists()


def test_where_there_are_no_locks_runs_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As some NFS answers."""

    def no_locks(descriptor: int, how: int) -> None:
        raise OSError(os.strerror(95))

    monkeypatch.setattr("fcntl.flock", no_locks)
    with RunLock(tmp_path / "lock", "a"), RunLock(tmp_path / "lock", "a"):
        pass


class Enough(Exception):
    pass


@pytest.fixture
def net(tmp_path: Path) -> Network:
    pytest.importorskip("torch", reason="the engine torch is not installed")
    clusters.write_toy(tmp_path)
    clusters.write_noise(tmp_path / "photos", 70)
    return Network(tmp_path / "deploy.prototxt", tmp_path / "net.caffemodel", engine="torch")


@pytest.mark.parametrize("command", ["features", "top"])
def test_two_runs_into_one_file(
    net: Network, tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The later one is refused; the first one is not disturbed, and goes on from what it has."""
    monkeypatch.setattr("caffe_viz.top.search.SAVE_EVERY", 0)
    photos, out = tmp_path / "photos", tmp_path / "out"
    file = out / {"features": "a.npz", "top": "conv2_top.unfinished.npz"}[command]
    words = {
        "features": ["--blob", "conv2", "-o", file],
        "top": ["--layer", "conv2", "--count", 3, "-o", out],
    }[command]
    line = [command, net.prototxt, net.weights, "--images", photos, "--engine", "torch", *words]

    def make(output: Path, tell: Any) -> None:
        if command == "features":
            cv.features(net, photos, "conv2", output=output, on_progress=tell)
        else:
            cv.top_images(net, photos, "conv2", count=3, state_file=output, on_progress=tell).top.save(output)

    said: list[str] = []

    def another(progress: Any) -> None:
        code, _, told = ran(*line)
        said.append(told.splitlines()[-1])
        assert code == 1
        if progress.done > 32:
            raise Enough

    with pytest.raises(Enough):
        make(file, another)
    assert {*said} == {
        f"caffe-viz: another run is working on {file}: wait until it ends, or give another output."
    }
    code, _, told = ran(*line)
    assert code == 0, told
    made = {"features": file, "top": out / "conv2_top.npz"}[command]
    make(tmp_path / "alone.npz", lambda _: None)
    assert made.read_bytes() == (tmp_path / "alone.npz").read_bytes()
    assert {path.suffix for path in out.iterdir()} <= {".npz", ".png"}
