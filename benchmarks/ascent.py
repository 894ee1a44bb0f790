#!/usr/bin/env python3
"""Filters per minute of `ascend`, against the loop that a skilled pycaffe user writes; both on real Caffe.

    python benchmarks/ascent.py [--squeezenet FOLDER]     a folder with deploy.prototxt and a caffemodel

The loop has a batch of 1, the prototxt's full input, all BLAS threads and the weights' gradients. Both take
equal steps. CaffeNet has fixed random weights, since speed does not depend on them.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np

import caffe_viz as cv
from caffe_viz.ascent import BATCH, canvas_size
from caffe_viz.netdef import NetParameter, make_blob

ROOT = Path(__file__).resolve().parent.parent
STEPS = 40


def random_weights(net: NetParameter, kinds: tuple[str, ...] = ("Convolution",)) -> NetParameter:
    rng, out = np.random.default_rng(0), NetParameter()
    for layer in cv.measure(net).layers:
        if layer.type in kinds:
            shape = layer.param_shapes[0]
            kernels = rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))
            out.layer.add(
                name=layer.name, blobs=[make_blob(kernels), make_blob(np.zeros(layer.param_shapes[1]))]
            )
    return out


def loop(net: NetParameter, weights: NetParameter, layer: str, filters: int) -> float:
    """Seconds for each filter of the loop by hand."""
    message = NetParameter()
    message.CopyFrom(net)
    message.force_backward = True
    for one in message.layer:
        if one.type == "Input":
            one.input_param.shape[0].dim[0] = 1
    caffe_net = cv.load_net(message, weights, checked=False)
    data, blob = caffe_net.blobs["data"], caffe_net.blobs[layer]
    rng = np.random.default_rng(0)
    caffe_net.forward(end=layer)
    start = time.perf_counter()
    for chosen in range(filters):
        data.data[...] = rng.normal(size=data.data.shape) * 10
        for _ in range(STEPS):
            caffe_net.forward(end=layer)
            blob.diff[...] = 0
            blob.diff[0, chosen] = 1 / blob.diff[0, chosen].size
            caffe_net.backward(start=layer)
            gradient = data.diff
            data.data[...] += 4 * gradient / np.sqrt((gradient**2).mean())
    return (time.perf_counter() - start) / filters


def ours(net: NetParameter, weights: NetParameter, layer: str, filters: int) -> float:
    """Seconds for each filter of `ascend`, the start of its processes included."""
    start = time.perf_counter()
    climbing = cv.ascend(net, weights, layer, range(filters), steps=STEPS, preprocess=cv.Preprocess())
    for _ in climbing:
        pass
    assert len(climbing.result.filters) == filters
    return (time.perf_counter() - start) / filters


def sgemm() -> float:
    """Multiply-adds a second of NumPy's sgemm, all threads, at a size that suits it."""
    a = np.random.default_rng(0).normal(size=(1536, 1536)).astype(np.float32)
    best = 1e9
    for _ in range(8):
        start = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - start)
    return 1536**3 / best


def where_time_goes(net: NetParameter, weights: NetParameter, layer: str) -> list[tuple[str, float, float]]:
    """(layer, forward, backward) in milliseconds for one image, on the auxiliary net."""
    aux = cv.auxiliary_net(net, layer, batch=BATCH, size=canvas_size(net, layer))
    caffe_net = cv.load_net(aux.message, weights, checked=False)
    caffe_net.params[aux.image_layer][0].data[...] = np.random.default_rng(0).normal(size=aux.image_shape)
    caffe_net.blobs[aux.selector].data[...] = aux.select([0] * BATCH)
    rows = []
    for index, name in enumerate(caffe_net._layer_names):
        times = []
        for run in (caffe_net._forward, caffe_net._backward):
            caffe_net.forward()
            caffe_net.backward()
            start = time.perf_counter()
            for _ in range(5):
                run(index, index)
            times.append((time.perf_counter() - start) / 5 / BATCH * 1000)
        rows.append((name, *times))
    return rows


def compare(
    name: str, net: NetParameter, weights: NetParameter, layer: str, limit: float, filters: int
) -> None:
    size = canvas_size(net, layer)
    by_hand, made = loop(net, weights, layer, 2), ours(net, weights, layer, filters)
    macs = cv.measure(cv.auxiliary_net(net, layer, size=size).message).macs * 2  # forward, and to the image
    share = macs * (STEPS + 1) / made / limit
    print(
        f"{name:12s} {layer:16s} {size[0]:3d}x{size[1]:<3d}  loop {60 / by_hand:7.1f}  "
        f"ascend {60 / made:7.1f} filters/min  {by_hand / made:5.1f} times  {100 * share:3.0f} % of sgemm",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--squeezenet", type=Path, help="folder of deploy.prototxt and its caffemodel")
    parser.add_argument("--filters", type=int, default=64, help="that ascend draws [64]")
    options = parser.parse_args()
    limit = sgemm()
    print(f"{os.cpu_count()} cores, {STEPS} steps, sgemm {limit / 1e9:.1f} billion multiply-adds/s")
    net = cv.read_net(ROOT / "prototxt" / "caffenet" / "deploy.prototxt")
    weights = random_weights(net)
    for layer in ("conv3", "conv5"):
        compare("caffenet", net, weights, layer, limit, options.filters)
    if options.squeezenet:
        trained = next(options.squeezenet.glob("*.caffemodel"))
        squeeze = cv.read_net(options.squeezenet / "deploy.prototxt")
        layers = [x.name for x in squeeze.layer if x.type == "Convolution"]
        chosen = [name for name in layers if "3x3" in name]
        for layer in (chosen[1], chosen[4]):
            compare("squeezenet", squeeze, cv.read_weights(trained), layer, limit, options.filters)
    print("\nwhere the time of caffenet conv3 goes, milliseconds for one image, one process:")
    for row in where_time_goes(net, weights, "conv3"):
        print("{:10s} forward {:6.2f}  backward {:6.2f}".format(*row))
    return 0


if __name__ == "__main__":
    sys.exit(main())
