"""Downloads from a server on loopback: what comes is right, or there is no file."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

import caffe_viz as cv
from caffe_viz import published
from caffe_viz.errors import InputError, RunError

DATA = bytes(range(256)) * 1000


class Handler(BaseHTTPRequestHandler):
    requests: list[str]

    def do_GET(self) -> None:
        self.requests.append(self.path)
        if self.path.startswith("/missing"):
            self.send_error(404)
            return
        body = DATA[:1000] if self.path.startswith("/cut") else DATA
        self.send_response(200)
        self.send_header("Content-Length", str(len(DATA)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Serves DATA under a few names; yields the paths that were asked for."""
    handler = type("H", (Handler,), {"requests": []})
    with HTTPServer(("127.0.0.1", 0), handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        site = f"http://127.0.0.1:{http.server_port}"
        right, wrong = hashlib.sha1(DATA).hexdigest(), hashlib.sha1(b"").hexdigest()
        table = {
            "good": (f"{site}/good.caffemodel", right),
            "wrong": (f"{site}/wrong.caffemodel", wrong),
            "cut": (f"{site}/cut.caffemodel", right),
            "missing": (f"{site}/missing.caffemodel", right),
            "nobody": ("http://127.0.0.1:9/nobody.caffemodel", right),
        }
        monkeypatch.setattr(published, "PUBLISHED", table)
        yield handler.requests
        http.shutdown()


def test_fetched_once_with_progress(server: list[str], tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = cv.download("good", tmp_path / "new", progress=lambda done, total: seen.append((done, total)))
    assert path == tmp_path / "new" / "good.caffemodel"
    assert path.read_bytes() == DATA
    assert seen[-1] == (len(DATA), len(DATA))
    assert cv.download("good", tmp_path / "new") == path
    assert len(server) == 1


def test_a_damaged_file_is_fetched_again(server: list[str], tmp_path: Path) -> None:
    (tmp_path / "good.caffemodel").write_bytes(DATA[:-1])
    assert cv.download("good", tmp_path).read_bytes() == DATA


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("wrong", "SHA-1 is not da39a3ee"),
        ("cut", r"cut\.caffemodel"),
        ("missing", "404"),
        ("nobody", "no connection"),
    ],
)
@pytest.mark.usefixtures("server")
def test_what_goes_wrong_leaves_no_file(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(RunError, match=words):
        cv.download(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("server")
def test_an_interrupt_leaves_no_file(tmp_path: Path) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cv.download("good", tmp_path, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_unknown_name() -> None:
    with pytest.raises(InputError, match="Did you mean 'caffenet'"):
        cv.download("cafenet")


def test_the_published_hashes() -> None:
    assert {published.PUBLISHED[n][1][:8] for n in ("caffenet", "alexnet", "googlenet")} == {
        "4c8d77de", "9116a64c", "405fc5ac",
    }  # fmt: skip
