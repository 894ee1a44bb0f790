"""Show the places in many images that activate filters most, as one sheet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from caffe_viz import figures, tables
from caffe_viz.errors import InputError
from caffe_viz.figures import Picture
from caffe_viz.files import safe_name
from caffe_viz.images import ImageCollection
from caffe_viz.network import Array, Network, PathLike
from caffe_viz.objectives import Channel
from caffe_viz.probe import relu_state
from caffe_viz.tiling import grid
from caffe_viz.top import Progress, Search, Top
from caffe_viz.units import read_unit
from caffe_viz.views.rich import Display, Rich

BETWEEN = 3  # pixels between gradients and crops


@dataclass(frozen=True, repr=False)
class TopImages(Rich):
    """The places that activate filters most; the numbers are in `top`.

    `TopImages(Top.load(file)).sheet` needs no engine and no images.
    """

    top: Top

    @cached_property
    def sheet(self) -> Picture:
        """Draw a block of crops for each filter, strongest first, with its highest activation.

        If there are gradients, their block is on its left, in the same order.

        Raises:
            InputError: Every filter is dead.
        """
        t = self.top
        if not t.shown:
            raise InputError(f"layer {t.layer!r}: no filter was active, so there is nothing to draw.")
        columns = int(np.ceil(np.sqrt(t.crops.shape[1])))
        rows = -(-t.crops.shape[1] // columns)
        sides = [
            [grid(tiles / np.float32(255), rows, columns, padding=(1, 1)) for tiles in some]
            for some in (t.gradients, t.crops) if len(some)
        ]  # fmt: skip
        blocks = [
            grid(np.stack(both), 1, len(both), padding=(0, BETWEEN)) for both in zip(*sides, strict=True)
        ]
        return figures.contact_sheet(blocks, [self._title(number) for number in t.shown])

    @property
    def blocks(self) -> dict[int, list[Array]]:
        """Map each filter to its crops (h, w, 3) RGB in 0..1, strongest first; inactive filters have none."""
        t = self.top
        return {n: [c / np.float32(255) for c in crops] for n, crops in zip(t.shown, t.crops, strict=True)}

    def _title(self, number: int) -> str:
        t = self.top
        row = t.filters.index(number)
        name = f"{number} {t.labels[row]}" if t.labels else f"{t.layer} {number}"
        return f"{name} {np.nanmax(t.values[row]):.4g}"

    @property
    def table(self) -> tables.Table:
        rows: list[tuple[Any, ...]] = []
        for number in self.top.filters:
            places = list(self.top.places(number))
            if places:
                best, last = places[0], places[-1]
                values = (float(f"{p.value:.6g}") for p in (best, last))
                rows.append((number, *values, len(places), best.image, "{} {}".format(*best.unit)))
            else:
                rows.append((number, None, None, 0, "dead: never active", ""))
        columns = ("filter", "highest", "lowest shown", "places", "image of the highest", "unit (y x)")
        title = f"{self.top.layer} {self.top.state} in {self.top.seen:,} images ({self.top.engine})"
        return tables.Table(" ".join(title.split()), columns, tuple(rows))

    def save(self, folder: PathLike) -> list[Path]:
        """Write the npz, and the sheet if any filter was active."""
        stem = f"{safe_name(self.top.layer)}_top"
        paths = [Path(folder) / f"{stem}.npz"]
        self.top.save(paths[0])
        if self.top.shown:
            paths.append(Path(folder) / f"{stem}.png")
            self.sheet.save(paths[1])
        return paths

    def __repr__(self) -> str:
        return str(self.table)

    def _look(self) -> Display:
        return Display([self.sheet] if self.top.shown else [], tables=[self.table])


def top_images(
    net: Any,
    images: PathLike | Iterable[PathLike],
    layer: str,
    filters: Sequence[int] | None = None,
    *,
    count: int = 9,
    gradient: str = "",
    state_file: PathLike | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    cluster: Any = None,
) -> TopImages:
    """Find the places in many images that activate each filter most, at most one in an image.

    Args:
        net: A net from `load_net`.
        images: Files, folders, .zip archives, folders in archives. For a net with several inputs, a mapping
            from input name to file or array.
        layer: The name of a layer; also a single filter such as "conv3:16", or a class.
        filters: Numbers of filters. Default: all.
        count: How many places to keep for each filter.
        gradient: Show beside each crop what in it activates the filter: "guided-backprop", "deconvnet" or
            "gradient".
        state_file: Where to save an interrupted search. The same call continues it.
        on_progress: Called with each `Progress`.
        cluster: A dask client whose workers do the search.

    Raises:
        InputError: No such layer, filter, image or gradient, or the state file is of another search.

    Example::

        cv.top_images(net, "photos", "conv3", range(8), count=4).save("out")
    """
    network = Network.of(net)
    file = None if state_file is None else Path(state_file)
    search = searching(network, images, layer, filters, count, file, gradient, cluster)
    found = searched(search, on_progress)
    search.forget()
    return found


def searching(
    network: Network,
    images: Any,
    layer: str,
    filters: Sequence[int] | None,
    count: int,
    file: Path | None,
    gradient: str = "",
    cluster: Any = None,
) -> Search:
    """A search that says whether its values are post-ReLU; `images`: a collection, or as of `Network.taking`.

    Without `filters`, `layer` may be a single filter of one, or a class, as of `read_unit`.
    """
    if filters is None and layer not in {one.name for one in network.message.layer}:
        unit = read_unit(network, layer, option="layer")
        if not isinstance(unit.what, Channel):
            raise InputError(
                f"{layer}: only filters with their whole maps are searched for, such as {unit.layer}:0."
            )
        layer, filters = unit.layer, [unit.what.channel]
    tops = network.geometry.layer(layer).tops
    network, collection = (
        (network, images) if isinstance(images, ImageCollection) else network.collection(images, *tops[:1])
    )
    state = relu_state(network.message, tops[0]) if tops else ""
    return Search(
        network, layer, collection, filters, count=count, state=state, state_file=file, gradient=gradient,
        cluster=cluster,
    )  # fmt: skip


def searched(search: Search, on_progress: Callable[[Progress], None] | None = None) -> TopImages:
    """Run `search` and cut out what it found; saved when interrupted."""
    tell = on_progress or (lambda _: None)
    total = len(search.collection)
    with search.claimed():
        try:
            for progress in search:
                tell(progress)
            return TopImages(search.result(lambda done, images: tell(Progress(total + done, total + images))))
        except KeyboardInterrupt:
            search.save()
            raise
