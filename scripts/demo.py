#!/usr/bin/env python3
"""The main job on the network and the photograph that the project ships; pictures go to out/."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NET = "prototxt/caffenet_cifar10/deploy.prototxt prototxt/caffenet_cifar10/caffenet_cifar10.caffemodel"
CAT, RECORD = "examples/cat.png", "examples/caffenet_cifar10.record"
COMMANDS = (
    f"shapes {NET}",
    f"weights {NET} --layer conv1 --layer conv2",
    f"activations {NET} --image {CAT}",
    f"gradient {NET} --image {CAT} --blob data --blob conv1",
    f"ascend {NET} --layer conv3 --filters 0:96:4",
    f"ascend {NET} --layer fc8 --steps 128",
    f"report {NET} --image {CAT} --record {RECORD} --budget 25",
)


def program() -> str:
    """What starts `caffe-viz` in the environment that runs this script."""
    path = Path(sys.executable).with_name("caffe-viz")
    if not path.exists():
        return "caffe-viz"
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def main() -> int:
    start = time.monotonic()
    for command in COMMANDS:
        minutes, seconds = divmod(int(time.monotonic() - start), 60)
        print(f"\n[{minutes}:{seconds:02d}] caffe-viz {command}", flush=True)
        code = subprocess.run(
            [sys.executable, "-m", "caffe_viz.cli", *shlex.split(command)], cwd=ROOT, check=False
        ).returncode
        if code:
            return code
    print(f"\nThe pictures are in {ROOT / 'out'}; caffenet_cifar10_report.html is the page that shows them.")
    print(f"To work with the network in a browser: {program()} serve caffenet_cifar10 --example")
    return 0


if __name__ == "__main__":
    sys.exit(main())
