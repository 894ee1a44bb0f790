"""What every method gets: a probe, images with one target each, and the settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from caffe_viz.attribution.targets import Array, Target
from caffe_viz.errors import InputError
from caffe_viz.probe import Probe


@dataclass(frozen=True)
class Settings:
    """Settings of the methods that sample.

    Args:
        samples: The number of noisy copies of SmoothGrad.
        noise: Their deviation, as a share of the image's range.
        steps: The number of points on the path of integrated gradients.
        patch: The window of occlusion in pixels. None: a seventh of the shorter side.
        stride: The step of that window in pixels. None: half of the window.
        seed: Of the noise.

    Raises:
        InputError: A value that makes no sense, by its name.
    """

    samples: int = 50
    noise: float = 0.15
    steps: int = 64
    patch: int | None = None
    stride: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("samples", "steps", "patch", "stride"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}: 1 or more is expected.")
        if not 0 <= self.noise < np.inf:
            raise InputError(f"noise is {self.noise}: 0 or more is expected, such as 0.15.")
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}: 0 or more is expected.")


@dataclass(frozen=True)
class Job:
    """`images` (M, C, H, W) and one of `targets` for each, all of one blob; CAMs read the blob `layer`."""

    probe: Probe
    images: Array
    targets: tuple[Target, ...]
    layer: str
    settings: Settings

    def parts(self, count: int) -> Iterator[slice]:
        """Split `count` into batches that fit into memory."""
        for first in range(0, count, self.probe.batch):
            yield slice(first, min(first + self.probe.batch, count))

    def scores(self, images: Array, targets: Sequence[Target]) -> Array:
        """Return the score (M,) of the target of each image (M, C, H, W)."""
        blob, seeds = targets[0].blob, self._seeds(targets)
        values = self.probe.forward(images, [blob])[blob]
        if values.shape != seeds.shape:
            raise InputError(
                f"target {targets[0]}: {blob!r} is {values.shape[1:]} for an image and up to "
                f"{seeds.shape[1:]} for others: a blob whose shape depends on "
                "the image has no channels; choose a layer before it."
            )
        return np.asarray((values * seeds).reshape(len(values), -1).sum(1, dtype=np.float64), np.float32)

    def pull(
        self, images: Array, targets: Sequence[Target], wrt: str, rule: str = "plain"
    ) -> tuple[Array, Array]:
        """Return values of the blob `wrt` (M, ...), and the gradients of the targets' scores there."""
        values, gradients = self.probe.pull(images, targets[0].blob, self._seeds(targets), [wrt], rule)
        return values[wrt], gradients[wrt]

    def _seeds(self, targets: Sequence[Target]) -> Array:
        shape = self.probe.shape(targets[0].blob)
        return np.stack([target.seed(shape) for target in targets])
