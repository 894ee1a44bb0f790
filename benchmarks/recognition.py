#!/usr/bin/env python3
"""How well a net still knows pictures of its classes after 13 changes, none of which would bother a person.

    python benchmarks/recognition.py FOLDER [--method natural ..] [--engine torch] [--sheet SHEET.png]

FOLDER holds deploy.prototxt and a caffemodel of SqueezeNet for ImageNet. For each method eight classes are
drawn by `ascend` at the net's own size; with --sheet they are cut from 4 x 2 pictures without margins, such
as another tool's. Shares are of 13 changes x 8 classes: the class is the first answer, or among five.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

import caffe_viz as cv
from caffe_viz.network import Network

CLASSES = {
    "flamingo": 130, "jaguar": 290, "zebra": 340, "ambulance": 407, "cowboy hat": 515, "orange": 950,
    "goldfish": 1, "pug": 254,
}  # fmt: skip
LAYER, SIDE = "conv_final", 227
Rgb = NDArray[np.uint8]


def _cropped(image: Image.Image, share: float) -> Image.Image:
    """The middle, brought back to the size of the whole."""
    width, height = image.size
    x, y = (1 - share) / 2 * width, (1 - share) / 2 * height
    box = (round(x), round(y), round(width - x), round(height - y))
    return image.crop(box).resize(image.size, Image.Resampling.BICUBIC)


def _shrunk(image: Image.Image, factor: int) -> Image.Image:
    """A smaller picture, brought back to size."""
    small = image.resize((image.width // factor, image.height // factor), Image.Resampling.LANCZOS)
    return small.resize(image.size, Image.Resampling.BICUBIC)


def _jpeg(image: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(io.BytesIO(stream.getvalue())).convert("RGB")


def _rotated(image: Image.Image, degrees: float) -> Image.Image:
    """Turned about the middle; the corners are grey."""
    return image.rotate(degrees, Image.Resampling.BICUBIC, fillcolor=(128, 128, 128))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "as it is": lambda image: image,
    "blur 1": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
    "blur 2": lambda image: image.filter(ImageFilter.GaussianBlur(2)),
    "shrink 2": lambda image: _shrunk(image, 2),
    "shrink 3": lambda image: _shrunk(image, 3),
    "JPEG 50": lambda image: _jpeg(image, 50),
    "JPEG 10": lambda image: _jpeg(image, 10),
    "flip": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "rotate 10": lambda image: _rotated(image, 10),
    "rotate -20": lambda image: _rotated(image, -20),
    "crop 0.8": lambda image: _cropped(image, 0.8),
    "crop 0.6": lambda image: _cropped(image, 0.6),
    "grey": lambda image: image.convert("L").convert("RGB"),
}


Shares = tuple[float, float]


def shares(net: Any, preprocess: cv.Preprocess, pictures: Sequence[Rgb]) -> dict[str, Shares]:
    """Of each change, and of each class: how often the class comes first, and among the first five."""
    first = np.zeros((len(CHANGES), len(pictures)))
    five = np.zeros_like(first)
    for j, (picture, chosen) in enumerate(zip(pictures, CLASSES.values(), strict=True)):
        changed = [np.asarray(change(Image.fromarray(picture))) for change in CHANGES.values()]
        blobs = [preprocess.to_caffe(rgb, (3, SIDE, SIDE)) for rgb in changed]
        found = answers(net, np.stack(blobs))
        first[:, j] = found[:, 0] == chosen
        five[:, j] = (found[:, :5] == chosen).any(1)
    rows = {name: (first[i].mean(), five[i].mean()) for i, name in enumerate(CHANGES)}
    rows |= {name: (first[:, j].mean(), five[:, j].mean()) for j, name in enumerate(CLASSES)}
    return {**rows, "all": (first.mean(), five.mean())}


def answers(net: Any, blobs: NDArray[np.float32]) -> NDArray[np.int64]:
    """(N, classes) from the likeliest on."""
    net.blobs["data"].reshape(*blobs.shape)
    net.reshape()
    net.blobs["data"].data[...] = blobs
    net.forward()
    return np.argsort(-net.blobs[net.outputs[0]].data.reshape(len(blobs), -1), axis=1)


def drawn(net: Any, preprocess: cv.Preprocess, method: str, steps: int | None) -> list[Rgb]:
    network = replace(Network.of(net), preprocess=preprocess)
    found = cv.maximize(network, LAYER, list(CLASSES.values()), method=method, steps=steps, size=(SIDE, SIDE))
    return [np.asarray(tile.rgb * 255 + 0.5).astype(np.uint8) for tile in found.tiles]


def cut(sheet: Path) -> list[Rgb]:
    rgb = np.asarray(Image.open(sheet).convert("RGB"))
    height, width = rgb.shape[0] // 2, rgb.shape[1] // 4
    return [rgb[y : y + height, x : x + width] for y in (0, height) for x in range(0, 4 * width, width)]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--method", action="append", help="of ascend; again for more [natural]")
    parser.add_argument("--steps", type=int, default=256, help="[256]")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--sheet", type=Path, action="append", default=[], help="4 x 2 pictures")
    parser.add_argument("--output", type=Path, help="folder for the sheets that are drawn")
    options = parser.parse_args()
    prototxt = options.folder / "deploy.prototxt"
    net = cv.load_net(prototxt, next(options.folder.glob("*.caffemodel")), engine=options.engine)
    preprocess = cv.Preprocess(mean=(104.0, 117.0, 123.0), resize=None)
    for sheet in options.sheet:
        say(sheet.name, shares(net, preprocess, cut(sheet)))
    for method in options.method or ([] if options.sheet else ["natural"]):
        start = time.perf_counter()
        pictures = drawn(net, preprocess, method, options.steps)
        took = time.perf_counter() - start
        say(f"{method}, {options.steps} steps, {took:.0f} s", shares(net, preprocess, pictures))
        if options.output:
            options.output.mkdir(parents=True, exist_ok=True)
            rows = [np.concatenate(pictures[:4], 1), np.concatenate(pictures[4:], 1)]
            Image.fromarray(np.concatenate(rows)).save(options.output / f"{method}_{options.steps}.png")
    return 0


def say(name: str, found: dict[str, Shares]) -> None:
    print("{}: {:.3f}, among five {:.3f}".format(name, *found["all"]))
    each = (f"{key} {first:.2f}" for key, (first, _) in found.items() if key != "all")
    print("   " + "  ".join(each), flush=True)


if __name__ == "__main__":
    sys.exit(main())
