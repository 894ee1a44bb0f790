"""Show the class of each pixel of images, as pictures, maps and a table."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from caffe_viz import tables
from caffe_viz.errors import InputError
from caffe_viz.figures.palette import class_colours, voc_colours
from caffe_viz.figures.picture import Picture
from caffe_viz.figures.screen import on_screen
from caffe_viz.figures.segments import Entry, class_map, class_map_over, with_legend
from caffe_viz.files import stems, write_whole
from caffe_viz.images import display_rgb
from caffe_viz.images.pixels import Floats
from caffe_viz.network import Network, PathLike
from caffe_viz.segmentation import Labels, Segmented, Segmenter
from caffe_viz.streaming import need_one
from caffe_viz.views.classified import described
from caffe_viz.views.rich import Display, Rich

BACKGROUND = ("background", "__background__")  # names of what is not coloured over an image


@dataclass(frozen=True, repr=False)
class Segmentation(Rich):
    """The class of each pixel of `images`.

    `preprocessing` describes how the images were preprocessed, `doubts` what looks wrong about that.
    """

    images: tuple[Segmented, ...]
    preprocessing: str
    doubts: tuple[str, ...]
    engine: str

    def over(self, row: int = 0) -> Picture:
        """Draw the classes of image `row` in colours, with a legend; over the image if the input is one."""
        return over(self._shown(row))

    def alone(self, row: int = 0) -> Picture:
        """Draw the classes of image `row` in colours, with a legend."""
        return alone(self._shown(row))

    @property
    def table(self) -> tables.Table:
        rows: list[tuple[Any, ...]] = []
        for one in self.images:
            rows += [(one.image, float(f"{x.share:.6f}"), x.number, x.name) for x in one.shares]
            if one.failed:
                rows.append((one.image, None, None, one.failed))
        columns = ("image", "share", "class", "label")
        return tables.Table(f"share of pixels ({self.engine}; {self.preprocessing})", columns, tuple(rows))

    def save(self, folder: PathLike) -> list[Path]:
        """Write the pictures and the label map of each image into `folder`, as `save_segmented`."""
        shown = [one for one in self.images if not one.failed]
        names = stems(one.image for one in shown)
        return [
            path for one, stem in zip(shown, names, strict=True) for path in save_segmented(one, folder, stem)
        ]

    def _shown(self, row: int) -> Segmented:
        one = self.images[row]
        if one.failed:
            raise InputError(one.failed)
        return one

    def __repr__(self) -> str:
        return "\n".join([str(self.table), *(f"warning: {doubt}" for doubt in self.doubts)])

    def _look(self) -> Display:
        pictures = [over(one) for one in self.images if not one.failed][:1]
        return Display(pictures, [f"warning: {doubt}" for doubt in self.doubts], [self.table])


def segment(net: Any, images: PathLike | Iterable[PathLike], blob: str | None = None) -> Segmentation:
    """Return the class of each pixel of `images`.

    Args:
        net: A net from `load_net`.
        images: As for `classify`.
        blob: The blob that holds the class scores. Default: the net's answer.

    Raises:
        InputError: No such image, none that can be read, or a net that does not classify pixels.

    Example::

        cv.segment(net, "street.jpg").save("out")
    """
    network, collection = Network.of(net).collection(images)
    segmenter = Segmenter(network, collection, blob)
    found = tuple(segmenter)
    need_one([one.failed for one in found if one.failed], len(found))
    return Segmentation(found, described(segmenter.network), segmenter.doubts, segmenter.engine)


def over(one: Segmented) -> Picture:
    """The classes in colours over their image, with a legend; alone where the input is no picture."""
    if one.rgb is None:
        return alone(one)
    clear = [x.number for x in one.shares if x.name.lower() in BACKGROUND]
    image = on_screen(display_rgb(one.rgb))
    return with_legend(class_map_over(image, _at(one.labels, image), _colours(one), clear), _legend(one))


def alone(one: Segmented) -> Picture:
    """The classes in colours, with a legend."""
    return with_legend(on_screen(class_map(one.labels, _colours(one))), _legend(one))


def save_segmented(one: Segmented, folder: PathLike, stem: str) -> list[Path]:
    """Write STEM_segments.png, the map over the image, STEM_classes.png, the map alone, and STEM_labels.png.

    That holds the number of the class of each pixel, in 8 bits with PASCAL VOC's colours, as its label files,
    or in 16 bits.
    """
    paths = [Path(folder) / f"{stem}_{what}.png" for what in ("segments", "classes", "labels")]
    over(one).save(paths[0])
    alone(one).save(paths[1])
    write_whole(paths[2], label_png(one.labels))
    return paths


def label_png(labels: Labels) -> bytes:
    """Numbers (h, w) of 8 or 16 bits as the bytes of a PNG that holds them as they are."""
    from PIL import Image

    image, data = Image.fromarray(labels), io.BytesIO()
    if labels.dtype == np.uint8:
        image = Image.fromarray(labels, "P")
        image.putpalette(np.rint(voc_colours(256) * 255).astype(np.uint8).tobytes())
    image.save(data, "png")
    return data.getvalue()


def _at(labels: Labels, image: Floats) -> Labels:
    """The number at each pixel of an image of another size."""
    rows, columns = (
        (np.arange(new) * old // new) for new, old in zip(image.shape, labels.shape, strict=False)
    )
    return labels[np.ix_(rows, columns)]


def _colours(one: Segmented) -> Floats:
    """By number; a background is black."""
    colours = class_colours(max((x.number for x in one.shares), default=0) + 1)
    colours[[x.number for x in one.shares if x.name.lower() in BACKGROUND]] = 0
    return colours


def _legend(one: Segmented) -> list[Entry]:
    colours = _colours(one)
    return [
        Entry(colours[x.number], f"{x.number} {x.name}".rstrip() + f"  {100 * x.share:.1f} %")
        for x in one.shares
    ]
