"""Decode image files with Pillow; damaged, gigantic and foreign files give a one-line error."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_viz.errors import InputError

Floats = NDArray[np.float32]

LUMA = np.array([0.2125, 0.7154, 0.0721], np.float32)  # skimage.color.rgb2gray, thus caffe.io.load_image
# Pillow's one-channel modes of more than 8 bits -> the value of white.
WHITE = {"I": 65535, "I;16": 65535, "I;16L": 65535, "I;16B": 65535, "I;16N": 65535, "F": 1}


@dataclass(frozen=True)
class Limits:
    """Limits for images from strangers, checked before pixels are decoded."""

    formats: frozenset[str]  # as Pillow calls them
    pixels: int

    def check(self, image: Any) -> None:
        """Raise ValueError if Pillow's `image` exceeds them."""
        if image.format not in self.formats:
            raise ValueError(f"{image.format} is not one of {', '.join(sorted(self.formats))}")
        width, height = image.size
        if width * height > self.pixels:
            raise ValueError(f"{width} x {height} pixels are more than {self.pixels / 1e6:g} million")


def decoded(
    path: str | Path,
    pixels: Callable[[Any], Floats],
    data: bytes | None = None,
    limits: Limits | None = None,
) -> Floats:
    """Return what `pixels` makes of Pillow's image of a file, or of its content `data`.

    Raises:
        InputError: No such file, not an image, a damaged or gigantic one, or one beyond the `limits`.
    """
    from PIL import Image, UnidentifiedImageError

    if data is None and not Path(path).exists():
        raise InputError(f"{path}: there is no such file.")
    if data is None and not Path(path).is_file():
        raise InputError(f"{path} is not a file: give an image, such as a PNG or a JPEG.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path if data is None else io.BytesIO(data)) as image:
                if limits is not None:
                    limits.check(image)
                image.load()
                return pixels(image)
    except PermissionError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    except UnidentifiedImageError:
        raise InputError(f"{path} is not an image in a known format, such as PNG, JPEG or TIFF.") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        most = (Image.MAX_IMAGE_PIXELS or 0) // 10**6
        raise InputError(f"{path} has more than {most} million pixels: scale it down first.") from None
    except Exception as error:  # a decoder meets damaged data with any exception
        reason = " ".join(str(error).split()).rstrip(".")
        raise InputError(f"{path}: the image cannot be read: {reason or type(error).__name__}.") from None
