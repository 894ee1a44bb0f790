"""A dask client whose scheduler may be unreachable, for a moment or for good."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from caffe_viz.errors import CaffeVizWarning, RunError

T = TypeVar("T")

LOOK_EVERY = 1.0  # seconds between two looks at which workers there are
ALONE = 20.0  # seconds without any worker, after which the user is told


@dataclass
class ClusterClient:
    """The connection of `client`."""

    client: Any
    workers: tuple[str, ...] = ()  # where they are
    _looked: float = -LOOK_EVERY
    _alone: float | None = None  # since when there is no worker

    def need(self) -> None:
        """Wait while dask reconnects, which it tries for as long as the client's timeout.

        Raises:
            RunError: The scheduler is gone.
        """
        while self.client.status == "connecting":
            time.sleep(0.1)
        if self.client.status != "running":
            raise RunError("the connection to the cluster is lost: no scheduler answers any more.")

    def asked(self, ask: Callable[[], T], otherwise: T) -> T:
        """Return the scheduler's answer, `otherwise` if it is unreachable for a moment; raises as `need`."""
        self.need()
        try:
            return ask()
        except Exception as error:  # dask has several for a connection that was lost meanwhile
            self.need()
            if isinstance(error, OSError):
                return otherwise
            raise

    def look(self, *, now: bool = False) -> None:
        """Update the list of workers, unless that was just done; if there are none for long, warn once."""
        if not now and time.monotonic() - self._looked < LOOK_EVERY:
            return
        self.workers = self.asked(lambda: tuple(self.client.nthreads()), self.workers)
        self._looked = time.monotonic()
        if self.workers:
            self._alone = None
        elif self._alone is None:
            self._alone = self._looked
        elif self._looked - self._alone > ALONE:
            warnings.warn("the cluster has no worker: waiting for one", CaffeVizWarning, stacklevel=2)
            self._alone = float("inf")
