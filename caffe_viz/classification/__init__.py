"""Which classes a network sees in images, and whether its preprocessing looks wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from caffe_viz.classification.crops import TEN, need_margin, ten_crops
from caffe_viz.classification.doubts import doubts_of_input, doubts_of_settings
from caffe_viz.errors import InputError
from caffe_viz.images import Album
from caffe_viz.netdef import LayerParameter, NetParameter
from caffe_viz.network import Network
from caffe_viz.streaming import Batch, Runner

__all__ = [
    "Answer", "Classifier", "Guess", "answer_blobs", "answers", "likeliest", "of_softmax", "which_answer",
]  # fmt: skip

Array = NDArray[np.float32]
FEW, MANY = 8, 128  # images that tell whether the input's scale looks right, and at most its channel order
JUDGES = {"Accuracy", "ArgMax", "HDF5Output", "InfogainLoss", "MultinomialLogisticLoss", "Silence"}
ENOUGH = 64  # images for the order: with fewer, a difference may be chance


class Guess(NamedTuple):
    """A class: its number, its label or "", its probability, or score where the net ends without Softmax."""

    number: int
    label: str
    value: float


@dataclass(frozen=True)
class Answer:
    """The likeliest classes of one image, or why it `failed`."""

    image: str
    guesses: tuple[Guess, ...]
    failed: str = ""


class Classifier:
    """A network on the images of an album; iterate for one Answer per image, in order.

    With `oversample` an answer is the mean over ten crops: corners, centre and their mirror images.

    Raises:
        InputError: the net does not end in one value for each class, takes no image, or nothing is left to
            crop.
    """

    def __init__(self, network: Network, album: Album, *, top: int = 5, oversample: bool = False) -> None:
        self._answer, self._scores = answer_blobs(network.message)
        self._several = which_answer(network.message)
        network = network.part(self._answer)
        self.network, self.album = network, album
        self.classes = _classes(network, self._answer)
        softmax = of_softmax(network.message, self._answer)
        self.unit = "probabilities" if softmax else "scores"  # of the answers' values
        self._top, self._views = min(top, self.classes), TEN if oversample else 1
        if oversample:
            need_margin(network.preprocess, network.shape)
        self._runner = Runner(network, self._answer, images=max(len(album), FEW) * self._views)
        self.engine = self._runner.engine

    def __iter__(self) -> Iterator[Answer]:
        for batch in self._runner.stream(self._pixels, range(len(self.album)), self._views):
            yield from self._answers(batch)

    @cached_property
    def doubts(self) -> tuple[str, ...]:
        """What makes the preprocessing look wrong, one sentence each; runs a sample of the images."""
        found = [*([self._several] if self._several else []), *doubts_of_settings(self.network, self.classes)]
        if self.network.pictures is not None:
            count = len(self.album)
            size = min(count, FEW) if count // 2 < ENOUGH else min(MANY, count // 2)
            numbers = np.unique(np.linspace(0, count - 1, size).round().astype(int))
            sample = list(self._readable(numbers.tolist()))
            if sample:
                found += doubts_of_input(
                    lambda pixels: self._runner(pixels, self._scores)[self._scores], np.stack(sample),
                    self.network.preprocess.scale, orders=len(sample) >= ENOUGH,
                )  # fmt: skip
        return tuple(found)

    def _readable(self, numbers: list[int]) -> Iterator[Array]:
        for number in numbers:
            try:
                pixels = self.network.pixels(self.album.load(number))
            except InputError:  # said when its turn comes
                continue
            if np.isfinite(pixels).all():
                yield pixels

    @property
    def _pixels(self) -> Callable[[int], Array]:
        network, album = self.network, self.album
        if self._views == TEN:
            return lambda number: ten_crops(network.preprocess, album.load(number), network.shape)
        return lambda number: network.pixels(album.load(number))[None]

    def _answers(self, batch: Batch) -> Iterator[Answer]:
        """In the order of the numbers."""
        made = dict(zip(batch.numbers, self._means(batch), strict=True))
        reasons = dict(batch.failed)
        for number in sorted([*made, *reasons]):
            name = self.album.name(number)
            if number in reasons:
                yield Answer(name, (), reasons[number])
                continue
            yield Answer(name, likeliest(made[number], self.network.preprocess.labels, self._top))

    def _means(self, batch: Batch) -> Sequence[Array]:
        """The answer (K,) of each image, over its views."""
        values = batch.values.get(self._answer)
        return [] if values is None else [*values.reshape(*values.shape[:2], -1).mean(1)]


def likeliest(values: Array, labels: Sequence[str], count: int) -> tuple[Guess, ...]:
    """The `count` highest of `values` (K,), with `labels` where there is one for each."""
    names = labels if len(labels) == len(values) else ("",) * len(values)
    best = np.argsort(-values, kind="stable")[:count]
    return tuple(Guess(int(i), names[i], float(values[i])) for i in best)


def of_softmax(net: NetParameter, blob: str) -> bool:
    """Whether a blob holds probabilities."""
    return any(layer.type == "Softmax" and blob in layer.top for layer in net.layer)


def answer_blobs(net: NetParameter) -> tuple[str, str]:
    """The blob of the answer, by choice probabilities, and that of the scores that Softmax makes them of.

    It is the last Softmax's that nothing goes on from, or else what a SoftmaxWithLoss takes, or else the last
    layer's first top.
    """
    for layer in reversed(net.layer):
        if layer.type == "Softmax" and _readers(net, layer) <= JUDGES:
            return layer.top[0], layer.bottom[0]
    for layer in reversed(net.layer):
        if layer.type == "SoftmaxWithLoss":
            return layer.bottom[0], layer.bottom[0]
    return net.layer[-1].top[0], net.layer[-1].top[0]


def answers(net: NetParameter) -> list[str]:
    """All blobs that the net ends in: nothing but what judges answers reads them."""
    others = [layer for layer in net.layer if layer.type not in JUDGES]
    read = {bottom for layer in others for bottom in layer.bottom if bottom not in layer.top}
    made = [top for layer in others if layer.bottom for top in layer.top]
    return [top for top in dict.fromkeys(made) if top not in read]


def which_answer(net: NetParameter) -> str:
    """Which of several answers of a net is meant, in words, or "" where there is but one.

    >>> from caffe_viz.netdef import parse_net
    >>> which_answer(parse_net('layer { name: "a" type: "ReLU" bottom: "x" top: "a" }'))
    ''
    """
    found = answers(net)
    if len(found) < 2:
        return ""
    return f"the net has {len(found)} answers, {', '.join(found)}: this is about {answer_blobs(net)[0]}"


def _readers(net: NetParameter, layer: LayerParameter) -> set[str]:
    """The types of other layers that take what `layer` makes."""
    return {x.type for x in net.layer if x.name != layer.name and layer.top[0] in x.bottom}


def _classes(network: Network, blob: str) -> int:
    shape = network.geometry.blob(blob)
    if len(shape) < 2 or shape[1] < 2 or int(np.prod(shape[1:])) != shape[1]:
        raise InputError(
            f"net {network.message.name!r} ends in {blob!r} of {shape}, which is no value for each "
            f"class of an image: (1, K) is."
        )
    return shape[1]
