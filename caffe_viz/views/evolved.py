"""Show how a net changed while it learned, from a record or a series of snapshots."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from caffe_viz import tables
from caffe_viz.errors import InputError
from caffe_viz.figures import Picture
from caffe_viz.figures.evolution import (
    kernel_film,
    kernels_over_time,
    layer_curves,
    ridges,
    training_curves,
)
from caffe_viz.files import safe_name
from caffe_viz.images import save_gif
from caffe_viz.network import PathLike
from caffe_viz.recording import Record
from caffe_viz.recording.series import of_snapshots
from caffe_viz.views.rich import Display, Rich

MOMENTS = 60  # that pictures and films show of a long training


@dataclass(frozen=True, repr=False)
class Evolution(Rich):
    """A recorded training as pictures. `channel_order` is that of kernels with 3 input channels."""

    record: Record
    channel_order: str = "BGR"

    @property
    def curves(self) -> Picture:
        """Draw the loss of each iteration, and the scores of the test net."""
        record = self.record
        names = list(dict.fromkeys(name for period in record.periods for name in period.scores))
        scores = [(name, record.iterations, record.scores(name)) for name in names]
        return training_curves(record.losses, scores)

    @property
    def gradients(self) -> Picture:
        """Draw the L2 norm of the gradient of each layer's weights."""
        return self._per_layer("gradients", "norm of the gradient of the weights")

    @property
    def ratios(self) -> Picture:
        """Draw the update-to-weight ratio of each layer's weights; about 1e-3 is usual."""
        return self._per_layer("ratios", "norm of the update / norm of the weights")

    @property
    def norms(self) -> Picture:
        """Draw the L2 norm of each layer's weights, from the start."""
        values = np.array([frame.period.weights for frame in self.record.frames])
        at = [frame.period.iteration for frame in self.record.frames]
        return layer_curves(at, values[:, self._weights], self._names, "norm of the weights")

    @property
    def dead(self) -> Picture:
        """Draw the share of units of each rectifier that were never active in a period."""
        values = 100 * self.record.curve("dead")
        ylabel = "dead units, %"
        return layer_curves(self.record.iterations, values, self.record.head.relus, ylabel, log=False)

    @property
    def ridges(self) -> Picture:
        """Draw the histograms of each layer's weights over time."""
        frames = [frame.period for frame in self._shown.frames]
        found = [
            (name, [p.counts[k] for p in frames], [p.low[k] for p in frames], [p.high[k] for p in frames])
            for name, k in zip(self._names, self._weights, strict=True)
        ]
        return ridges(found, self.moments)

    def kernels(self, layer: str | None = None) -> Picture:
        """Draw the kernels of `layer` (default: the first that was kept) over time, one row for each moment.

        Raises:
            InputError: No such layer, its values were not kept, or they are not kernels.
        """
        return kernels_over_time(self._kernels(layer), self.moments, self.channel_order)

    def film(self, layer: str | None = None) -> list[Picture]:
        """Draw the kernels of `layer` over time, one frame for each moment. Raises as `kernels`."""
        moments = [f"iteration {moment}" for moment in self.moments]
        return kernel_film(self._kernels(layer), moments, self.channel_order)

    @property
    def table(self) -> tables.Table:
        """One row for each period; the update-to-weight ratio is the geometric mean over layers."""
        record, rows = self.record, list[tuple[Any, ...]]()
        names = list(dict.fromkeys(name for period in record.periods for name in period.scores))
        for period, ratios in zip(record.periods, record.ratios, strict=True):
            scores = (period.scores.get(name, np.nan) for name in names)
            gradient, ratio = np.linalg.norm(period.gradients), _mean(np.log(ratios[self._weights]))
            dead = 100 * _mean(period.dead)
            values = (_mean(period.losses), *scores, period.rate, gradient, np.exp(ratio), dead)
            rows.append((period.iteration, *map(_short, values)))
        columns = (
            "iteration", "mean loss", *(f"test {name}" for name in names), "rate", "norm of all gradients",
            "update / weights", "dead units %",
        )  # fmt: skip
        engine = f" ({record.head.engine})" if record.head.engine else ""
        return tables.Table(f"training of {record.head.net or 'a net'}{engine}", columns, tuple(rows))

    def save(self, folder: PathLike) -> list[Path]:
        """Write all pictures for which there is data, and a GIF of the kernels of each kept layer."""
        paths: list[Path] = []
        for name, picture in self.pictures():
            paths.append(Path(folder) / f"evolution_{name}.png")
            picture.save(paths[-1])
        for layer in self.kept:
            stem = f"{safe_name(layer)}_evolution"
            paths += [Path(folder) / f"{stem}.png", Path(folder) / f"{stem}.gif"]
            self.kernels(layer).save(paths[-2])
            frames = [frame.rgb for frame in self.film(layer)]
            ms = max(40, min(500, 6000 // len(frames)))
            save_gif(paths[-1], [*frames, *[frames[-1]] * (1000 // ms)], ms)
        return paths

    def pictures(self) -> Iterator[tuple[str, Picture]]:
        """Yield the name and the picture of everything for which there is data, except kernels."""
        record = self.record
        if np.isfinite(record.losses[1]).any():
            yield "curves", self.curves
        if record.periods and np.isfinite(record.curve("gradients")[:, self._weights]).any():
            yield "gradients", self.gradients
            yield "ratios", self.ratios
        if record.periods and record.head.relus:
            yield "dead", self.dead
        if self._weights:
            yield "norms", self.norms
            yield "histograms", self.ridges

    def _per_layer(self, name: str, ylabel: str) -> Picture:
        record = self.record
        values = record.ratios if name == "ratios" else record.curve(name)
        return layer_curves(record.iterations, values[:, self._weights], self._names, ylabel)

    def _kernels(self, layer: str | None) -> Any:
        if layer is None and not self.kept:
            raise InputError("the record keeps no kernels in full: record with --layer conv1, or all.")
        name = layer or self.kept[0]
        values = self._shown.values(name)[1]
        axes = self.record.head.parameters[self.record.number(name)].axes
        if len(axes) == 3:
            return _as_seen(values, axes)
        if values.ndim != 5:
            raise InputError(
                f"layer {name!r} has weights of {values.shape[1:]}, which are not pictures: kernels are "
                "(O, I, H, W), and fully connected layers are drawn if they see maps (C, H, W)."
            )
        return values

    @cached_property
    def _shown(self) -> Record:
        """The record with some of its moments, evenly chosen, where there are many."""
        frames = self.record.frames
        chosen = np.unique(np.linspace(0, len(frames) - 1, min(MOMENTS, len(frames))).round().astype(int))
        return replace(self.record, frames=tuple(frames[k] for k in chosen))

    @cached_property
    def kept(self) -> list[str]:
        """The layers whose kernels were kept, or whose units' weights form maps."""
        every = self.record.head.parameters
        return [p.layer for p in every if p.kept and not p.blob and 4 in (len(p.shape), len(p.axes) + 1)]

    @cached_property
    def _weights(self) -> list[int]:
        """The numbers of the parameters that are weights: not biases, nor statistics of one axis."""
        every = self.record.head.parameters
        return [k for k, p in enumerate(every) if not p.blob and len(p.shape) > 1]

    @property
    def _names(self) -> list[str]:
        return [self.record.head.parameters[k].layer for k in self._weights]

    @property
    def moments(self) -> list[str]:
        """The iterations at which kernels are shown."""
        return [f"{frame.period.iteration:,}" for frame in self._shown.frames]

    def __repr__(self) -> str:
        return str(self.table)

    def _look(self) -> Display:
        return Display([picture for _, picture in islice(self.pictures(), 1)], tables=[self.table])


def show_evolution(source: PathLike | Sequence[PathLike], *, channel_order: str = "BGR") -> Evolution:
    """Show how a net changed in training.

    Args:
        source: The file that a `Recorder` wrote, or several caffemodels of one training.
        channel_order: Of kernels with 3 input channels: "BGR" or "RGB".

    Raises:
        InputError: A file cannot be read, or the caffemodels are not of one net.

    Example::

        cv.show_evolution(["iter_1000.caffemodel", "iter_2000.caffemodel"]).norms
    """
    paths = [Path(source)] if isinstance(source, str | Path) else [Path(path) for path in source]
    if len(paths) == 1 and ".caffemodel" not in paths[0].name:
        return Evolution(Record.load(paths[0]), channel_order)
    return Evolution(of_snapshots(paths), channel_order)


def _as_seen(values: Any, axes: tuple[int, ...]) -> Any:
    """Weights (T, O, K), (T, K, O) of a transposed layer, (T, 1, 1, O, K) of old files -> (T, O, C, H, W)."""
    rows = values.reshape(len(values), *values.shape[-2:])
    rows = rows if rows.shape[2] == math.prod(axes) else rows.swapaxes(1, 2)
    return rows.reshape(*rows.shape[:2], *axes)


def _mean(values: Any) -> float:
    """The mean of finite values; NaN if there are none."""
    finite = np.asarray(values)[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float("nan")


def _short(value: Any) -> float | None:
    """Four digits, or None for what was not measured."""
    return float(f"{float(value):.4g}") if np.isfinite(value) else None
