"""The contents of a record: its subject, and what was measured in each period; to bytes and back."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
BINS = 64  # of a parameter's histogram


@dataclass(frozen=True)
class Parameter:
    """A blob of a layer's parameters; `kept` means that values and gradients are recorded, not only norms.

    `axes` are those, as (C, H, W), of the blob that units of a fully connected layer read, unless it is a
    vector.
    """

    layer: str
    blob: int
    shape: tuple[int, ...]
    kept: bool
    axes: tuple[int, ...] = field(default=(), compare=False)  # older records lack them

    @property
    def name(self) -> str:
        """The name: 'conv1' for weights, 'conv1 bias' for the next blob, which is the bias in most layers."""
        return self.layer + ("" if not self.blob else " bias" if self.blob == 1 else f" blob {self.blob}")


@dataclass(frozen=True)
class Head:
    """The subject of a record. `relus` are the layers whose dead units are counted, `every` is the period."""

    net: str
    solver: str
    engine: str
    every: int
    parameters: tuple[Parameter, ...]
    relus: tuple[str, ...]

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Head:
        """Raises ValueError, KeyError or TypeError if `data` is something else."""
        given = json.loads(data)
        parameters = tuple(
            Parameter(
                str(p["layer"]),
                int(p["blob"]),
                tuple(map(int, p["shape"])),
                bool(p["kept"]),
                tuple(map(int, p.get("axes", ()))),
            )
            for p in given["parameters"]
        )
        net, solver, engine = (str(given[key]) for key in ("net", "solver", "engine"))
        return cls(net, solver, engine, int(given["every"]), parameters, tuple(map(str, given["relus"])))


@dataclass(frozen=True)
class Period:
    """What was measured by the time of `iteration` updates; K parameters, R rectifiers, S iterations.

    `losses` (S,) are those of each iteration, `rate` is the learning rate of the last. `gradients`, `weights`
    and `updates` (K,) are L2 norms at the last update: of the gradient, of the weights before it, and of the
    change. `counts` (K, BINS) is the histogram of the weights after it, evenly from `low` to `high` (K,).
    `dead` (R,) is the share of units that were never above 0 in the period. `scores` are the test net's
    outputs. Whatever was not measured is NaN, or empty.
    """

    iteration: int
    losses: Floats
    rate: float
    gradients: Floats
    weights: Floats
    updates: Floats
    counts: NDArray[np.int64]
    low: Floats
    high: Floats
    dead: Floats
    scores: Mapping[str, float]

    def to_bytes(self) -> bytes:
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        arrays["scores"] = np.frombuffer(json.dumps(dict(self.scores)).encode(), np.uint8)
        return pack(arrays)

    @classmethod
    def from_bytes(cls, data: bytes, head: Head) -> Period:
        """Raises ValueError or KeyError if `data` is something else."""
        found = unpack(data)
        scores = {str(k): float(v) for k, v in json.loads(found.pop("scores").tobytes()).items()}
        iteration, rate = int(found.pop("iteration")), float(found.pop("rate"))
        shapes: dict[str, tuple[int, ...]] = {
            name: (len(head.parameters),) for name in ("gradients", "weights", "updates", "low", "high")
        }
        shapes |= {"counts": (len(head.parameters), BINS), "dead": (len(head.relus),)}
        if any(found[name].shape != shape for name, shape in shapes.items()) or found["losses"].ndim != 1:
            raise ValueError("its arrays do not fit the record")
        return cls(iteration=iteration, rate=rate, scores=scores, **found)


@dataclass(frozen=True)
class Unfinished:
    """A period that was interrupted: its losses (S,), and for each rectifier which units were active."""

    iteration: int
    losses: Floats
    active: tuple[NDArray[np.bool_], ...]

    def to_bytes(self) -> bytes:
        active = {f"active {i}": values for i, values in enumerate(self.active)}
        return pack({"iteration": self.iteration, "losses": self.losses, **active})

    @classmethod
    def from_bytes(cls, data: bytes) -> Unfinished:
        """Raises ValueError or KeyError if `data` is something else."""
        found = unpack(data)
        active = tuple(found[f"active {i}"] for i in range(len(found) - 2))
        return cls(int(found["iteration"]), found["losses"], active)


def pack(arrays: Mapping[str, Any]) -> bytes:
    """Pack arrays by name as the bytes of an uncompressed npz."""
    data = io.BytesIO()
    named: dict[str, Any] = {name: np.asarray(values) for name, values in arrays.items()}
    np.savez(data, **named)
    return data.getvalue()


def unpack(data: bytes) -> dict[str, NDArray[Any]]:
    """Invert `pack`, for any `data`: runs no code and needs no more memory than `data`.

    Raises:
        ValueError: It is not such an npz.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ValueError("it is compressed")
        with np.load(io.BytesIO(data), allow_pickle=False) as found:
            return dict(found)
    except zipfile.BadZipFile as error:
        raise ValueError(str(error)) from None


def histogram(values: Floats) -> tuple[NDArray[np.int64], float, float]:
    """Return counts (BINS,) of `values` and the range of the bins; no counts if some are not finite."""
    low, high = float(values.min(initial=0)), float(values.max(initial=0))
    if not np.isfinite(high - low):
        return np.zeros(BINS, np.int64), 0.0, 0.0
    counts, _ = np.histogram(values, BINS, (low, high) if low < high else (low - 0.5, high + 0.5))
    return counts.astype(np.int64), low, high
