"""Show logs of trainings: curves, a summary, and every value as a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from caffe_viz.figures import Picture
from caffe_viz.figures.logs import log_curves
from caffe_viz.files import write_whole
from caffe_viz.network import PathLike
from caffe_viz.recording.logs import Curve, Run, read_logs
from caffe_viz.tables import Table
from caffe_viz.views.rich import Display, Rich


@dataclass(frozen=True, repr=False)
class Logged(Rich):
    """The `runs` in one or more logs."""

    runs: tuple[Run, ...]

    @property
    def curves(self) -> Picture:
        """Draw losses, other scores and the learning rate over iterations."""
        shown = [
            (run.name, {name: (c.iterations, c.values) for name, c in run.curves.items()})
            for run in self.runs
        ]
        return log_curves(shown)

    @property
    def table(self) -> Table:
        """One row for each curve: its last, lowest and highest value, and the iterations of these."""
        rows = tuple(
            (run.name, name, len(curve.values), int(curve.iterations[-1]), *_ends(curve))
            for run in self.runs
            for name, curve in run.curves.items()
        )
        columns = ("run", "curve", "values", "until", "last", "lowest", "lowest at", "highest", "highest at")
        return Table("training", columns, rows)

    @property
    def values(self) -> Table:
        """One row for each iteration at which a run logged something; None where a curve has no value."""
        names = list(dict.fromkeys(name for run in self.runs for name in run.curves))
        rows = [row for run in self.runs for row in _rows(run, names)]
        return Table("values", ("run", "iteration", *names), tuple(rows))

    @property
    def notes(self) -> list[str]:
        """What could not be read."""
        return list(dict.fromkeys(run.note for run in self.runs if run.note))

    def save(self, folder: PathLike) -> list[Path]:
        """Write evolution_log.png, and every value as evolution_log.csv."""
        paths = [Path(folder) / "evolution_log.png", Path(folder) / "evolution_log.csv"]
        self.curves.save(paths[0])
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(self.values.columns)
        writer.writerows(self.values.rows)
        write_whole(paths[1], out.getvalue().encode())
        return paths

    def to_json(self) -> dict[str, Any]:
        """The summary and all values, for JSON; NaN and infinity become null."""
        values = [{k: _finite(v) for k, v in row.items()} for row in self.values.to_json()]
        return {"curves": self.table.to_json(), "values": values}

    def __repr__(self) -> str:
        return str(self.table)

    def _look(self) -> Display:
        return Display([self.curves], self.notes, [self.table])


def show_log(source: PathLike | Sequence[PathLike]) -> Logged:
    """Show what Caffe's own log of a training says. Several logs share one picture; they may be gzipped.

    Raises:
        InputError: A file cannot be read, or is not the log of a training.

    Example::

        cv.show_log("caffe.log").curves
    """
    return Logged(read_logs([source] if isinstance(source, str | Path) else source))


def _rows(run: Run, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    curves = {
        name: dict(zip(c.iterations.tolist(), c.values.tolist(), strict=True))
        for name, c in run.curves.items()
    }
    for at in sorted({iteration for curve in curves.values() for iteration in curve}):
        yield run.name, at, *(curves.get(name, {}).get(at) for name in names)


def _ends(curve: Curve) -> tuple[Any, ...]:
    """Last, lowest and where, highest and where, of four digits."""
    good = np.flatnonzero(np.isfinite(curve.values))
    last = _short(float(curve.values[-1]))
    if not good.size:
        return last, None, None, None, None
    low, high = (int(good[pick(curve.values[good])]) for pick in (np.argmin, np.argmax))
    return last, *(x for k in (low, high) for x in (_short(float(curve.values[k])), int(curve.iterations[k])))


def _short(value: float) -> float | None:
    return float(f"{value:.4g}") if np.isfinite(value) else None


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value
