"""Ask a process to stop: long work checks this now and then, and ends with what it has."""

from __future__ import annotations

import os


class Stop:
    """A request to stop. A process that is `idle` exits at once."""

    asked = idle = False

    def ask(self) -> None:
        """Ask it to stop soon."""
        self.asked = True
        if self.idle:
            os._exit(0)


stop = Stop()
