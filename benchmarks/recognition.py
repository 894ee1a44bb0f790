#!/usr/bin/env python3
"""How well a net still knows pictures of its classes after 13 changes, none of which would bother a person.

    python benchmarks/recognition.py SQUEEZENET_FOLDER [--method natural ..] [--sheet SHEET.png]

FOLDER holds deploy.prototxt, a caffemodel and labels.txt. For each method the eight classes are drawn by
`ascend`, 256 steps, at the net's own size; or they are cut from a sheet of 4 x 2 pictures without margins, such
as another tool's. The shares are of 13 changes x 8 classes: the class is the net's first answer, or among five.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

import caffe_viz as cv

CLASSES = (
    130,
    290,
    340,
    407,
    515,
    950,
    1,
    254,
)  # flamingo, jaguar, zebra, ambulance, cowboy hat, orange, goldfish, pug
LAYER, STEPS = "conv_final", 256
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
