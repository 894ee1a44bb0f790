"""The two worker processes of a server: one for quick questions, one for slow ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from caffe_viz.server.messages import Ask, Setup
from caffe_viz.server.supervisor import Supervisor

LIMIT = 120.0  # seconds that one quick question may take
PROGRAM = "caffe_viz.server.worker"  # the module whose main() a worker runs


class Pool:
    """Sends questions to workers and passes on their answers; a worker that dies or hangs is replaced.

    The question it was busy with fails; its other questions go to the new worker. A quick question may take
    `limit` seconds, and so long may a slow one go on after it was dropped.
    """

    def __init__(self, setup: Setup, *, limit: float = LIMIT, program: str = PROGRAM) -> None:
        self.seats = {  # by whether they are patient
            False: Supervisor("quick", program, setup, limit, hurried=True),
            True: Supervisor("patient", program, setup, limit, hurried=False),
        }

    async def start(self, heard: Callable[[Any], None]) -> None:
        """Start both; `heard` is called with each Began, Progress, Finished and Failed, in the event loop."""
        for seat in self.seats.values():
            seat.start(heard)

    async def stop(self) -> None:
        """Stop both; their questions fail, and no process is left."""
        await asyncio.gather(*(seat.stop() for seat in self.seats.values()))

    def ask(self, ask: Ask, *, patient: bool) -> None:
        """Send a question to the slow worker (`patient`), or to the quick one."""
        self.seats[patient].ask(ask)

    def drop(self, ticket: str) -> None:
        """Withdraw a question."""
        for seat in self.seats.values():
            seat.drop(ticket)
