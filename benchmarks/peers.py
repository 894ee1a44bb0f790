#!/usr/bin/env python3
"""Milliseconds for an image and a step: `ascend` on both engines, lucent, a loop in plain torch, sgemm.

    python benchmarks/peers.py [--net squeezenet] [--steps 8] [--rounds 2]

All at 224 x 224, 8 filters, natural ascents (lucent's own recipe is much the same), random weights, which do
not matter for speed. Each figure is the difference between a run and one of a third of the steps, so that
loading and the start of processes do not count; tools take turns, of each length the quickest round counts.
lucent and the loop run torchvision's modules, lucent the whole net, as it does; the loop is cut.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ascent import random_weights, sgemm  # isort: skip

import caffe_viz as cv
from caffe_viz.netdef import NetParameter

ROOT = Path(__file__).resolve().parent.parent
SIDE, FILTERS = 224, 8
# Network, layer in Caffe, and in torchvision its name for lucent and how many of `features` lead to it.
ROWS = [
    ("squeezenet", "fire6/concat", "features_8", 9),
    ("squeezenet", "conv_final", "classifier_1", None),
    ("vgg16", "conv3_1", "features_10", 11),
    ("vgg16", "conv5_3", "features_28", 29),
]


def torchvision_models() -> Any:
    """The package, also where its compiled half is of another build of torch: nothing here calls that."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    with suppress(RuntimeError):  # they are there
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision.models

    return torchvision.models, library


def ours(net: NetParameter, weights: NetParameter, layer: str, engine: str) -> Callable[[int], None]:
    def run(steps: int) -> None:
        climbing = cv.ascend(
            net, weights, layer, range(FILTERS), steps=steps, size=(SIDE, SIDE), engine=engine,
            preprocess=cv.Preprocess(),
        )  # fmt: skip
        for _ in climbing:
            pass

    return run


def lucent(model: Any, layer: str) -> Callable[[int], None]:
    from lucent.optvis import objectives, param, render

    def run(steps: int) -> None:
        goal = sum(objectives.channel(layer, n, batch=n) for n in range(FILTERS))
        render.render_vis(
            model, goal, lambda: param.image(SIDE, batch=FILTERS), thresholds=(steps,), fixed_image_size=SIDE,
            show_image=False, progress=False,
        )  # fmt: skip

    return run


def loop(model: Any, last: torch.memory_format) -> Callable[[int], None]:
    """By hand, on the cut net."""

    def run(steps: int) -> None:
        image = torch.randn(FILTERS, 3, SIDE, SIDE).contiguous(memory_format=last).requires_grad_()
        adam = torch.optim.Adam([image], 0.05)
        picked = torch.arange(FILTERS)
        for _ in range(steps):
            adam.zero_grad()
            (-model(image)[picked, picked].mean()).backward()
            adam.step()

    return run


def timed(runs: dict[str, Callable[[int], None]], steps: int, rounds: int) -> dict[str, float]:
    """Milliseconds for an image and a step, of each tool."""
    best = {(name, count): np.inf for name in runs for count in (steps, 3 * steps)}
    for _ in range(rounds):
        for name, count in best:
            start = time.perf_counter()
            runs[name](count)
            best[name, count] = min(best[name, count], time.perf_counter() - start)
    return {n: (best[n, 3 * steps] - best[n, steps]) / (2 * steps * FILTERS) * 1000 for n in runs}


def tools(name: str, layer: str, theirs: str, cut: int | None, squeezenet: Path | None) -> dict[str, Any]:
    models, _ = torchvision_models()
    folder = squeezenet if name == "squeezenet" and squeezenet else ROOT / "prototxt" / name
    net = cv.read_net(folder / "deploy.prototxt")
    weights = random_weights(net)
    make = models.squeezenet1_0 if name == "squeezenet" else models.vgg16
    whole = make(weights=None).eval().requires_grad_(False)
    part = torch.nn.Sequential(*list(whole.features)[:cut], *([] if cut else list(whole.classifier)[:2]))
    last = torch.channels_last
    measured = cv.measure(cv.auxiliary_net(net, layer, size=(SIDE, SIDE)).message).macs
    found: dict[str, Any] = {"macs": measured}
    found["ascend, embedded"] = ours(net, weights, layer, "torch")
    if cv.caffe.__name__ == "caffe":
        found["ascend, real Caffe"] = ours(net, weights, layer, "caffe")
    found["lucent"] = lucent(whole, theirs)
    found["torch, by hand"] = loop(part, torch.contiguous_format)
    found["torch, by hand, channels last"] = loop(part.to(memory_format=last), last)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--net", choices=["squeezenet", "vgg16"], help="only this one")
    parser.add_argument("--squeezenet", type=Path, help="folder with deploy.prototxt of SqueezeNet v1.0")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    limit = sgemm()
    print(
        f"{os.cpu_count()} cores, torch {torch.__version__}, sgemm {limit / 1e9:.1f} billion multiply-adds/s"
    )
    for row in ROWS:
        if options.net not in (None, row[0]):
            continue
        found = tools(*row, options.squeezenet)
        floor = 2 * found.pop("macs") / limit * 1000  # forward, and back to the image
        best = timed(found, options.steps, options.rounds)
        print(f"\n{row[0]} {row[1]}: multiply-adds over sgemm {floor:.1f} ms")
        for name, value in best.items():
            against = f"{best['lucent'] / value:5.2f} times lucent  {100 * floor / value:3.0f} % of sgemm"
            print(f"  {name:32s} {value:7.1f} ms  {against}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
