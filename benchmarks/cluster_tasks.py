#!/usr/bin/env python3
"""How long the tasks of large nets take on one core: what `cluster_simulation.py` plans with.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/cluster_tasks.py [--engine torch] [--json FILE]

For each convolution of VGG16 a batch of filters by `natural` ascent, of which a few evaluations are made and
the others counted; for VGG16 and CaffeNet the decoding of a JPEG of 500 x 375 and the forward of a batch. In
seconds of the processor, which tell less of what else the machine does than a clock. Weights are random: the
time does not depend on them.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from ascent import ROOT, random_weights
from cluster import record
from PIL import Image

import caffe_viz as cv
from caffe_viz.ascent.worker import climbs
from caffe_viz.images import Preprocess, load_image
from caffe_viz.network import Network
from caffe_viz.streaming import Runner
from caffe_viz.top.search import TopKWork

SEARCHED = {"vgg16": "conv5_3", "caffenet": "conv5"}
MANY = 1_300_000
ROUNDS = 4


def network(name: str, engine: str) -> Network:
    folder = ROOT / "prototxt" / name
    how = Preprocess.from_toml(folder / "preprocess.toml")
    weights = random_weights(cv.read_net(folder / "deploy.prototxt"))
    return Network(folder / "deploy.prototxt", weights, how, engine)


def ascent(net: Network, layer: str) -> dict[str, Any]:
    """Of a batch of filters: seconds to load the net, and to climb with all of its steps."""
    climbing = cv.ascend(
        net.message, net.trained, layer, preprocess=net.preprocess, engine=net.engine
    )  # fmt: skip
    times = [time.process_time()]
    for done in climbs(climbing.job)(climbing.batches[0]):
        times.append(time.process_time())
        if done > ROUNDS:
            break
    each = statistics.median(np.diff(times)[1:])
    return {
        "filters": len(climbing.filters),
        "batch": len(climbing.batches[0]),
        "load": times[1] - times[0] - 2 * each,  # the start is looked at, and evaluated
        "seconds": each * (climbing.job.evaluations + 1),
        "bytes": climbing.job.weights.ByteSize() if climbing.job.weights else 0,
        "result": 4 * len(climbing.batches[0]) * int(np.prod(climbing.job.auxiliaries[-1].image_shape[1:])),
    }


def photographs(net: Network, layer: str, file: Path) -> dict[str, Any]:
    """Of an image: seconds to decode it, and forward; and in how many a piece has of very many."""
    part = net.part(layer)
    begun = time.process_time()
    for _ in range(20):
        pixels = part.pixels(load_image(file))
    decode = (time.process_time() - begun) / 20
    begun = time.process_time()
    runner = Runner(net, layer)
    load = time.process_time() - begun
    batch, times = np.stack([pixels] * runner.batch), []
    for _ in range(ROUNDS):
        begun = time.process_time()
        runner(batch)
        times.append((time.process_time() - begun) / runner.batch)
    work = TopKWork(net, (layer,), MANY)
    sizes = {str(workers): work.piece(workers) for workers in (1, 10, 100, 1000)}
    stored = sum(np.prod(shape) for one in net.geometry.layers for shape in one.param_shapes)
    return {
        "layer": layer,
        "decode": decode,
        "forward": statistics.median(times),
        "load": load,
        "piece": sizes,
        "bytes": 4 * int(stored),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engine", default="torch", choices=("torch", "caffe"))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    net, ascents = network("vgg16", given.engine), {}
    for layer in (one.name for one in net.message.layer if one.type == "Convolution"):
        found = ascents[layer] = ascent(net, layer)
        print(
            f"vgg16 {layer}: {found['filters']} filters, {found['seconds']:.1f} s for {found['batch']}, "
            f"net loaded in {found['load']:.1f} s",
            flush=True,
        )
    searches = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "cat.jpg"
        Image.open(ROOT / "examples" / "cat.png").convert("RGB").resize((500, 375)).save(file, quality=90)
        for name, layer in SEARCHED.items():
            found = searches[name] = photographs(network(name, given.engine), layer, file)
            print(
                f"{name} {layer}: {1000 * found['decode']:.1f} ms to decode, "
                f"{1000 * found['forward']:.0f} ms forward, pieces by workers {found['piece']}",
                flush=True,
            )
    record(given.json, "ascents", ascents)
    record(given.json, "searches", searches)


if __name__ == "__main__":
    main()
