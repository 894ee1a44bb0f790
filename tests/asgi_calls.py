"""Requests to an application in this process, without a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reply:
    """What came back; `headers` have small letters."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def call(
    app: Any,
    target: str | bytes = "/",
    method: str = "GET",
    headers: Iterable[tuple[str, str]] = (),
    body: bytes | list[bytes] = b"",
) -> Reply:
    """The answer to one request; `body` may come in parts."""
    return asyncio.run(called(app, target, method, headers, body))


async def called(
    app: Any,
    target: str | bytes = "/",
    method: str = "GET",
    headers: Iterable[tuple[str, str]] = (),
    body: bytes | list[bytes] = b"",
) -> Reply:
    """The same, in a loop that runs."""
    raw = target if isinstance(target, bytes) else target.encode()
    path, _, query = raw.partition(b"?")
    parts = [body] if isinstance(body, bytes) else list(body)
    incoming = [
        {"type": "http.request", "body": part, "more_body": k < len(parts) - 1}
        for k, part in enumerate(parts)
    ]
    done = asyncio.Event()
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if incoming:
            return incoming.pop(0)
        await done.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            done.set()

    await app(scope(method, path, query, headers), receive, send)
    start, *rest = sent
    assert start["type"] == "http.response.start"
    found = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in start["headers"]}
    return Reply(start["status"], found, b"".join(message.get("body", b"") for message in rest))


def scope(method: str, path: bytes, query: bytes, headers: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """A request as ASGI has it; the path is quoted."""
    from urllib.parse import unquote_to_bytes

    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote_to_bytes(path).decode("utf-8", "replace"),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        "client": ("127.0.0.1", 5000),
        "server": ("127.0.0.1", 8642),
    }
