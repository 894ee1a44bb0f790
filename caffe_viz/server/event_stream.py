"""Send everything that a browser tab follows in one stream, as browsers allow few connections to a host."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Annotated, Any
from urllib.parse import parse_qsl

import fastapi
from fastapi.responses import StreamingResponse
from pydantic import ValidationError

from caffe_viz.errors import CaffeVizError, InputError, near
from caffe_viz.server.queries import Query
from caffe_viz.server.replies import event_text, refusal, told
from caffe_viz.server.view import View

LOG = logging.getLogger("caffe_viz")
QUIET_SECONDS = 15.0  # seconds after which something is sent anyway, to notice clients that are gone
STILL_HERE = ":\n\n"  # a comment, which browsers skip

Asks = Annotated[list[str], fastapi.Query(min_length=1, max_length=16)]  # each as "ascent?objective=conv3:16"


class EventStream(StreamingResponse):
    """A text/event-stream response. If the browser leaves, `events` is closed."""

    def __init__(self, events: AsyncGenerator[str, None]) -> None:
        super().__init__(events, media_type="text/event-stream")
        self._events = events

    async def stream_response(self, send: Any) -> None:
        async with aclosing(self._events):
            await super().stream_response(send)


async def followed(view: View, asks: Sequence[str]) -> AsyncGenerator[str, None]:
    """Yield the progress of each question, by its number in `asks`, until all have ended.

    Close it (`contextlib.aclosing`) if you may leave the loop early, so that nobody is counted as waiting.
    """
    events = asyncio.Queue[str](1)  # slow readers get fewer events, not later ones
    followers = [asyncio.create_task(_follow(view, text, k, events)) for k, text in enumerate(asks)]
    left = len(followers)
    try:
        while left:
            if event := await _next(events):
                yield event
            else:
                left -= 1
    finally:
        for follower in followers:
            follower.cancel()
        await asyncio.gather(*followers, return_exceptions=True)


async def _follow(view: View, text: str, number: int, events: asyncio.Queue[str]) -> None:
    """Put the progress of a question into `events`, and nothing, "", at its end."""
    async with aclosing(_told(view, text)) as found:
        async for name, data in found:
            await events.put(event_text(number, name, data))
    await events.put("")


async def _told(view: View, text: str) -> AsyncGenerator[tuple[str, str], None]:
    """Yield names of events and their JSON; a question that fails does not end the others."""
    try:
        ask = await view.ask(*_asked(view, text))
        async with aclosing(view.dispatcher.follow(ask)) as events:
            async for event in events:
                yield told(ask, event)
    except Exception as error:
        if not isinstance(error, CaffeVizError | ValidationError):
            LOG.exception("a bug in caffe_viz, at %s", text)
        yield refusal(error)


def _asked(view: View, text: str) -> tuple[str, Query]:
    name, _, parameters = text.partition("?")
    if name not in view.handlers:
        raise InputError(f"there is no question {name!r}.{near(name, view.handlers)}")
    given = dict(parse_qsl(parameters, keep_blank_values=True))
    return name, view.handlers[name].query.model_validate(given)


async def _next(events: asyncio.Queue[str]) -> str:
    try:
        return await asyncio.wait_for(events.get(), QUIET_SECONDS)
    except asyncio.TimeoutError:
        return STILL_HERE
