"""Classify images, and check whether the preprocessing looks wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from caffe_viz.answers import Head, ends
from caffe_viz.classification.crops import TEN, need_margin, ten_crops
from caffe_viz.classification.preprocessing_checks import check_input, check_settings
from caffe_viz.errors import InputError, about
from caffe_viz.images import ImageCollection
from caffe_viz.images.arrays import as_picture
from caffe_viz.network import Network
from caffe_viz.streaming import Batch, Batched, in_order, reports
from caffe_viz.tasks import Cluster, ImageChunk, Ranges

__all__ = ["Answer", "Classifier", "Guess", "class_heads", "likeliest", "which_answer"]

Array = NDArray[np.float32]
FEW, MANY = 8, 128  # images that tell whether the input's scale looks right, and at most its channel order
ENOUGH = 64  # images for the order: with fewer, a difference may be chance


class Guess(NamedTuple):
    """A class: its number, its label or "", and its probability, or its score if the net has no Softmax."""

    number: int
    label: str
    value: float


@dataclass(frozen=True)
class Answer:
    """The most likely classes of one image, by answer of the net, or why it `failed`."""

    image: str
    heads: Mapping[str, tuple[Guess, ...]]
    failed: str = ""

    @property
    def guesses(self) -> tuple[Guess, ...]:
        """The classes of the net's main answer."""
        return next(iter(self.heads.values()), ())


@dataclass(frozen=True)
class Scored(Batched):
    """Implements `tasks.Work`: batches of the `top` classes: (n, 2, k) their numbers, and means over the
    views.

    No more than these k, of maybe thousands, come to who asked.
    """

    top: int = 5

    def batches(self, some: ImageChunk) -> Iterator[Batch]:
        for batch in super().batches(some):
            means = {blob: v.reshape(*v.shape[:2], -1).mean(1) for blob, v in batch.values.items()}
            yield replace(batch, values={blob: _best(v, self.top) for blob, v in means.items()})

    def pixels(self, some: ImageChunk, number: int) -> Array:
        if self.views == 1:
            return super().pixels(some, number)
        with about(some.name(number)):
            array = some.load(number)
            rgb = as_picture(array)
            return ten_crops(self.network.preprocess, array if rgb is None else rgb, self.network.shape)


class Classifier:
    """Run a network on a collection of images; iterate for one Answer per image, in order.

    With `oversample` an answer is the mean over ten crops: corners and centre, and their mirror images.

    Raises:
        InputError: The net does not end in one value for each class, takes no image, or nothing is left to
            crop.
    """

    def __init__(
        self,
        network: Network,
        collection: ImageCollection,
        *,
        top: int = 5,
        oversample: bool = False,
        cluster: Any = None,
    ) -> None:
        self.heads = class_heads(network)
        self.network, self.collection = network.part(*(head.answer for head in self.heads)), collection
        self._whole = network
        if oversample:
            need_margin(network.preprocess, self.network.shape)
        blobs = tuple(head.answer for head in self.heads)
        self._work = Scored(self.network, blobs, max(len(collection), FEW), TEN if oversample else 1, top)
        self._cluster = None if cluster is None else Cluster(cluster)
        self.engine = self._work.runner.engine
        self.labels = {head.answer: network.labels_of(head) for head in self.heads}

    @property
    def values(self) -> str:
        """What the numbers of the answers are, in words."""
        kinds = dict.fromkeys(head.values for head in self.heads)
        if len(self.heads) == 1:
            return self.heads[0].values
        return ", ".join(
            f"{kind} of {' and '.join(head.answer for head in self.heads if head.values == kind)}"
            for kind in kinds
        )

    def __iter__(self) -> Iterator[Answer]:
        for batch in in_order(reports(self._work, self.collection, Ranges(), self._cluster)):
            yield from self._answers(batch)

    @cached_property
    def doubts(self) -> tuple[str, ...]:
        """What makes the preprocessing look wrong, one sentence each; runs a sample of the images."""
        several = which_answer(self._whole, self.heads)
        sizes = [2 if head.single and len(self.network.labels) == 2 else len(head) for head in self.heads]
        found = [*filter(None, [several]), *check_settings(self.network, *sizes)]
        scores = score_blob(self.network, self.heads[0])
        if self.network.pictures is not None and scores:
            count = len(self.collection)
            size = min(count, FEW) if count // 2 < ENOUGH else min(MANY, count // 2)
            numbers = np.unique(np.linspace(0, count - 1, size).round().astype(int))
            sample = list(self._readable(numbers.tolist()))
            if sample:
                found += check_input(
                    lambda pixels: _of_two(self._work.runner(pixels, scores)[scores]), np.stack(sample),
                    self.network.preprocess.scale, orders=len(sample) >= ENOUGH,
                )  # fmt: skip
        return tuple(found)

    def _readable(self, numbers: list[int]) -> Iterator[Array]:
        for number in numbers:
            try:
                pixels = self.network.pixels(self.collection.load(number))
            except InputError:  # said when its turn comes
                continue
            if np.isfinite(pixels).all():
                yield pixels

    def _answers(self, batch: Batch) -> Iterator[Answer]:
        """In the order of the numbers."""
        rows = {number: row for row, number in enumerate(batch.numbers)}
        reasons = dict(batch.failed)
        for number in sorted([*rows, *reasons]):
            name = self.collection.name(number)
            if number in reasons:
                yield Answer(name, {}, reasons[number])
                continue
            best = {blob: found[rows[number]] for blob, found in batch.values.items()}
            heads = {blob: _guesses(best[blob], names) for blob, names in self.labels.items()}
            yield Answer(name, heads)


def likeliest(values: Array, labels: Sequence[str], count: int) -> tuple[Guess, ...]:
    """Return the `count` highest of `values` (K,), with `labels` if there is one for each."""
    return _guesses(_best(values, count), labels if len(labels) == len(values) else ())


def _best(values: Array, count: int) -> Array:
    """(.., K) -> (.., 2, k) numbers, exact below 2**24, and values of the highest; of equals the first."""
    numbers = np.argsort(-values, axis=-1, kind="stable")[..., :count]
    return np.stack([numbers.astype(np.float32), np.take_along_axis(values, numbers, axis=-1)], axis=-2)


def _guesses(best: Array, labels: Sequence[str]) -> tuple[Guess, ...]:
    """The guesses of `best` (2, k); `labels` are those of all classes, or none."""
    pairs = zip(best[0].astype(int).tolist(), best[1].tolist(), strict=True)
    return tuple(Guess(number, labels[number] if labels else "", value) for number, value in pairs)


def class_heads(network: Network) -> list[Head]:
    """Return the answers with a value for each class; if none is a probability, only the first.

    Raises:
        InputError: There are none.
    """
    fit = [head for head in network.heads if head.of_classes]
    sure = [head for head in fit if head.kind]
    if sure or fit:
        return sure or fit[:1]
    ending = network.heads[0].answer if network.heads else ""
    shape = network.geometry.blobs.get(ending, ())
    raise InputError(
        f"net {network.message.name!r} ends in {ending!r} of {shape}, which is not one value for each "
        f"class of an image: expected (1, K)."
    )


def which_answer(network: Network, meant: Sequence[Head] = ()) -> str:
    """Say which of several answers of a net is `meant`, or "" if there is only one."""
    meant = meant or network.heads[:1]
    if len(network.heads) <= len(meant):
        return ""
    names = ends(network.message)
    about = " and ".join(head.answer for head in meant)
    return f"the net has {len(names)} answers, {', '.join(names)}: this is about {about}"


def score_blob(network: Network, head: Head) -> str:
    """Return the blob that holds the scores of an answer after a forward, or ""."""
    if len(head.sources) != 1:
        return ""
    source = head.sources[0].layer
    blob = next(layer.top[0] for layer in network.message.layer if layer.name == source)
    return blob if [layer.name for layer in network.message.layer if blob in layer.top][-1] == source else ""


def _of_two(scores: Array) -> Array:
    """(n, K) as they are; the one score (n, 1) of a sigmoid as those of two classes."""
    flat = scores.reshape(len(scores), -1)
    return np.concatenate([np.zeros_like(flat), flat], 1) if flat.shape[1] == 1 else flat
