"""The images that an ascent made, and how to save them."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_viz.errors import InputError
from caffe_viz.files import write_whole

# Fields that files of earlier versions lack, with the values of that time.
LATER: dict[str, Any] = {
    "objectives": lambda saved: [f"{saved['layer']}:{n}" for n in saved["filters"]],
    "values": lambda saved: np.nanmax(saved["curve"], axis=1),
    "bounded": lambda saved: False,
    "faded": lambda saved: np.empty(0, np.int64),
}


@dataclass(frozen=True)
class Ascent:
    """The result of an ascent: `images` (K, C, H, W) in units of the input, `curve` (K, steps + 1).

    The curve is the objective before each step and at the end; `values` (K,) is the objective of each image,
    and `objectives` are their texts. `filters` are the numbers of the filters; if the objective is not a
    filter, `layer` is its text and `filters` number the pictures. `bounded` says that the images stayed
    between black and white.

    `dead` filters had no gradient from any start; they are in none of the arrays, and neither are filters
    that were not started before an interrupt. `faded` filters had a gradient at the start and none at the
    end. `frames` (T, K, C, H, W) is empty unless you asked for frames.
    """

    layer: str
    filters: tuple[int, ...]
    dead: tuple[int, ...]
    images: NDArray[np.float32]
    curve: NDArray[np.float32]
    values: NDArray[np.float32]
    frames: NDArray[np.float16]
    objectives: tuple[str, ...]
    bounded: bool
    method: str
    seed: int
    engine: str
    faded: tuple[int, ...] = ()

    def save(self, path: str | Path) -> None:
        """Write everything except the frames as npz, under the names of the fields."""
        stream = io.BytesIO()
        np.savez_compressed(
            stream, layer=self.layer, filters=self.filters, dead=self.dead, images=self.images,
            curve=self.curve, values=self.values, objectives=np.array(self.objectives, np.str_),
            bounded=self.bounded, method=self.method, seed=self.seed, engine=self.engine,
            faded=np.array(self.faded, np.int64),
        )  # fmt: skip
        write_whole(path, stream.getvalue())

    @classmethod
    def load(cls, path: str | Path) -> Ascent:
        """Read what `save` wrote; the frames are empty.

        Raises:
            InputError: The file is missing or of another kind.
        """
        try:
            with np.load(path, allow_pickle=False) as saved:
                later = {n: saved[n] if n in saved else make(saved) for n, make in LATER.items()}
                return cls(
                    str(saved["layer"]), tuple(saved["filters"].tolist()), tuple(saved["dead"].tolist()),
                    saved["images"], saved["curve"], later["values"], np.empty(0, np.float16),
                    tuple(map(str, later["objectives"])), bool(later["bounded"]), str(saved["method"]),
                    int(saved["seed"]), str(saved["engine"]), tuple(later["faded"].tolist()),
                )  # fmt: skip
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{path} is not a saved ascent: {error}.") from None
