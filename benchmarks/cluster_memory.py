#!/usr/bin/env python3
"""Does the memory of client and scheduler grow with the pieces of a run, and what does a piece cost there?

    python benchmarks/cluster_memory.py [--pieces 20000] [--workers 2] [--json FILE]

Pieces that do nothing, from a run as commands have it: as many are submitted as there are workers. Scheduler
and workers are processes of their own. A line for each so many pieces: resident memory, the time of a round
trip, and the processor time that client and scheduler spend on a piece. The last lines say by how much memory
grows in the second half. Scheduler and workers grow until 100,000 pieces, whose names dask keeps in a
cache: some 250 bytes each, 25 MiB in all; nothing else grows. 1,000,000 pieces are a million single filters,
or 256 million images.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from cluster import record
from cluster_nothing import Nothing

from caffe_viz.tasks import Cluster
from caffe_viz.tasks.addresses import connected

LINES = 20


def started(stack: ExitStack, program: str, *words: str) -> psutil.Process:
    """A process of dask's that ends with the stack."""
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-m", f"distributed.cli.dask_{program}", *words],
        env=os.environ | {"PYTHONPATH": paths}, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    stack.callback(process.wait)
    stack.callback(process.terminate)
    return psutil.Process(process.pid)


def busy(process: psutil.Process) -> float:
    """Its seconds of the processor."""
    times = process.cpu_times()
    return float(times.user + times.system)


def watched(client: Any, pieces: int, processes: dict[str, psutil.Process]) -> list[tuple[float, ...]]:
    """By number of pieces done: resident bytes of each process."""
    rows: list[tuple[float, ...]] = []
    each = max(1, pieces // LINES)
    print(f"{'pieces':>9} {'ms':>6}" + "".join(f"{name:>11} MiB{'CPU ms':>8}" for name in processes))
    with Cluster(client).running(Nothing()) as run:
        begun, spent = time.perf_counter(), [busy(one) for one in processes.values()]
        for done, _ in enumerate(run.run(range(pieces)), 1):
            if done % each:
                continue
            now, times = time.perf_counter(), [busy(one) for one in processes.values()]
            sizes = [one.memory_info().rss for one in processes.values()]
            cells = [
                f"{size / 2**20:15.1f}{1000 * (b - a) / each:8.2f}"
                for size, a, b in zip(sizes, spent, times, strict=True)
            ]
            print(f"{done:9,} {1000 * (now - begun) / each:6.2f}" + "".join(cells), flush=True)
            rows.append((done, *sizes, 1000 * (now - begun) / each))
            begun, spent = now, times
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pieces", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        file = str(folder / "scheduler.json")
        local = ("--host", "127.0.0.1", "--no-dashboard")
        scheduler = started(stack, "scheduler", *local, "--port", "0", "--scheduler-file", file)
        while not Path(file).exists():
            time.sleep(0.1)
        for _ in range(given.workers):
            words = ("--scheduler-file", file, "--nthreads", "1", "--no-nanny", "--no-dashboard")
            worker = started(stack, "worker", *words, "--local-directory", str(folder))
        client = stack.enter_context(connected(file))
        client.wait_for_workers(given.workers)
        processes = {"client": psutil.Process(), "scheduler": scheduler, "a worker": worker}
        before = [busy(one) for one in processes.values()]
        rows = watched(client, given.pieces, processes)
        spent = [(busy(one) - a) / given.pieces for a, one in zip(before, processes.values(), strict=True)]
    late = np.array([row for row in rows if row[0] >= given.pieces / 2])
    for name, column, seconds in zip(processes, late.T[1:], spent, strict=False):
        slope = np.polyfit(late[:, 0], column, 1)[0]
        print(
            f"{name}: {slope:,.0f} bytes a piece in the second half; "
            f"{1000 * seconds:.2f} ms of the processor each"
        )
    record(
        given.json,
        "piece",
        {"client": spent[0], "scheduler": spent[1], "trip": float(np.median(late[:, -1])) / 1000},
    )


if __name__ == "__main__":
    main()
