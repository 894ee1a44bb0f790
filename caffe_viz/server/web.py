"""The web application: which address does what."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from operator import getitem
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException

from caffe_viz.errors import InputError
from caffe_viz.server.event_stream import Asks, EventStream, followed
from caffe_viz.server.handlers import Handler
from caffe_viz.server.overview import overview, page
from caffe_viz.server.queries import Thumbnail
from caffe_viz.server.replies import (
    SAYING,
    answer_text,
    data_reply,
    file_reply,
    picture_reply,
    unchanged,
)
from caffe_viz.server.static_files import STATIC
from caffe_viz.server.view import View

Name = Annotated[str, Query(max_length=1000)]
T = TypeVar("T")


class Left(Exception):
    """The client is gone, and waits for no answer."""


def create_app(view: View) -> FastAPI:
    """The application, to stand behind a guard."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    for error, say in {**SAYING, Left: _say_nothing}.items():
        app.add_exception_handler(error, say)
    html = page(view.contexts[0])
    known = overview(view.contexts, view.library, view.command)

    @app.get("/")
    async def first_page() -> Response:
        return HTMLResponse(html)

    @app.get("/static/{name}")
    async def static(request: Request, name: str) -> Response:
        if name not in STATIC:
            raise HTTPException(404)
        file = STATIC[name]
        return unchanged(request, file.tag) or file_reply(file.data, file.type, file.tag)

    @app.get("/api/network")
    async def network() -> Response:
        return JSONResponse(known)

    @app.get("/api/status")
    async def status() -> Response:
        return JSONResponse(view.dispatcher.status())

    @app.post("/api/images")
    async def upload(request: Request, name: Name = "image") -> Response:
        data = await request.body()
        if not data:
            raise InputError("the upload is empty: send the bytes of an image's file.")
        image = view.library.add(name, data)
        ask = await view.ask("image", Thumbnail(image=image.id))
        size = json.loads((await _unless_gone(request, view.dispatcher.answer(ask))).facts)
        return JSONResponse(
            {"id": image.id, "name": image.name, "width": size["width"], "height": size["height"]}
        )

    @app.get("/api/events")
    async def events(ask: Asks) -> Response:
        return EventStream(followed(view, ask))

    for name, question in view.handlers.items():
        _enter(app, view, name, question)
    return app


def _enter(app: FastAPI, view: View, name: str, question: Handler) -> None:
    """The addresses of one question, whose parameters are those of `question.query`."""

    async def answer(request: Request, query: Any) -> Response:
        ask = await view.ask(name, query)
        given = await _unless_gone(request, view.dispatcher.answer(ask))
        return Response(answer_text(ask, given), media_type="application/json")

    async def picture(request: Request, number: int, query: Any) -> Response:
        tag = f"{view.key(name, query)[:32]}-{number}"
        if same := unchanged(request, tag):
            return same
        ask = await view.ask(name, query)
        pictures = (await _unless_gone(request, view.dispatcher.answer(ask))).pictures
        if not 0 <= number < len(pictures):
            raise HTTPException(404)
        return picture_reply(pictures[number], tag)

    async def data(request: Request, query: Any) -> Response:
        ask = await view.ask(name, query, data=True)
        given = await _unless_gone(request, view.dispatcher.answer(ask))
        if not given.ending:
            raise HTTPException(404)
        return data_reply(ask, given)

    functions: dict[str, Callable[..., Coroutine[Any, Any, Response]]] = {
        "": answer, "/picture/{number}": picture, "/data": data,
    }  # fmt: skip
    parameters = getitem(Annotated, (question.query, Query()))
    for path, function in functions.items():
        function.__annotations__ = {"request": Request, "number": int, "query": parameters}
        app.get(f"/api/{name}{path}")(function)


async def _unless_gone(request: Request, answer: Coroutine[Any, Any, T]) -> T:
    """The answer. Raises Left where the client went before it came; then it is waited for no more."""
    waiting, leaving = asyncio.create_task(answer), asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({waiting, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            raise Left
        return waiting.result()
    finally:
        waiting.cancel()
        leaving.cancel()
        await asyncio.gather(waiting, leaving, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _say_nothing(request: Request, error: Exception) -> Response:
    return Response(status_code=499)
