"""The program of a worker process, which takes new questions while it answers others."""

from __future__ import annotations

import os
import pickle
import queue
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import IO, Any

from caffe_viz.errors import CaffeVizError, InputError
from caffe_viz.geometry.python_layers import PERMITS
from caffe_viz.layers_file import load_layers
from caffe_viz.processes import pipes, send
from caffe_viz.server.handlers import HANDLERS, Handler, Resources
from caffe_viz.server.messages import Failed, Setup
from caffe_viz.server.scheduler import Scheduler, reason

GRACE = 2.0  # seconds in which a step may end once the server is gone


def main() -> None:
    """Answer what the live view asks."""
    serve(HANDLERS, Resources)


def serve(questions: Mapping[str, Handler], resources: Callable[[Setup], Resources]) -> None:
    """Answer by `questions` until the parent sends no more."""
    orders, answers = pipes()
    tell = partial(send, answers)
    try:
        setup: Setup = pickle.load(orders)
        load_layers(setup.layers)
        PERMITS.update(setup.permits)
        made = resources(setup)
        made.warm()
        turns = Scheduler(made, questions, tell)
        _work(turns, _arriving(orders))
        del made, turns  # and their temporary files
    except (EOFError, BrokenPipeError):
        pass  # the parent is gone
    except CaffeVizError as error:
        tell(Failed("", reason(error), isinstance(error, InputError)))
    os._exit(0)  # Python takes seconds to put libraries away


def _work(turns: Scheduler, messages: queue.SimpleQueue[Any]) -> None:
    while True:
        while turns.idle or not messages.empty():
            message = messages.get()
            if message is None:
                return
            turns.take(message)
        turns.turn()


def _arriving(orders: IO[bytes]) -> queue.SimpleQueue[Any]:
    """What is sent, as it comes, and None at its end; soon after that the process ends."""
    messages: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def read() -> None:
        try:
            while True:
                messages.put(pickle.load(orders))
        except Exception:  # the end of the stream, or half a message: the parent is gone
            messages.put(None)
        time.sleep(GRACE)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return messages
