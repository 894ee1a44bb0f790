#!/usr/bin/env python3
"""Time and cost of large runs on 10, 100 and 1,000 workers, from what was measured on one machine.

    python benchmarks/cluster_simulation.py [--measured FILE] [--price 0.05] [--deaths 0] [--workers ..]

Events one after another: the client has as many pieces submitted as there are workers; each piece costs it
and the scheduler some milliseconds, one at a time; a machine of 16 is sent the weights once, by the client,
which does nothing else meanwhile; a worker loads the net once; pieces take what was measured, with the
measured spread, or as long as a store of photographs needs for all. A worker that dies loses its piece and
is back after a start. First the runs of `cluster.py` are simulated, to compare. FILE is the JSON that
`cluster.py`, `cluster_memory.py` and `cluster_tasks.py` write.
"""

from __future__ import annotations

import argparse
import heapq
import json
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

HOUR = 3600.0
MACHINE = 16  # workers
NETWORK, STORE = 125e6, 1.25e9  # bytes a second of the client, and of the photographs
PHOTO, PHOTOS = 110_000, 1_300_000  # bytes of one of ImageNet's, on average, and how many


@dataclass(frozen=True)
class Cluster:
    """Seconds; `serial` is what a piece costs client and scheduler, `weights` are bytes."""

    workers: int
    serial: float
    start: float = 10.0  # until workers are there
    prepare: float = 10.0  # of a command: its net, the list of its images
    load: float = 2.0  # the net, in each worker
    weights: float = 0.0
    deaths: float = 0.0  # of a worker in an hour


def run(cluster: Cluster, pieces: Sequence[float]) -> tuple[float, float, float]:
    """Pieces of so many seconds each: seconds in all, of the client, and when the last piece was given."""
    rng, waiting = np.random.default_rng(0), deque(pieces)
    begun = cluster.start + cluster.prepare
    free = end = given = begun
    client, served, loaded = 0.0, set[int](), set[int]()
    ready = [(begun, worker) for worker in range(cluster.workers)]
    while waiting:
        at, worker = heapq.heappop(ready)
        sent = 0.0 if worker // MACHINE in served else cluster.weights / NETWORK
        served.add(worker // MACHINE)
        free = given = max(at, free) + cluster.serial + sent
        client += cluster.serial + sent
        seconds = waiting.popleft()
        takes = seconds + (0.0 if worker in loaded else cluster.load)
        death = rng.exponential(HOUR / cluster.deaths) if cluster.deaths else np.inf
        if death < takes:
            waiting.append(seconds)
            loaded.discard(worker)
            heapq.heappush(ready, (free + death + cluster.start, worker))
            continue
        loaded.add(worker)
        end = max(end, free + takes)
        heapq.heappush(ready, (free + takes, worker))
    return end + cluster.serial, client, given


def drawn(mean: float, spread: float, count: int) -> list[float]:
    """Seconds of pieces whose deviation is `spread` of the mean."""
    sigma = np.sqrt(np.log1p(spread**2))
    return (mean * np.random.default_rng(0).lognormal(-(sigma**2) / 2, sigma, count)).tolist()


def check(runs: Sequence[dict[str, Any]], serial: float) -> None:
    """Measured runs, and simulated from the mean and the spread of their pieces."""
    for one in runs:
        first, rest = np.split(one["pieces"], [one["workers"]])  # the first ones load the net
        load = max(0.0, first.mean() - rest.mean())
        cluster = Cluster(one["workers"], serial, one["up"], one["prepared"], load)
        found, *_ = run(cluster, drawn(rest.mean(), rest.std() / rest.mean(), len(one["pieces"])))
        told = f"measured {one['seconds']:.1f} s, simulated {found:.1f} s ({found / one['seconds'] - 1:+.1%})"
        print(f"{one['what']}, {one['workers']} workers: {told}")


def row(name: str, runs: Sequence[tuple[Cluster, list[float]]], price: float) -> str:
    """Of commands one after another on the same workers, and what keeps those of the longest idle."""
    found = [(run(*one), *one) for one in runs]
    hours = sum(seconds for (seconds, *_), *_ in found) / HOUR
    (seconds, client, given), cluster, pieces = max(found, key=lambda one: one[0][0])
    begun = cluster.start + cluster.prepare
    lost = {
        f"only {len(pieces):,} pieces": seconds * (len(pieces) < cluster.workers),
        "client and scheduler": client * (client > 0.8 * (given - begun)),
        "the start": begun + cluster.load,
        "sending the weights": -(-cluster.workers // MACHINE) * cluster.weights / NETWORK / 2,
        "the last pieces": (seconds - given) / 2,
    }
    most = max(lost, key=lambda name: lost[name])
    core_hours = cluster.workers * hours
    share = sum(map(sum, (pieces for *_, pieces in found))) / HOUR / core_hours
    told = f"{cluster.workers:,} | {hours:.2f} | {core_hours:,.0f} | {core_hours * price:,.2f} | {share:.0%}"
    return f"| {name} | {told} | {most if lost[most] > 0.1 * seconds else ''} |"


def main() -> None:
    own = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=own)
    parser.add_argument("--measured", type=Path, default=Path(__file__).with_name("cluster_measured.json"))
    parser.add_argument("--price", type=float, default=0.05, help="of a core for an hour [0.05]")
    parser.add_argument("--deaths", type=float, default=0.0, help="of a worker in an hour [0]")
    parser.add_argument("--workers", type=int, nargs="+", default=[10, 100, 1000])
    given = parser.parse_args()
    measured = json.loads(given.measured.read_text())
    ends = measured["piece"]["client"], measured["piece"]["scheduler"]
    check(measured["runs"], max(ends))
    rest = [np.array(one["pieces"][one["workers"] :]) for one in measured["runs"] if one["what"] == "ascend"]
    spread = float(np.mean([some.std() / some.mean() for some in rest]))
    print(f"\n{1000 * max(ends):.1f} ms for a piece, whose time has a spread of {spread:.0%}\n")
    print("| | workers | hours | core hours | price | at work | held up by |\n|---|" + "---:|" * 5 + "---|")
    for workers in given.workers:
        usual = Cluster(workers, max(ends), deaths=given.deaths)
        layers = []
        for one in measured["ascents"].values():
            serial = max(ends) + one["result"] / NETWORK
            cluster = replace(
                usual, serial=serial, weights=one["bytes"], start=0.0 if layers else usual.start
            )
            layers.append((cluster, drawn(one["seconds"], spread, -(-one["filters"] // one["batch"]))))
        print(row("`ascend` vgg16, layer after layer", layers, given.price))
        once = replace(layers[0][0], serial=layers[-1][0].serial, weights=layers[-1][0].weights)
        pieces = sorted((piece for _, some in layers for piece in some), reverse=True)
        print(row("all layers at once, the last first", [(once, pieces)], given.price))
        for name, one in measured["searches"].items():
            size = one["piece"][max((n for n in one["piece"] if int(n) <= workers), key=int)]
            pieces = drawn(size * (one["decode"] + one["forward"]), spread, -(-PHOTOS // size))
            reading = PHOTO * size * workers / STORE
            serial = max(ends) + max(0.0, measured["bytes"]["serial"] - sum(ends))
            cluster = replace(usual, serial=serial, weights=one["bytes"])
            print(row(f"`top` {name}", [(cluster, [max(x, reading) for x in pieces])], given.price))


if __name__ == "__main__":
    main()
