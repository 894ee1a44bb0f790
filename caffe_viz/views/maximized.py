"""Inputs that maximise filters and other objectives, as pictures."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from caffe_viz import figures, tables
from caffe_viz.ascent import Ascending, Ascent, Fourier, Progress, Recipe, Units, ascend
from caffe_viz.errors import CaffeVizWarning, InputError, RunError
from caffe_viz.figures import Picture
from caffe_viz.files import safe_name
from caffe_viz.images import Album, load_image, save_gif, stretched
from caffe_viz.network import Array, Network, PathLike
from caffe_viz.objectives import Objective
from caffe_viz.units import labels_at
from caffe_viz.views.colours import colours
from caffe_viz.views.objectives import climbed, with_photographs
from caffe_viz.views.rich import Look, Rich
from caffe_viz.views.topmost import Topmost, searched, searching

PLACES = 5  # in photographs, beside the pictures of a filter
SIDE = 96  # of a picture beside photographs, at least


@dataclass(frozen=True, repr=False)
class Maximized(Rich):
    """Inputs that maximise filters, as pictures.

    `interrupted`: Ctrl-C came, these are the best so far. `failure`: why not all could be made, such as a
    cluster that is gone; these are what was finished by then.
    `topmost` are the places in photographs that activate the same filters most, if there are any photographs.
    `name` is what its files are called, by default after the layer and the method.
    """

    ascent: Ascent
    network: Network
    interrupted: bool = False
    topmost: Topmost | None = None
    name: str = ""
    failure: str = ""

    def rgb(self, image: Array) -> Array:
        """(C, ..) in units of the input -> (h, w, 3) to look at.

        Images and volumes between black and white are shown as they are, others stretched. Channels that are
        no colours are tiles, the frames of a volume are beside each other, and a vector is bars.
        """
        colours = self.network.colours
        return figures.draw_input(image, colours, self._share if colours is None else self._toned)

    def _share(self, values: Array) -> Array:
        """Of values that are no colours."""
        return self._toned(Units.of(None, 1).share(values) if self.ascent.bounded else values)

    def _toned(self, values: Array) -> Array:
        """(H, W, C) in 0..1."""
        return np.clip(values, 0, 1) if self.ascent.bounded else stretched(values)

    @cached_property
    def tiles(self) -> list[Picture]:
        """One picture for each image, in the order of `titles`."""
        return [Picture(self.rgb(image)) for image in self.ascent.images]

    @cached_property
    def pictures(self) -> dict[int, Picture]:
        """Filter -> its first picture; dead filters have none."""
        found: dict[int, Picture] = {}
        for number, tile in zip(self.ascent.filters, self.tiles, strict=True):
            found.setdefault(number, tile)
        return found

    @property
    def titles(self) -> list[str]:
        """Layer and number of each filter; its class too where the layer has one filter for each label."""
        a = self.ascent
        if a.layer not in {layer.name for layer in self.network.geometry.layers}:
            return [a.layer if len(a.filters) == 1 else f"{a.layer} ({number})" for number in a.filters]
        (count,) = self.network.geometry.layer(a.layer).shapes[0][1:2] or (1,)
        labels = labels_at(self.network, a.layer, count)
        return [f"{a.layer} {number}{' ' + labels[number] if labels else ''}" for number in a.filters]

    @cached_property
    def sheet(self) -> Picture:
        """All pictures with their filters' numbers.

        Raises:
            InputError: every filter is dead.
        """
        return self._sheet(self.ascent.images)

    @cached_property
    def beside(self) -> Picture:
        """For each filter a row: its pictures, then the places in photographs that activate it most.

        Raises:
            InputError: there are no photographs, or every filter is dead in them.
        """
        crops = {} if self.topmost is None else self.topmost.blocks
        filters = [number for number in self.pictures if number in crops]
        if not filters:
            raise InputError(f"{self.ascent.layer}: no filter has both a picture and places in photographs.")
        own = {
            n: [t for f, t in zip(self.ascent.filters, self.tiles, strict=True) if f == n] for n in filters
        }
        side = max(max(tile.rgb.shape[:2]) for tiles in own.values() for tile in tiles)
        rows = [[*(tile.rgb for tile in own[n]), *crops[n]] for n in filters]
        titles = dict(zip(self.ascent.filters, self.titles, strict=True))
        strips = [figures.strip(row, max(side, SIDE)) for row in rows]
        return figures.contact_sheet(strips, [titles[n] for n in filters], columns=1)

    def _sheet(self, images: Array) -> Picture:
        if not len(images):
            raise InputError(f"{self.ascent.layer}: there is no picture; all chosen filters are dead.")
        return figures.contact_sheet([self.rgb(image) for image in images], self.titles)

    @property
    def table(self) -> tables.Table:
        a = self.ascent
        inactive = () if self.topmost is None else self.topmost.top.dead
        notes = dict.fromkeys(a.faded, "faded: no gradient at the end")
        notes |= dict.fromkeys(inactive, "never active in the photographs")
        rows: list[tuple[Any, ...]] = [
            (
                number,
                float(f"{curve[0]:.6g}"),
                float(f"{value:.6g}"),
                int(np.isfinite(curve).sum()) - 1,
                notes.get(number, ""),
            )
            for number, curve, value in zip(a.filters, a.curve, a.values, strict=True)
        ]
        rows += [(number, None, None, None, "dead: no gradient from any start") for number in a.dead]
        columns = ("filter", "objective at start", "of the picture", "steps", "note")
        return tables.Table(f"{a.layer}, {a.method} ascent ({a.engine})", columns, tuple(rows))

    def save(self, folder: PathLike) -> list[Path]:
        """Write the contact sheet, each picture, the curves, the npz, and the GIF if there are frames."""
        a, folder = self.ascent, Path(folder)
        stem = self.name or f"{safe_name(a.layer)}_{a.method}"
        paths = [folder / f"{stem}.npz"]
        a.save(paths[0])
        if not a.filters:
            return paths
        pages = {
            f"{stem}_sheet.png": self.sheet,
            f"{stem}_objective.png": figures.curves(a.curve, self.titles),
        }
        if self.topmost is not None and set(self.topmost.blocks) & set(a.filters):
            pages[f"{stem}_photos.png"] = self.beside
        counts: dict[int, int] = {}
        for number, picture in zip(a.filters, self.tiles, strict=True):
            counts[number] = counts.get(number, 0) + 1
            more = f"_{counts[number]}" if counts[number] > 1 else ""
            pages[f"{stem}_{number:04d}{more}.png"] = picture
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
    layer: str | Objective,
    filters: Sequence[int] | None = None,
    *,
    method: str | Recipe = "natural",
    start: PathLike | Array | None = None,
    mask: PathLike | Array | None = None,
    size: tuple[int, int] | None = None,
    photos: PathLike | Iterable[PathLike] | None = None,
    inputs: Any = (),
    on_progress: Callable[[Progress], None] | None = None,
    cluster: Any = None,
    **options: Any,
) -> Maximized:
    """Pictures of the inputs that maximise `filters` of `layer`, or an objective; further options: `ascend`.

    `start` is an image as of `Network.pixels`, brought to `size` (None: the net's own); where `mask`, an
    image or (H, W) in 0..1, is black, it stays. From `photos` (files, folders, .zip archives) come the
    statistics of colours of a Fourier canvas, and for filters the places that activate them most. `inputs`
    are values of inputs beside the image, by name, as of `Network.holding`. The workers of a `cluster`, a
    client of dask, climb and look at the photographs. Ctrl-C ends it early and keeps the best so far; so
    does a failure after the first pictures, such as a cluster that is gone, with a warning.

    Raises:
        InputError: as `ascend`.
        RunError: it failed before there was a picture.
    """
    whole = Network.of(net)
    whole.check()
    album = None if photos is None else Album.of(*([photos] if isinstance(photos, str | Path) else photos))
    network, climbing = climbing_of(
        whole, layer, filters, start=start, size=size, inputs=inputs,
        method=_with_colours(method, album, cluster), mask=_grey(mask), cluster=cluster, **options,
    )  # fmt: skip
    try:
        for progress in climbing:
            if on_progress is not None:
                on_progress(progress)
        topmost = None
        if album is not None and isinstance(layer, str):
            numbers = list(dict.fromkeys(climbing.filters))
            search = searching(whole.like(network), album, layer, numbers, PLACES, None, cluster=cluster)
            topmost = searched(search)
    except KeyboardInterrupt:
        climbing.stop()
        return Maximized(climbing.result, network, interrupted=True)
    except RunError as error:
        if not climbing.result.filters:
            raise
        warnings.warn(f"{error} What was made by then is kept.", CaffeVizWarning, stacklevel=2)
        return Maximized(climbing.result, network, failure=str(error))
    return Maximized(climbing.result, network, topmost=topmost)


def climbing_of(
    whole: Network,
    layer: str | Objective,
    filters: Sequence[int] | None = None,
    *,
    start: PathLike | Array | None = None,
    size: tuple[int, int] | None = None,
    inputs: Any = (),
    **options: Any,
) -> tuple[Network, Ascending]:
    """The part of a network, which is checked, that is climbed, and its ascent made ready; as of `maximize`.

    Raises:
        InputError: as `ascend`.
    """
    network = climbed(whole, layer, inputs)
    if isinstance(layer, Objective):
        layer = with_photographs(network, layer, size)
    return network, ascend(
        network.message, network.trained, layer, filters, image=network.data,
        inputs=network.beside(network.message), preprocess=network.colours,
        start=None if start is None else network.pixels(start, size), size=size, engine=network.engine,
        device=network.device, **options,
    )  # fmt: skip


def _with_colours(method: str | Recipe, album: Album | None, cluster: Any) -> Recipe:
    """The recipe with the colours of photographs, if there are any and it has a canvas for them."""
    recipe = Recipe.of(method)
    if album is None or not isinstance(recipe.canvas, Fourier):
        return recipe
    found = colours(album, cluster)
    return recipe if found is None else replace(recipe, canvas=replace(recipe.canvas, colours=found))


def _grey(mask: PathLike | Array | None) -> Array | None:
    if mask is None or isinstance(mask, np.ndarray):
        return mask
    return np.asarray(load_image(mask).mean(2), np.float32)
