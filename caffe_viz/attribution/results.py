"""The result of `attribute`: frozen, saved as npz, drawn without an engine."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from caffe_viz.attribution.job import Settings
from caffe_viz.attribution.table import METHODS
from caffe_viz.attribution.targets import Array
from caffe_viz.errors import InputError
from caffe_viz.files import write_whole


@dataclass(frozen=True)
class Attribution:
    """M attributions by one method: of `targets[m]` in the image `names[m]`.

    `values` are (M, C, H, W), or (M, 1, H, W) if the method does not distinguish channels. They have the axes
    of the input, which may be a vector (K,), a sequence (C, T) or a volume (C, D, H, W). `layer` is the blob
    whose maps were read, or "", and `state` says whether it holds pre-ReLU or post-ReLU values.
    `completeness` (M,) is |sum of values - (score - score of the zero image)|; NaN for methods that do not
    promise it to be 0. `pictures` (M, H, W, 3) RGB in 0..1 show what the net saw, and `channel_order` is that
    of the values; both are empty if the input is not a picture.
    """

    method: str
    layer: str
    state: str
    engine: str
    names: tuple[str, ...]
    targets: tuple[str, ...]
    scores: Array
    values: Array
    completeness: Array
    pictures: Array
    channel_order: str
    settings: Settings

    @property
    def maps(self) -> Array:
        """The maps (M, H, W): of gradients the strongest channel, of other methods the sum.

        (M, D, H, W) of volumes, (M, 1, K) of a vector, and (M, C, T) of a sequence with all of its channels.
        """
        lines = max(4 - self.values.ndim, 0)
        shape = (self.values.shape[0], *[1] * lines, *self.values.shape[1:])
        return METHODS[self.method].reduce(self.values.reshape(shape))

    @classmethod
    def joined(cls, parts: Sequence[Attribution]) -> Attribution:
        """Concatenate attributions by one method with the same settings."""
        first, layers = parts[0], list(dict.fromkeys(a.layer for a in parts if a.layer))

        def rows(name: str) -> Array:
            return np.concatenate([getattr(a, name) for a in parts])

        return dataclasses.replace(
            first, layer=", ".join(layers), state=first.state if len(layers) == 1 else "",
            names=tuple(name for a in parts for name in a.names),
            targets=tuple(target for a in parts for target in a.targets), scores=rows("scores"),
            values=rows("values"), completeness=rows("completeness"), pictures=rows("pictures"),
        )  # fmt: skip

    def save(self, path: str | Path) -> None:
        """Write everything, including the maps, as npz."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "settings"}
        stream = io.BytesIO()
        settings = json.dumps(dataclasses.asdict(self.settings))
        np.savez_compressed(stream, **fields, maps=self.maps, settings=settings)
        write_whole(path, stream.getvalue())

    @classmethod
    def load(cls, path: str | Path) -> Attribution:
        """Read what `save` wrote.

        Raises:
            InputError: The file is missing or of another kind.
        """
        try:
            with np.load(path, allow_pickle=False) as saved:
                method = str(saved["method"])
                if method not in METHODS:
                    raise ValueError(f"its method {method!r} is unknown")
                return cls(
                    method, str(saved["layer"]), str(saved["state"]), str(saved["engine"]),
                    tuple(saved["names"].tolist()), tuple(saved["targets"].tolist()), saved["scores"],
                    saved["values"], saved["completeness"], saved["pictures"], str(saved["channel_order"]),
                    Settings(**json.loads(str(saved["settings"]))),
                )  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"{path} is not a saved attribution: {str(error).rstrip('.')}.") from None


def centre(values: Array) -> tuple[float, ...]:
    """Return (y, x) of the centre of mass of the positive part of a map (H, W), or (z, y, x); NaN if none."""
    positive = np.maximum(values.astype(np.float64), 0)
    mass = positive.sum() or np.nan
    places = np.meshgrid(*map(np.arange, values.shape), indexing="ij", sparse=True)
    return tuple(float((positive * place).sum() / mass) for place in places)
