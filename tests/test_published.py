"""Downloads of published weights, by real pooch from a server on loopback."""

from __future__ import annotations

import hashlib
import socket
import stat
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from caffe_viz import published as module
from caffe_viz.errors import InputError, RunError
from caffe_viz.published import PUBLISHED, download

BODY = bytes(range(256)) * 1000
SHA1 = hashlib.sha1(BODY).hexdigest()


class Server(ThreadingHTTPServer):
    """Answers every GET with `status` and `body`, and claims `claimed` bytes."""

    status = 200
    body = BODY
    claimed: int | None = len(BODY)
    requests = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/weights/net.caffemodel"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests += 1
        self.send_response(self.server.status)
        if self.server.claimed is not None:
            self.send_header("Content-Length", str(self.server.claimed))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_: object) -> None:
        """Silent."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that has one published file, "toy"."""
    with Server(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setattr(module, "PUBLISHED", {"toy": (running.url, SHA1)})
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield running
        running.shutdown()
        thread.join()


def failure(folder: Path, *words: str) -> None:
    """`download` fails in one line that holds `words`, and leaves no file."""
    with pytest.raises(RunError) as raised:
        download("toy", folder)
    text = str(raised.value)
    assert "\n" not in text
    assert text.startswith("http://127.0.0.1:")
    for word in words:
        assert word in text
    assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_good_file_and_its_progress(
    server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    calls: list[tuple[int, int]] = []
    path = download("toy", tmp_path / "new" / "folder", progress=lambda *call: calls.append(call))
    assert path == tmp_path / "new" / "folder" / "net.caffemodel"
    assert path.read_bytes() == BODY
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [p.name for p in path.parent.iterdir()] == ["net.caffemodel"]
    assert {total for _, total in calls} == {len(BODY)}
    assert calls == sorted(calls)
    assert len(calls) >= 4
    assert calls[-1] == (len(BODY), len(BODY))
    assert capfd.readouterr() == ("", "")


def test_second_call_asks_the_server_nothing(server: Server, tmp_path: Path) -> None:
    assert download("toy", tmp_path) == download("toy", tmp_path)
    assert server.requests == 1


def test_corrupted_file_is_replaced(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "net.caffemodel"
    path.write_bytes(BODY[:-1] + b"?")
    assert download("toy", tmp_path) == path
    assert path.read_bytes() == BODY
    assert server.requests == 1


def test_size_unknown(server: Server, tmp_path: Path) -> None:
    server.claimed = None
    calls: list[tuple[int, int]] = []
    download("toy", tmp_path, progress=lambda *call: calls.append(call))
    assert max(done for done, _ in calls) >= len(BODY)
    assert {total for _, total in calls} == {0}


def test_wrong_hash(server: Server, tmp_path: Path) -> None:
    server.body = b"<html>Please log in</html>"
    server.claimed = len(server.body)
    failure(tmp_path, "not the published file", SHA1)


def test_connection_cut_in_the_middle(server: Server, tmp_path: Path) -> None:
    server.body = BODY[:100_000]
    failure(tmp_path, "broke off", "Try again", str(tmp_path / "net.caffemodel"))
    server.body = BODY
    assert download("toy", tmp_path).read_bytes() == BODY


def test_not_found(server: Server, tmp_path: Path) -> None:
    server.status = 404
    failure(tmp_path, "404 Not Found")


def test_silent_server(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/net.caffemodel"
        monkeypatch.setattr(module, "PUBLISHED", {"toy": (url, SHA1)})
        monkeypatch.setattr(module, "TIMEOUT", 0.2)
        failure(tmp_path, "no answer within 0.2 seconds")


def test_refused_connection(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/net.caffemodel"
    monkeypatch.setattr(module, "PUBLISHED", {"toy": (url, SHA1)})
    failure(tmp_path, "no connection")


def test_full_disk(server: Server, tmp_path: Path) -> None:
    """By a limit on the size of files, which also fails in the middle of a write."""
    import resource
    import signal

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        failure(tmp_path, "cannot be written: File too large", "make room")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_interrupted(server: Server, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download("toy", tmp_path, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_folder_is_a_file(server: Server, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(RunError, match=r"cannot be written"):
        download("toy", tmp_path / "taken")


def test_cache_folder_is_the_default(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert download("toy") == tmp_path / "caffe_viz" / "net.caffemodel"


def test_unknown_name() -> None:
    with pytest.raises(InputError, match=r"'cafenet'\. Did you mean 'caffenet'"):
        download("cafenet")


def test_table(networks: Path) -> None:
    """Every name has a folder, every hash is 40 hex digits, and both stand in prototxt/README.md."""
    readme = (networks / "README.md").read_text(encoding="utf-8")
    for name, (url, sha1) in PUBLISHED.items():
        assert (networks / name / "deploy.prototxt").is_file()
        assert len(sha1) == 40
        assert int(sha1, 16)
        assert f"| {name} | {sha1} |" in readme
        assert f"[{name}]: {url}\n" in readme
