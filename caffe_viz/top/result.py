"""The result of `caffe-viz top`: saved, and drawn again without an engine."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from caffe_viz.errors import InputError
from caffe_viz.files import write_whole
from caffe_viz.top.top_k import NONE

LATER = frozenset({"gradients", "method"})  # what files of 0.1.0 lack


class TopActivation(NamedTuple):
    """An activation: its image, its unit (y, x) in the map, and the box of the input that the unit sees."""

    image: str
    value: float
    unit: tuple[int, int]
    box: tuple[int, int, int, int]  # top, left, bottom, right, the last two excluded


@dataclass(frozen=True)
class Top:
    """The K highest activations of F filters of `layer`, one per image, best first, in `seen` images.

    `images` (F, K) are numbers into `names`, or -1 where `values` (F, K) are NaN; `units` (F, K, 2) are (y,
    x), `boxes` (F, K, 4) the receptive fields in pixels of the input. `dead` filters were never active and
    have no place. `crops` (S, K, h, w, 3), RGB in 0..255, show the boxes of the S filters that are `shown`.
    `gradients`, if there are any, show those of the units in the same boxes, by `method`. `state` says
    whether the values are post-ReLU. `labels` are those of the filters, if these are classes. `failed` lists
    the images that were skipped, and why.
    """

    layer: str
    state: str
    engine: str
    filters: tuple[int, ...]
    labels: tuple[str, ...]
    dead: tuple[int, ...]
    shown: tuple[int, ...]
    seen: int
    failed: tuple[str, ...]
    names: tuple[str, ...]
    values: NDArray[np.float32]
    images: NDArray[np.int64]
    units: NDArray[np.int64]
    boxes: NDArray[np.int64]
    crops: NDArray[np.uint8]
    method: str = ""
    gradients: NDArray[np.uint8] = field(default_factory=lambda: np.empty((0, 0, 0, 0, 3), np.uint8))

    def places(self, number: int) -> Iterator[TopActivation]:
        """Return the places of the filter of that number, best first."""
        row = self.filters.index(number)
        for k in np.flatnonzero(self.images[row] != NONE):
            y, x = map(int, self.units[row, k])
            top, left, bottom, right = map(int, self.boxes[row, k])
            name = self.names[self.images[row, k]]
            yield TopActivation(name, float(self.values[row, k]), (y, x), (top, left, bottom, right))

    def to_json(self) -> dict[str, Any]:
        """Everything except the pictures, for JSON."""
        return {
            "layer": self.layer,
            "state": self.state,
            "engine": self.engine,
            "gradient": self.method,
            "images": self.seen,
            "failed": list(self.failed),
            "dead": list(self.dead),
            "filters": [
                {"filter": number, "places": [place._asdict() for place in self.places(number)]}
                for number in self.filters
            ],
        }

    def save(self, path: str | Path) -> None:
        """Write everything as npz."""
        stream = io.BytesIO()
        arrays: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        np.savez_compressed(stream, **arrays)
        write_whole(path, stream.getvalue())

    @classmethod
    def load(cls, path: str | Path) -> Top:
        """Read what `save` wrote.

        Raises:
            InputError: The file is missing or of another kind.
        """
        try:
            with np.load(path, allow_pickle=False) as saved:
                known = [f.name for f in fields(cls)]
                values = {name: saved[name] for name in known if name in saved or name not in LATER}
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{path} is not a saved search for highest activations: {error}.") from None
        for name, array in values.items():
            if array.ndim == 0:
                values[name] = array.item()
            elif array.ndim == 1:
                values[name] = tuple(array.tolist())
        return cls(**values)
