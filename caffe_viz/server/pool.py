"""The two worker processes of a server: one for what is quick, one for what takes patience."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from caffe_viz.server.messages import Ask, Setup
from caffe_viz.server.seat import Seat

LIMIT = 120.0  # seconds that one quick question may take
PROGRAM = "caffe_viz.server.worker"  # the module whose main() a worker runs


class Pool:
    """Gives questions to workers and says what they answer; one that dies or hangs is replaced.

    The question that it was busy with fails, what else it had goes to the new one. A quick one may take
    `limit` seconds; so long may a patient one go on that was dropped.
    """

    def __init__(self, setup: Setup, *, limit: float = LIMIT, program: str = PROGRAM) -> None:
        self.seats = {  # by whether they are patient
            False: Seat("quick", program, setup, limit, hurried=True),
            True: Seat("patient", program, setup, limit, hurried=False),
        }

    async def start(self, heard: Callable[[Any], None]) -> None:
        """Start both; `heard` is called with each Began, Progress, Finished and Failed, in the event loop."""
        for seat in self.seats.values():
            seat.start(heard)

    async def stop(self) -> None:
        """End both; what they had fails, and no process is left."""
        await asyncio.gather(*(seat.stop() for seat in self.seats.values()))

    def ask(self, ask: Ask, *, patient: bool) -> None:
        """Give a question to the patient worker, or to the quick one."""
        self.seats[patient].ask(ask)

    def drop(self, ticket: str) -> None:
        """Take a question back."""
        for seat in self.seats.values():
            seat.drop(ticket)
