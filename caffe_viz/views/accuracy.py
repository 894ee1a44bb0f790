"""Show how many answers are right: numbers, confusion matrix, classes, most confident mistakes."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from caffe_viz.classification.accuracy import TOP, Mistake, Tally
from caffe_viz.errors import InputError
from caffe_viz.figures import Picture, contact_sheet
from caffe_viz.figures.confusion import MOST, confusion_matrix
from caffe_viz.files import write_whole
from caffe_viz.images import ImageCollection, display_rgb, resized
from caffe_viz.network import Array, Network, PathLike
from caffe_viz.tables import Table
from caffe_viz.views.rich import Display, Rich

THUMB = 96  # pixels of the longer side


@dataclass(frozen=True, repr=False)
class Accuracy(Rich):
    """How many of a network's answers are right; `tally` holds the counts."""

    tally: Tally
    network: Network
    collection: ImageCollection

    @property
    def lines(self) -> list[str]:
        """The numbers in words."""
        t = self.tally
        head = f" of {t.truth.head.answer}" if len(self.network.heads) > 1 else ""
        classes = len({right for right, _ in t.pairs})
        found = [
            f"truth: {t.truth.said_by}; {t.images:,} images of {classes:,} classes{head}, "
            f"{t.failed:,} skipped",
            f"top-1 accuracy: {t.top1:.4f}",
        ]
        return found if t.top5 is None else [*found, f"top-{TOP} accuracy: {t.top5:.4f}"]

    @property
    def table(self) -> Table:
        """One row for each class: how many of its images were right, and what it was mistaken for most."""
        t = self.tally
        best = {right: (count, guess) for (right, guess), count in sorted(t.pairs.items(), key=lambda x: x[1])
                if right != guess}  # fmt: skip
        rows = []
        for row in t.recall():
            count, guess = best.get(row["class"], (0, 0))
            taken = f"{t.truth.name(guess)} ({count:,})" if count else ""
            rows.append((*row.values(), taken))
        columns = ("class", "label", "images", "recall", *([f"top {TOP}"] if t.top5 is not None else []))
        formats = {"recall": ".4f", f"top {TOP}": ".4f"}
        return Table("recall by class", (*columns, "most often taken for"), tuple(rows), formats)

    @cached_property
    def picture(self) -> Picture:
        """Draw the confusion matrix.

        Raises:
            InputError: There are too many classes for a picture.
        """
        t = self.tally
        names = [t.truth.name(number) for number in t.classes]
        return confusion_matrix(t.confusion, names, f"{t.images:,} images, top-1 accuracy {t.top1:.4f}")

    @cached_property
    def mistakes(self) -> Picture | None:
        """Draw the images of the most confident mistakes, with true class, answer and probability."""
        shown = [
            (mistake, thumb) for mistake in self.tally.mistakes if (thumb := self._thumb(mistake)) is not None
        ]
        name = self.tally.truth.name
        titles = [f"{name(m.truth)}, not {name(m.guess)} {m.value:.3f}" for m, _ in shown]
        return contact_sheet([thumb for _, thumb in shown], titles) if shown else None

    def save(self, folder: PathLike) -> list[Path]:
        """Write confusion.csv, confusion.png, classes.csv, mistakes.csv and mistakes.png into `folder`."""
        folder, t = Path(folder), self.tally
        names = [t.truth.name(number) for number in t.classes]
        counts = t.confusion.tolist()
        matrix = [
            ["truth \\ answer", *names],
            *([name, *row] for name, row in zip(names, counts, strict=True)),
        ]
        made = [[m.image, t.truth.name(m.truth), t.truth.name(m.guess), m.value] for m in t.mistakes]
        files = {
            "confusion.csv": matrix, "classes.csv": [self.table.columns, *self.table.rows],
            "mistakes.csv": [["image", "truth", "answer", "value"], *made],
        }  # fmt: skip
        for name, rows in files.items():
            write_whole(folder / name, _csv(rows))
        pictures = {
            "confusion.png": self.picture if 0 < len(names) <= MOST else None,
            "mistakes.png": self.mistakes,
        }
        for name, picture in pictures.items():
            if picture is not None:
                picture.save(folder / name)
        return [folder / name for name in (*files, *(name for name, p in pictures.items() if p is not None))]

    def to_json(self) -> dict[str, Any]:
        """All numbers, for JSON."""
        t = self.tally
        return {
            "truth": t.truth.said_by, "answer": t.truth.head.answer, "images": t.images, "failed": t.failed,
            "top1": t.top1, "top5": t.top5, "classes": t.recall(),
            "confusion": {"classes": t.classes, "counts": t.confusion.tolist()},
            "mistakes": [mistake._asdict() for mistake in t.mistakes],
        }  # fmt: skip

    def __repr__(self) -> str:
        return "\n".join([*self.lines, str(self.table)])

    def _look(self) -> Display:
        few = 0 < len(self.tally.classes) <= MOST
        return Display([self.picture] if few else [], self.lines, [self.table])

    def _thumb(self, mistake: Mistake) -> Array | None:
        """A thumbnail (THUMB, THUMB, 3), padded with white; None if there is no image to see."""
        try:
            rgb = display_rgb(self.collection.load(mistake.number))
        except InputError:
            return None
        height, width = (max(1, round(side * THUMB / max(rgb.shape[:2]))) for side in rgb.shape[:2])
        out = np.ones((THUMB, THUMB, 3), np.float32)
        top, left = (THUMB - height) // 2, (THUMB - width) // 2
        small = resized(rgb, (height, width), antialias=True)
        out[top : top + height, left : left + width] = small.clip(0, 1)
        return out


def _csv(rows: Any) -> bytes:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue().encode()
