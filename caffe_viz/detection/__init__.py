"""Detect objects in images: boxes with classes and scores, in pixels of the image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from caffe_viz.classification.preprocessing_checks import check_settings
from caffe_viz.detection.boxes import Found, suppressed
from caffe_viz.detection.decoder import Classes, Decoder
from caffe_viz.detection.detectnet import detectnet_clusters, detectnet_maps
from caffe_viz.detection.regions import proposals, region_classes
from caffe_viz.detection.ssd import detection_output, yolo_output
from caffe_viz.detection.yolo import yolo_grids
from caffe_viz.detection.yolo_v1 import yolo_vector
from caffe_viz.errors import InputError
from caffe_viz.images import ImageCollection
from caffe_viz.network import Network
from caffe_viz.one_by_one import Bytes, ImageResult, NetView, OneByOne, ends_in_words, seeing_all

__all__ = ["Box", "Classes", "Decoder", "Detected", "Detector", "Found", "decoder_of"]

THRESHOLD, OVERLAP = 0.5, 0.45
# Each returns None of a net that ends in something else.
FINDERS: tuple[Callable[[Network], Decoder | None], ...] = (
    detection_output, yolo_output, region_classes, detectnet_clusters, detectnet_maps, yolo_grids,
    yolo_vector, proposals,
)  # fmt: skip


class Box(NamedTuple):
    """An object: the number of its class, its name or "", its score; left, top, right, bottom in pixels."""

    number: int
    name: str
    score: float
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class Detected:
    """The boxes in an image of `size` (h, w), the highest score first, or why it `failed`.

    `rgb` (h, w, 3) is None if the input is not a picture.
    """

    image: str
    size: tuple[int, int] = (0, 0)
    boxes: tuple[Box, ...] = ()
    rgb: Bytes | None = None
    failed: str = ""


def decoder_of(network: Network, anchors: str | None = None) -> Decoder:
    """Find out how to read the boxes of a net; `anchors` are for YOLO's grids, by name or as w,h,w,h.

    Raises:
        InputError: The net ends in nothing known, or `anchors` are of no use.
    """
    if anchors is not None:
        found = yolo_grids(network, anchors)
        if found is None:
            name = network.message.name
            raise InputError(f"anchors: net {name!r} does not end in convolutions of YOLO's grids.")
        return found
    for find in FINDERS:
        if (decoder := find(network)) is not None:
            return decoder
    raise InputError(
        f"net {network.message.name!r} ends in {ends_in_words(network)}: boxes can be read from "
        f"DetectionOutput (SSD and its descendants), YoloDetectionOutput, Yolov3DetectionOutput, Region, the "
        f"grids of YOLO 1 to 4, regions with classes (Fast, Faster and Cascade R-CNN, R-FCN), proposals with "
        f"scores, and DetectNet."
    )


class Detector:
    """Run a network on a collection of images; iterate for one `Detected` per image, in order.

    Boxes have a score of `threshold` or more. Of boxes of one class that overlap by more than `overlap`, the
    one with the highest score is kept, unless the net itself has chosen already.

    Raises:
        InputError: As `decoder_of`, or the net takes no image.
    """

    def __init__(
        self, network: Network, collection: ImageCollection, *, threshold: float = THRESHOLD, overlap: float =
        OVERLAP, anchors: str | None = None,
    ) -> None:  # fmt: skip
        network = seeing_all(network)
        self.decoder = decoder_of(network, anchors)
        if self.decoder.inputs:
            network = network.holding(self.decoder.inputs)
        self._runs = OneByOne(network, collection, self.decoder.blobs)
        self.network, self.engine = self._runs.network, self._runs.engine
        self._threshold, self._overlap = threshold, overlap
        self.labels = self.network.labels_for(self.decoder.classes.counts)
        self._names = self.decoder.classes.names(self.labels)

    def __iter__(self) -> Iterator[Detected]:
        return map(self._detected, self._runs)

    @property
    def doubts(self) -> tuple[str, ...]:
        """What makes the settings look wrong, one sentence each."""
        return tuple(check_settings(self.network, *self.decoder.classes.counts))

    def _detected(self, ran: ImageResult) -> Detected:
        if ran.seen is None or ran.failed:
            return Detected(ran.name, failed=ran.failed)
        found = self.decoder.decode(ran.values)
        found = found.at(found.scores >= self._threshold)
        if not self.decoder.alone:
            found = suppressed(found, self._overlap)
        found = found.at(np.argsort(-found.scores, kind="stable"))
        return Detected(ran.name, ran.seen.size, tuple(self._boxes(found, ran.seen)), ran.seen.rgb)

    def _boxes(self, found: Found, seen: NetView) -> Iterator[Box]:
        """The boxes that lie partly in the image, clipped to it."""
        window, (height, width) = seen.window, seen.size
        scale = np.array([window.width, window.height] * 2)
        places = found.boxes * scale + np.array([window.left, window.top] * 2)
        places = places.clip(0, [width, height, width, height])
        for number, score, (left, top, right, bottom) in zip(found.labels, found.scores, places, strict=True):
            if right > left and bottom > top:
                name = self._names.get(int(number), "")
                yield Box(
                    number=int(number),
                    name=name,
                    score=float(score),
                    left=float(left),
                    top=float(top),
                    right=float(right),
                    bottom=float(bottom),
                )
