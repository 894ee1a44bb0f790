"""Show what a net finds in images, as boxes over them and as a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caffe_viz import tables
from caffe_viz.detection import OVERLAP, THRESHOLD, Detected, Detector
from caffe_viz.errors import InputError
from caffe_viz.figures.boxes import Frame, framed
from caffe_viz.figures.palette import class_colours
from caffe_viz.figures.picture import Picture
from caffe_viz.files import stems, write_whole
from caffe_viz.network import Network, PathLike
from caffe_viz.streaming import need_one
from caffe_viz.views.classified import described
from caffe_viz.views.rich import Display, Rich

DRAWN = 100  # boxes of a picture: with more nothing is to be seen
COLUMNS = ("image", "score", "class", "label", "left", "top", "right", "bottom")


@dataclass(frozen=True, repr=False)
class Detections(Rich):
    """The boxes found in `images`.

    `said` names what in the net holds the boxes, `preprocessing` describes how the images were preprocessed,
    `doubts` what looks wrong about that.
    """

    images: tuple[Detected, ...]
    said: str
    preprocessing: str
    doubts: tuple[str, ...]
    engine: str

    def over(self, row: int = 0) -> Picture:
        """Draw image `row` with its boxes.

        Raises:
            InputError: The image failed, or the input is not a picture.
        """
        return over(self.images[row])

    @property
    def table(self) -> tables.Table:
        rows = [row for one in self.images for row in box_rows(one)]
        return tables.Table(f"boxes ({self.engine}; {self.preprocessing}; {self.said})", COLUMNS, tuple(rows))

    def save(self, folder: PathLike) -> list[Path]:
        """Write each image with its boxes as STEM_boxes.png, and all boxes as boxes.csv."""
        paths = [
            path
            for one, stem in zip(self.images, stems(one.image for one in self.images), strict=True)
            for path in save_detected(one, folder, stem)
        ]
        return [*paths, save_boxes(self.images, folder)]

    def __repr__(self) -> str:
        return "\n".join([str(self.table), *(f"warning: {doubt}" for doubt in self.doubts)])

    def _look(self) -> Display:
        pictures = [over(one) for one in self.images if not one.failed and one.rgb is not None][:1]
        return Display(pictures, [f"warning: {doubt}" for doubt in self.doubts], [self.table])


def detect(
    net: Any, images: PathLike | Iterable[PathLike], *, threshold: float = THRESHOLD,
    overlap: float = OVERLAP, anchors: str | None = None,
) -> Detections:  # fmt: skip
    """Find objects in `images` with a detection net, such as SSD, YOLO or Faster R-CNN.

    Args:
        net: A net from `load_net`.
        images: As for `classify`.
        threshold: The lowest score that counts.
        overlap: Of boxes of one class that overlap by more than this (intersection over union), only the one
            with the highest score is kept, unless the net itself has chosen already.
        anchors: The anchors of a YOLO grid: a known name, or "w,h,w,h,...".

    Raises:
        InputError: No such image, none that can be read, or a net that does not end in boxes.

    Example::

        cv.detect(net, "street.jpg", threshold=0.6).save("out")
    """
    network, collection = Network.of(net).collection(images)
    detector = Detector(network, collection, threshold=threshold, overlap=overlap, anchors=anchors)
    found = tuple(detector)
    need_one([one.failed for one in found if one.failed], len(found))
    return Detections(
        found, detector.decoder.said, described(detector.network), detector.doubts, detector.engine
    )


def over(one: Detected) -> Picture:
    """Draw the image with its 100 highest-scoring boxes, the highest in front.

    Raises:
        InputError: It failed, or the input is not a picture.
    """
    if one.failed or one.rgb is None:
        raise InputError(one.failed or f"{one.image}: the input of the net is not a picture.")
    colours = class_colours(max((box.number for box in one.boxes), default=0) + 1)
    frames = [
        Frame(*box[3:], f"{box.name or box.number} {box.score:.2f}", colours[box.number])
        for box in one.boxes[:DRAWN]
    ]
    return framed(one.rgb, frames)


def save_detected(one: Detected, folder: PathLike, stem: str) -> list[Path]:
    """Write the image with its boxes as STEM_boxes.png, unless it failed or is not a picture."""
    if one.failed or one.rgb is None:
        return []
    path = Path(folder) / f"{stem}_boxes.png"
    over(one).save(path)
    return [path]


def save_boxes(images: Iterable[Detected], folder: PathLike) -> Path:
    """Write the boxes of all images as boxes.csv."""
    path, text = Path(folder) / "boxes.csv", io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(row for one in images if not one.failed for row in box_rows(one))
    write_whole(path, text.getvalue().encode())
    return path


def box_rows(one: Detected) -> list[tuple[Any, ...]]:
    """The rows of the table, of a failed image its reason; places in tenths of pixels."""
    if one.failed:
        return [(one.image, None, None, one.failed, *[None] * 4)]
    return [
        (one.image, float(f"{box.score:.6f}"), box.number, box.name, *(round(x, 1) for x in box[3:]))
        for box in one.boxes
    ]
