"""Run images through a net one by one, each with the part that the net saw; the next is read meanwhile."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from caffe_viz.answers import ends
from caffe_viz.backend import engine_name
from caffe_viz.deploying.nearby_files import NOTHING
from caffe_viz.errors import InputError
from caffe_viz.images import ImageCollection, Preprocess
from caffe_viz.images.arrays import as_picture
from caffe_viz.images.window import Window, window_of
from caffe_viz.network import Network
from caffe_viz.probe import forward_alone

Array = NDArray[np.float32]
Bytes = NDArray[np.uint8]
FEW = 8  # blobs that words name


class NetView(NamedTuple):
    """An image (h, w) as `rgb` (h, w, 3), None where the input is no picture; its `window` went in."""

    size: tuple[int, int]
    rgb: Bytes | None
    window: Window


@dataclass(frozen=True)
class ImageResult:
    """An image by `name`: what the net saw of it, and the values of its blobs; or why it `failed`."""

    name: str
    seen: NetView | None = None
    values: Mapping[str, Array] = field(default_factory=dict)
    failed: str = ""


class OneByOne:
    """The part of a network that makes `blobs`, on the images of a collection; iterate for a `ImageResult` of
    each.

    Raises:
        InputError: no such blob, the input takes no image, or what would make Caffe abort.
    """

    def __init__(self, network: Network, collection: ImageCollection, blobs: Sequence[str]) -> None:
        part = network.part(*blobs)
        if len(part.shape) != 3:
            raise InputError(
                f"net {part.message.name!r} takes {part.shape} for an image: (C, H, W) is expected."
            )
        self.network, self._collection, self._blobs = part, collection, tuple(blobs)
        net = part.load()
        self.engine, self._rows = engine_name(net), net.blobs[part.data].data.shape
        self._forward = forward_alone(net)

    def __iter__(self) -> Iterator[ImageResult]:
        waiting: deque[tuple[str, Future[tuple[Array, NetView]]]] = deque()
        pool = ThreadPoolExecutor(1)
        try:
            for number in range(len(self._collection)):
                waiting.append((self._collection.name(number), pool.submit(self._read, number)))
                if len(waiting) > 1:
                    yield self._run(*waiting.popleft())
            while waiting:
                yield self._run(*waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def _read(self, number: int) -> tuple[Array, NetView]:
        given = self._collection.load(number)
        pixels = self.network.pixels(given, name=self._collection.name(number))
        return pixels, _seen(self.network, given, pixels)

    def _run(self, name: str, read: Future[tuple[Array, NetView]]) -> ImageResult:
        try:
            pixels, seen = read.result()
        except InputError as error:
            return ImageResult(name, failed=str(error))
        whole = self.network.batch_layout.together(pixels[None], self._rows)
        values = self._forward({self.network.data: whole}, self._blobs)
        for blob, array in values.items():
            if not np.isfinite(array).all():
                return ImageResult(name, failed=f"{name}: blob {blob!r} has NaN or infinity for this image.")
        return ImageResult(name, seen, values)


def _seen(network: Network, given: Array, pixels: Array) -> NetView:
    """An array of the shape of the input is seen as it is."""
    how, size = network.pictures, (pixels.shape[-2], pixels.shape[-1])
    if given.shape == pixels.shape:
        rgb = None if how is None else how.to_display(pixels)
        return NetView(size, None if rgb is None else _bytes(rgb), Window(0.0, 0.0, *map(float, size)))
    shape = (given.shape[0], given.shape[1])
    return NetView(shape, _bytes(as_picture(given)), window_of(network.preprocess, shape, size))


def _bytes(rgb: Any) -> Bytes:
    array = np.asarray(rgb)
    return array if array.dtype == np.uint8 else np.asarray(np.rint(array * 255).clip(0, 255), np.uint8)


def seeing_all(network: Network) -> Network:
    """Return `network` so that images are warped to the whole input, unless a preprocessing is given.

    CaffeNet's centre crop would hide the border.
    """
    given = network.preprocess
    if given != Preprocess() or given.source not in ("", NOTHING):
        return network
    source = f"{given.source}; the whole image" if given.source else ""
    return replace(network, preprocess=replace(given, resize=None, source=source))


def ends_in_words(network: Network) -> str:
    """The first blobs that a net ends in, and their shapes."""
    shapes = network.geometry.blobs
    return ", ".join(
        f"{blob!r} of {shapes.get(blob, 'unknown shape')}" for blob in ends(network.message)[:FEW]
    )
