#!/usr/bin/env python3
"""The same files, byte for byte, when workers are killed at random? Commands run twice on `local:2`.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/cluster_chaos.py PHOTOS [--steps 64]

PHOTOS is an archive or a folder. `ascend` draws all 368 filters of caffenet_cifar10's convolutions, `top`
looks for what activates those of conv5 in all photographs: first undisturbed, then with a worker killed
(SIGKILL) after each wait of `--every` seconds on average, from a seed. Ends with 1 where a file differs.
With 60,000 small images all of it takes some 12 minutes on two cores.

    .. PHOTOS --layers conv1 --filters 0:8 --steps 4 --images 2000      a try of a minute
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil

NET = "caffenet_cifar10"
LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5")
CLUSTER = ("--cluster", "local:2")
UP = "cluster: 2 workers"  # a command says so when they are there


def workers_of(command: int) -> list[psutil.Process]:
    """The processes of dask's workers that a command has."""
    try:
        children = psutil.Process(command).children(recursive=True)
        return [one for one in children if any("spawn_main" in word for word in one.cmdline())]
    except psutil.Error:  # one of them ended meanwhile
        return []


def ended(command: subprocess.Popen[bytes], seconds: float) -> bool:
    """Whether a command ends within so many seconds."""
    try:
        command.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def run(words: Sequence[str], log: Path, rng: np.random.Generator | None, every: float) -> tuple[float, int]:
    """Seconds that a command took, and how many of its workers were killed; without `rng` none is."""
    begun, kills = time.monotonic(), 0
    with log.open("wb") as file:
        line = [sys.executable, "-m", "caffe_viz.cli", *words]
        command = subprocess.Popen(line, stdout=file, stderr=subprocess.STDOUT)
    while not ended(command, every if rng is None else rng.uniform(0.5, 1.5) * every):
        if rng is not None and UP in log.read_text() and (found := workers_of(command.pid)):
            found[rng.integers(len(found))].kill()
            kills += 1
    if command.returncode:
        print(log.read_text()[-4000:], file=sys.stderr)
        raise SystemExit(f"{' '.join(words)} ends with {command.returncode}")
    return time.monotonic() - begun, kills


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def some_of(photos: Path, count: int, folder: Path) -> Path:
    """A list of the first images of a folder or an archive, unpacked."""
    shutil.unpack_archive(photos, folder) if photos.is_file() else shutil.copytree(photos, folder)
    for path in sorted(path for path in folder.rglob("*") if path.is_file())[count:]:
        path.unlink()
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", type=Path)
    parser.add_argument("--layers", nargs="+", default=LAYERS)
    parser.add_argument("--filters", help="of each layer, as 0:8 [all]")
    parser.add_argument("--steps", type=int, default=64, help="of each filter [64]")
    parser.add_argument("--images", type=int, help="only the first so many")
    parser.add_argument("--every", type=float, default=4.0, help="seconds between two kills, on average [4]")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng, differ = np.random.default_rng(given.seed), 0
    with tempfile.TemporaryDirectory() as at:
        folder, photos = Path(at), given.photos
        if given.images:
            photos = some_of(photos, given.images, folder / "some")
        filters = ["--filters", given.filters] if given.filters else []
        commands = [
            ["ascend", NET, "--layer", layer, "--steps", str(given.steps), *filters] for layer in given.layers
        ] + [["top", NET, "--layer", LAYERS[-1], "--images", str(photos)]]
        for words in commands:
            outputs = (folder / "calm", folder / "killed")
            log = folder / "log"
            calm, _ = run([*words, *CLUSTER, "--output", str(outputs[0])], log, None, given.every)
            killed, kills = run([*words, *CLUSTER, "--output", str(outputs[1])], log, rng, given.every)
            made = [files(output) for output in outputs]
            same = made[0] == made[1]
            differ += not same
            print(
                f"{words[0]:6} {words[3]}: {calm:6.1f} s, with {kills:3} workers killed {killed:6.1f} s: "
                f"{len(made[0])} files, {sum(map(len, made[0].values())):,} bytes, "
                f"{'the same' if same else 'DIFFERENT'}",
                flush=True,
            )
    print("all files are the same, byte for byte" if not differ else f"{differ} commands made other files")
    return 1 if differ else 0


if __name__ == "__main__":
    raise SystemExit(main())
