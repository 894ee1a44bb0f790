"""The result of `time_layers`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from caffe_viz.geometry import LayerGeometry


@dataclass(frozen=True)
class LayerTime:
    """One layer of the file, and its milliseconds for one batch.

    None means that it was not measured; `note` says why. `backward` covers the gradients of the layer's
    bottoms and of its parameters.
    """

    layer: LayerGeometry
    forward: float | None
    backward: float | None
    note: str = ""


@dataclass(frozen=True)
class Timing:
    """Medians of `passes` through a net, each stopped after every layer.

    `layers` are those of the file, in its order, including any left out. `splits` are the milliseconds,
    forward and backward, of all `hidden` Split layers that Caffe inserts. `sgemm` are the multiply-adds per
    second of one product of two matrices of `side` x `side` values, on the same engine and device.
    """

    engine: str
    device: str
    batch: int
    passes: int
    sgemm: float
    side: int
    layers: tuple[LayerTime, ...]
    splits: tuple[float, float] = (0.0, 0.0)
    hidden: int = 0

    @property
    def forward(self) -> float:
        """Milliseconds of all layers, including hidden Split layers."""
        return sum(_known(x.forward for x in self.layers)) + self.splits[0]

    @property
    def backward(self) -> float:
        """Milliseconds of all layers that go backward, including hidden Split layers."""
        return sum(_known(x.backward for x in self.layers)) + self.splits[1]

    @property
    def macs(self) -> int:
        """Multiply-adds for one image of the layers that were timed."""
        return sum(x.layer.macs for x in self.layers if x.forward is not None)

    def share(self, macs: int, forward: float | None) -> float | None:
        """Return the speed of `macs` per image in `forward` milliseconds per batch, relative to `sgemm`.

        None if one of them is missing. More than 1 means that an engine needs fewer multiplications than a
        matrix product.
        """
        return macs * self.batch / (forward / 1000) / self.sgemm if macs and forward else None


def _known(times: Iterable[float | None]) -> list[float]:
    return [x for x in times if x is not None]
