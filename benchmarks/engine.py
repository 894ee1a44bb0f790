#!/usr/bin/env python3
"""The embedded engine against real Caffe and against a torch function written by hand, in one run.

    python benchmarks/engine.py [--nets caffenet vgg16] [--batches 1 8] [--rounds 5]

Forward of the deploy net, and forward with backward to the input, without gradients of weights (the auxiliary
net of `ascend`, which is how Caffe does it fastest). The three take turns; figures are medians of the rounds.
At the end the time to load a caffemodel of CaffeNet's size, and how much memory that takes.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import caffe_viz as cv
from caffe_viz.netdef import NetParameter, blob_array, write_weights
from caffe_viz.parity import seeded_weights
from caffe_viz.surgery import Auxiliary, with_batch

ROOT = Path(__file__).resolve().parent.parent
TARGETS = {"caffenet": ("conv3", "conv5", "prob"), "squeezenet_v1.0": ("conv10",), "vgg16": ("prob",)}
Weights = dict[str, tuple[Tensor, ...]]


def caffenet(x: Tensor, w: Weights, until: str) -> Tensor:
    """CaffeNet up to a layer, as one writes it in torch."""
    x = F.relu(F.conv2d(x, *w["conv1"], stride=4))
    x = F.local_response_norm(F.max_pool2d(x, 3, 2, ceil_mode=True), 5, 1e-4, 0.75, 1)
    x = F.relu(F.conv2d(x, *w["conv2"], padding=2, groups=2))
    x = F.local_response_norm(F.max_pool2d(x, 3, 2, ceil_mode=True), 5, 1e-4, 0.75, 1)
    x = F.conv2d(x, *w["conv3"], padding=1)
    if until == "conv3":
        return x
    x = F.relu(F.conv2d(F.relu(x), *w["conv4"], padding=1, groups=2))
    x = F.conv2d(x, *w["conv5"], padding=1, groups=2)
    if until == "conv5":
        return x
    x = F.max_pool2d(F.relu(x), 3, 2, ceil_mode=True).flatten(1)
    x = F.relu(F.linear(F.relu(F.linear(x, *w["fc6"])), *w["fc7"]))
    return F.softmax(F.linear(x, *w["fc8"]), 1)


def squeezenet(x: Tensor, w: Weights, until: str) -> Tensor:
    """SqueezeNet 1.0 up to conv10."""
    x = F.max_pool2d(F.relu(F.conv2d(x, *w["conv1"], stride=2)), 3, 2, ceil_mode=True)
    for fire in range(2, 10):
        x = F.relu(F.conv2d(x, *w[f"fire{fire}/squeeze1x1"]))
        small = F.relu(F.conv2d(x, *w[f"fire{fire}/expand1x1"]))
        x = torch.cat([small, F.relu(F.conv2d(x, *w[f"fire{fire}/expand3x3"], padding=1))], 1)
        if fire in (4, 8):
            x = F.max_pool2d(x, 3, 2, ceil_mode=True)
    return F.conv2d(x, *w["conv10"], padding=1)


def vgg16(x: Tensor, w: Weights, until: str) -> Tensor:
    """VGG16."""
    for block, depth in enumerate((2, 2, 3, 3, 3), 1):
        for i in range(1, depth + 1):
            x = F.relu(F.conv2d(x, *w[f"conv{block}_{i}"], padding=1))
        x = F.max_pool2d(x, 2, 2)
    x = F.relu(F.linear(F.relu(F.linear(x.flatten(1), *w["fc6"])), *w["fc7"]))
    return F.softmax(F.linear(x, *w["fc8"]), 1)


PLAIN = {"caffenet": caffenet, "squeezenet_v1.0": squeezenet, "vgg16": vgg16}
Run = Callable[[], object]


def runs_of_net(engine: str, net: NetParameter, aux: Auxiliary, weights: NetParameter) -> tuple[Run, Run]:
    """(forward, forward and backward) of a net of either engine."""
    plain = cv.load_net(with_batch(net, aux.image_shape[0]), weights, engine=engine, checked=False)
    plain.blobs["data"].data[...] = image(aux)
    selector = aux.select([0] * aux.image_shape[0])
    whole = cv.load_net(aux.message, weights, engine=engine, checked=False)
    whole.params[aux.image_layer][0].data[...] = image(aux)
    whole.blobs[aux.selector].data[...] = selector

    def forward() -> object:
        out = plain.forward(end=aux.layer)[aux.activation]
        return (out.sum((2, 3)) * selector if out.ndim > 2 else out * selector).sum()

    def both() -> object:
        whole.forward()
        whole.backward()
        return whole.params[aux.image_layer][0].diff[0, 0, 0, 0]

    return forward, both


def runs_of_function(name: str, aux: Auxiliary, weights: NetParameter) -> tuple[Run, Run]:
    """The same of the function written by hand."""
    tensors = {x.name: tuple(torch.from_numpy(blob_array(b)) for b in x.blobs) for x in weights.layer}
    selector = torch.from_numpy(aux.select([0] * aux.image_shape[0]))
    x = torch.from_numpy(image(aux))

    def forward() -> object:
        with torch.no_grad():
            out = PLAIN[name](x, tensors, aux.layer)
            return float((out.flatten(2).sum(2) * selector if out.ndim > 2 else out * selector).sum())

    def both() -> object:
        leaf = x.detach().requires_grad_()
        out = PLAIN[name](leaf, tensors, aux.layer)
        objective = (out.flatten(2).sum(2) * selector if out.ndim > 2 else out * selector).sum()
        return torch.autograd.grad(objective, leaf)[0][0, 0, 0, 0]

    return forward, both


def image(aux: Auxiliary) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 50, aux.image_shape).astype(np.float32)


def compare(name: str, layer: str, batch: int, rounds: int) -> None:
    net = cv.read_net(ROOT / "prototxt" / name / "deploy.prototxt")
    weights = seeded_weights(net)
    aux = cv.auxiliary_net(net, layer, batch=batch)
    pairs = {engine: runs_of_net(engine, net, aux, weights) for engine in ("caffe", "torch")}
    pairs["plain"] = runs_of_function(name, aux, weights)
    for part, title in enumerate(("forward", "both")):
        results = {engine: float(pair[part]()) for engine, pair in pairs.items()}  # type: ignore[arg-type]
        assert np.allclose(list(results.values()), results["caffe"], rtol=0.05, atol=1e-6), results
        times: dict[str, list[float]] = {engine: [] for engine in pairs}
        for _ in range(rounds):
            for engine, pair in pairs.items():
                start = time.perf_counter()
                pair[part]()
                times[engine].append(time.perf_counter() - start)
        caffe, ours, plain = (1000 * median(times[e]) for e in ("caffe", "torch", "plain"))
        print(
            f"{name:16} {layer:7} {batch:5}  {title:8} {caffe:8.1f} {ours:8.1f} {plain:8.1f}"
            f"   {caffe / ours:6.2f}   {ours / plain:6.2f}",
            flush=True,
        )


LOAD = """
import sys, time
import caffe_viz as cv
from caffe_viz.backend import module
module("torch")
def memory(name):
    lines = dict(line.split(":") for line in open("/proc/self/status") if line.startswith("Vm"))
    return int(lines[name].split()[0])
before = memory("VmRSS")
open("/proc/self/clear_refs", "w").write("5")  # the peak begins anew
for _ in range(2):
    start = time.perf_counter()
    net = cv.load_net(sys.argv[1], sys.argv[2], engine="torch", checked=sys.argv[3] == "checked")
    seconds = time.perf_counter() - start
    peak = memory("VmHWM") - before
    print(seconds, peak)
    del net
    cv.checking._check.cache_clear()
"""


def load() -> None:
    """Twice in a process of its own: memory that a virtual machine never used before is slow to get.

    Memory is measured by the first load's peak, on Linux.
    """
    prototxt = ROOT / "prototxt" / "caffenet" / "deploy.prototxt"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.caffemodel"
        write_weights(seeded_weights(cv.read_net(prototxt)), path)
        size = path.stat().st_size
        for checked in ("checked", "unchecked"):
            command = [sys.executable, "-c", LOAD, str(prototxt), str(path), checked]
            first, peak, again, _ = subprocess.run(command, capture_output=True, check=True).stdout.split()
            print(
                f"load {size / 1e6:.0f} MB, {checked}: {float(first):.2f} s, again {float(again):.2f} s; "
                f"peak {int(peak) * 1024 / size:.2f} times the file"
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nets", nargs="*", default=list(TARGETS), choices=list(TARGETS))
    parser.add_argument("--batches", nargs="*", type=int, default=[1, 8])
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads; ms, medians of {given.rounds} rounds"
    )
    columns = f"{'caffe':>8} {'engine':>8} {'plain':>8}   caffe/engine   engine/plain"
    print(f"{'net':16} {'layer':7} batch  {'':8} {columns}", flush=True)
    for name in given.nets:
        for layer in TARGETS[name]:
            for batch in given.batches:
                compare(name, layer, batch, given.rounds)
    load()
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB")


if __name__ == "__main__":
    main()
