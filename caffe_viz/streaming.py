"""Many images through one net: in batches, the next ones read while the net is at work."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from caffe_viz.backend import engine_name, load_net
from caffe_viz.errors import InputError
from caffe_viz.network import Network
from caffe_viz.probe import forward_alone
from caffe_viz.surgery import with_batch

Array = NDArray[np.float32]

MOST = 32  # images in a batch; more gains nothing
BYTES = 2**28  # of a batch's blobs


class Failed(NamedTuple):
    """An image that was passed over, by its number, and why."""

    number: int
    reason: str


@dataclass(frozen=True)
class Batch:
    """`values` (n, V, ...) of a blob for V views of each image of `numbers`; not of those that `failed`."""

    numbers: tuple[int, ...]
    values: Array
    failed: tuple[Failed, ...]

    @property
    def size(self) -> int:
        """Images that this batch took, failed ones too."""
        return len(self.numbers) + len(self.failed)


class Runner:
    """The part of a network that makes `blob`, loaded for a batch of images.

    Raises:
        InputError: no such blob, the input takes no image, or what would make Caffe abort.
    """

    def __init__(self, network: Network, blob: str, images: int = MOST) -> None:
        part = network.part(blob)
        network.check()
        self.blob, self.data = blob, part.data
        self._room = part.room_of(max(1, min(MOST, images, BYTES // part.bytes_of_one)))
        self.batch = self._room.images
        message = with_batch(part.message, self._room.axis)
        net = load_net(message, network.trained, engine=network.engine, device=network.device, checked=False)
        self.engine, self._rows = engine_name(net), net.blobs[part.data].data.shape
        for name, values in part.beside(message).items():
            net.blobs[name].data[...] = values
        self._forward = forward_alone(net)

    def __call__(self, pixels: Array, blob: str | None = None) -> Array:
        """Pixels (n, C, H, W), any n -> `blob`, or another one on the way to it, (n, ...)."""
        parts = [
            self._run(pixels[i : i + self.batch], blob or self.blob)
            for i in range(0, len(pixels), self.batch)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _run(self, pixels: Array, blob: str) -> Array:
        full = self._room.together(pixels, self._rows)
        return self._room.apart(self._forward({self.data: full}, [blob])[blob])[: len(pixels)]

    def stream(
        self, pixels: Callable[[int], Array], numbers: Sequence[int], views: int = 1
    ) -> Iterator[Batch]:
        """The blob for images by number; `pixels` makes the V = `views` (V, C, H, W) of one.

        Images of which `pixels` raises InputError, or of which the blob is not finite, are passed over.
        """
        size = max(1, self.batch // views)
        rest = iter(numbers)
        waiting: deque[list[tuple[int, Future[Array]]]] = deque()
        pool = ThreadPoolExecutor(1)
        try:
            while True:
                chunk = [(n, pool.submit(pixels, n)) for n in islice(rest, size)]
                if chunk:
                    waiting.append(chunk)
                if not waiting:
                    return
                if len(waiting) > 1 or not chunk:
                    yield self._batch(waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def _batch(self, chunk: Sequence[tuple[int, Future[Array]]]) -> Batch:
        good: list[tuple[int, Array]] = []
        failed: list[Failed] = []
        for number, future in chunk:
            error = future.exception()
            if isinstance(error, InputError):
                failed.append(Failed(number, str(error)))
            else:
                good.append((number, future.result()))
        if not good:
            return Batch((), np.empty((0,), np.float32), tuple(failed))
        made = self(np.concatenate([views for _, views in good]))
        made = made.reshape(len(good), -1, *made.shape[1:])
        finite = np.asarray(np.isfinite(made.reshape(len(good), -1)).all(axis=1))
        failed += [
            Failed(number, f"blob {self.blob!r} has NaN or infinity for this image.")
            for (number, _), fine in zip(good, finite, strict=True) if not fine
        ]  # fmt: skip
        numbers = tuple(number for (number, _), fine in zip(good, finite, strict=True) if fine)
        return Batch(numbers, made[finite], tuple(sorted(failed)))
