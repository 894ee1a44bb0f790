"""Segment images: the class of each pixel, from a net whose answer is a map."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from caffe_viz.classification.preprocessing_checks import check_settings
from caffe_viz.images import ImageCollection
from caffe_viz.network import Network
from caffe_viz.one_by_one import Bytes, ImageResult, OneByOne, seeing_all
from caffe_viz.segmentation.answers import Dense, Meaning, dense_answer, dense_answers
from caffe_viz.segmentation.places import Labels, axes_of, label_map, void_of

__all__ = ["Dense", "Labels", "Meaning", "Segmented", "Segmenter", "Share", "dense_answer", "void_of"]

MASK = ("background", "foreground")  # of one channel


class Share(NamedTuple):
    """A class: its number, its name or "", its number of pixels, and its share of all pixels with a class."""

    number: int
    name: str
    pixels: int
    share: float


@dataclass(frozen=True)
class Segmented:
    """An image by name: `labels` (h, w), the class number of each pixel; or why it `failed`.

    `rgb` (h, w, 3) is None if the input is not a picture. Pixels that the net does not classify are `void`.
    """

    image: str
    labels: Labels
    rgb: Bytes | None = None
    names: tuple[str, ...] = ()
    failed: str = ""

    @property
    def void(self) -> int:
        """The number of pixels without a class: 255, or 65535 with 16 bits."""
        return int(np.iinfo(self.labels.dtype).max)

    @property
    def shares(self) -> tuple[Share, ...]:
        """The classes that occur, the largest first."""
        counts = np.bincount(self.labels.ravel(), minlength=self.void + 1)[: self.void]
        order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
        total = int(counts.sum())
        return tuple(
            Share(int(n), self.names[n] if n < len(self.names) else "", int(counts[n]), counts[n] / total)
            for n in order
        )


class Segmenter:
    """Run a network on a collection of images; iterate for one `Segmented` per image, in order.

    `blob` is by default the net's answer, see `dense_answers`.

    Raises:
        InputError: The net does not classify pixels, or takes no image.
    """

    def __init__(self, network: Network, collection: ImageCollection, blob: str | None = None) -> None:
        network = seeing_all(network)
        self.dense = dense_answer(network, blob)
        others = [one.blob for one in dense_answers(network)]
        self._several = (
            f"the net has {len(others)} answers for each pixel, {', '.join(others)}: this is about "
            f"{self.dense.blob}; --blob chooses"
            if blob is None and len(others) > 1
            else ""
        )
        self._runs = OneByOne(network, collection, [self.dense.blob])
        self.network, self.engine = self._runs.network, self._runs.engine
        self.names = _names(self.network, self.dense)
        self._axes = axes_of(self.network, self.dense)

    def __iter__(self) -> Iterator[Segmented]:
        return map(self._segmented, self._runs)

    @property
    def doubts(self) -> tuple[str, ...]:
        """What makes the settings look wrong, one sentence each."""
        found = [self._several] if self._several else []
        return (*found, *check_settings(self.network, *_counts(self.dense)))

    def _segmented(self, ran: ImageResult) -> Segmented:
        if ran.seen is None or ran.failed:
            return Segmented(ran.name, np.empty((0, 0), np.uint8), failed=ran.failed)
        values = ran.values[self.dense.blob][0]
        labels = label_map(values, self.dense, self._axes, ran.seen.size, ran.seen.window)
        return Segmented(ran.name, labels, ran.seen.rgb, self.names)


def _names(network: Network, dense: Dense) -> tuple[str, ...]:
    """The labels, if there is one for each class; for a mask also one for its inside."""
    labels = network.labels_for(_counts(dense))
    found = labels.of(dense.classes)
    if not found and dense.one_mask:
        return (MASK[0], *labels.of(1)) if labels.of(1) else MASK
    return found


def _counts(dense: Dense) -> tuple[int, ...]:
    """How many labels fit."""
    return (dense.classes, 1) if dense.one_mask else (dense.classes,)
