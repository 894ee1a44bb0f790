"""Preloaded by the processes of local:N so that they ignore Ctrl-C, which is for their parent to handle."""

from __future__ import annotations

import signal
from typing import Any


def dask_setup(_: Any) -> None:
    """Called by dask when a process starts."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
