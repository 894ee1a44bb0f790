"""The highest activations so far, and the file that a search continues from."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from caffe_viz.errors import InputError
from caffe_viz.files import write_whole
from caffe_viz.resuming import ADVICE, need_same
from caffe_viz.streaming import Failed

NONE = -1  # the image of a place that no image has taken yet


@dataclass(frozen=True)
class Standing:
    """The K highest `values` (K, F) of F filters in the first `seen` images, best first, one of an image.

    `images` (K, F) are their numbers, `units` (K, F) the places in the map, counted row by row; of equal
    values the earlier image and place stand first. `lowest` is the lowest activation anywhere.
    """

    values: NDArray[np.float32]
    images: NDArray[np.int64]
    units: NDArray[np.int64]
    lowest: float = np.inf
    seen: int = 0
    failed: tuple[Failed, ...] = ()

    @classmethod
    def empty(cls, count: int, filters: int) -> Standing:
        """Before the first image, for `count` places of each filter."""
        shape = (count, filters)
        nowhere = np.full(shape, NONE, np.int64)
        return cls(np.full(shape, -np.inf, np.float32), nowhere, nowhere)

    def after(
        self, numbers: Sequence[int], activations: NDArray[np.float32], failed: Sequence[Failed]
    ) -> Standing:
        """With the `activations` (n, F, S) of further images, S units in a map."""
        values, images, units, lowest = self.values, self.images, self.units, self.lowest
        if numbers:
            best = activations.argmax(axis=2)
            highest = np.take_along_axis(activations, best[..., None], axis=2)[..., 0]
            values = np.concatenate([values, highest])
            order = np.argsort(-values, axis=0, kind="stable")[: len(self.values)]
            values = np.take_along_axis(values, order, axis=0)
            given = np.broadcast_to(np.array(numbers, np.int64)[:, None], best.shape)
            images = np.take_along_axis(np.concatenate([images, given]), order, axis=0)
            units = np.take_along_axis(np.concatenate([units, best]), order, axis=0)
            lowest = min(lowest, float(activations.min()))
        seen = self.seen + len(numbers) + len(failed)
        return Standing(values, images, units, lowest, seen, (*self.failed, *failed))

    def save(self, path: str | Path, key: Mapping[str, object]) -> None:
        """Write it as npz, with the `key` that `load` asks for."""
        stream = io.BytesIO()
        np.savez_compressed(
            stream, values=self.values, images=self.images, units=self.units, lowest=self.lowest,
            seen=self.seen, failed=json.dumps(self.failed), key=json.dumps(key),
        )  # fmt: skip
        write_whole(path, stream.getvalue())

    @classmethod
    def load(cls, path: str | Path, key: Mapping[str, object]) -> Standing:
        """What `save` wrote.

        Raises:
            InputError: it cannot be read, or its key is another; says in what.
        """
        try:
            with np.load(path, allow_pickle=False) as saved:
                found = json.loads(str(saved["key"]))
                failed = tuple(Failed(*one) for one in json.loads(str(saved["failed"])))
                numbers = float(saved["lowest"]), int(saved["seen"])
                made = cls(saved["values"], saved["images"], saved["units"], *numbers, failed)
        except Exception as error:  # a file of another kind ends in any exception
            raise InputError(f"{path} is no unfinished search ({type(error).__name__}): {ADVICE}.") from None
        need_same(key, found, f"{path} is an unfinished search")
        return made
