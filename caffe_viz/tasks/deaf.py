"""Loaded by the processes of local:N: Ctrl-C, which a terminal sends to all, is their parent's affair."""

from __future__ import annotations

import signal
from typing import Any


def dask_setup(_: Any) -> None:
    """Called by dask when a process begins."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
