"""Images uploaded as the bytes of a file, decoded when they are needed if they are not too large."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from caffe_viz.errors import InputError
from caffe_viz.images import load_image
from caffe_viz.images.arrays import as_picture, load_array
from caffe_viz.images.decoding import Limits
from caffe_viz.network import Array
from caffe_viz.server.lru import LRUCache
from caffe_viz.server.messages import Source

FORMATS = frozenset(
    {"AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TGA", "TIFF", "WEBP"}
)  # that are pixels and nothing else
LIMITS = Limits(FORMATS, pixels=40_000_000)
FILES, PIXELS = 2**28, 2**28  # bytes of files, and of what is decoded of them, that are kept
MAGIC = b"\x93NUMPY"


class Uploads:
    """Images by id; .npy files are arrays, as for the commands."""

    def __init__(self) -> None:
        self._sources: LRUCache[Source] = LRUCache(FILES, lambda source: len(source.data))
        self._decoded: LRUCache[Array] = LRUCache(PIXELS, lambda array: array.nbytes)

    def put(self, image: str, source: Source) -> None:
        """Remember a file without decoding it."""
        self._sources.put(image, source)

    def name(self, image: str) -> str:
        """The name of the uploaded file."""
        return self._source(image).name

    def array(self, image: str) -> Array:
        """The image, (H, W, 3) RGB in 0..1, or the array of a .npy file.

        Raises:
            InputError: there is no such image, it cannot be decoded, or it is too large.
        """
        source = self._source(image)
        return self._decoded.get(image, lambda: _decoded(source))

    def picture(self, image: str) -> Array | None:
        """The image to show, (H, W, 3) RGB in 0..1 or 0..255; None for an array that is not a picture."""
        array = self.array(image)
        rgb = as_picture(array)
        in_range = rgb is not None and (rgb.dtype == np.uint8 or (rgb.min() >= 0 and rgb.max() <= 1))
        return rgb if in_range else None

    def _source(self, image: str) -> Source:
        found = self._sources.find(image)
        if found is None:
            raise InputError("the server no longer has this image: upload it again.")
        return found


def _decoded(source: Source) -> Any:
    if source.data.startswith(MAGIC):
        _need_small(source)
        return load_array(source.name, source.data)
    return load_image(source.name, source.data, LIMITS)


def _need_small(source: Source) -> None:
    """Raise InputError if the header of a .npy file promises more data than the file has."""
    stream = io.BytesIO(source.data)
    try:
        version, head = np.lib.format.read_magic(stream), np.lib.format
        read = head.read_array_header_1_0 if version == (1, 0) else head.read_array_header_2_0
        shape, _, dtype = read(stream)
        promised = int(np.prod(shape, dtype=np.float64)) * dtype.itemsize
    except Exception as error:  # a damaged head ends in any exception
        raise InputError(f"{source.name} cannot be read as an array: {type(error).__name__}.") from None
    if promised > len(source.data):
        raise InputError(f"{source.name} is not a complete array: it holds less than its header says.")
