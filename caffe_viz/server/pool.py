"""The two worker processes of a server: one for what is quick, one for what takes patience."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from caffe_viz.server.messages import Ask, Setup

LIMIT = 120.0  # seconds that one quick question may take
PROGRAM = "caffe_viz.server.worker"  # the module whose main() a worker runs


class Pool:
    """Gives questions to workers and says what they answer; one that dies or hangs is replaced.

    The question that it was busy with fails, what else it had goes to the new one.
    """

    def __init__(self, setup: Setup, *, limit: float = LIMIT, program: str = PROGRAM) -> None:
        raise NotImplementedError

    async def start(self, heard: Callable[[Any], None]) -> None:
        """Start both; `heard` is called with each Began, Progress, Finished and Failed, in the event loop."""
        raise NotImplementedError

    async def stop(self) -> None:
        """End both; no process is left."""
        raise NotImplementedError

    def ask(self, ask: Ask, *, patient: bool) -> None:
        """Give a question to the patient worker, or to the quick one."""
        raise NotImplementedError

    def drop(self, ticket: str) -> None:
        """Take a question back."""
        raise NotImplementedError
