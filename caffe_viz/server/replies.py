"""Answers, progress and refusals as HTTP responses."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from caffe_viz.errors import CaffeVizError, InputError
from caffe_viz.files import safe_name
from caffe_viz.server.dispatcher import Event, Queued, Underway
from caffe_viz.server.image_library import Unknown
from caffe_viz.server.messages import Ask, EncodedAnswer, Finished, Picture

ENDINGS = {"jpeg": "jpg", "png": "png"}
TYPES = {"npz": "application/zip", "html": "text/html; charset=utf-8"}


def answer_text(ask: Ask, given: EncodedAnswer) -> str:
    """An answer as JSON, with the addresses of its pictures and of its data."""
    address = f"/api/{ask.question}"
    query = urlencode(ask.query.model_dump(mode="json", exclude_defaults=True))
    query = f"?{query}" if query else ""
    pictures = [_described(one, f"{address}/picture/{k}{query}") for k, one in enumerate(given.pictures)]
    return _object(
        facts=given.facts, pictures=json.dumps(pictures), key=json.dumps(ask.key),
        data=json.dumps(f"{address}/data{query}" if given.ending else ""),
    )  # fmt: skip


def told(ask: Ask, event: Event) -> tuple[str, str]:
    """The name of an event, and what it says as JSON."""
    if isinstance(event, Queued):
        return "queued", json.dumps({"place": event.place})
    if isinstance(event, Underway):
        return "progress", _progress_text(event)
    if isinstance(event, Finished):
        return "answer", answer_text(ask, event.given)
    return "failed", json.dumps({"error": _line(event.reason)})


def refusal(error: Exception) -> tuple[str, str]:
    """The same, where a question cannot be asked."""
    return "failed", json.dumps({"error": _why(error)})


def event_text(number: int, name: str, said: str) -> str:
    """An event for text/event-stream, about the question of this number there."""
    return f"event: {name}\ndata: {_object(ask=str(number), told=said)}\n\n"


def picture_reply(one: Picture, tag: str) -> Response:
    """An encoded picture, which browsers keep and ask about."""
    file = f"{safe_name(one.name)}.{ENDINGS[one.kind]}"
    headers = {**_tagged(tag), "content-disposition": f'inline; filename="{file}"'}
    return Response(one.data, 200, headers, f"image/{one.kind}")


def data_reply(ask: Ask, given: EncodedAnswer) -> Response:
    """Arrays, or a page, to be saved: it never runs here."""
    words = (ask.question, *(str(getattr(ask.query, name, "")) for name in ("layer", "unit")))
    file = f"{safe_name('-'.join(filter(None, words)))}.{given.ending}"
    saved = {"content-disposition": f'attachment; filename="{file}"'}
    return Response(given.data, 200, saved, TYPES[given.ending])


def file_reply(data: bytes, kind: str, tag: str) -> Response:
    """One of our own files."""
    return Response(data, 200, _tagged(tag), kind)


def unchanged(request: Request, tag: str) -> Response | None:
    """What to say to a browser that has it already."""
    known = request.headers.get("if-none-match") == f'"{tag}"'
    return Response(status_code=304, headers=_tagged(tag)) if known else None


def _progress_text(step: Underway) -> str:
    """Its pictures are within it: there will be others soon."""
    given = step.given
    pictures = [] if given is None else [_described(one, _data_address(one)) for one in given.pictures]
    return _object(
        done=json.dumps(step.done), total=json.dumps(step.total), remaining=json.dumps(step.remaining),
        facts="null" if given is None else given.facts, pictures=json.dumps(pictures),
    )  # fmt: skip


def _described(one: Picture, address: str) -> dict[str, Any]:
    return {"src": address, "width": one.width, "height": one.height, "alt": one.alt, "name": one.name}


def _data_address(one: Picture) -> str:
    return f"data:image/{one.kind};base64,{base64.b64encode(one.data).decode('ascii')}"


def _object(**members: str) -> str:
    """JSON of members that are JSON."""
    return f"{{{', '.join(f'{json.dumps(name)}: {text}' for name, text in members.items())}}}"


def _tagged(tag: str) -> dict[str, str]:
    return {"etag": f'"{tag}"', "cache-control": "private, no-cache"}


def _line(text: str) -> str:
    return " ".join(text.split())


def _why(error: Exception) -> str:
    """Why there is no answer, in one line."""
    if isinstance(error, CaffeVizError):
        return _line(str(error))
    if isinstance(error, RequestValidationError | ValidationError):
        first = error.errors()[0]
        return _line(f"{first['loc'][-1]}: {first['msg']}.")
    return f"{_line(f'{type(error).__name__}: {error}')} (a bug in caffe_viz)"


async def _say_refusal(request: Request, error: Exception) -> Response:
    """What was asked wrong is 4xx, what went wrong here 503."""
    status = 404 if isinstance(error, Unknown) else 400 if isinstance(error, InputError) else 503
    return JSONResponse({"error": _why(error)}, status)


async def _say_invalid(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": _why(error)}, 400)


async def _say_missing(request: Request, error: Any) -> Response:
    return JSONResponse({"error": f"{error.detail}: there is nothing here."}, error.status_code)


async def _say_fault(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": _why(error)}, 500)


SAYING: Mapping[type[Exception], Callable[[Request, Any], Awaitable[Response]]] = {
    CaffeVizError: _say_refusal,
    RequestValidationError: _say_invalid,
    HTTPException: _say_missing,
    Exception: _say_fault,
}
