"""The highest activations so far, and the file from which a search continues."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from caffe_viz.errors import InputError
from caffe_viz.files import write_whole
from caffe_viz.resuming import ADVICE, need_same
from caffe_viz.streaming import Batch, Failed
from caffe_viz.tasks import Ranges

NONE = -1  # the image of a place that no image has taken yet


@dataclass(frozen=True)
class TopK:
    """The K highest `values` (K, F) of F filters in the images that are `done`, best first, one per image.

    `images` (K, F) are their numbers, `units` (K, F) the places in the map, counted row by row; of equal
    values the earlier image and place come first. `lowest` is the lowest activation anywhere.
    """

    values: NDArray[np.float32]
    images: NDArray[np.int64]
    units: NDArray[np.int64]
    lowest: float = np.inf
    done: Ranges = field(default_factory=Ranges)
    failed: tuple[Failed, ...] = ()

    @classmethod
    def empty(cls, count: int, filters: int) -> TopK:
        """Before the first image, for `count` places of each filter."""
        shape = (count, filters)
        nowhere = np.full(shape, NONE, np.int64)
        return cls(np.full(shape, -np.inf, np.float32), nowhere, nowhere)

    @classmethod
    def of(cls, count: int, batch: Batch, activations: NDArray[np.float32]) -> TopK:
        """Return those of one batch, from its `activations` (n, F, S), with S units in a map."""
        none = cls.empty(count, activations.shape[1])
        if not batch.numbers:
            return replace(none, done=batch.covered, failed=batch.failed)
        best = activations.argmax(axis=2)
        highest = np.take_along_axis(activations, best[..., None], axis=2)[..., 0]
        numbers = np.broadcast_to(np.array(batch.numbers, np.int64)[:, None], best.shape)
        lowest = float(activations.min())
        return none.joined(cls(highest, numbers, best, lowest, batch.covered, batch.failed))

    @property
    def seen(self) -> int:
        """How many images."""
        return len(self.done)

    def joined(self, other: TopK) -> TopK:
        """With what was found in other images, whichever came first; raises ValueError on the same ones."""
        values = np.concatenate([self.values, other.values])
        images = np.concatenate([self.images, other.images])
        earlier = images.astype(np.uint64)  # NONE is the last
        order = np.lexsort((earlier, -values), axis=0)[: len(self.values)]
        values, images, units = (
            np.take_along_axis(array, order, axis=0)
            for array in (values, images, np.concatenate([self.units, other.units]))
        )
        failed = tuple(sorted((*self.failed, *other.failed)))
        lowest = min(self.lowest, other.lowest)
        return TopK(values, images, units, lowest, self.done.union(other.done), failed)

    def save(self, path: str | Path, key: Mapping[str, object]) -> None:
        """Write it as npz, with the `key` that `load` asks for."""
        stream = io.BytesIO()
        np.savez_compressed(
            stream, values=self.values, images=self.images, units=self.units, lowest=self.lowest,
            done=json.dumps(self.done.ends), failed=json.dumps(self.failed), key=json.dumps(key),
        )  # fmt: skip
        write_whole(path, stream.getvalue())

    @classmethod
    def load(cls, path: str | Path, key: Mapping[str, object]) -> TopK:
        """Read what `save` wrote.

        Raises:
            InputError: It cannot be read, or its key differs; says in what.
        """
        try:
            with np.load(path, allow_pickle=False) as saved:
                found = json.loads(str(saved["key"]))
                failed = tuple(Failed(*one) for one in json.loads(str(saved["failed"])))
                done = Ranges.read(json.loads(str(saved["done"])))
                places = saved["values"], saved["images"], saved["units"]
                made = cls(*places, float(saved["lowest"]), done, failed)
        except Exception as error:  # a file of another kind ends in any exception
            raise InputError(
                f"{path} is not an unfinished search ({type(error).__name__}): {ADVICE}."
            ) from None
        need_same(key, found, f"{path} is an unfinished search")
        return made
