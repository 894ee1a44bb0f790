"""What a cluster costs: the same ascent by the crew and by dask, with 1 and 2 workers, and a piece by itself.

    OMP_NUM_THREADS=1 python benchmarks/cluster.py [--filters 48] [--steps 64] [--repeats 3]

"up" is how long a cluster takes to be there; a crew is started for each ascent, which "8 filters" and "all"
have in them. "a piece" is a round trip that finds nothing to do.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import caffe_viz as cv
from caffe_viz.network import Network
from caffe_viz.tasks import member
from caffe_viz.tasks.connecting import connected


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for option, default in (("--filters", 48), ("--steps", 64), ("--repeats", 3)):
        parser.add_argument(option, type=int, default=default)
    given = parser.parse_args()
    net = Network.of("caffenet_cifar10")

    def measured(**who: Any) -> str:
        few, all_of_them = (
            min(_timed(lambda n=n: _climb(net, n, given.steps, who)) for _ in range(given.repeats))
            for n in (8, given.filters)
        )
        return f"{few:10.1f}s{all_of_them:7.1f}s{given.filters / all_of_them:11.2f}"

    print(f"{'':12}{'up':>8}{'8 filters':>11}{'all':>8}{'filters/s':>11}{'a piece':>11}")
    for workers in (1, 2):
        print(f"crew, {workers:<6}{'':8}{measured(jobs=workers)}", flush=True)
        begun = time.perf_counter()
        with connected(f"local:{workers}") as client:
            up = time.perf_counter() - begun
            piece = min(_timed(lambda client=client: _nothing(client)) for _ in range(50))
            made = measured(cluster=client)
            print(f"cluster, {workers:<3}{up:7.1f}s{made}{1000 * piece:8.1f} ms", flush=True)


def _climb(net: Network, filters: int, steps: int, who: dict[str, Any]) -> None:
    climbing = cv.ascend(
        net.message, net.trained, "conv3", range(filters), steps=steps, engine=net.engine, **who
    )
    for _ in climbing:
        pass


def _nothing(client: Any) -> None:
    client.submit(member.do, "", "another version", "", b"", pure=False).result()


def _timed(what: Callable[[], None]) -> float:
    begun = time.perf_counter()
    what()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
