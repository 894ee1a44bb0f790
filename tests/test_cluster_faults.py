"""Faults of a cluster that cost nothing but time: nothing finished is lost, nothing counts twice."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import clusters
import fork_server
import numpy as np
import pytest
from cluster_work import Convolved, Gated, Large, Squares, tell_every
from clusters import PATIENCE, until
from commands import here

import caffe_viz as cv
from caffe_viz.ascent import ascend
from caffe_viz.errors import RunError
from caffe_viz.network import Network
from caffe_viz.tasks import Cluster, WorkerDeath
from caffe_viz.tasks.addresses import connected

distributed: Any = pytest.importorskip("distributed", reason="dask is not installed")
IMAGES = 250
TESTS = Path(__file__).resolve().parent


grown, client, net = clusters.grown, clusters.client, clusters.net


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("faults")
    clusters.write_toy(made)
    clusters.write_noise(made / "photos", IMAGES)
    return made


def begun(folder: Path) -> list[int]:
    """The numbers that `Squares` have begun, each as often as it was."""
    return sorted(int(path.name.split()[0]) for path in folder.glob("[0-9]*"))


def done(run: Any, numbers: int) -> tuple[list[Any], list[WorkerDeath]]:
    """What a run says of so many numbers."""
    told = list(run.run(range(numbers)))
    return sorted(x for x in told if not isinstance(x, WorkerDeath | str)), [
        x for x in told if isinstance(x, WorkerDeath)
    ]


# --- workers that die ---------------------------------------------------------------


@pytest.mark.slow
def test_workers_killed_at_random_moments(client: Any, net: Network, folder: Path, tmp_path: Path) -> None:
    """The same files, byte for byte."""
    rng, deaths = random.Random(7), 0
    client.run_on_scheduler(lambda dask_scheduler: setattr(dask_scheduler, "allowed_failures", 50))

    def disturbed(progress: Any) -> None:
        nonlocal deaths
        if deaths < 3 and rng.random() < 0.5:
            deaths += 1
            threading.Timer(rng.uniform(0, 0.05), kill, [client, rng.random()]).start()

    made = {}
    for name, cluster, tell in (("here", None, lambda _: None), ("there", client, disturbed)):
        top = cv.top_images(net, folder / "photos", "conv2", count=3, cluster=cluster, on_progress=tell)
        jobs = {"jobs": 1} if cluster is None else {"cluster": cluster}
        climbing = ascend(
            net.message,
            net.trained,
            "conv2",
            preprocess=net.preprocess,
            steps=12,
            seed=1,
            engine="torch",
            **jobs,
        )
        for progress in climbing:
            tell(progress)
        top.top.save(tmp_path / name / "top.npz")
        climbing.result.save(tmp_path / name / "climbed.npz")
        made[name] = [(tmp_path / name / file).read_bytes() for file in ("top.npz", "climbed.npz")]
    client.run_on_scheduler(lambda dask_scheduler: setattr(dask_scheduler, "allowed_failures", 1))
    assert deaths == 3
    assert made["here"] == made["there"]


def kill(client: Any, which: float) -> None:
    """One of the workers, with SIGKILL."""
    pids = sorted(client.run(os.getpid, on_error="ignore").values())
    if pids:
        with suppress(ProcessLookupError):
            os.kill(pids[int(which * len(pids))], signal.SIGKILL)


def test_real_caffe_aborts(client: Any, folder: Path, tmp_path: Path) -> None:
    """A failing CHECK ends the process; another worker tries, and the line names the image."""
    pytest.importorskip("caffe", reason="real Caffe is not installed: make caffe")
    clusters.write_toy(tmp_path)
    with Cluster(client).running(Convolved(tmp_path)) as run:
        assert len(done(run, 3)[0]) == 3
    with (
        Cluster(client).running(Convolved(tmp_path, wrong=4)) as run,
        pytest.raises(RunError, match=r"^2 workers died on image 4, one after another; try fewer at once\.$"),
    ):
        done(run, 5)
    tries = [path.name.split()[1] for path in tmp_path.glob("4 *")]
    assert len({*tries}) == len(tries) >= 2
    assert not list(tmp_path.glob("done-4 *"))


def test_too_little_memory(client: Any, tmp_path: Path) -> None:
    """Another worker may have enough; where none has, one line says of what, and what to do."""
    until(lambda: len(client.nthreads()) == 2)
    with Cluster(client).running(Large(tmp_path, large=3, once=True)) as run:
        found, deaths = done(run, 5)
    assert found == [n**2 for n in range(5)]
    assert begun(tmp_path) == [0, 1, 2, 3, 3, 4]
    assert [(death.piece, death.reason.split(",")[0]) for death in deaths] == [(3, "out of memory")]
    assert len({path.name.split()[1] for path in tmp_path.glob("3 *")}) == 2
    said = r"^2 workers had too little memory for number 1: start fewer on a machine, or try less at once\.$"
    with (
        Cluster(client).running(Large(tmp_path, large=1)) as run,
        pytest.raises(RunError, match=said),
    ):
        done(run, 2)


# --- a full disk --------------------------------------------------------------------


@contextmanager
def disk(folder: Path, size: str) -> Iterator[None]:
    """A small one at `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here: that is root's")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_the_disk_of_a_worker_is_full(client: Any, folder: Path, tmp_path: Path) -> None:
    parcels = folder / "there" / "caffe_viz" / "cluster"
    work = Squares(tmp_path, ballast=os.urandom(2**18))
    with disk(parcels, "64k"):
        with (
            Cluster(client).running(work) as run,
            pytest.raises(RunError, match=r"^worker tcp://.*cannot be written: No space left on device\.$"),
        ):
            done(run, 3)
        assert not list(parcels.iterdir())
    with Cluster(client).running(work) as run:
        assert done(run, 3)[0] == [0, 1, 4]


def test_the_disk_of_a_search_is_full(
    net: Network, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was saved before is whole, and gone on from."""
    monkeypatch.setattr("caffe_viz.top.search.SAVE_EVERY", 0)
    small, told = tmp_path / "small", []
    state = small / "state.npz"

    def fill(progress: Any) -> None:
        told.append(progress.done)
        if len(told) == 3:
            with suppress(OSError), (small / "filler").open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))

    with disk(small, "64k"):
        with pytest.raises(RunError, match=r"^.*state\.npz cannot be written: No space left on device\.$"):
            cv.top_images(net, folder / "photos", "conv2", count=3, state_file=state, on_progress=fill)
        assert {path.name for path in small.iterdir()} == {"state.npz", "filler"}
        (small / "filler").unlink()
        again: list[int] = []
        found = cv.top_images(
            net,
            folder / "photos",
            "conv2",
            count=3,
            state_file=state,
            on_progress=lambda p: again.append(p.done),
        )
    assert again[0] > told[2] == told[-1]
    clusters.same(found.top, cv.top_images(net, folder / "photos", "conv2", count=3).top)


def test_the_disk_of_features_is_full(net: Network, folder: Path, tmp_path: Path) -> None:
    """The rows that were saved are whole; with room the same call goes on."""
    small = tmp_path / "small"
    with disk(small, "256k"):
        with pytest.raises(RunError, match=r"cannot be written: No space left on device\.$") as error:
            cv.features(net, folder / "photos", ["conv2"], output=small / "a.npz")
        assert "\n" not in str(error.value)
        assert [path.name for path in small.iterdir()] == ["a.npz.unfinished"]
        subprocess.run(["mount", "-o", "remount,size=8m", str(small)], check=True)
        cv.features(net, folder / "photos", ["conv2"], output=small / "a.npz")
        cv.features(net, folder / "photos", ["conv2"], output=tmp_path / "b.npz")
        assert (small / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


# --- scheduler and client -----------------------------------------------------------


DASK = "import fork_server; fork_server.for_dask(); from distributed.cli.dask_{} import main; main()"


class Processes:
    """A scheduler and two workers, as a user starts them; ended by `close`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.file, self._log = folder / "scheduler.json", (folder / "log").open("w")
        self._environment = {**os.environ, "PYTHONPATH": str(TESTS), "XDG_CACHE_HOME": str(folder)}
        options = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
        self.scheduler = self._start("scheduler", *options)
        until(self.file.exists)
        options = [
            "--nthreads",
            "1",
            "--no-dashboard",
            "--memory-limit",
            "1GiB",
            "--local-directory",
            str(folder),
        ]
        self.workers = [self._start("worker", *options) for _ in range(2)]

    def _start(self, program: str, *options: str) -> fork_server.Popen:
        line = [sys.executable, "-c", DASK.format(program), "--scheduler-file", str(self.file)]
        return fork_server.Popen([*line, *options], env=self._environment, stdout=self._log, stderr=self._log)

    def close(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.kill()  # what a worker has started ends with it
            process.wait(PATIENCE)
        self._log.close()

    @contextmanager
    def client(self) -> Iterator[Any]:
        with connected(str(self.file)) as client:
            until(lambda: len(client.nthreads()) == 2)
            yield client


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Processes]]:
    """What gives those that are alive: the last test kills them."""
    made: list[Processes] = []

    def living() -> Processes:
        if not made or made[-1].scheduler.poll() is not None:
            made.append(Processes(tmp_path_factory.mktemp("processes") / "here"))
        return made[-1]

    yield living
    for one in made:
        one.close()


@contextmanager
def beside(work: Callable[[], None]) -> Iterator[None]:
    """While that goes on, which ends first."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_dask_ends_a_worker_that_takes_too_much(processes: Callable[[], Processes], tmp_path: Path) -> None:
    """With a memory limit; the other one does it."""
    work = Large(tmp_path, large=2, once=True, limited_by_dask=True)
    with processes().client() as client, Cluster(client).running(work) as run:
        found, deaths = done(run, 4)
    assert found == [0, 1, 4, 9]
    assert [death.piece for death in deaths] == [2]


def test_a_scheduler_that_hangs(processes: Callable[[], Processes], tmp_path: Path) -> None:
    """Pieces end while it does; nothing is done again."""
    living = processes()

    def hang() -> None:
        until(lambda: len(begun(tmp_path)) == 2)
        living.scheduler.send_signal(signal.SIGSTOP)
        (tmp_path / "gate").touch()
        time.sleep(1.5)
        living.scheduler.send_signal(signal.SIGCONT)

    with living.client() as client, Cluster(client).running(Gated(tmp_path)) as run, beside(hang):
        assert done(run, 4) == ([0, 1, 4, 9], [])
    assert begun(tmp_path) == [0, 1, 2, 3]


class Wire:
    """A port that leads to another one, until it is cut; then it leads there again."""

    def __init__(self, port: int) -> None:
        self._port, self._ends = port, list[socket.socket]()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        ends, self._ends = self._ends, []
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            near, _ = self._listener.accept()
            far = socket.create_connection(("127.0.0.1", self._port))
            self._ends += near, far
            for pair in ((near, far), (far, near)):
                threading.Thread(target=self._lead, args=pair, daemon=True).start()

    @staticmethod
    def _lead(one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(2**16):
                other.sendall(data)
        with suppress(OSError):
            other.shutdown(socket.SHUT_RDWR)


def test_a_connection_that_is_cut(processes: Callable[[], Processes], tmp_path: Path) -> None:
    """What was under way is done again, once; and reports on the way are heard again."""
    with processes().client() as one:
        wire = Wire(int(one.scheduler.address.rpartition(":")[2]))
    found, cut, heard = [], 0, 0
    with connected(wire.address) as client, Cluster(client).running(Gated(tmp_path)) as run:
        client.run(tell_every, 0.05)
        for report in run.run(range(4)):
            if report == "waiting":
                heard += 1
                if not cut:
                    wire.cut()
                else:
                    (tmp_path / "gate").touch()
            elif isinstance(report, WorkerDeath):
                assert report.reason == "the scheduler was gone"
                cut += 1
            else:
                found.append(report)
    assert sorted(found) == [0, 1, 4, 9]
    assert cut == 2
    assert heard >= 2


LEFT = """
import sys
from pathlib import Path
from cluster_work import Gated
from caffe_viz.tasks import Cluster
from caffe_viz.tasks.addresses import connected
with connected(sys.argv[1]) as client, Cluster(client).running(Gated(Path(sys.argv[2]))) as run:
    list(run.run(range(9)))
"""


def test_the_client_is_killed(processes: Callable[[], Processes], tmp_path: Path) -> None:
    """The workers leave what they are at, begin nothing else of it, and are free."""
    living = processes()
    line = [sys.executable, "-c", LEFT, living.file, tmp_path]
    with fork_server.Popen(line, env={**os.environ, "PYTHONPATH": str(TESTS)}) as left:
        until(lambda: len(begun(tmp_path)) == 2)
        left.kill()
    (tmp_path / "others").mkdir()
    with living.client() as client, Cluster(client).running(Squares(tmp_path / "others")) as run:
        assert done(run, 4) == ([0, 1, 4, 9], [])
        until(lambda: not any(client.processing().values()))
    assert begun(tmp_path) == [0, 1]


DISTURBED = """
import os, sys
import caffe_viz.tasks.addresses as connecting
import caffe_viz.top.search as search
from caffe_viz.cli import main

def saved(self):
    save(self)
    if self.top_k.seen and signals:
        os.kill(pid or os.getpid(), signals.pop())

save, search.Search.save, search.SAVE_EVERY = search.Search.save, saved, 0
connecting.WAIT = "2s"
signals, pid = [int(sys.argv.pop(1))], int(sys.argv.pop(1))
main()
"""


def disturbed(words: list[Any], cluster: Path, number: int, pid: int) -> subprocess.CompletedProcess[str]:
    """The command on a cluster; when it first saves, a process (0: the command) is sent a signal."""
    line = [sys.executable, "-c", DISTURBED, number, pid, *words, "--cluster", cluster]
    return fork_server.run(line, capture_output=True, text=True, timeout=4 * PATIENCE)


@pytest.mark.slow
def test_the_command_is_ended_then_the_scheduler_dies(
    processes: Callable[[], Processes], net: Network, folder: Path, tmp_path: Path
) -> None:
    """By SIGTERM: the cluster is free. Without scheduler: one line. Each time the same command goes on."""
    out = tmp_path / "out"
    words = [
        "top", net.prototxt, net.weights, "--images", folder / "photos", "--layer", "conv2", "--count", 3,
        "--engine", "torch", "-o", out,
    ]  # fmt: skip
    living = processes()
    assert disturbed(words, living.file, signal.SIGTERM, 0).returncode == -signal.SIGTERM
    first = seen(out)
    with living.client() as client:
        until(lambda: not any(client.processing().values()))
    ended = disturbed(words, living.file, signal.SIGKILL, living.scheduler.pid)
    assert ended.returncode == 1, ended.stderr
    assert f"resuming after {first:,} images" in ended.stderr
    assert ended.stderr.splitlines()[-1] == (
        "caffe-viz: the connection to the cluster is lost: no scheduler answers any more."
    )
    assert "Traceback" not in ended.stderr
    assert "distributed" not in ended.stderr
    for worker in living.workers:
        worker.wait(PATIENCE)
    assert 0 < first < seen(out) < IMAGES
    here(*words)
    cv.top_images(net, folder / "photos", "conv2", count=3).top.save(tmp_path / "undisturbed.npz")
    assert (out / "conv2_top.npz").read_bytes() == (tmp_path / "undisturbed.npz").read_bytes()


def seen(out: Path) -> int:
    """How many images a search had done when it was last saved."""
    (state,) = out.glob("*.unfinished.npz")
    with np.load(state) as saved:
        return sum(last - first for first, last in json.loads(str(saved["done"])))
