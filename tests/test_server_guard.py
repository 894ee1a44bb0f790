"""Who reaches the live view, and what slow, large and foreign requests come to."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from unittest.mock import Mock

import pytest
from asgi_calls import Reply, call, scope

uvicorn = pytest.importorskip("uvicorn")

from uvicorn.server import ServerState  # noqa: E402

from caffe_viz.server import connections, guard  # noqa: E402
from caffe_viz.server.access import Access  # noqa: E402
from caffe_viz.server.guard import Guard  # noqa: E402
from caffe_viz.server.running import _uvicorn, listening  # noqa: E402

HERE = "127.0.0.1:8642"
ACCESS = Access("127.0.0.1", 8642, token="s3cret")
COOKIE = ("Cookie", "other=1; caffe-viz-8642=s3cret")
OWN = ("Sec-Fetch-Site", "same-origin")


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Says how it was asked, and gives the body back."""
    message = await receive()
    headers = [(b"content-type", b"text/plain"), (b"x-method", scope["method"].encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"hello " + message["body"]})


def asked(
    target: str = "/", *headers: tuple[str, str], method: str = "GET", host: str | None = HERE,
    access: Access = ACCESS, body: Any = b"",
) -> Reply:  # fmt: skip
    named = [] if host is None else [("Host", host)]
    return call(Guard(echo, access), target, method, [*named, *headers], body)


class TestToken:
    def test_the_address_lets_a_browser_in_and_is_forgotten(self) -> None:
        """The token goes into a cookie that no script reads and no other site sends, and out of the address."""
        reply = asked("/?layer=conv1&token=s3cret&unit=3")
        assert (reply.status, reply.headers["location"]) == (303, "/?layer=conv1&unit=3")
        assert reply.headers["set-cookie"] == "caffe-viz-8642=s3cret; Path=/; HttpOnly; SameSite=Strict"
        assert asked("/?token=s3cret").headers["location"] == "/"
        assert asked("/", COOKIE).text == "hello "

    def test_what_the_view_is_stays_as_it_was_written(self) -> None:
        state = "objective=conv3%3A16+%2B+0.5*conv3%3A40&layer=%22%3E%3Cscript%3E&empty="
        assert asked(f"/?{state}&token=s3cret").headers["location"] == (
            "/?objective=conv3%3A16+%2B+0.5%2Aconv3%3A40&layer=%22%3E%3Cscript%3E&empty="
        )

    def test_the_way_on_never_leads_to_another_site(self) -> None:
        for state in ("//evil.example", "next=//evil.example", "%0d%0aset-cookie:a", "http://evil.example"):
            place = asked(f"/?token=s3cret&{state}").headers["location"]
            assert re.fullmatch(r"/(\?[\w%+.=&*-]*)?", place)

    def test_a_link_in_another_site_works_too(self) -> None:
        """Its browser sends no cookie along a redirection, so a page of ours leads on."""
        reply = asked('/?token=s3cret&layer="><script>&unit=1', ("Sec-Fetch-Site", "cross-site"))
        assert reply.status == 200
        assert "set-cookie" in reply.headers
        assert (
            '<meta http-equiv="refresh" content="0; url=/?layer=%22%3E%3Cscript%3E&amp;unit=1">' in reply.text
        )

    def test_with_a_cookie_an_old_token_is_no_matter(self) -> None:
        assert asked("/?token=old&layer=conv1", COOKIE).headers["location"] == "/?layer=conv1"

    @pytest.mark.parametrize(
        "target", ["/", "/?token=", "/?token=S3CRET", "/?token=s3cret1", "/?token=s3cre"]
    )
    def test_without_it_the_page_says_in_plain_words_what_to_do(self, target: str) -> None:
        reply = asked(target)
        assert reply.status == 403
        assert "Use the address that `caffe-viz serve` printed" in reply.text
        assert reply.headers["content-type"].startswith("text/html")
        assert "set-cookie" not in reply.headers
        assert "s3cret" not in reply.text

    @pytest.mark.parametrize(
        "target", ["/api/network", "/static/main.js", "/api/maps?token=s3cret", "/nothing"]
    )
    def test_nothing_else_is_answered_either(self, target: str) -> None:
        reply = asked(target, OWN)
        assert reply.status == 403
        if target.startswith("/api/"):
            assert "caffe-viz serve" in reply.json["error"]

    @pytest.mark.parametrize(
        "cookie",
        ["caffe-viz-8642=s3cre", "caffe-viz-8643=s3cret", "caffe-viz-8642=", "s3cret", "caffe-viz-8642=\xe9", "x" * 9999],
    )  # fmt: skip
    def test_wrong_cookies(self, cookie: str) -> None:
        assert asked("/", ("Cookie", cookie)).status == 403

    def test_tokens_are_long_and_never_the_same(self) -> None:
        tokens = {Access("127.0.0.1", 1).token for _ in range(9)}
        assert len(tokens) == 9
        assert min(map(len, tokens)) >= 32

    def test_it_is_not_in_what_is_printed_of_objects(self) -> None:
        assert "s3cret" not in repr(Guard(echo, ACCESS))


class TestHost:
    @pytest.mark.parametrize("host", [HERE, "localhost:8642", "[::1]:8642", "LOCALHOST:8642"])
    def test_names_of_this_machine(self, host: str) -> None:
        assert asked("/", COOKIE, host=host).status == 200

    @pytest.mark.parametrize(
        "host",
        [
            None, "", "evil.example", "evil.example:8642", "127.0.0.1", "127.0.0.1:80", "127.0.0.1:8642.evil.example",
            "127.0.0.1.evil.example:8642", "localhost.evil.example:8642", "evil.example@127.0.0.1:8642", "[::1:8642",
            "127.0.0.1:8642:8642", "10.0.0.7:8642", "127.0.0.1:99999999", "localhost:", "[fe80::1%25x]:8642", "::1:8642",
        ],
    )  # fmt: skip
    def test_a_name_that_was_made_to_lead_here(self, host: str | None) -> None:
        """DNS rebinding: the browser takes the attacker's name for ours, and would send no cookie; but never mind."""
        for target in ("/", "/?token=s3cret", "/api/network"):
            reply = asked(target, COOKIE, OWN, host=host)
            assert reply.status == 421
            assert "http://127.0.0.1:8642" in reply.text
            assert "location" not in reply.headers

    def test_two_names(self) -> None:
        assert asked("/", COOKIE, ("Host", "evil.example")).status == 421

    def test_a_host_that_was_given(self) -> None:
        access = Access("10.0.0.7", 8642, "s3cret")
        assert asked("/", COOKIE, host="10.0.0.7:8642", access=access).status == 200
        assert asked("/", COOKIE, host="10.0.0.8:8642", access=access).status == 421

    @pytest.mark.parametrize("everywhere", ["0.0.0.0", "::"])
    def test_all_addresses_of_the_machine(self, everywhere: str) -> None:
        access = Access(everywhere, 8642, "s3cret")
        own = f"{socket.gethostname()}:8642"
        for host in ("10.0.0.8:8642", "[fe80::1]:8642", own, "localhost:8642"):
            assert asked("/", COOKIE, host=host, access=access).status == 200
        assert asked("/", COOKIE, host="evil.example:8642", access=access).status == 421

    @pytest.mark.parametrize(
        ("host", "origin", "beyond"),
        [
            ("127.0.0.1", "http://127.0.0.1:8642", False), ("localhost", "http://localhost:8642", False),
            ("::1", "http://[::1]:8642", False), ("0.0.0.0", "http://127.0.0.1:8642", True),
            ("::", "http://[::1]:8642", True), ("10.0.0.7", "http://10.0.0.7:8642", True),
            ("box.local", "http://box.local:8642", True),
        ],
    )  # fmt: skip
    def test_addresses(self, host: str, origin: str, beyond: bool) -> None:
        access = Access(host, 8642, "s3cret")
        assert (access.origin, access.beyond) == (origin, beyond)
        assert access.address == f"{origin}/?token=s3cret"


class TestOtherSites:
    @pytest.mark.parametrize(
        "headers",
        [
            [OWN], [("Origin", f"http://{HERE}")], [OWN, ("Origin", f"http://{HERE}")],
            [OWN, ("Origin", "null")],  # of a page whose referrer policy is none
        ],
    )  # fmt: skip
    def test_our_own_page_may_send(self, headers: list[tuple[str, str]]) -> None:
        reply = asked("/api/images", COOKIE, *headers, method="POST", body=b"an image")
        assert (reply.status, reply.text) == (200, "hello an image")

    @pytest.mark.parametrize(
        "headers",
        [
            [], [("Origin", "http://evil.example")], [("Origin", "null")], [("Origin", f"https://{HERE}")],
            [("Origin", "http://127.0.0.1:9999")], [("Origin", "http://localhost:8642")], [("Sec-Fetch-Site", "none")],
            [("Sec-Fetch-Site", "cross-site")], [("Sec-Fetch-Site", "same-site")],
            [OWN, ("Origin", "http://evil.example")], [("Origin", f"http://{HERE}"), ("Origin", "http://evil.example")], [OWN, ("Sec-Fetch-Site", "cross-site")], [("Origin", "")],
        ],
    )  # fmt: skip
    def test_no_other_may(self, headers: list[tuple[str, str]]) -> None:
        reply = asked("/api/images", COOKIE, *headers, method="POST", body=b"an image")
        assert reply.status == 403
        assert "own page" in reply.json["error"]

    @pytest.mark.parametrize("site", ["cross-site", "same-site", "nonsense"])
    def test_no_other_may_read_either(self, site: str) -> None:
        for target in ("/api/network", "/static/main.js"):
            assert asked(target, COOKIE, ("Sec-Fetch-Site", site)).status == 403
        assert asked("/api/network", COOKIE, ("Origin", "http://evil.example")).status == 403

    def test_a_picture_in_a_tab_of_its_own(self) -> None:
        assert asked("/api/maps/picture/0", COOKIE, ("Sec-Fetch-Site", "none")).status == 200
        assert asked("/api/maps/picture/0", COOKIE).status == 200  # an old browser, or a program

    def test_a_link_to_the_page_is_no_attack(self) -> None:
        assert asked("/?layer=conv1", COOKIE, ("Sec-Fetch-Site", "cross-site")).status == 200


class TestMethods:
    @pytest.mark.parametrize(
        "method", ["PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "CONNECT", "PROPFIND", "get"]
    )
    def test_others_are_refused(self, method: str) -> None:
        reply = asked("/api/images", COOKIE, OWN, method=method)
        assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD, POST")

    def test_head_is_get_without_a_body(self) -> None:
        reply = asked("/api/network", COOKIE, method="HEAD")
        assert (reply.status, reply.body, reply.headers["x-method"]) == (200, b"", "GET")

    def test_head_of_what_takes_long_ends_at_once(self) -> None:
        """The application hears that nobody waits any more."""
        heard = []

        async def long(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            heard.append(await receive())

        reply = call(Guard(long, ACCESS), "/", "HEAD", [("Host", HERE), COOKIE])
        assert (reply.status, heard) == (200, [{"type": "http.disconnect"}])

    def test_there_are_no_websockets(self) -> None:
        sent = []

        async def send(message: Any) -> None:
            sent.append(message)

        asyncio.run(Guard(echo, ACCESS)({"type": "websocket"}, None, send))
        assert sent == [{"type": "websocket.close", "code": 1008}]


class TestHeaders:
    @pytest.mark.parametrize(
        ("target", "headers", "host"),
        [
            ("/", [COOKIE], HERE), ("/", [], HERE), ("/?token=s3cret", [], HERE), ("/api/x", [], HERE), ("/", [], "evil"),
        ],
    )  # fmt: skip
    def test_every_answer_has_them(self, target: str, headers: list[Any], host: str) -> None:
        found = asked(target, *headers, host=host).headers
        policy = dict(part.split(" ", 1) for part in found["content-security-policy"].split("; "))
        assert policy == {
            "default-src": "'none'", "script-src": "'self'", "style-src": "'self'", "connect-src": "'self'",
            "img-src": "'self' data: blob:", "media-src": "blob:", "base-uri": "'none'", "form-action": "'none'",
            "frame-ancestors": "'none'",
        }  # fmt: skip
        assert found["x-content-type-options"] == "nosniff"
        assert found["referrer-policy"] == "no-referrer"
        assert found["cross-origin-resource-policy"] == found["cross-origin-opener-policy"] == "same-origin"
        assert found["permissions-policy"].startswith("camera=(self)")
        assert found["cache-control"] == "no-store"

    def test_the_application_may_say_how_long_something_is_kept(self) -> None:
        async def kept(scope: Any, receive: Any, send: Any) -> None:
            headers = [(b"cache-control", b"private, no-cache")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body"})

        reply = call(Guard(kept, ACCESS), "/", headers=[("Host", HERE), COOKIE])
        assert reply.headers["cache-control"] == "private, no-cache"


class TestBodies:
    def test_one_that_is_too_long_is_read_and_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """To its end, so that the browser has sent all and looks at the answer; but nothing of it is kept."""
        monkeypatch.setattr(guard, "MOST_BYTES", 2**20)
        half = bytes(2**19)
        send = [("Host", HERE), COOKIE, OWN]
        assert call(Guard(echo, ACCESS), "/api/images", "POST", send, [half, half]).status == 200
        reply = call(Guard(echo, ACCESS), "/api/images", "POST", send, [half, half, b"1", half])
        assert reply.status == 413
        assert "1 MiB" in reply.json["error"]

    def test_nothing_of_it_is_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(guard, "MOST_BYTES", 2**20)
        left = [100]

        async def receive() -> Any:
            left[0] -= 1
            return {"type": "http.request", "body": bytes(2**20), "more_body": left[0] > 0}

        async def send(message: Any) -> None:
            pass

        asked = scope("POST", b"/api/images", b"", [("Host", HERE), COOKIE, OWN])
        tracemalloc.start()
        try:
            asyncio.run(Guard(echo, ACCESS)(asked, receive, send))
            assert left == [0]
            assert tracemalloc.get_traced_memory()[1] < 10 * 2**20
        finally:
            tracemalloc.stop()

    def test_one_that_never_ends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(guard, "BODY_SECONDS", 0.05)
        sent = []

        async def receive() -> Any:
            await asyncio.sleep(0.01)
            return {"type": "http.request", "body": b"x", "more_body": True}

        async def send(message: Any) -> None:
            sent.append(message)

        asked = scope("POST", b"/api/images", b"", [("Host", HERE), COOKIE, OWN])
        asyncio.run(Guard(echo, ACCESS)(asked, receive, send))
        assert sent[0]["status"] == 408
        assert (b"connection", b"close") in sent[0]["headers"]

    def test_one_whose_client_goes_reaches_nobody(self) -> None:
        parts = [
            {"type": "http.request", "body": b"half", "more_body": True}, {"type": "http.disconnect"},
        ]  # fmt: skip

        async def receive() -> Any:
            return parts.pop(0)

        reached = []

        async def app(*_: Any) -> None:
            reached.append("the application")

        async def send(message: Any) -> None:
            reached.append("the client")

        asked = scope("POST", b"/api/images", b"", [("Host", HERE), COOKIE, OWN])
        asyncio.run(Guard(app, ACCESS)(asked, receive, send))
        assert not reached

    def test_a_stranger_s_is_not_read(self) -> None:
        async def nothing() -> None:
            raise AssertionError

        sent = []

        async def send(message: Any) -> None:
            sent.append(message)

        asked = scope("POST", b"/api/images", b"", [("Host", HERE), OWN])
        asyncio.run(Guard(echo, ACCESS)(asked, nothing, send))
        assert sent[0]["status"] == 403
        assert (b"connection", b"close") in sent[0]["headers"]


@dataclass
class Listening:
    """A guard on a real socket."""

    port: int

    def connect(self) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.port))
        client.settimeout(60)
        return client

    def head(self, method: str = "GET", target: str = "/", more: str = "") -> bytes:
        cookie = f"Cookie: caffe-viz-{self.port}=s3cret\r\nSec-Fetch-Site: same-origin\r\n"
        return f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n{cookie}{more}\r\n".encode()

    def ask(self, *parts: bytes) -> bytes:
        """What comes back until the server closes; it is told to where it would not."""
        with self.connect() as client:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                for part in parts:
                    client.sendall(part)
            return everything(client)


def everything(client: socket.socket) -> bytes:
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while block := client.recv(65536):
            found += block
    return found


@contextlib.contextmanager
def listens(app: Any) -> Iterator[Listening]:
    listener = listening("127.0.0.1", 0)
    port = listener.getsockname()[1]
    running = _uvicorn(Guard(app, Access("127.0.0.1", port, "s3cret")))
    thread = threading.Thread(target=running.run, args=([listener],), daemon=True)
    thread.start()
    yield Listening(port)
    running.should_exit = True
    thread.join(30)
    assert not thread.is_alive()


@pytest.fixture
def server() -> Iterator[Listening]:
    with listens(echo) as server:
        yield server


def test_half_a_head_is_waited_for_only_so_long(server: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)
    for part in (b"", b"GET / HTTP/1.1\r\nHost: ", server.head()[:-2]):
        assert server.ask(part) == b""


def test_a_head_that_trickles_is_cut_off(server: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes soon after the last, but the whole never."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.3)

    def trickle(client: socket.socket) -> None:
        client.sendall(b"GET / HTTP/1.1\r\n")
        for _ in range(3000):
            client.sendall(b"X")
            time.sleep(0.02)

    with server.connect() as client, pytest.raises((BrokenPipeError, ConnectionResetError)):
        trickle(client)


def test_the_second_request_of_a_connection_too(server: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)
    with server.connect() as client:
        client.sendall(server.head())
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
        client.sendall(b"GET / HT")
        rest = everything(client)
        assert b"HTTP/1.1" not in rest


def test_a_whole_head_stops_the_clock(server: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upload may take longer than a head."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.3)
    head = server.head("POST", "/api/images", "Content-Length: 4\r\nConnection: close\r\n")
    with server.connect() as client:
        client.sendall(head + b"an")
        time.sleep(0.7)  # longer than the clock that must not run
        client.sendall(b" i")
        assert everything(client).endswith(b"\r\nhello an i\r\n0\r\n\r\n")


def test_who_does_not_read_is_waited_for_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer without end, of which nothing is read: it is left, as where a browser goes."""
    monkeypatch.setattr(connections, "READ_SECONDS", 0.2)
    over = threading.Event()

    async def endless(_: Any, receive: Any, send: Any) -> None:
        async def leaves() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        leaving = asyncio.create_task(leaves())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not leaving.done():
            await send({"type": "http.response.body", "body": bytes(2**16), "more_body": True})
        over.set()

    with listens(endless) as server, server.connect() as client:
        client.sendall(server.head())
        assert over.wait(60)


def test_who_reads_slowly_is_waited_for() -> None:
    """As long as some of what waits is read each time that one looks; afterwards nothing is looked at."""
    loop, transport, clocks = Mock(), Mock(), list[Mock]()
    loop.call_later.side_effect = lambda *_: clocks.append(Mock()) or clocks[-1]
    connection = connections.Connection(_uvicorn(echo).config, ServerState(), {}, loop)
    connection.connection_made(transport)
    clocks.clear()

    def look(waiting: int) -> None:
        transport.get_write_buffer_size.return_value = waiting
        (_, looks, before), _ = loop.call_later.call_args
        looks(before)

    transport.get_write_buffer_size.return_value = 1000
    connection.pause_writing()
    look(999)
    look(998)
    assert len(clocks) == 3
    assert not transport.abort.called
    connection.resume_writing()
    assert clocks[-1].cancel.called
    connection.pause_writing()
    look(998)
    assert transport.abort.called
    assert len(clocks) == 4
    connection.connection_lost(None)
    assert clocks[-1].cancel.called


def test_half_a_body_is_waited_for_only_so_long(server: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.2)
    head = server.head("POST", "/api/images", "Content-Length: 1000\r\n")
    assert server.ask(head, b"half").startswith(b"HTTP/1.1 408")


def test_a_body_that_is_larger_than_allowed(server: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "MOST_BYTES", 2**20)
    size = 3 * 2**20
    told = server.head("POST", "/api/images", f"Content-Length: {size}\r\n")
    assert server.ask(told, bytes(size)).startswith(b"HTTP/1.1 413")
    chunked = server.head("POST", "/api/images", "Transfer-Encoding: chunked\r\n")
    block = b"100000\r\n" + bytes(2**20) + b"\r\n"
    assert server.ask(chunked, block * 3 + b"0\r\n\r\n").startswith(b"HTTP/1.1 413")


def test_what_is_no_http(server: Listening) -> None:
    for noise in (
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"A" * 200_000,
    ):
        reply = server.ask(noise)
        assert not reply or reply.startswith(b"HTTP/1.1 4")
    assert b"hello" in server.ask(server.head(more="Connection: close\r\n"))


def test_two_lengths_or_a_smuggled_request(server: Listening) -> None:
    for lengths in (
        "Content-Length: 4\r\nContent-Length: 40\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: a\r\n",
    ):
        assert server.ask(server.head("POST", "/api/images", lengths), b"an i").startswith(b"HTTP/1.1 400")


def test_there_are_only_so_many_connections(server: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MOST", 4)
    monkeypatch.setattr(connections, "HEAD_SECONDS", 600)  # it is not that which closes one
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(4)]
        for client in clients:
            client.sendall(server.head())
            assert client.recv(65536).startswith(b"HTTP/1.1 200")
        assert everything(stack.enter_context(server.connect())) == b""
    deadline = time.monotonic() + 60
    while not server.ask(server.head(more="Connection: close\r\n")):  # until it has seen that those are gone
        assert time.monotonic() < deadline
