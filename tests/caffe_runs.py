"""A net's values and gradients on real Caffe, in a process of its own: a failing CHECK ends only a fork."""

from __future__ import annotations

import os
import pickle
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from forked import Forked


class Case(NamedTuple):
    """A prototxt, what goes into its inputs and into parameters (noise by default), whether it goes backward.

    `params` are named by layer and place: "conv1 0". It runs `rounds` times, so that what a layer keeps from
    one round to the next, and diffs that add up, are seen.
    """

    prototxt: str
    inputs: Mapping[str, Any]
    gradient: bool
    phase: int = 1
    params: Mapping[str, Any] = {}
    rounds: int = 2


def run(module: Any, case: Case, seed: int = 1) -> dict[str, np.ndarray]:
    """Everything a net computes, by names that begin with data, diff or param."""
    with tempfile.NamedTemporaryFile("w", suffix=".prototxt") as file:
        file.write(case.prototxt)
        file.flush()
        net = module.Net(file.name, case.phase)
    rng = np.random.default_rng(seed)
    for name in net.inputs:
        noise = rng.normal(size=net.blobs[name].data.shape)
        net.blobs[name].data[...] = case.inputs.get(name, noise)
    for name, blobs in net.params.items():
        for i, blob in enumerate(blobs):
            noise = rng.normal(size=blob.data.shape)
            blob.data[...] = case.params.get(f"{name} {i}", noise)
    losses = [_round(net, case, rng) for _ in range(case.rounds)]
    found = {f"data {name}": np.array(blob.data) for name, blob in net.blobs.items()}
    found |= {
        f"param {n} {i}": np.array(b.data) for n, some in net.params.items() for i, b in enumerate(some)
    }
    found["loss"] = np.array(losses)
    if case.gradient:
        found |= {f"diff {name}": np.array(net.blobs[name].diff) for name in net.inputs}
        found |= {
            f"param diff {name} {i}": np.array(blob.diff)
            for name, blobs in net.params.items()
            for i, blob in enumerate(blobs)
        }
    return found


def _round(net: Any, case: Case, rng: np.random.Generator) -> float:
    loss = net._forward(0, len(net.layers) - 1)
    if case.gradient:
        for name in net.outputs:
            if net.blob_loss_weights[name] == 0:
                net.blobs[name].diff[...] = rng.normal(size=net.blobs[name].diff.shape)
        net.backward()
    return float(loss)


class CaffeRuns:
    """The process, as an object to ask; `run` returns None where Caffe aborts."""

    def __init__(self) -> None:
        environment = {**os.environ, "GLOG_minloglevel": "4", "OPENBLAS_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )

    def run(self, case: Case) -> dict[str, np.ndarray] | None:
        assert self.process.stdin
        assert self.process.stdout
        pickle.dump(tuple(case), self.process.stdin)
        self.process.stdin.flush()
        answer: dict[str, np.ndarray] | None = pickle.load(self.process.stdout)
        return answer

    def close(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def _answered(case: tuple[Any, ...]) -> dict[str, Any]:
    import caffe

    try:
        return run(caffe, Case(*case))
    except Exception as error:
        return {"error": repr(error)}


def _serve() -> None:
    import caffe  # noqa: F401  # here, so that forks have it

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answer = Forked(_answered)
    with suppress(EOFError):
        while True:
            pickle.dump(answer(pickle.load(sys.stdin.buffer)), sys.stdout.buffer)
            sys.stdout.flush()


if __name__ == "__main__":
    _serve()
