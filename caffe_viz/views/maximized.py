"""Inputs that maximise filters, as pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from caffe_viz import figures, tables
from caffe_viz.ascent import Ascent, Progress, ascend
from caffe_viz.errors import InputError
from caffe_viz.figures import Picture
from caffe_viz.files import safe_name
from caffe_viz.images import save_gif, stretched
from caffe_viz.network import Array, Network, PathLike
from caffe_viz.views.rich import Look, Rich


@dataclass(frozen=True, repr=False)
class Maximized(Rich):
    """Inputs that maximise filters, as pictures. `interrupted`: Ctrl-C came, these are the best so far."""

    ascent: Ascent
    network: Network
    interrupted: bool = False

    def rgb(self, images: Array) -> Array:
        """(..., C, H, W) in units of the input -> (..., h, w, 3) to look at; other channels side by side."""
        preprocess = self.network.pictures
        if preprocess is not None:
            return stretched(preprocess.in_rgb(images))
        array = np.concatenate(np.moveaxis(images, -3, 0), axis=-1)
        return stretched(np.repeat(array[..., None], 3, axis=-1))

    @cached_property
    def pictures(self) -> dict[int, Picture]:
        """Filter -> its picture; dead filters have none."""
        pairs = zip(self.ascent.filters, self.ascent.images, strict=True)
        return {number: Picture(self.rgb(image)) for number, image in pairs}

    @property
    def titles(self) -> list[str]:
        """Layer and number of each filter; its class too where the layer has one filter for each label."""
        a, labels = self.ascent, self.network.preprocess.labels
        classes = self.network.geometry.layer(a.layer).shapes[0][1] == len(labels)
        return [f"{a.layer} {number}{' ' + labels[number] if classes else ''}" for number in a.filters]

    @cached_property
    def sheet(self) -> Picture:
        """All pictures with their filters' numbers.

        Raises:
            InputError: every filter is dead.
        """
        return self._sheet(self.ascent.images)

    def _sheet(self, images: Array) -> Picture:
        if not len(images):
            raise InputError(
                f"layer {self.ascent.layer!r}: no filter has a picture; all chosen ones are dead."
            )
        return figures.contact_sheet([self.rgb(image) for image in images], self.titles)

    @property
    def table(self) -> tables.Table:
        a = self.ascent
        rows: list[tuple[Any, ...]] = [
            (number, float(f"{curve[0]:.6g}"), float(f"{value:.6g}"), int(np.isfinite(curve).sum()) - 1, "")
            for number, curve, value in zip(a.filters, a.curve, a.values, strict=True)
        ]
        rows += [(number, None, None, None, "dead: no gradient from any start") for number in a.dead]
        columns = ("filter", "objective at start", "at its best", "steps", "note")
        return tables.Table(f"{a.layer}, {a.method} ascent ({a.engine})", columns, tuple(rows))

    def save(self, folder: PathLike) -> list[Path]:
        """Write the contact sheet, each picture, the curves, the npz, and the GIF if there are frames."""
        a, folder = self.ascent, Path(folder)
        stem = f"{safe_name(a.layer)}_{a.method}"
        paths = [folder / f"{stem}.npz"]
        a.save(paths[0])
        if not a.filters:
            return paths
        pages = {
            f"{stem}_sheet.png": self.sheet,
            f"{stem}_objective.png": figures.curves(a.curve, self.titles),
        }
        pages |= {f"{stem}_{number:04d}.png": picture for number, picture in self.pictures.items()}
        for name, picture in pages.items():
            picture.save(folder / name)
            paths.append(folder / name)
        if len(a.frames) > 1:
            paths.append(folder / f"{stem}.gif")
            save_gif(paths[-1], [self._sheet(frame.astype(np.float32)).rgb for frame in a.frames], ms=120)
        return paths

    def __repr__(self) -> str:
        return str(self.table)

    def _look(self) -> Look:
        return Look([self.sheet] if self.ascent.filters else [], tables=[self.table])


def maximize(
    net: Any,
    layer: str,
    filters: Sequence[int] | None = None,
    *,
    start: PathLike | Array | None = None,
    size: tuple[int, int] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    **options: Any,
) -> Maximized:
    """Pictures of the inputs that maximise `filters` of `layer`; further options are those of `ascend`.

    `start` is an image as of `Network.pixels`, brought to `size` (None: the net's own). Ctrl-C ends it early
    and keeps the best so far.

    Raises:
        InputError: as `ascend`.
    """
    network = Network.of(net)
    network.check()
    first = None if start is None else network.pixels(start, size)
    climbing = ascend(
        network.message, network.trained, layer, filters, preprocess=network.pictures, start=first, size=size,
        engine=network.engine, device=network.device, **options,
    )  # fmt: skip
    try:
        for progress in climbing:
            if on_progress is not None:
                on_progress(progress)
    except KeyboardInterrupt:
        return Maximized(climbing.result, network, interrupted=True)
    return Maximized(climbing.result, network)
