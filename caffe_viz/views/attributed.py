"""Show which pixels are responsible for an answer."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from caffe_viz import figures, tables
from caffe_viz.attribution import METHODS, Attribution, Settings, centre
from caffe_viz.attribution.explaining import explained
from caffe_viz.attribution.queries import NamedImage, NetQueries
from caffe_viz.attribution.targets import asked_blobs
from caffe_viz.classification import which_answer
from caffe_viz.errors import CaffeVizWarning, InputError, near
from caffe_viz.figures import Picture, captioned, heat, heat_over, signed_colours
from caffe_viz.files import safe_name
from caffe_viz.images import ImageCollection
from caffe_viz.netdef import NetParameter
from caffe_viz.network import Array, Network, PathLike
from caffe_viz.views.rich import Display, Rich

SIGNED = frozenset({"deconvnet", "guided-backprop", "guided-grad-cam"})  # shown as images, grey where 0
FINE = frozenset({"gradient", "gradient-x-input", "integrated-gradients", "smoothgrad"})  # lost over an image


@dataclass(frozen=True, repr=False)
class Attributed(Rich):
    """Explanations of the same images and targets by one or more methods.

    `refused` lists methods that do not fit the net, with the reason. Drawing needs no engine:
    `Attributed.load` reads what `save` wrote.
    """

    attributions: tuple[Attribution, ...]
    refused: tuple[tuple[str, str], ...] = ()
    colours: str = figures.COLOURS[0]

    def over(self, method: str, row: int = 0) -> Picture:
        """Draw the heat map over the image, with target and score; alone if the input is not a picture.

        Raises:
            InputError: The method is not among them.
        """
        a = self._of(method)
        return self._captioned(a, row, self._over(a, row))

    def alone(self, method: str, row: int = 0) -> Picture:
        """Draw the map alone; guided backpropagation and deconvnet of pictures are drawn in colours."""
        a = self._of(method)
        return self._captioned(a, row, self._alone(a, row))

    def sheet(self, row: int = 0) -> Picture:
        """Draw all methods for one image and target side by side, after the image."""
        first = self.attributions[0]
        tiles = [
            (a.method, self._alone(a, row) if a.method in SIGNED | FINE else self._over(a, row))
            for a in self.attributions
        ]
        title = f"{first.targets[row]}: {first.scores[row]:.4g}"
        if len(first.pictures):
            tiles.insert(0, (title, first.pictures[row]))
        # Of a sequence some methods have a line for each channel, others one for all.
        tall = max(len(tile) for _, tile in tiles)
        pictures = [tile.repeat(tall // len(tile), axis=0) for _, tile in tiles]
        return figures.contact_sheet(pictures, [name for name, _ in tiles])

    @property
    def table(self) -> tables.Table:
        rows: list[tuple[Any, ...]] = []
        for a in self.attributions:
            for m, (name, target) in enumerate(zip(a.names, a.targets, strict=True)):
                place = centre(a.maps[m])
                where = ", ".join(f"{n:.1f}" for n in place)
                where = "the map is 0 everywhere" if np.isnan(place[0]) else where
                error = None if np.isnan(a.completeness[m]) else float(f"{a.completeness[m]:.3g}")
                score = float(f"{a.scores[m]:.6g}")
                rows.append((name, target, score, a.method, f"{a.layer} {a.state}".strip(), where, error))
        middle = "centre z, y, x" if self.attributions[0].maps.ndim > 3 else "centre y, x"
        columns = ("image", "target", "score", "method", "layer", middle, "completeness error")
        return tables.Table(f"attribution ({self.attributions[0].engine})", columns, tuple(rows))

    def save(self, folder: PathLike) -> list[Path]:
        """Write an npz for each method, two pictures for each image and target, a sheet of all methods."""
        folder, paths = Path(folder), list[Path]()

        def keep(picture: Picture, stem: str) -> None:
            paths.append(folder / f"{stem}.png")
            picture.save(paths[-1])

        for a in self.attributions:
            paths.append(folder / f"{_stem(a.method)}.npz")
            a.save(paths[-1])
            for row, stem in enumerate(self._stems):
                if len(a.pictures):
                    keep(self.over(a.method, row), f"{stem}_{_stem(a.method)}")
                keep(self.alone(a.method, row), f"{stem}_{_stem(a.method)}_map")
        if len(self.attributions) > 1:
            for row, stem in enumerate(self._stems):
                keep(self.sheet(row), f"{stem}_sheet")
        return paths

    @classmethod
    def load(cls, *paths: PathLike, colours: str = figures.COLOURS[0]) -> Attributed:
        """Read the npz files that `save` wrote, of the same images and targets.

        Raises:
            InputError: A file is of another kind, or the files differ in images or targets.
        """
        found = tuple(Attribution.load(path) for path in paths)
        if not found or any((a.names, a.targets) != (found[0].names, found[0].targets) for a in found):
            raise InputError("expected attributions of the same images and targets, in at least one file.")
        return cls(found, colours=colours)

    def _of(self, method: str) -> Attribution:
        known = {a.method: a for a in self.attributions}
        if method not in known:
            raise InputError(f"no attribution by {method!r}.{near(method, known)}")
        return known[method]

    def _over(self, a: Attribution, row: int) -> Array:
        return (
            heat_over(a.pictures[row], a.maps[row], self.colours) if len(a.pictures) else self._alone(a, row)
        )

    def _alone(self, a: Attribution, row: int) -> Array:
        if a.method in SIGNED and a.channel_order:
            return signed_colours(a.values[row], a.channel_order)
        return heat(a.maps[row], self.colours)

    def _captioned(self, a: Attribution, row: int, picture: Array) -> Picture:
        layer = f" of {a.layer} {a.state}".rstrip() if a.layer else ""
        return captioned(
            picture, [f"{a.targets[row]}, score {a.scores[row]:.4g}", f"{a.method}{layer} ({a.engine})"]
        )

    @cached_property
    def _stems(self) -> list[str]:
        a, stems = self.attributions[0], list[str]()
        for name, target in zip(a.names, a.targets, strict=True):
            stem = safe_name(f"{Path(name).stem}_{'_'.join(target.split()[:2])}")
            stems.append(stem if stem not in stems else f"{stem}_{len(stems)}")
        return stems

    def __repr__(self) -> str:
        return "\n".join([str(self.table), *(f"{method}: {reason}" for method, reason in self.refused)])

    def _look(self) -> Display:
        method = self.attributions[0].method
        picture = self.sheet() if len(self.attributions) > 1 else self.over(method)
        return Display([picture], [f"{name}: {reason}" for name, reason in self.refused], [self.table])


def show_attribution(
    net: Any,
    images: PathLike | Array | Sequence[PathLike | Array],
    targets: int | str | Sequence[int | str] | None = None,
    methods: str | Sequence[str] = "grad-cam",
    layer: str | None = None,
    *,
    settings: Settings | None = None,
    colours: str = figures.COLOURS[0],
    cluster: Any = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    on_note: Callable[[str], None] = lambda note: None,
) -> Attributed:
    """Explain `targets` in `images`: which pixels raise the score.

    Args:
        net: A net from `load_net`.
        images: Files, folders, .zip archives, or arrays as for `show_activations`. For a net with several
            inputs, a mapping from input name to file or array. Each image goes through the net by itself.
        targets: Classes by number or label, filters such as "conv4:16", or neurons such as "conv4:16:3,5"
            (y, x). Default: the most likely class of each image.
        methods: Names of methods such as "grad-cam" and "integrated-gradients"; "all" takes those that fit.
        layer: The blob whose maps the CAM methods read. Default: the last spatial one that is not the top of
            a pooling layer.
        settings: Samples, steps, window size and seed, as `caffe_viz.attribution.Settings`.
        colours: The colour map of the heat maps.
        cluster: A dask client whose workers read the images and run the net.
        on_progress: Called with (done, total).
        on_note: Called with a message when a worker has died.

    Raises:
        InputError: No such image, target, method, layer or colour map; or a named method does not fit the
            net.

    Example::

        shown = cv.show_attribution(net, "cat.png", "cat", ["grad-cam", "integrated-gradients"])
        shown.sheet()  # a picture
        shown.attributions[0].maps  # (M, H, W)
    """
    whole = Network.of(net, weights=False)
    if colours not in figures.COLOURS:
        raise InputError(f"colours {colours!r} are unknown.{near(colours, figures.COLOURS)}")
    if targets is None and (several := which_answer(whole)):
        warnings.warn(f"{several}; choose one with --target HEAD:3", CaffeVizWarning, stacklevel=2)
    asked = [targets] if isinstance(targets, int | str) else targets
    if whole is net:
        whole.check()
    asking, given = asking_of(net, whole, asked_blobs(whole, asked, layer), images)
    every = methods == "all"
    chosen = None if every else [methods] if isinstance(methods, str) else methods
    total = 100 * len(given) * len(METHODS if chosen is None else chosen)
    found, refused = explained(
        asking, given, asked, chosen, layer, settings=settings, cluster=cluster,
        on_progress=lambda share: on_progress(round(share * total), total), on_note=on_note,
    )  # fmt: skip
    return Attributed(found, refused, colours)


def asking_of(
    net: Any, whole: Network, blobs: tuple[str, ...], images: Any, count: int | None = None
) -> tuple[NetQueries, tuple[NamedImage, ...]]:
    """The network with what is given for its inputs, to be asked for `blobs`; and the images, not yet read.

    `whole` is the network of `net`. Of many images, `count` are taken, evenly spaced.
    """
    part, given = whole.part(*blobs).taking(images)
    if len(given) == 1 and isinstance(given[0], np.ndarray) and given[0].ndim > len(part.shape):
        given = list(given[0])
    found: list[NamedImage] = []
    for one in given:
        if isinstance(one, str | Path):
            collection = ImageCollection.of(one)
            found += [
                NamedImage(collection.name(k), collection.part(k, k + 1)) for k in range(len(collection))
            ]
        else:
            found.append(NamedImage(f"image {len(found)}", np.asarray(one)))
    if not found:
        raise InputError("no images are given: give a file, a folder or an array.")
    wanted = len(found) if count is None else min(count, len(found))
    chosen = tuple(found[int(k)] for k in np.arange(wanted) * len(found) // max(wanted, 1))
    live = None if isinstance(net, Network | NetParameter | str | Path) else net
    return NetQueries(whole.like(part), blobs, live), chosen


def _stem(method: str) -> str:
    return method.replace("+", "p")
