"""Run many images through one net in batches, reading ahead while the net computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from caffe_viz.backend import engine_name, load_net
from caffe_viz.errors import InputError
from caffe_viz.images import ImageCollection
from caffe_viz.network import Network
from caffe_viz.probe import forward_alone
from caffe_viz.surgery import with_batch
from caffe_viz.tasks import Cluster, Execution, ImageChunk, InProcess, Ranges, Tell, WorkerDeath, cut, stop

Array = NDArray[np.float32]

MOST = 32  # images in a batch; more gains nothing
BYTES = 2**28  # of a batch's blobs


class Failed(NamedTuple):
    """An image that was skipped, by its number, and why."""

    number: int
    reason: str


def passed_over(failed: Sequence[Failed]) -> str:
    """What the user is told of them, a line each."""
    return "\n".join(f"skipped: {one.reason}" for one in failed)


def need_one(reasons: Sequence[str], seen: int) -> None:
    """Raise InputError if all images that were `seen` failed, each for one of `reasons`."""
    if reasons and len(reasons) == seen:
        others = f" (and {seen - 1} more images)" if seen > 1 else ""
        raise InputError(f"{reasons[0].rstrip('.')}{others}.")


@dataclass(frozen=True)
class Progress:
    """How many images are done, of how many; `note` says which were skipped, and why."""

    done: int
    total: int
    note: str = ""


@dataclass(frozen=True)
class Batch:
    """`values` (n, V, ...) by blob, for V views of each image of `numbers`; not of those that `failed`."""

    numbers: tuple[int, ...]
    values: dict[str, Array]
    failed: tuple[Failed, ...]

    @property
    def size(self) -> int:
        """The number of images in this batch, including failed ones."""
        return len(self.numbers) + len(self.failed)

    @property
    def covered(self) -> Ranges:
        """Their numbers, which are consecutive."""
        first = min((*self.numbers, *(one.number for one in self.failed)), default=0)
        return Ranges.of(first, first + self.size)

    def progress(self, done: int, total: int) -> Progress:
        """After this batch."""
        return Progress(done, total, passed_over(self.failed))


def joined(batches: Sequence[Batch]) -> Batch:
    """Batches that follow each other as one, whichever came first."""
    some = sorted(batches, key=lambda batch: batch.covered.ends)
    numbers = tuple(number for batch in some for number in batch.numbers)
    values = [batch.values for batch in some if batch.numbers]
    whole = {blob: np.concatenate([one[blob] for one in values]) for blob in values[0]} if values else {}
    return Batch(numbers, whole, tuple(failed for batch in some for failed in batch.failed))


def in_order(batches: Iterable[Batch | WorkerDeath]) -> Iterator[Batch]:
    """Batches that come in any order by their numbers, from 0 on: each waits for those before it."""
    waiting: dict[int, Batch] = {}
    number = 0
    for batch in batches:
        if isinstance(batch, WorkerDeath):
            continue
        waiting[batch.covered.ends[0][0]] = batch
        while number in waiting:
            yield (found := waiting.pop(number))
            number += found.size


class Runner:
    """The part of a network that makes `blobs`, loaded for a batch of images.

    Raises:
        InputError: no such blob, the input takes no image, or what would make Caffe abort.
    """

    def __init__(self, network: Network, *blobs: str, images: int = MOST) -> None:
        part = network.part(*blobs)
        network.check()
        self.blobs, self.data = blobs, part.data
        self._layout = part.batch_layout_for(max(1, min(MOST, images, BYTES // part.bytes_of_one)))
        self.batch = self._layout.images
        message = with_batch(part.message, self._layout.axis)
        net = load_net(message, network.trained, engine=network.engine, device=network.device, checked=False)
        self.engine, self._rows = engine_name(net), net.blobs[part.data].data.shape
        for name, values in part.beside(message).items():
            net.blobs[name].data[...] = values
        self._forward = forward_alone(net)

    def __call__(self, pixels: Array, *blobs: str) -> dict[str, Array]:
        """Run pixels (n, C, H, W), any n, and return its blobs, or others on the way to them, (n, ...)."""
        names = blobs or self.blobs
        parts = [self._run(pixels[i : i + self.batch], names) for i in range(0, len(pixels), self.batch)]
        return {name: np.concatenate([part[name] for part in parts]) for name in names}

    def _run(self, pixels: Array, blobs: Sequence[str]) -> dict[str, Array]:
        full = self._layout.together(pixels, self._rows)
        made = self._forward({self.data: full}, blobs)
        return {name: self._layout.apart(values)[: len(pixels)] for name, values in made.items()}

    def stream(
        self, pixels: Callable[[int], Array], numbers: Sequence[int], views: int = 1
    ) -> Iterator[Batch]:
        """Yield the blobs for images by number; `pixels` returns the V = `views` (V, C, H, W) of one.

        Images for which `pixels` raises InputError, or of which a blob is not finite, are skipped.
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
            return Batch((), {}, tuple(failed))
        count = len(good)
        made = self(np.concatenate([views for _, views in good]))
        made = {name: values.reshape(count, -1, *values.shape[1:]) for name, values in made.items()}
        fine = {name: np.asarray(np.isfinite(x.reshape(count, -1)).all(axis=1)) for name, x in made.items()}
        kept = np.asarray(np.all([*fine.values()], axis=0))
        for row in np.flatnonzero(~kept):
            bad = next(name for name in made if not fine[name][row])
            failed.append(Failed(good[row][0], f"blob {bad!r} has NaN or infinity for this image."))
        numbers = tuple(number for (number, _), fits in zip(good, kept, strict=True) if fits)
        return Batch(numbers, {name: values[kept] for name, values in made.items()}, tuple(sorted(failed)))


PIECE = 256  # images that a worker of a cluster is given at once, at most
EFFORT = 2 * 10**10  # multiply-adds of a piece: a second or some
FEW = 25  # workers that such pieces keep at work; more are given larger ones: each costs the client some ms


Same = TypeVar("Same", bound="OnImages")


@dataclass(frozen=True)
class OnImages:
    """Some `blobs` of a network for each image of a collection of `images`, in any process.

    The images go in as they would all in one: the same ones together.
    """

    network: Network
    blobs: tuple[str, ...]
    images: int
    views: int = 1

    @cached_property
    def part(self) -> Network:
        """The part of the network that makes the blobs."""
        return self.network.part(*self.blobs)

    @cached_property
    def runner(self) -> Runner:
        """The net, loaded when it is first needed."""
        return Runner(self.network, *self.blobs, images=self.images * self.views)

    def load(self) -> None:
        """Load the net, if it is not."""
        self.runner  # noqa: B018  # a cached property

    def pixels(self, some: ImageChunk, number: int) -> Array:
        """(V, C, H, W) of an image."""
        return self.part.pixels(some.load(number), name=some.name(number))[None]

    def batches(self, some: ImageChunk) -> Iterator[Batch]:
        """The blobs of some of the images."""
        for batch in self.runner.stream(lambda n: self.pixels(some, n), some.numbers, self.views):
            yield batch
            if stop.asked:
                return

    def piece(self, workers: int, bytes_of_one: int = 1) -> int:
        """How many images a piece should have where there are so many workers: whole batches."""
        macs = self.views * max(self.part.geometry.macs, 1)
        fair = -(-self.images // (4 * max(workers, 1)))
        effort = EFFORT * max(1, workers // FEW)
        most = min(PIECE, effort // macs, BYTES // max(bytes_of_one, 1), fair)
        step = max(1, self.runner.batch // self.views)
        return max(1, most // step) * step

    def of_engine(self: Same, engine: str) -> Same:
        """The same work, on that engine: another machine might choose another one."""
        return replace(self, network=replace(self.network, engine=engine))

    def named(self, piece: ImageChunk) -> str:
        """Implements `tasks.Work`."""
        return str(piece)

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}


class Batched(OnImages):
    """Implements `tasks.Work`: the reports are batches."""

    def open(self) -> Callable[[ImageChunk], Iterator[Batch]]:
        self.load()
        return self.batches

    def gathered(self, reports: Iterator[Batch], tell: Tell[Batch]) -> Sequence[Batch]:
        return [joined(list(reports))]


def reports(
    work: Any, collection: ImageCollection, done: Ranges, cluster: Cluster | None, bytes_of_one: int = 1
) -> Iterator[Any]:
    """Yield the results of `work` on images that are not `done`: in order, on a cluster in any order.

    A piece has results of `bytes_of_one` for each image.
    """
    missing = done.missing(len(collection))
    if cluster is None:
        run: Execution[ImageChunk, Any] = InProcess(work)
        pieces = cut(collection, missing)
    else:
        run = cluster.running(work.of_engine(work.runner.engine))
        pieces = cut(collection, missing, work.piece(len(cluster), bytes_of_one))
    with run:
        yield from run.run(pieces)
