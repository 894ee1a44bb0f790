"""Show how faithful attributions are, as tables, curves, and tables in a Markdown file."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from caffe_viz import tables
from caffe_viz.attribution import Settings
from caffe_viz.attribution.targets import asked_blobs
from caffe_viz.errors import InputError, near
from caffe_viz.evaluation import BASELINES, RULE, Curves, Sanity, cases, curves, sanity
from caffe_viz.evaluation.sanity import mean
from caffe_viz.figures import Picture
from caffe_viz.figures.panels import Panel, panels
from caffe_viz.files import write_whole
from caffe_viz.network import Array, Network, PathLike
from caffe_viz.views.attributed import asking_of
from caffe_viz.views.markdown import markdown, marks, need_marks
from caffe_viz.views.rich import Display, Rich

CHECKS = ("curves", "sanity")
RANDOM = ("random", "random-smooth")
STAGES = (0.25, 0.5, 0.75, 1.0)  # of the layers, in the table


@dataclass(frozen=True, repr=False)
class Evaluated(Rich):
    """The results of an evaluation: `curves` and `sanity`, of which one may be None.

    `refused` lists methods that do not fit the net, with the reason.
    """

    curves: Curves | None
    sanity: Sanity | None
    refused: tuple[tuple[str, str], ...] = ()
    interrupted: bool = False

    @property
    def engine(self) -> str:
        """The engine that computed the results."""
        return next(one.engine for one in (self.curves, self.sanity) if one is not None)

    @property
    def tables(self) -> dict[str, tables.Table]:
        """One table for each check, by its name."""
        made = {}
        if self.curves is not None:
            made["curves"] = curves_table(self.curves)
        if self.sanity is not None:
            made["sanity"] = sanity_table(self.sanity)
        return made

    @cached_property
    def pictures(self) -> dict[str, Picture]:
        """One picture for each check, by its name: means over all cases."""
        made = {}
        if self.curves is not None:
            made["curves"] = curves_picture(self.curves)
        if self.sanity is not None:
            made["sanity"] = sanity_picture(self.sanity)
        return made

    @property
    def verdict(self) -> str:
        """Which methods fail the check by random weights, and by which rule."""
        if self.sanity is None:
            return ""
        return f"failed the check by random weights: {', '.join(self.sanity.failed) or 'none'} ({RULE})"

    def save(self, folder: PathLike) -> list[Path]:
        """Write an npz and a PNG for each check into `folder`."""
        paths = list[Path]()
        for name, result in zip(CHECKS, (self.curves, self.sanity), strict=True):
            if result is not None:
                paths += [Path(folder) / f"{name}.npz", Path(folder) / f"{name}.png"]
                result.save(paths[-2])
                self.pictures[name].save(paths[-1])
        return paths

    @classmethod
    def load(cls, folder: PathLike) -> Evaluated:
        """Read the npz files that `save` wrote into `folder`, one or both.

        Raises:
            InputError: There is none, one is of another kind, or they are not of the same cases.
        """
        files = {name: Path(folder) / f"{name}.npz" for name in CHECKS}
        there = {name: file for name, file in files.items() if file.exists()}
        if not there:
            raise InputError(f"{folder} holds neither curves.npz nor sanity.npz.")
        curves = Curves.load(there["curves"]) if "curves" in there else None
        sanity = Sanity.load(there["sanity"]) if "sanity" in there else None
        if curves is not None and sanity is not None and not _same_cases(curves, sanity):
            raise InputError(
                f"{folder} holds curves.npz and sanity.npz of different images, targets or engines: remove "
                f"one of them, or give each evaluation a folder of its own (--output)."
            )
        return cls(curves, sanity)

    def write(self, path: PathLike, net: str) -> None:
        """Put the tables between their marks in a Markdown file; see `need_marks`."""
        text = need_marks(path, net, list(self.tables))
        for name, table in self.tables.items():
            begin, end = marks(net, name)
            before, rest = text.split(begin, 1)
            after = rest.split(end, 1)[1]
            words = [markdown(table), self.verdict] if name == "sanity" else [markdown(table)]
            text = f"{before}{begin}\n{chr(10).join(words)}\n{end}{after}"
        write_whole(path, text.encode())

    def __repr__(self) -> str:
        words = [*map(str, self.tables.values()), self.verdict]
        return "\n\n".join(
            filter(None, [*words, *(f"{method}: {reason}" for method, reason in self.refused)])
        )

    def _look(self) -> Display:
        refused = [f"{method}: {reason}" for method, reason in self.refused]
        lines = [line for line in (self.verdict, *refused) if line]
        return Display([*self.pictures.values()], lines, [*self.tables.values()])


def show_evaluation(
    net: Any,
    images: PathLike | Sequence[PathLike] | Array,
    targets: int | str | Sequence[int | str] | None = None,
    methods: str | Sequence[str] = "all",
    layer: str | None = None,
    *,
    count: int | None = None,
    checks: Sequence[str] = CHECKS,
    points: int = 64,
    settings: Settings | None = None,
    cluster: Any = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    on_note: Callable[[str], None] = lambda note: None,
) -> Evaluated:
    """Measure how faithful attribution methods are, by deletion and insertion curves and by random weights.

    Ctrl-C stops early and keeps the finished cases. A case is an image with a target.

    Args:
        net: A net from `load_net`.
        images: Files, folders, .zip archives, or an array (N, C, H, W) in units of the input. For a net with
            several inputs, a mapping from input name to file or array.
        targets: As for `show_attribution`.
        methods: Names of methods; "all" takes those that fit.
        layer: As for `show_attribution`.
        count: Use only this many of the images, evenly spaced.
        checks: "curves", "sanity" or both.
        points: How many points a curve has.
        settings: As for `show_attribution`; its seed is used for everything random.
        cluster: A dask client whose workers do the work.
        on_progress: Called with (done, total).
        on_note: Called with a message when a worker has died.

    Raises:
        InputError: No such image, target, method, layer or check; or a named method does not fit the net.

    Example::

        cv.show_evaluation(net, "photos", methods=["grad-cam", "occlusion"], count=2).tables["curves"]
    """
    checks = need_checks(checks)
    whole = Network.of(net, weights=False)
    asked = [targets] if isinstance(targets, int | str) else targets
    asking, given = asking_of(net, whole, asked_blobs(whole, asked, layer), images, count)
    if whole is net:
        whole.check()
    how = settings or Settings()
    chosen = None if methods == "all" else [methods] if isinstance(methods, str) else methods

    def report(check: str) -> Callable[[float], None]:
        before = checks.index(check)
        return lambda share: on_progress(round(1000 * (before + share)), 1000 * len(checks))

    found = checked = None
    interrupted = False
    with asking.run(cluster) as run:
        c = cases(asking, given, asked, chosen, layer, settings=how, run=run, on_note=on_note)
        common: dict[str, Any] = {"seed": how.seed, "run": run, "on_note": on_note}
        if "curves" in checks:
            found = curves(c, points=points, on_progress=report("curves"), **common)
            interrupted = found.interrupted
        if "sanity" in checks and not interrupted:
            try:
                checked = sanity(c, on_progress=report("sanity"), **common)
                interrupted = checked.interrupted
            except KeyboardInterrupt:
                if found is None:
                    raise
                interrupted = True
    return Evaluated(found, checked, c.refused, interrupted)


def curves_table(c: Curves) -> tables.Table:
    """Mean areas with their standard errors, and in how many cases they are better than random maps'."""
    rows = list[tuple[Any, ...]]()
    for m, method in enumerate(c.methods):
        areas = (_with_error(found[m]) for found in (c.deletion_areas, c.insertion_areas))
        better = [c.beats(method, name) for name in RANDOM]
        counts = [" / ".join(str(pair[k]) for pair in better) for k in (0, 1)]
        rows.append((method, *areas, *(counts if method not in BASELINES else ("", ""))))
    columns = (
        "method", "deletion area (low is good)", "insertion area (high is good)",
        f"deletion better than {' / '.join(RANDOM)}", f"insertion better than {' / '.join(RANDOM)}",
    )  # fmt: skip
    title = f"{c.unit}, {len(c.names):,} cases, {len(c.shares)} points ({c.engine})"
    return tables.Table(title, columns, tuple(rows))


def sanity_table(s: Sanity) -> tables.Table:
    """Mean rank correlation and SSIM with the trained net's map, when ever more layers are random."""
    places = [0, *(math.ceil(share * len(s.layers)) - 1 for share in STAGES)]
    stages = dict(zip(["top layer", *(f"{share:.0%}" for share in STAGES)], places, strict=True))
    rows = list[tuple[Any, ...]]()
    for m, method in enumerate(s.methods):
        values = [
            _number(mean(found[m, place]))
            for found in (s.correlation, s.similarity)
            for place in stages.values()
        ]
        blank = "no map" if values[0] is None else ""
        rows.append((method, *values, "fails" if method in s.failed else blank))
    columns = (*(f"rank {stage}" for stage in stages), *(f"SSIM {stage}" for stage in stages))
    title = f"{len(s.layers)} layers random from the top down, {len(s.names):,} cases ({s.engine})"
    return tables.Table(title, ("method", *columns, "check"), tuple(rows))


def curves_picture(c: Curves) -> Picture:
    """Mean curves of deletion and insertion; baselines grey."""
    drawn = [
        Panel(title, "share of the pixels", c.unit, c.shares, _by_name(c.methods, values.mean(1)))
        for title, values in (
            ("deletion: pixels become the mean", c.deletion),
            ("insertion: pixels of the blurred image come back", c.insertion),
        )
    ]
    return panels(drawn, tuple(BASELINES))


def sanity_picture(s: Sanity) -> Picture:
    """Mean rank correlation and SSIM against the layers, the first to become random on the left."""
    x = np.arange(len(s.layers))
    drawn = [
        Panel(title, "random as far as", ylabel, x, _by_name(s.methods, mean(values)), s.layers)
        for title, ylabel, values in (
            ("maps against those of the trained net", "rank correlation", s.correlation),
            ("the same by SSIM", "SSIM", s.similarity),
        )
    ]
    return panels(drawn)


def need_checks(given: Sequence[str]) -> tuple[str, ...]:
    """`given` in the order in which they are made, each once.

    Raises:
        InputError: no such check.
    """
    for name in given:
        if name not in CHECKS:
            raise InputError(f"check {name!r} is unknown.{near(name, CHECKS)}")
    return tuple(name for name in CHECKS if name in given)


def _same_cases(curves: Curves, sanity: Sanity) -> bool:
    """Whether both are of the same images and targets; of an interrupted one only some are there."""
    both: tuple[Curves | Sanity, ...] = (curves, sanity)
    if (curves.engine, curves.asked) != (sanity.engine, sanity.asked):
        return False
    one, other = (dict(zip(_numbers(x), zip(x.names, x.targets, strict=True), strict=False)) for x in both)
    return all(one[number] == other[number] for number in one.keys() & other.keys())


def _numbers(found: Curves | Sanity) -> Sequence[int]:
    """The numbers of its cases."""
    return found.numbers or range(len(found.names))


def _by_name(names: Sequence[str], values: Array) -> Mapping[str, Array]:
    return dict(zip(names, values, strict=True))


def _with_error(areas: Any) -> str:
    error = np.std(areas, ddof=1) / np.sqrt(len(areas)) if len(areas) > 1 else np.nan
    return f"{np.mean(areas):.3f}" + (f" ± {error:.3f}" if np.isfinite(error) else "")


def _number(value: Any) -> float | None:
    return None if np.isnan(value) else float(f"{value:.2f}")
