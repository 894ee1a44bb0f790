"""Middleware before the application: who may ask, how much they may send, what browsers may do."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import parse_qsl, urlencode

from caffe_viz.server.access import Access, values

LOG = logging.getLogger("caffe_viz")
MOST_BYTES = 32 * 2**20  # of a request's body
BODY_SECONDS = 30.0  # for it to arrive
METHODS = ("GET", "HEAD", "POST")
POLICY = "; ".join(
    (
        "default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'",
        "img-src 'self' data: blob:", "media-src blob:", "base-uri 'none'", "form-action 'none'",
        "frame-ancestors 'none'",
    )
)  # fmt: skip
JSON = (b"content-type", b"application/json")
HTML = (b"content-type", b"text/html; charset=utf-8")
HEADERS = [  # of every answer, where it does not say otherwise
    (b"cache-control", b"no-store"),
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(self), microphone=(), geolocation=()"),
]
STAY = "Use the address that `caffe-viz serve` printed: it ends in ?token= and lets this browser in."

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class Refused(Exception):
    """Why a request is refused, in plain words, and the HTTP status."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Gone(Exception):
    """The client left before it had sent everything."""


@dataclass(frozen=True)
class Guard:
    """An application that only authorised clients reach."""

    app: App
    access: Access

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # nothing here is a websocket
            await send({"type": "websocket.close", "code": 1008})
            return
        send = _with_headers(send)
        try:
            entry = self._checked(scope)
            if entry is not None:
                await entry(send)
                return
            body = await asyncio.wait_for(_whole(receive), BODY_SECONDS)
        except Refused as refused:
            await _refuse(scope, send, refused)
        except asyncio.TimeoutError:
            late = Refused(408, f"The request did not arrive whole within {BODY_SECONDS:g} seconds.")
            await _refuse(scope, send, late)
        except Gone:
            pass
        else:
            exchange = Exchange(body, receive, send, scope["method"] == "HEAD")
            method = "GET" if exchange.head else scope["method"]
            try:
                await self.app({**scope, "method": method}, exchange.receive, exchange.send)
            except Exception:  # which the application has answered
                LOG.exception("a bug in caffe_viz, at %s", scope["path"])

    def _checked(self, scope: Message) -> Callable[[Send], Awaitable[None]] | None:
        """Return None if the application may answer, or the response to a request that shows the token."""
        headers, access, method = scope["headers"], self.access, scope["method"]
        if not access.is_called(headers):
            raise Refused(421, f"This server is not known under that name. Open {access.origin} instead.")
        if method not in METHODS:
            raise Refused(405, f"Only {', '.join(METHODS)} are understood here.")
        reading, known = method != "POST", access.knows_cookie(headers)
        if reading and scope["path"] == "/":
            query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
            tokens = [value for name, value in query if name == "token"]
            if tokens and (known or any(map(access.is_token, tokens))):
                kept = urlencode([pair for pair in query if pair[0] != "token"])
                return _entry(access, f"/?{kept}" if kept else "/", scope)
        elif not access.is_own_page(headers, reading=reading):
            raise Refused(403, "Another page asked for this, and only the live view's own page may.")
        if not known:
            raise Refused(403, STAY)
        return None


class Exchange:
    """A request whose body has been read; the answer to HEAD ends with its headers."""

    def __init__(self, body: bytes, receive: Receive, send: Send, head: bool) -> None:
        self._body: bytes | None = body
        self._receive, self._send, self.head = receive, send, head
        self._ended = False

    async def receive(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: Message) -> None:
        if self._ended:
            return
        await self._send(message)
        if self.head and message["type"] == "http.response.start":
            self._ended = True
            await self._send({"type": "http.response.body", "body": b""})


async def _whole(receive: Receive) -> bytes:
    """Read the body. One that is too long is still read to its end, so that the client gets the answer."""
    parts, size = list[bytes](), 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MOST_BYTES:
            parts.clear()
        if not message.get("more_body"):
            break
    if size > MOST_BYTES:
        raise Refused(413, f"An image may have {MOST_BYTES >> 20} MiB, and this one has {size / 2**20:.1f}.")
    return b"".join(parts)


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = {name for name, _ in message.get("headers", ())}
            added = [pair for pair in HEADERS if pair[0] not in own]
            message = {**message, "headers": [*message.get("headers", ()), *added]}
        await send(message)

    return sending


def _entry(access: Access, path: str, scope: Message) -> Callable[[Send], Awaitable[None]]:
    """Set the cookie, and lead on to the same address without the token.

    A browser that comes from another site does not send the cookie with a redirect, but it does if our own
    page leads on.
    """
    cookie = f"{access.cookie}={access.token}; Path=/; HttpOnly; SameSite=Strict"
    headers = [(b"set-cookie", cookie.encode())]
    foreign = "cross-site" in values(scope["headers"], b"sec-fetch-site")

    async def enter(send: Send) -> None:
        if foreign:
            place = escape(path)
            lead = f'<meta http-equiv="refresh" content="0; url={place}">'
            words = _html(f'<a href="{place}">Go on to the live view</a>', lead)
            await _answer(send, 200, words, [*headers, HTML])
        else:
            await _answer(send, 303, b"", [*headers, (b"location", path.encode("latin-1"))])

    return enter


async def _refuse(scope: Message, send: Send, refused: Refused) -> None:
    """Refuse as JSON to the page, as HTML to people. Nothing more is read from such a connection."""
    reason = str(refused)
    if scope["path"].startswith("/api/"):
        body, kind = json.dumps({"error": reason}).encode(), JSON
    else:
        body, kind = _html(escape(reason)), HTML
    headers = [kind, (b"connection", b"close")]
    if refused.status == 405:
        headers.append((b"allow", ", ".join(METHODS).encode()))
    await _answer(send, refused.status, body, headers)


async def _answer(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


def _html(text: str, head: str = "") -> bytes:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>caffe_viz</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark">{head}</head>'
        f"<body><main><h1>caffe_viz</h1><p>{text}</p></main></body></html>"
    ).encode()
