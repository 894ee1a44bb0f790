"""The program of a worker that does as it is told: a line of Python for each value, `answer(..)` sends one."""

from __future__ import annotations

import pickle
from functools import partial

from caffe_viz.processes import pipes, send


def main() -> None:
    orders, answers = pipes()
    while True:
        exec(pickle.load(orders), {"answer": partial(send, answers), "raw": answers})
