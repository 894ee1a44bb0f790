"""Commands for nets that locate things in an image: `segment` and `detect`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caffe_viz.cli.app import INTERRUPTED
from caffe_viz.cli.networks import Running, command
from caffe_viz.cli.options import Images, Json, Output
from caffe_viz.cli.parts import print_files

if TYPE_CHECKING:
    from caffe_viz.detection import Detected, Detector
    from caffe_viz.images import ImageCollection
    from caffe_viz.segmentation import Segmented, Segmenter


@command
def segment(
    net: Running,
    image: Images,
    blob: Annotated[
        str | None,
        typer.Option(help="Blob with the class of each pixel. [default: the net's answer]"),
    ] = None,
    output: Output = Path("out"),
    as_json: Json = False,
) -> None:
    """Show the class of each pixel, for nets such as FCN, SegNet, DeepLab and ENet.

    Example: `caffe-viz segment deploy.prototxt fcn.caffemodel --example`

    Writes the classes in colour over the image and alone, and a map of class numbers.
    """
    from caffe_viz.files import need_folder
    from caffe_viz.segmentation import Segmenter
    from caffe_viz.views.classified import described
    from caffe_viz.views.segmented import save_segmented

    need_folder(output)
    given, collection = net.given().collection(image)
    segmenter = Segmenter(given, collection, blob)
    if not as_json:
        print(f"preprocessing: {described(segmenter.network)}")
        dense = segmenter.dense
        print(f"classes of pixels: {dense.blob}, {dense.meaning.value}; engine: {segmenter.engine}")
    _warn(segmenter.doubts)

    def done(one: Segmented, stem: str) -> dict[str, Any]:
        paths = save_segmented(one, output, stem)
        if not as_json:
            print(one.image)
            for x in one.shares:
                print(f"{100 * x.share:6.2f} %  {x.number}  {x.name}".rstrip())
            print_files(paths)
        return _segmented_json(one) | {"files": list(map(str, paths))}

    found = _each(segmenter, collection, done)
    if as_json:
        made = _told(segmenter) | {"blob": segmenter.dense.blob}
        print(json.dumps(made | {"images": found.rows}))
    found.end()


@command
def detect(
    net: Running,
    image: Images,
    threshold: Annotated[float, typer.Option(help="Lowest score of the boxes that are kept.")] = 0.5,
    nms: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Intersection over union above which only the best of two boxes of a class is kept, unless "
            "the net itself has made that choice.",
        ),
    ] = 0.45,
    anchors: Annotated[
        str | None,
        typer.Option(
            help="Anchors of YOLO's grids: yolov2, yolov2-voc, yolov2-tiny-voc, yolov3, yolov3-tiny, yolov4, "
            "or widths and heights such as 10,13,16,30. [default: by the number of outputs]"
        ),
    ] = None,
    output: Output = Path("out"),
    as_json: Json = False,
) -> None:
    """Find objects, for nets such as SSD, YOLO and Faster R-CNN.

    Example: `caffe-viz detect deploy.prototxt ssd.caffemodel --example`

    Writes boxes with classes and scores, over the image and as a table.
    """
    from caffe_viz.detection import Detector
    from caffe_viz.files import need_folder
    from caffe_viz.views.classified import described
    from caffe_viz.views.detected import save_boxes, save_detected

    need_folder(output)
    given, collection = net.given().collection(image)
    detector = Detector(given, collection, threshold=threshold, overlap=nms, anchors=anchors)
    if not as_json:
        print(f"preprocessing: {described(detector.network)}")
        found_labels = "" if detector.network.preprocess.labels else detector.labels.source
        labels = f"; labels: {found_labels}" if found_labels else ""
        print(f"boxes: {detector.decoder.said}; engine: {detector.engine}{labels}")
    _warn(detector.doubts)
    kept: list[Detected] = []

    def done(one: Detected, stem: str) -> dict[str, Any]:
        paths = save_detected(one, output, stem)
        kept.append(replace(one, rgb=None))
        if not as_json:
            print(one.image)
            for box in one.boxes:
                places = " ".join(f"{x:.1f}" for x in box[3:])
                print(
                    "  ".join(
                        [f"{box.score:.4f}", str(box.number), *([box.name] if box.name else []), places]
                    )
                )
            print_files(paths)
        return _detected_json(one) | {"files": list(map(str, paths))}

    found = _each(detector, collection, done)
    table = save_boxes(kept, output)
    if as_json:
        made = _told(detector) | {"boxes": detector.decoder.said}
        print(json.dumps(made | {"table": str(table), "images": found.rows}))
    else:
        print(table)
    found.end()


@dataclass
class _Images:
    """The results of all images, and whether Ctrl-C ended the run."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    interrupted: bool = False

    def end(self) -> None:
        """Raise Exit after Ctrl-C, or InputError if every image failed."""
        from caffe_viz.streaming import need_one

        if self.interrupted:
            print(f"interrupted after {len(self.rows)} images", file=sys.stderr)
            raise typer.Exit(INTERRUPTED)
        need_one([row["failed"] for row in self.rows if row.get("failed")], len(self.rows))


def _each(
    found: Iterable[Any], collection: ImageCollection, done: Callable[[Any, str], dict[str, Any]]
) -> _Images:
    """Have `done` write each image under its own name; report and skip those that cannot be read."""
    from caffe_viz.files import stems

    out = _Images()
    names = stems(collection.name(number) for number in range(len(collection)))
    try:
        for one, stem in zip(found, names, strict=True):
            if not one.failed:
                out.rows.append(done(one, stem))
                continue
            out.rows.append({"image": one.image, "failed": one.failed})
            if len(collection) > 1:  # the only one's failure is the command's
                print(f"skipped: {one.failed}", file=sys.stderr)
    except KeyboardInterrupt:
        out.interrupted = True
    return out


def _told(made: Segmenter | Detector) -> dict[str, Any]:
    """The part of the JSON output that both commands share."""
    from caffe_viz.views.classified import settings

    how = settings(made.network.preprocess)
    return {"engine": made.engine, "preprocess": how, "warnings": made.doubts}


def _warn(doubts: Iterable[str]) -> None:
    for doubt in doubts:
        print(f"warning: {doubt}", file=sys.stderr)


def _segmented_json(one: Segmented) -> dict[str, Any]:
    classes = [{"index": x.number, "label": x.name, "pixels": x.pixels, "share": x.share} for x in one.shares]
    height, width = one.labels.shape
    return {"image": one.image, "height": height, "width": width, "void": one.void, "classes": classes}


def _detected_json(one: Detected) -> dict[str, Any]:
    boxes = [
        {"index": box.number, "label": box.name, "score": box.score, "box": list(box[3:])}
        for box in one.boxes
    ]
    height, width = one.size
    return {"image": one.image, "height": height, "width": width, "boxes": boxes}
