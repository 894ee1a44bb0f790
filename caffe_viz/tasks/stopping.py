"""Whether this process was asked to stop; long work looks at it now and then, and ends with what it has."""

from __future__ import annotations

import os


class Stop:
    """A process that is `idle` ends when it is asked to."""

    asked = idle = False

    def ask(self) -> None:
        """End soon."""
        self.asked = True
        if self.idle:
            os._exit(0)


stop = Stop()
