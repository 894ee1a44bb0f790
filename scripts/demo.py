#!/usr/bin/env python3
"""The main commands on the network and the photograph that come with the project; pictures go to out/."""

from __future__ import annotations

import os
import shlex
import sys
import time
from pathlib import Path

from caffe_viz.cli import main as run
from caffe_viz.processes import ONE_THREAD

ROOT = Path(__file__).resolve().parent.parent
NET, CAT = "caffenet_cifar10", "examples/cat.png"
# What to do, what to look at, in the order of how soon there is something to see.
STEPS = (
    (
        f"activations {NET} --image {CAT}",
        "What the network answers stands above; out/conv1_activations.png: what it sees.",
    ),
    (
        f"ascend {NET} --layer fc8",
        "out/fc8_natural_sheet.png: what it takes for each of its ten classes, from noise.",
    ),
    (f"weights {NET} --layer conv1 --layer conv2", "out/conv1_weights.png: its first filters."),
    (
        f"gradient {NET} --image {CAT} --blob data",
        "out/data_gradient.png: the pixels on which its answer depends.",
    ),
    (f"shapes {NET}", ""),
    (f"report {NET} --image {CAT} --record examples/caffenet_cifar10.record --budget 30", ""),
)


def program() -> str:
    """What starts `caffe-viz` in the environment that runs this script."""
    path = Path(sys.executable).with_name("caffe-viz")
    if not path.exists():
        return "caffe-viz"
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def exit_code(command: str) -> int:
    """Run a command of caffe-viz in this process: importing torch takes seconds."""
    sys.argv = ["caffe-viz", *shlex.split(command)]
    try:
        run()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def main() -> int:
    os.chdir(ROOT)
    os.environ.update(ONE_THREAD)  # before torch is imported: this network is too small for more
    start = time.monotonic()
    for command, look in STEPS:
        minutes, seconds = divmod(int(time.monotonic() - start), 60)
        print(f"\n[{minutes}:{seconds:02d}] caffe-viz {command}", flush=True)
        if code := exit_code(command):
            return code
        if look:
            print(f"-> {look}", flush=True)
    print(f"\nAll of it on one page: {ROOT / 'out' / f'{NET}_report.html'}")
    print(f"To work with the network in a browser: {program()} serve {NET} --example")
    return 0


if __name__ == "__main__":
    sys.exit(main())
