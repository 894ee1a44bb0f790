"""Run a net on a collection of images and collect some of its blobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_viz.errors import InputError, near
from caffe_viz.images import ImageCollection
from caffe_viz.network import Network
from caffe_viz.resuming import identity
from caffe_viz.streaming import Batch, Batched, reports
from caffe_viz.surgery import input_shapes, leading_to
from caffe_viz.tasks import Cluster, ImageChunk, Ranges, WorkerDeath

Array = NDArray[np.float32]
Shape = tuple[int, ...]

# What becomes of the places (n, C, S) of a map, for each channel.
POOLS: Mapping[str, Callable[..., Array]] = {"mean": np.mean, "max": np.max}


@dataclass(frozen=True)
class Rows:
    """Blobs of some images: their `names`, the `shapes` of a row by blob, and the rows in parts, in order."""

    names: Sequence[str]
    shapes: Mapping[str, Shape]
    parts: Callable[[str], Iterator[Array]]

    @property
    def whole(self) -> dict[str, Shape]:
        """Map blobs to (N, ...)."""
        return {blob: (len(self.names), *shape) for blob, shape in self.shapes.items()}


@dataclass(frozen=True)
class Rowed(Batched):
    """Implements `tasks.Work`: batches whose values are the rows (n, ...) of `shapes`."""

    pool: str | None = None

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """Blob -> the shape of one image's row, (C, ...)."""
        batch_layout, geometry = self.part.batch_layout, self.part.geometry
        full = {blob: batch_layout.shape(geometry.blob(blob)) or (1,) for blob in self.blobs}
        return {blob: shape[:1] for blob, shape in full.items()} if self.pool else full

    def batches(self, some: ImageChunk) -> Iterator[Batch]:
        for batch in super().batches(some):
            yield replace(batch, values={blob: self._rows(blob, x) for blob, x in batch.values.items()})

    def _rows(self, blob: str, values: Array) -> Array:
        if self.pool:
            values = POOLS[self.pool](values.reshape(len(values), values.shape[2], -1), axis=2)
        return np.ascontiguousarray(values, np.float32).reshape(len(values), *self.shapes[blob])


class Extraction:
    """`blobs` of the images of `collection` after a full forward; with `pool`, one number for each channel.

    Raises:
        InputError: No such blob, one that does not depend on the image, or Caffe would abort.
    """

    def __init__(
        self,
        network: Network,
        collection: ImageCollection,
        blobs: Sequence[str],
        *,
        pool: str | None = None,
        cluster: Any = None,
    ) -> None:
        if pool is not None and pool not in POOLS:
            raise InputError(f"pool is {pool!r}.{near(pool, POOLS)}")
        if not blobs:
            raise InputError("no blobs are given: give the name of one or more, such as fc7.")
        self.blobs = tuple(dict.fromkeys(blobs))
        self.collection, self.pool, self._part = collection, pool, network.part(*self.blobs)
        for blob in self.blobs:
            _need_image(self._part, blob)
        self.work = Rowed(network, self.blobs, len(collection), pool=pool)
        self.cluster = None if cluster is None else Cluster(cluster)
        self.engine = self.work.runner.engine

    @property
    def shapes(self) -> dict[str, Shape]:
        """The shape of one image's row of each blob, (C, ...)."""
        return self.work.shapes

    @cached_property
    def key(self) -> dict[str, Any]:
        """What must be the same for an extraction to be continued."""
        own = {"blobs": list(self.blobs), "pool": self.pool}
        return own | identity(self._part, self.collection, self.work.runner)

    @property
    def bytes_of_one(self) -> int:
        """The size of one image's rows."""
        return 4 * sum(int(np.prod(shape)) for shape in self.shapes.values())

    def batches(self, done: Ranges) -> Iterator[Batch | WorkerDeath]:
        """Yield batches of the images that are not `done`; on a cluster in any order.

        Values are (n, ...) of `shapes`.
        """
        return reports(self.work, self.collection, done, self.cluster, self.bytes_of_one)


def _need_image(part: Network, blob: str) -> None:
    if part.data not in input_shapes(leading_to(part.message, [blob]).layer):
        raise InputError(f"blob {blob!r} does not depend on the image {part.data!r}: it is the same for all.")
