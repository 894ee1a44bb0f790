"""Search images for the places that activate each filter of a layer most."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property, reduce
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_viz.errors import InputError, RunError
from caffe_viz.images import ImageCollection
from caffe_viz.network import Network
from caffe_viz.resuming import SAVE_EVERY, RunLock, identity
from caffe_viz.streaming import Batch, OnImages, Progress, need_one, passed_over, reports
from caffe_viz.tasks import Cluster, ImageChunk, Tell, WorkerDeath
from caffe_viz.top.crops import PIXELS, Cutter
from caffe_viz.top.gradients import UnitGradients
from caffe_viz.top.result import Top
from caffe_viz.top.top_k import NONE, TopK
from caffe_viz.units import labels_at

RECTIFIERS = ("ReLU", "ReLU6")


@dataclass(frozen=True)
class TopKWork(OnImages):
    """Implements `tasks.Work`: the top k activations of `filters`, those of the one blob, in some images."""

    filters: tuple[int, ...] = ()
    count: int = 1

    def open(self) -> Callable[[ImageChunk], Iterator[TopK]]:
        self.load()
        return self._standings

    def gathered(self, made: Iterator[TopK], tell: Tell[TopK]) -> Sequence[TopK]:
        none = TopK.empty(self.count, len(self.filters))
        return [reduce(TopK.joined, made, none)]

    def _standings(self, some: ImageChunk) -> Iterator[TopK]:
        for batch in self.batches(some):
            yield TopK.of(self.count, batch, self._activations(batch))

    def _activations(self, batch: Batch) -> NDArray[np.float32]:
        """The activations (n, F, S) of the filters in question."""
        if not batch.numbers:
            return np.empty((0, len(self.filters), 1), np.float32)
        values = batch.values[self.blobs[0]]
        values = values.reshape(len(batch.numbers), values.shape[2], -1)
        return values[:, list(self.filters)] if len(self.filters) < values.shape[1] else values


class Search:
    """Search `collection` for the `count` highest activations of `filters` (None: all), one per image.

    Iterate for its Progress, then ask for the `result`. What counts is the layer's first top after a full
    forward, so after layers that work on it in place; `state` says which. With a `state_file`, the search is
    saved there every few seconds and by `save`, and continues from it. With `gradient`, a name of GRADIENTS,
    the result has the gradient of the unit beside each crop.

    Source: Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, 2014.

    Raises:
        InputError: No such layer or filter; its top has no filters; the state is that of another search.
        RunError: While it is iterated: another run uses the state file.
    """

    def __init__(
        self, network: Network, layer: str, collection: ImageCollection, filters: Sequence[int] | None = None,
        *, count: int = 9, state: str = "", state_file: Path | None = None, gradient: str = "", cluster: Any =
        None,
    ) -> None:  # fmt: skip
        measured = network.geometry.layer(layer)
        self._blob = measured.tops[0] if measured.tops else ""
        part = network.part(self._blob) if measured.tops else network
        self._shape = part.batch_layout.shape(part.geometry.blob(self._blob)) if measured.tops else ()
        self.filters = _chosen(layer, self._shape, filters)
        if count < 1:
            raise InputError(f"count is {count}: 1 or more is expected.")
        if len(part.shape) != 3:
            raise InputError(f"input {part.data!r} takes {part.shape}: an image (C, H, W) is needed.")
        self.network, self.collection, self.layer, self.state = network, collection, layer, state
        self._part = part
        self._map = self._shape[1:]
        shape = part.shape[0], part.shape[1], part.shape[2]
        self._cutter = Cutter(measured.field if len(self._map) == 2 else None, shape, part.pictures)
        self._work = TopKWork(network, (self._blob,), len(collection), filters=self.filters, count=count)
        self._cluster = None if cluster is None else Cluster(cluster)
        self._method = gradient
        self._gradients = UnitGradients(part, self._blob, gradient) if gradient else None
        self.engine = self._work.runner.engine
        self._count = count
        self._file: Path | None = None
        self.top_k = TopK.empty(count, len(self.filters))
        if state_file is not None:
            self.keep_in(state_file)

    def __iter__(self) -> Iterator[Progress]:
        try:
            yield from self._searching()
        except RunError:
            self.save()
            raise

    def claimed(self) -> AbstractContextManager[object]:
        """A context in which no other run can use the state file, if there is one.

        Raises:
            RunError: Another run uses it already.
        """
        file = self._file
        return nullcontext() if file is None else RunLock(file.with_name(f".{file.name}.lock"), file)

    def _searching(self) -> Iterator[Progress]:
        total, saved = len(self.collection), time.monotonic()
        for found in reports(self._work, self.collection, self.top_k.done, self._cluster):
            if isinstance(found, WorkerDeath):
                yield Progress(self.top_k.seen, total, str(found))
                continue
            self.top_k = self.top_k.joined(found)
            if time.monotonic() - saved > SAVE_EVERY:
                self.save()
                saved = time.monotonic()
            yield Progress(self.top_k.seen, total, passed_over(found.failed))

    def keep_in(self, file: Path) -> None:
        """Save in `file` from now on, and continue from it if it exists.

        Raises:
            InputError: It is that of another search.
        """
        key, self._file = self.key, file
        if file.exists():
            self.top_k = TopK.load(file, key)

    def save(self) -> None:
        """Write what has been found so far, if there is a state file."""
        if self._file is not None:
            self.top_k.save(self._file, self.key)

    def forget(self) -> None:
        """Remove the state file, once the result is safe."""
        if self._file is not None:
            self._file.unlink(missing_ok=True)

    def result(
        self, on_image: Callable[[int, int], None] | None = None, cut: Sequence[int] | None = None
    ) -> Top:
        """Return what was found, with crops, for which images are read again.

        `on_image` is told (done, total). Crops are made for the filters `cut` (None: all).

        Raises:
            InputError: No image could be used, or one can no longer be read.
        """
        s = self.top_k
        need_one([one.reason for one in s.failed], s.seen)
        values, images, units = (a.T.copy() for a in (s.values, s.images, s.units))
        if self._rectified:
            idle = values <= 0
            values[idle], images[idle], units[idle] = -np.inf, NONE, NONE
        values[images == NONE] = np.nan
        dead = tuple(f for f, row in zip(self.filters, images, strict=True) if (row == NONE).all())
        places = np.stack(np.divmod(units, self._map[-1] if self._map else 1), axis=-1)
        places[images == NONE] = 0
        boxes = np.array([[self._cutter.box((int(y), int(x))) for y, x in row] for row in places], np.int64)
        rows = [row for row, f in enumerate(self.filters) if cut is None or f in cut]
        shown, crops, gradients = self._crops(rows, images, places, on_image)
        used = sorted({int(n) for n in images.ravel()} - {NONE})
        images = np.where(images == NONE, NONE, np.searchsorted(used, images))
        return Top(
            layer=self.layer,
            state=self.state,
            engine=self.engine,
            filters=self.filters,
            labels=self._labels,
            dead=dead,
            shown=shown,
            seen=s.seen,
            failed=tuple(one.reason for one in s.failed),
            names=tuple(map(self.collection.name, used)),
            values=values,
            images=images,
            units=places,
            boxes=boxes,
            crops=crops,
            method=self._method,
            gradients=gradients,
        )

    @property
    def _rectified(self) -> bool:
        """Whether 0 means inactive: no value is below it, or a ReLU removes those that are."""
        followed = any(
            x.type in RECTIFIERS and self._blob in x.bottom and not x.relu_param.negative_slope
            for x in self.network.message.layer
        )
        return followed or self.top_k.lowest >= 0

    @property
    def _labels(self) -> tuple[str, ...]:
        labels = labels_at(self.network, self.layer, self._shape[0])
        return tuple(labels[f] for f in self.filters) if labels else ()

    def _pixels(self, number: int) -> NDArray[np.float32]:
        return self._part.pixels(self.collection.load(number), name=self.collection.name(number))[None]

    def _crops(
        self, rows: Sequence[int], images: NDArray[np.int64], places: NDArray[np.int64],
        on_image: Callable[[int, int], None] | None,
    ) -> tuple[tuple[int, ...], NDArray[np.uint8], NDArray[np.uint8]]:  # fmt: skip
        """The filters that are shown, and crops of their places and gradients; each image is read once."""
        count = images.shape[1]
        living = [row for row in rows if (images[row] != NONE).any()]
        tile = self._cutter.tile(len(living) * count)
        rows = living[: max(1, PIXELS // (count * tile[0] * tile[1]))]
        crops = np.full((len(rows), count, *tile, 3), 255, np.uint8)
        gradients = np.full_like(crops if self._gradients else crops[:0], 255)
        wanted = defaultdict(list)
        for place, row in enumerate(rows):
            for k in np.flatnonzero(images[row] != NONE):
                wanted[int(images[row, k])].append((place, k, places[row, k]))
        for done, number in enumerate(sorted(wanted), 1):
            pixels = self._pixels(number)[0]
            view, units = self._cutter.view(pixels), [(int(y), int(x)) for _, _, (y, x) in wanted[number]]
            for (place, k, _), unit in zip(wanted[number], units, strict=True):
                crops[place, k] = self._cutter.cut(view, unit, tile)
            if self._gradients is not None:
                filters = [self.filters[rows[place]] for place, _, _ in wanted[number]]
                found = self._gradients(pixels, list(zip(filters, units, strict=True)))
                for (place, k, _), unit, gradient in zip(wanted[number], units, found, strict=True):
                    gradients[place, k] = self._cutter.cut_gradient(gradient, unit, tile)
            if on_image is not None:
                on_image(done, len(wanted))
        return tuple(self.filters[row] for row in rows), crops, gradients

    @cached_property
    def key(self) -> dict[str, Any]:
        """What determines the result, for JSON."""
        own = {"layer": self.layer, "filters": list(self.filters), "count": self._count}
        return own | identity(self._part, self.collection, self._work.runner)


def _chosen(layer: str, shape: tuple[int, ...], filters: Sequence[int] | None) -> tuple[int, ...]:
    """`shape` is that of the layer's top for one image."""
    if not shape:
        raise InputError(f"layer {layer!r} has no filters: it gives one number, or none, for an image.")
    total = shape[0]
    for number in filters or ():
        if not 0 <= number < total:
            raise InputError(f"layer {layer!r} has filters 0 to {total - 1}, not {number}.")
    return tuple(range(total)) if filters is None else tuple(dict.fromkeys(filters))
