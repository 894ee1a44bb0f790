#!/usr/bin/env python3
"""Train prototxt/caffenet_cifar10, with the solver of real Caffe or of the embedded engine (--engine torch).

    python scripts/train_caffenet_cifar10.py cifar10-jpeg.zip         (train|test)/CLASS/NAME.jpg
    python scripts/train_caffenet_cifar10.py cifar-10-python.tar.gz    the public archive

Writes caffenet_cifar10.caffemodel beside the solver (or to -o) and prints the accuracy on the
10,000 test images. Each training image is mirrored with probability one half and shifted by up
to 4 pixels. About an hour on two cores; 76.42 % as shipped, most of it in the first two convolutions.
"""

from __future__ import annotations

import argparse
import io
import os
import pickle
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_viz import backend

FOLDER = Path(__file__).resolve().parent.parent / "prototxt" / "caffenet_cifar10"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
MEAN = np.array([113.9, 123.0, 125.3], np.float32)  # blue, green, red over the training images
SCALE = 1 / 64
SHIFT = 4

Images = NDArray[np.uint8]  # (N, 3, 32, 32), blue green red
Labels = NDArray[np.int64]  # (N,)


class NumbersOnly(pickle.Unpickler):
    """The archive's pickles hold dicts, bytes and one uint8 array; nothing else may be built from them."""

    allowed = frozenset(
        {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.allowed:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in CIFAR-10")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def read_zip(path: Path) -> dict[str, tuple[Images, Labels]]:
    from PIL import Image

    found: dict[str, tuple[list[Images], list[int]]] = {"train": ([], []), "test": ([], [])}
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            part, _, rest = name.partition("/")
            if part in found and name.endswith(".jpg"):
                rgb = np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB"))
                found[part][0].append(rgb[:, :, ::-1].transpose(2, 0, 1))
                found[part][1].append(CLASSES.index(rest.split("/")[0]))
    return {part: (np.stack(images), np.array(labels)) for part, (images, labels) in found.items()}


def read_python_archive(path: Path) -> dict[str, tuple[Images, Labels]]:
    parts: dict[str, list[tuple[Images, Labels]]] = {"train": [], "test": []}
    with tarfile.open(path) as archive:
        for member in sorted(archive.getmembers(), key=lambda m: m.name):
            base = Path(member.name).name
            if base.startswith(("data_batch", "test_batch")):
                stream = archive.extractfile(member)
                assert stream is not None
                batch = NumbersOnly(stream, encoding="bytes").load()
                images = batch[b"data"].reshape(-1, 3, 32, 32)[:, ::-1]
                parts["test" if base.startswith("test") else "train"].append(
                    (images, np.array(batch[b"labels"]))
                )
    return {
        part: (np.concatenate([i for i, _ in batches]), np.concatenate([t for _, t in batches]))
        for part, batches in parts.items()
    }


def to_caffe(images: Images) -> NDArray[np.float32]:
    return np.asarray((images - MEAN[:, None, None]) * SCALE, np.float32)


def augmented(images: Images, rng: np.random.Generator) -> NDArray[np.float32]:
    """(N, 3, 32, 32): mirrored or not, shifted by up to SHIFT pixels; the border is the mean colour."""
    padded = np.pad(to_caffe(images), ((0, 0), (0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT)))
    out = np.empty((len(images), 3, 32, 32), np.float32)
    for image, target in zip(padded, out, strict=True):
        y, x = rng.integers(0, 2 * SHIFT + 1, 2)
        crop = image[:, y : y + 32, x : x + 32]
        target[...] = crop[:, :, ::-1] if rng.random() < 0.5 else crop
    return out


def batches(
    images: Images, labels: Labels, size: int, rng: np.random.Generator
) -> Iterator[tuple[Any, Labels]]:
    while True:
        order = rng.permutation(len(images))
        for start in range(0, len(order) - size + 1, size):
            chosen = order[start : start + size]
            yield augmented(images[chosen], rng), labels[chosen]


def accuracy(net: Any, images: Images, labels: Labels) -> float:
    size = len(net.blobs["data"].data)
    right = 0
    for start in range(0, len(images), size):
        net.blobs["data"].data[...] = to_caffe(images[start : start + size])
        net.blobs["label"].data[...] = labels[start : start + size]
        net.forward()
        right += int((net.blobs["fc8"].data.argmax(1) == labels[start : start + size]).sum())
    return right / len(images)


def solver_of(folder: Path, epochs: int, engine: str) -> Any:
    """The engine's solver; the prototxt's net path is relative to its folder."""
    text = (folder / "solver.prototxt").read_text(encoding="utf-8")
    text = text.replace('net: "', f'net: "{folder}/').replace("max_iter: 7000", f"max_iter: {500 * epochs}")
    with tempfile.NamedTemporaryFile("w", suffix=".prototxt") as file:
        file.write(text)
        file.flush()
        return backend.module(engine).get_solver(file.name)


def train(data: dict[str, tuple[Images, Labels]], epochs: int, output: Path, engine: str) -> float:
    solver = solver_of(FOLDER, epochs, engine)
    net = solver.net
    feed = batches(*data["train"], len(net.blobs["data"].data), np.random.default_rng(1))
    start, loss = time.monotonic(), []
    for step in range(1, 500 * epochs + 1):
        net.blobs["data"].data[...], net.blobs["label"].data[...] = next(feed)
        solver.step(1)
        loss.append(float(net.blobs["loss"].data))
        if step % 100 == 0:
            left = (time.monotonic() - start) / step * (500 * epochs - step)
            print(f"step {step:6d}  loss {np.mean(loss[-100:]):.3f}  {left / 60:.0f} min left", flush=True)
        if step % 1000 == 0 or step == 500 * epochs:
            partial = output.with_name("." + output.name)
            net.save(str(partial))
            os.replace(partial, output)
    return evaluate(data, output, engine)


def evaluate(data: dict[str, tuple[Images, Labels]], weights: Path, engine: str) -> float:
    net = backend.load_net(FOLDER / "train_val.prototxt", weights, engine=engine)
    return accuracy(net, *data["test"])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("archive", type=Path)
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--engine", choices=backend.ENGINES, default="auto")
    parser.add_argument("--evaluate", action="store_true", help="only measure the weights that are there")
    parser.add_argument("-o", "--output", type=Path, default=FOLDER / "caffenet_cifar10.caffemodel")
    options = parser.parse_args()
    data = (read_zip if zipfile.is_zipfile(options.archive) else read_python_archive)(options.archive)
    print({part: images.shape for part, (images, _) in data.items()}, flush=True)
    if options.evaluate:
        got = evaluate(data, options.output, options.engine)
    else:
        got = train(data, options.epochs, options.output, options.engine)
    print(f"accuracy on {len(data['test'][1])} test images: {100 * got:.2f} %")
    return 0


if __name__ == "__main__":
    sys.exit(main())
