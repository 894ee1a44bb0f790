"""What real Caffe makes of a net, from a process of its own: a failing CHECK aborts only a fork of it.

Run as a script it answers each line of input, a prototxt as JSON, by a line of JSON: names and shapes of the
net, or null where Caffe aborted.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from typing import Any

from forked import Forked


class CaffeShapes:
    """The process, as an object to ask; `describe` returns None where Caffe aborts on the net."""

    def __init__(self) -> None:
        environment = {**os.environ, "GLOG_minloglevel": "4", "OPENBLAS_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )

    def describe(self, prototxt: str) -> dict[str, Any] | None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(prototxt) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] | None = json.loads(self.process.stdout.readline())
        return answer

    def close(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def described(caffe: Any, path: str) -> dict[str, Any]:
    """Everything about a net's shape that pycaffe shows."""
    net = caffe.Net(path, caffe.TEST)
    names = list(net._layer_names)
    return {
        "layers": names,
        "types": [layer.type for layer in net.layers],
        "bottoms": [list(net.bottom_names[name]) for name in names],
        "tops": [list(net.top_names[name]) for name in names],
        "blobs": [[name, list(blob.shape)] for name, blob in net.blobs.items()],
        "params": [[list(blob.shape) for blob in layer.blobs] for layer in net.layers],
        "inputs": list(net.inputs),
        "outputs": list(net.outputs),
    }


def _answered(prototxt: str) -> dict[str, Any]:
    import caffe

    with tempfile.NamedTemporaryFile("w", suffix=".prototxt") as file:
        file.write(prototxt)
        file.flush()
        try:
            return described(caffe, file.name)
        except Exception as error:
            return {"error": repr(error)}


def _serve() -> None:
    import caffe  # noqa: F401  # here, so that forks have it

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answer = Forked(_answered)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
