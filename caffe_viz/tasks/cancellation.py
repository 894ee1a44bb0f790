"""Let a worker find out whether its piece is still wanted."""

from __future__ import annotations

from threading import Event, Thread

from caffe_viz.tasks.stopping import stop

LOOK_EVERY = 1.0  # seconds between two looks


class CancelWatch:
    """A context for a dask task, which is asked to stop if the scheduler takes it back or the client is gone.

    What the task has then is `left` half done.
    """

    left = False

    def __enter__(self) -> CancelWatch:
        from distributed import get_worker

        self._worker, self._over = get_worker(), Event()
        self._key = self._worker.get_current_task()
        self._thread = Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()  # what it asks is meant for this task only

    def _watch(self) -> None:
        while not self._over.wait(LOOK_EVERY):
            task = self._worker.state.tasks.get(self._key)
            if task is None or task.state == "cancelled":
                self.left = True
                stop.ask()
                return
