#!/usr/bin/env python3
"""What a cluster costs on this machine: time against the local worker pool, bytes on the wire.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/cluster.py [--workers 1 2] [--json FILE]

`ascend` climbs filters of caffenet_cifar10's conv3 by the worker pool and by `local:N`, the start of the
processes included in both; `top` looks at small JPEGs in this process and on `local:N`.

Bytes are those of the sockets of client and scheduler, which are one process here, as tornado's streams send
and receive them: all of a cluster's go through the scheduler. The headers of TCP and IP are not in them,
heartbeats are. The workers have a cache folder of their own, so that they are sent weights as another machine
is. `--json` keeps what `cluster_simulation.py` reads.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import caffe_viz as cv
from caffe_viz.images import ImageCollection
from caffe_viz.network import Network
from caffe_viz.streaming import PIECE
from caffe_viz.tasks.addresses import connected
from caffe_viz.top import Search

NET, LAYER = "caffenet_cifar10", "conv3"


def record(path: Path | None, name: str, value: Any) -> None:
    """Keep a measured value in a JSON file, beside others that are there."""
    if path is not None:
        known = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(known | {name: value}, indent=1) + "\n")


def climb(net: Network, filters: int, steps: int, **who: Any) -> None:
    climbing = cv.ascend(
        net.message, net.trained, LAYER, range(filters), steps=steps, engine=net.engine,
        preprocess=net.preprocess, **who,
    )  # fmt: skip
    for _ in climbing:
        pass
    assert len(climbing.result.filters) == filters


def search(net: Network, collection: ImageCollection, client: Any) -> None:
    for _ in Search(net, LAYER, collection, cluster=client):
        pass


def timed(what: Callable[[], None]) -> float:
    begun = time.perf_counter()
    what()
    return time.perf_counter() - begun


def on_a_cluster(workers: int, what: Callable[[Any], None]) -> dict[str, Any]:
    """Its seconds: with the start, until it is up, then until the first piece; those of each piece."""
    begun = time.time()
    with connected(f"local:{workers}") as client:
        client.get_task_stream()  # from now on
        up = time.time()
        what(client)
        done = time.time()
        stream = client.get_task_stream()
    spans = [one["startstops"][0] for one in stream if "caffe-viz" in one["key"]]
    spans.sort(key=lambda span: span["start"])
    pieces = [span["stop"] - span["start"] for span in spans]
    times = {"up": up - begun, "prepared": spans[0]["start"] - up, "seconds": done - begun}
    return {"workers": workers, **times, "pieces": pieces}


def photographs(folder: Path, images: int) -> ImageCollection:
    """So many images, of 64 small JPEGs in an archive again and again."""
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(folder / "photos.zip", "w") as archive:
        for n in range(64):
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(made := BytesIO(), "JPEG")
            archive.writestr(f"{n}.jpg", made.getvalue())
    few = ImageCollection.of(folder / "photos.zip")
    return replace(few, entries=(few.entries * (images // len(few) + 1))[:images])


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Bytes that the sockets of this process carry: of the client, and of the scheduler with its workers."""
    from tornado.iostream import IOStream

    sent, received, counts = IOStream.write_to_fd, IOStream.read_from_fd, Counter[str]()

    def count(stream: Any, size: int | None) -> int | None:
        """A client's own sockets are those whose other end is the port of the scheduler."""
        if size:
            ports = stream.socket.getsockname()[1], stream.socket.getpeername()[1]
            counts["client" if ports[1] == counts["port"] else "scheduler"] += size
        return size

    IOStream.write_to_fd = lambda stream, data: count(stream, sent(stream, data))
    IOStream.read_from_fd = lambda stream, buf: count(stream, received(stream, buf))
    try:
        yield counts
    finally:
        IOStream.write_to_fd, IOStream.read_from_fd = sent, received


def say_bytes(
    net: Network, collection: ImageCollection, folder: Path, filters: int, steps: int
) -> dict[str, Any]:
    """Of two workers: bytes between client and scheduler, bytes between scheduler and workers."""
    import dask
    from distributed import Client, LocalCluster

    environment = {"distributed.nanny.pre-spawn-environ.XDG_CACHE_HOME": str(folder)}
    out: dict[str, Any] = {}
    with (
        dask.config.set(environment),
        counted() as counts,
        LocalCluster(n_workers=2, threads_per_worker=1, memory_limit=0, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        idle = 0.0
        counts["port"] = int(client.scheduler.address.rpartition(":")[2])
        for name, count, what in (
            ("an idle second", 10, lambda: time.sleep(10)),
            ("start of ascend, weights sent", 1, lambda: climb(net, filters, steps, cluster=client)),
            ("a filter", filters, lambda: climb(net, filters, steps, cluster=client)),
            ("start of top", 1, lambda: search(net, collection.part(0, 64), client)),
            ("an image", len(collection), lambda: search(net, collection, client)),
        ):
            counts["client"] = counts["scheduler"] = 0
            begun, busy = time.perf_counter(), time.process_time()
            what()
            busy = time.process_time() - busy - idle * (time.perf_counter() - begun)
            idle = idle or busy / count  # while it is waited for, too
            ends = counts["client"], counts["scheduler"] - counts["client"]  # which has its other end
            out[name] = [*(round(size / count) for size in ends), busy]
            print("{:30} client {:>9,}   workers {:>9,} bytes".format(name, *out[name]), flush=True)
    pieces = len(collection) / PIECE - 1
    out["serial"] = (out["an image"][-1] - out["start of top"][-1]) / pieces
    print(
        f"client and scheduler: {1000 * out['serial']:.1f} ms of the processor for a piece of {PIECE} images"
    )
    return out


def say(run: dict[str, Any]) -> dict[str, Any]:
    pieces, alone = run["pieces"], "pool" if "pool" in run else "here"
    print(
        f"{run['what']}, {run['workers']} workers: {alone} {run[alone]:.1f} s, cluster "
        f"{run['seconds']:.1f} s ({run['up']:.1f} s until it is up): "
        f"{run[alone] / run['seconds']:.3f} of the throughput; {len(pieces)} pieces of "
        f"{np.mean(pieces):.2f} s, spread {100 * np.std(pieces) / np.mean(pieces):.0f} %",
        flush=True,
    )
    return run


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, nargs="+", default=[2])
    parser.add_argument("--filters", type=int, default=48, help="for each worker [48]")
    parser.add_argument("--steps", type=int, default=220, help="of each filter [220]")
    parser.add_argument("--images", type=int, default=3000, help="for each worker [3000]")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    net, runs = Network.of(NET), []
    with tempfile.TemporaryDirectory() as folder:
        for workers in given.workers:
            filters = given.filters * workers
            alone = timed(lambda n=filters, w=workers: climb(net, n, given.steps, jobs=w))
            made = on_a_cluster(workers, lambda c, n=filters: climb(net, n, given.steps, cluster=c))
            runs.append(say(made | {"what": "ascend", "pool": alone}))
            collection = photographs(Path(folder), given.images * workers)
            alone = timed(lambda collection=collection: search(net, collection, None))
            made = on_a_cluster(workers, lambda c, collection=collection: search(net, collection, c))
            runs.append(say(made | {"what": "top", "here": alone}))
        sizes = say_bytes(net, collection, Path(folder), 32, 8)
    record(given.json, "runs", runs)
    record(given.json, "bytes", sizes)


if __name__ == "__main__":
    main()
