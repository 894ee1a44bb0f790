"""The command `serve`, and `serve` in Python: a real server with its workers."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fork_server
import httpx
import psutil
import pytest
from commands import ran, refused
from test_processes import gone, until

import caffe_viz as cv
from caffe_viz import shipped
from caffe_viz.errors import InputError, RunError
from caffe_viz.network import Network
from caffe_viz.server import running, supervisor
from caffe_viz.server.pool import PROGRAM

CAT = shipped.example()
NET = "caffenet_cifar10"
LONG = 120.0  # seconds, on a slow machine
CLIMB = "ascent?objective={}&steps=2048&method=plain"  # to follow


@pytest.fixture(autouse=True)
def no_wait_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers of servers in this process that still load when these end are killed at once."""
    monkeypatch.setattr(supervisor, "STOP_WAIT", 0.01)


class Process:
    """The command in a process of its own."""

    def __init__(self, *words: object) -> None:
        line = [sys.executable, "-m", "caffe_viz.cli", "serve", NET, *map(str, words)]
        self._process = fork_server.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.lines: list[str] = []
        while text := self._process.stdout.readline():
            self.lines.append(text.rstrip())
            if "token=" in text:
                break
        self.address = next(
            (found[0] for x in self.lines if (found := re.findall(r"http://[^\s\"]+", x))), ""
        )

    @property
    def workers(self) -> list[psutil.Process]:
        own = psutil.Process(self._process.pid)
        forks = own.parent()
        assert forks is not None
        return [one for one in forks.children() if one != own and one.create_time() >= own.create_time()]

    def ended(self, number: signal.Signals) -> tuple[int, str, str]:
        """Exit code, the rest of what it printed, what it said; workers are gone too."""
        workers = self.workers
        for worker in workers if number == signal.SIGINT else ():
            worker.send_signal(number)  # as a terminal does
        self._process.send_signal(number)
        self._process.wait(LONG)
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        out, said = self._process.stdout.read(), self._process.stderr.read()
        gone, alive = psutil.wait_procs(workers, timeout=LONG)
        assert len(gone) == len(workers) > 0
        assert not alive
        return self._process.returncode, out, said

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate(timeout=LONG)


@contextmanager
def command(*words: object) -> Iterator[Process]:
    process = Process(*words)
    try:
        yield process
    finally:
        process.close()


@contextmanager
def browser(address: str) -> Iterator[httpx.Client]:
    """A client that has opened `address`."""
    site = address.split("/?")[0]
    with httpx.Client(base_url=site, headers={"Origin": site}, timeout=LONG, follow_redirects=True) as client:
        assert client.get(address).url == f"{site}/"
        yield client


class TestCommand:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_from_the_address_to_the_end(self, number: signal.Signals) -> None:
        """Which comes while a worker is at work."""
        with command("--example") as process, browser(process.address) as client:
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{32,}", process.address)
            assert process.lines[-1] == process.address
            assert process.lines[0].startswith("preprocessing: BGR")
            assert "cat.png" in client.get("/api/network").text
            with client.stream("GET", "/api/events", params={"ask": CLIMB.format("conv3:16")}) as stream:
                lines = stream.iter_lines()
                assert tells(lines, "event: progress")
                code, out, said = process.ended(number)
                assert tells(lines, "event: failed")
        assert (code, said) == (0, "")
        assert re.fullmatch(
            r"listens at 127\.0\.0\.1, port \d+, for this machine only; Ctrl-C ends it\n", out
        )

    def test_killed_it_leaves_no_worker(self) -> None:
        with command("--example") as process:
            assert process.ended(signal.SIGKILL)[0] == -signal.SIGKILL

    def test_two_at_once_listen_at_two_ports(self) -> None:
        with command("--example", "--json") as first, command("--example", "--json") as second:
            told = [json.loads(one.lines[-1]) for one in (first, second)]
            assert told[0]["port"] != told[1]["port"]
            for one, process in zip(told, (first, second), strict=True):
                assert one == {"address": process.address, "host": "127.0.0.1", "port": one["port"]}
                with browser(process.address) as client:
                    assert client.get("/api/status").status_code == 200

    def test_beyond_this_machine_is_warned_of(self) -> None:
        with command("--example", "--host", "0.0.0.0") as process:
            assert process.address.startswith("http://127.0.0.1:")
            _, out, said = process.ended(signal.SIGINT)
        assert "listens at 0.0.0.0, port" in out
        assert "other machines reach it too" in out
        assert said.startswith("caffe-viz: whoever reaches 0.0.0.0 and knows the address can use it")
        assert said.count("\n") == 1

    def test_a_port_that_is_taken(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            said = refused("serve", NET, "--example", "--port", port)
        assert said == (
            f"caffe-viz: 127.0.0.1 port {port}: something listens there already; give another port.\n"
        )

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            ("--host nothing.invalid", "host 'nothing.invalid' has no address: give 127.0.0.1, or one of this machine's."),
            ("--host 192.0.2.1", "192.0.2.1 port 8642 and those after it: nothing can listen there: "),
            ("--port 65536", "--port 65536: give a whole number from 1 to 65535."),
            ("--image nothing.png", "nothing.png: there is no such image, folder or archive."),
            ("--photos nothing", "nothing: there is no such image, folder or archive."),
            ("--record nothing.record", "nothing.record"),
            ("--beside nothing.caffemodel", "nothing.caffemodel"),
            ("--beside-prototxt lenet", "give the file of its weights too"),
        ],
    )  # fmt: skip
    def test_what_is_wrong_is_said_before_it_listens(
        self, words: str, said: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(running, "Server", None)
        line = refused("serve", NET, *words.split())
        assert line.startswith("caffe-viz: ")
        assert said in line
        assert line.count("\n") == 1

    def test_weights_are_needed(self) -> None:
        assert "give the file of its weights too" in refused("serve", "caffenet")

    def test_the_page_knows_the_command(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """So that what is shown can be had again."""
        kept = {}

        def started(network: Any, images: Any, **more: Any) -> Any:
            kept.update(more, images=images)
            raise KeyboardInterrupt

        monkeypatch.setattr(running, "started", started)
        words = ("--image", "a b.png", "--photos", "folder", "--port", "9000", "--cache", str(tmp_path))
        code, _, _ = ran("serve", NET, "--example", *words, "--engine", "torch")
        assert code == 0
        assert kept["command"] == (
            f"caffe-viz serve {NET} --engine torch --image 'a b.png' --example --photos folder --port 9000 "
            f"--cache {tmp_path}"
        )
        assert kept["images"] == ["a b.png", CAT]
        assert (kept["port"], kept["cache"], kept["photos"]) == (9000, tmp_path, "folder")

    def test_a_second_network(self, monkeypatch: pytest.MonkeyPatch) -> None:
        kept = {}

        def started(network: Any, images: Any, **more: Any) -> Any:
            kept.update(more)
            raise KeyboardInterrupt

        monkeypatch.setattr(running, "started", started)
        own = shipped.files(NET)
        ran("serve", NET, "--beside", own[1], "--scale", "0.5")
        beside = kept["beside"]
        assert (beside.prototxt, beside.weights, beside.preprocess.scale) == (*own, 0.5)
        ran("serve", NET, "--beside", "b.caffemodel", "--beside-prototxt", "lenet")
        beside = kept["beside"]
        assert (beside.message.name, beside.weights) == ("LeNet", Path("b.caffemodel"))
        ran("serve", NET)
        assert kept["beside"] is None

    @pytest.mark.parametrize("asked", [True, False])
    def test_browser_opens_it(self, asked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        opened = []
        monkeypatch.setattr("webbrowser.open", opened.append)
        monkeypatch.setattr(running.Server, "wait", lambda self: None)
        code, out, _ = ran("serve", NET, *(["--browser"] if asked else []))
        assert code == 0
        assert opened == ([out.splitlines()[0]] if asked else [])


class TestInPython:
    def test_it_runs_beside_what_else_the_process_does(self) -> None:
        with cv.serve(NET, [CAT], port=0) as server:
            waiting = threading.Thread(target=server.wait)
            waiting.start()
            assert repr(server) == f"the live view: open {server.address} (.stop() ends it)"
            with browser(server.address) as client:
                names = [worker["name"] for worker in client.get("/api/status").json()["workers"]]
                assert names == ["quick", "patient"]
            assert waiting.is_alive()
        waiting.join(LONG)
        assert not waiting.is_alive()
        assert repr(server).endswith("has ended")
        server.stop()  # again does nothing
        server.wait()
        with pytest.raises(httpx.ConnectError):
            httpx.get(server.address)

    def test_a_net_of_the_session_and_another_beside(self, engine: str) -> None:
        """With the weights that it has now."""
        net = cv.load_net(*map(str, shipped.files(NET)), engine=engine)
        net.params["conv1"][0].data[...] = 0
        with cv.serve(net, beside=shipped.files(NET)[1], port=0) as server, browser(server.address) as client:
            found = client.get("/api/network").json()["networks"]
        assert [one["engine"] for one in found] == [engine, engine]
        assert [one["weights"] for one in found] == ["", str(shipped.files(NET)[1])]
        assert found[0]["layers"] == found[1]["layers"]

    def test_what_cannot_begin_is_not_waited_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def no_loop(work: Any) -> None:
            work.close()
            raise OSError("Too many open files")

        monkeypatch.setattr("asyncio.run", no_loop)
        with pytest.raises(OSError, match="Too many open files"):
            cv.serve(NET, port=0)

    def test_the_first_free_port(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with running.listening("127.0.0.1", 0) as taken:
            port = taken.getsockname()[1]
            monkeypatch.setattr(running, "PORT", port)
            with running.listening("127.0.0.1", None) as found:
                assert port < found.getsockname()[1] < port + running.PORTS
            monkeypatch.setattr(running, "PORTS", 1)
            with pytest.raises(InputError, match=f"port {port} and those after it: something listens there"):
                running.listening("127.0.0.1", None)

    def test_ipv6(self) -> None:
        try:
            running.listening("::1", 0).close()
        except InputError:
            pytest.skip("there is no IPv6 here")
        with cv.serve(NET, host="::1", port=0) as server, browser(server.address) as client:
            assert client.get("/api/status").status_code == 200

    def test_without_the_libraries(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(running, "find_spec", lambda name: None if name == "uvicorn" else name)
        with pytest.raises(RunError, match=r"pip install 'caffe-viz\[app\]'"):
            cv.serve(NET)

    def test_a_script_loads_no_engine_and_takes_it_along_at_its_end(self) -> None:
        """An engine is the workers' affair: the server stays small, and no engine takes it along."""
        code = (
            f"import os, sys, caffe_viz as cv\ncv.serve({NET!r}, [{str(CAT)!r}], port=0)\n"
            "print(*sys.modules, flush=True)\nos.system('ps -o pid= --ppid ' + str(os.getpid()))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=LONG
        )
        assert done.stderr == ""
        modules, *pids_told = done.stdout.splitlines()
        assert {"torch", "caffe"}.isdisjoint(modules.split())
        pids = [*map(int, pids_told)]
        assert len(pids) >= 2
        until(lambda: all(map(gone, pids)))


def test_the_demo_names_a_command_that_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).resolve().parent.parent
    monkeypatch.syspath_prepend(root / "scripts")
    import demo

    monkeypatch.chdir(root)
    assert os.access(demo.program(), os.X_OK)


OWN_LAYER = """
from caffe_viz.engine import layer
from caffe_viz.geometry.table import Out


@layer("Doubled", shapes=lambda param, bottoms: Out(bottoms))
def doubled(call, bottoms, params):
    return 2 * bottoms[0]
"""


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    """A browser at a server with all its questions."""
    with cv.serve(NET, [CAT], port=0) as server, browser(server.address) as client:
        yield client


@pytest.fixture
def cat(client: httpx.Client) -> str:
    image: str = client.get("/api/network").json()["images"][0]["id"]
    return image


def restarts(client: httpx.Client) -> int:
    return sum(worker["restarts"] for worker in client.get("/api/status").json()["workers"])


class TestUploads:
    def test_a_photograph(self, client: httpx.Client) -> None:
        reply = client.post("/api/images?name=photo.png", content=CAT.read_bytes())
        found = reply.json()
        assert (found["name"], found["width"], found["height"]) == ("photo.png", 451, 300)
        answer = client.get("/api/answer", params={"image": found["id"]}).json()
        assert len(answer["facts"]["heads"][0]["values"]) == 10

    def test_a_decompression_bomb(self, client: httpx.Client) -> None:
        """Few bytes, many pixels: it is refused before it is unpacked, and no worker is lost."""
        data = png(20_000, 20_000)
        assert len(data) < 2**20
        reply = client.post("/api/images?name=bomb.png", content=data)
        assert reply.status_code == 400
        assert "million pixels" in reply.json()["error"]
        assert restarts(client) == 0

    @pytest.mark.parametrize(
        "data",
        [
            b"<svg onload=alert(1)>", b"#!/bin/sh\nid\n", b"\x89PNG\r\n\x1a\n", CAT.read_bytes()[:2000],
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"GIF89a" + bytes(30), b"\x93NUMPY\x01\x00", b"PK\x03\x04",
        ],
    )  # fmt: skip
    def test_what_is_no_image(self, client: httpx.Client, data: bytes) -> None:
        reply = client.post("/api/images?name=x.png", content=data)
        assert reply.status_code == 400
        assert reply.json()["error"].startswith("x.png")
        assert "\n" not in reply.json()["error"]
        assert restarts(client) == 0

    def test_the_largest_and_one_that_is_larger(self, client: httpx.Client) -> None:
        most = client.get("/api/network").json()["limits"]["bytes"]
        data = CAT.read_bytes()
        reply = client.post("/api/images?name=x.png", content=data + bytes(most - len(data)))
        assert (reply.status_code, reply.json()["width"]) == (200, 451)
        reply = client.post("/api/images?name=x.png", content=data + bytes(most - len(data) + 1))
        assert reply.status_code == 413
        assert "32 MiB" in reply.json()["error"]


def test_a_growing_ascent_that_is_left_and_asked_again(client: httpx.Client) -> None:
    """What it shows comes while it climbs; left, it stops; asked again it goes on."""
    climb = CLIMB.format("conv3:16")
    first = progress(client, climb)
    until(lambda: not client.get("/api/status").json()["workers"][1]["busy"])
    assert progress(client, climb)["done"] >= first["done"]


def progress(client: httpx.Client, ask: str) -> Any:
    """The first progress of an ascent that has a picture."""
    with client.stream("GET", "/api/events", params={"ask": ask}) as stream:
        assert stream.status_code == 200
        deadline = time.monotonic() + LONG
        for line in stream.iter_lines():
            assert time.monotonic() < deadline
            assert not line.startswith("event: failed")
            if line.startswith("data: ") and (found := json.loads(line[6:])["told"]).get("pictures"):
                return found
    raise AssertionError("it ended")


def tells(lines: Iterator[str], wanted: str) -> bool:
    """Whether it comes: lines that only say that the server is there come without end."""
    deadline = time.monotonic() + LONG
    for line in lines:
        if line == wanted:
            return True
        assert time.monotonic() < deadline
    return False


def workers() -> list[psutil.Process]:
    """Those of servers in this process, which may have other children."""
    return [psutil.Process(pid) for pid in fork_server.living(PROGRAM)]


def test_a_worker_that_dies_costs_one_request(client: httpx.Client, cat: str) -> None:
    before, kept = restarts(client), {p.pid for p in workers()}
    with client.stream("GET", "/api/events", params={"ask": CLIMB.format("conv2:5")}) as stream:
        lines = stream.iter_lines()
        assert tells(lines, "event: progress")
        for process in workers():
            process.kill()
        assert tells(lines, "event: failed")
    until(lambda: restarts(client) == before + 2)
    assert client.get("/api/maps", params={"image": cat, "layer": "conv1"}).status_code == 200
    assert kept.isdisjoint(p.pid for p in workers())


def test_layers_of_the_users_own(tmp_path: Path, layer_types: None) -> None:
    (tmp_path / "own.py").write_text(OWN_LAYER)
    text = Path(str(shipped.files(NET)[0])).read_text()
    text += 'layer { name: "twice" type: "Doubled" bottom: "prob" top: "twice" }\n'
    (tmp_path / "deploy.prototxt").write_text(text)
    network = Network(tmp_path / "deploy.prototxt", shipped.files(NET)[1], layers=tmp_path / "own.py")
    with cv.serve(network, [CAT], port=0) as server, browser(server.address) as client:
        image = client.get("/api/network").json()["images"][0]["id"]
        reply = client.get("/api/maps", params={"image": image, "layer": "twice"})
        assert reply.status_code == 200, reply.text
        assert reply.json()["facts"]["count"] == 10


def png(width: int, height: int) -> bytes:
    """A file of one colour that says so of its size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compressobj(9)
    data = b"".join(rows.compress(bytes(1 + (width + 7) // 8)) for _ in range(height)) + rows.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
