#!/usr/bin/env python3
"""Features of very many images: does memory grow, and how long does it take?

    python benchmarks/features.py PHOTOS.zip [--images 100000] [--blob fc6 --blob pool5] [--engine torch]

The images are those of the archive or folder, again and again, through caffenet_cifar10 into one .npz. A line
for every tenth: the peak of the process's memory until then, and images a second. The last line is with the
file written.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from caffe_viz.extraction import Extraction, FileExtraction
from caffe_viz.images import ImageCollection, Preprocess
from caffe_viz.network import Network

NET = Path(__file__).resolve().parent.parent / "prototxt" / "caffenet_cifar10"


def peak() -> str:
    """The most memory that this process had."""
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", type=Path)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--blob", action="append")
    parser.add_argument("--engine", default="auto")
    given = parser.parse_args()
    few = ImageCollection.of(given.photos)
    collection = replace(few, entries=(few.entries * (given.images // len(few) + 1))[: given.images])
    how = Preprocess.from_toml(NET / "preprocess.toml")
    net = Network(NET / "deploy.prototxt", NET / "caffenet_cifar10.caffemodel", how, given.engine)
    extraction = Extraction(net, collection, given.blob or ["fc6", "pool5"])
    with tempfile.TemporaryDirectory() as folder:
        path, begun, step = Path(folder) / "features.npz", time.monotonic(), max(1, given.images // 10)
        filing, told = FileExtraction(extraction, path), 0
        print(f"{given.images:,} images, {extraction.engine}: {peak()} before the first")
        for progress in filing:
            if progress.done // step > told:
                told = progress.done // step
                seconds = time.monotonic() - begun
                print(f"{progress.done:,}: {peak()}, {progress.done / seconds:,.0f} images/s", flush=True)
        filing.write()
        seconds = time.monotonic() - begun
        print(f"written: {peak()}, {seconds:,.0f} s, {path.stat().st_size / 2**20:,.0f} MiB")


if __name__ == "__main__":
    main()
