"""Show images that maximise filters and other objectives."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from caffe_viz import figures, tables
from caffe_viz.ascent import Ascent, Fourier, PixelRange, Progress, Recipe, RunningAscent, ascend
from caffe_viz.errors import CaffeVizWarning, InputError, RunError
from caffe_viz.figures import Picture
from caffe_viz.files import safe_name
from caffe_viz.images import ImageCollection, load_image, save_gif, stretched
from caffe_viz.network import Array, Network, PathLike
from caffe_viz.objectives import Objective
from caffe_viz.units import labels_at
from caffe_viz.views.colours import colours
from caffe_viz.views.objectives import climbed, with_photographs
from caffe_viz.views.rich import Display, Rich
from caffe_viz.views.top_patches import TopImages, searched, searching

PLACES = 5  # in photographs, beside the pictures of a filter
SIDE = 96  # of a picture beside photographs, at least


@dataclass(frozen=True, repr=False)
class Maximized(Rich):
    """Images that maximise filters or objectives.

    The numbers are in `ascent`. `interrupted`: Ctrl-C was pressed, and these are the best images so far.
    `failure`: why not all could be made, such as a lost cluster; these are the finished ones. With
    photographs, `topmost` holds the places in them that activate the same filters most. `name` begins the
    file names, by default layer and method.
    """

    ascent: Ascent
    network: Network
    interrupted: bool = False
    topmost: TopImages | None = None
    name: str = ""
    failure: str = ""

    def rgb(self, image: Array) -> Array:
        """Convert an image (C, ..) in units of the input to a picture (h, w, 3) to look at.

        Images and volumes that stayed between black and white are shown as they are, others are stretched.
        Channels that are not colours become tiles, the frames of a volume stand side by side, and a vector
        becomes bars.
        """
        colours = self.network.colours
        return figures.draw_input(image, colours, self._share if colours is None else self._toned)

    def _share(self, values: Array) -> Array:
        """Scale values that are not colours."""
        return self._toned(PixelRange.of(None, 1).share(values) if self.ascent.bounded else values)

    def _toned(self, values: Array) -> Array:
        """(H, W, C) in 0..1."""
        return np.clip(values, 0, 1) if self.ascent.bounded else stretched(values)

    @cached_property
    def tiles(self) -> list[Picture]:
        """Return one picture for each image, in the order of `titles`."""
        return [Picture(self.rgb(image)) for image in self.ascent.images]

    @cached_property
    def pictures(self) -> dict[int, Picture]:
        """Map each filter to its first picture; dead filters have none."""
        found: dict[int, Picture] = {}
        for number, tile in zip(self.ascent.filters, self.tiles, strict=True):
            found.setdefault(number, tile)
        return found

    @property
    def titles(self) -> list[str]:
        """Layer and number of each filter, with its class if the layer has one filter for each label."""
        a = self.ascent
        if a.layer not in {layer.name for layer in self.network.geometry.layers}:
            return [a.layer if len(a.filters) == 1 else f"{a.layer} ({number})" for number in a.filters]
        (count,) = self.network.geometry.layer(a.layer).shapes[0][1:2] or (1,)
        labels = labels_at(self.network, a.layer, count)
        return [f"{a.layer} {number}{' ' + labels[number] if labels else ''}" for number in a.filters]

    @cached_property
    def sheet(self) -> Picture:
        """Draw all pictures on one sheet, with the numbers of their filters.

        Raises:
            InputError: Every filter is dead.
        """
        return self._sheet(self.ascent.images)

    @cached_property
    def beside(self) -> Picture:
        """Draw one row for each filter: its pictures, then the places in photographs that activate it most.

        Raises:
            InputError: There are no photographs, or every filter is dead in them.
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

    def _look(self) -> Display:
        return Display([self.sheet] if self.ascent.filters else [], tables=[self.table])


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
    """Make images that maximise `filters` of `layer`, or an objective, by gradient ascent.

    Ctrl-C stops early and keeps the best images so far. A failure after the first pictures, such as a lost
    cluster, keeps what is finished and gives a warning.

    Args:
        net: A net from `load_net`.
        layer: The name of a layer, or an objective from `read_objective`.
        filters: Numbers of filters of the layer. Default: all.
        method: "natural", "regularised", "plain", or a `Recipe`.
        start: An image to begin with, as for `show_activations`, resized to `size`. Default: noise.
        mask: An image, or an array (H, W) in 0..1: where it is black, the start is kept.
        size: (H, W) of the images. Default: what suits the layer; with a start, the net's own size.
        photos: Photographs (files, folders, .zip archives). They set the colour statistics of the "natural"
            method and, for filters, are searched for the places that activate them most.
        inputs: Values of the other inputs, as a mapping from input name to file or array.
        on_progress: Called with each `Progress`.
        cluster: A dask client whose workers do the work.
        **options: Further options of `ascend`, such as steps, rate, seed, pictures, neuron, jobs.

    Raises:
        InputError: As `ascend`.
        RunError: The run failed before there was any picture.

    Example::

        made = cv.maximize(net, "conv3", [16, 40], steps=128)
        made.sheet  # a picture
        made.save("out")
    """
    whole = Network.of(net)
    whole.check()
    collection = (
        None
        if photos is None
        else ImageCollection.of(*([photos] if isinstance(photos, str | Path) else photos))
    )
    network, climbing = climbing_of(
        whole, layer, filters, start=start, size=size, inputs=inputs,
        method=_with_colours(method, collection, cluster), mask=_grey(mask), cluster=cluster, **options,
    )  # fmt: skip
    try:
        for progress in climbing:
            if on_progress is not None:
                on_progress(progress)
        topmost = None
        if collection is not None and isinstance(layer, str):
            numbers = list(dict.fromkeys(climbing.filters))
            search = searching(whole.like(network), collection, layer, numbers, PLACES, None, cluster=cluster)
            topmost = searched(search)
    except KeyboardInterrupt:
        climbing.stop()
        return Maximized(climbing.result, network, interrupted=True)
    except RunError as error:
        if not climbing.result.filters:
            raise
        warnings.warn(f"{error} What was finished by then is kept.", CaffeVizWarning, stacklevel=2)
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
) -> tuple[Network, RunningAscent]:
    """Prepare the ascent of `maximize`: the part of a checked network that is climbed, and its ascent.

    Raises:
        InputError: As `ascend`.
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


def _with_colours(method: str | Recipe, collection: ImageCollection | None, cluster: Any) -> Recipe:
    """The recipe with the colours of photographs, if there are any and it has a canvas for them."""
    recipe = Recipe.of(method)
    if collection is None or not isinstance(recipe.canvas, Fourier):
        return recipe
    found = colours(collection, cluster)
    return recipe if found is None else replace(recipe, canvas=replace(recipe.canvas, colours=found))


def _grey(mask: PathLike | Array | None) -> Array | None:
    if mask is None or isinstance(mask, np.ndarray):
        return mask
    return np.asarray(load_image(mask).mean(2), np.float32)
