"""What a network sees in images, as a table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from caffe_viz import tables
from caffe_viz.classification import Answer, Classifier, class_heads
from caffe_viz.errors import InputError
from caffe_viz.images import Preprocess
from caffe_viz.network import Network, PathLike
from caffe_viz.views.rich import Look, Rich


@dataclass(frozen=True, repr=False)
class Classified(Rich):
    """The likeliest classes of each image, how the images got in, and what looks wrong about that."""

    answers: tuple[Answer, ...]
    preprocessing: str
    doubts: tuple[str, ...]
    unit: str
    engine: str

    @property
    def table(self) -> tables.Table:
        heads = list(dict.fromkeys(name for answer in self.answers for name in answer.heads))
        rows: list[tuple[Any, ...]] = []
        for answer in self.answers:
            for head, guesses in answer.heads.items():
                rows += [(answer.image, head, float(f"{x.value:.6f}"), x.number, x.label) for x in guesses]
            if answer.failed:
                rows.append((answer.image, None, None, None, answer.failed))
        columns = ("image", "answer", "value", "class", "label")
        one = len(heads) < 2
        shown = [(row[0], *row[2:]) for row in rows] if one else rows
        title = f"{self.unit} ({self.engine}; {self.preprocessing})"
        return tables.Table(title, ("image", *columns[2:]) if one else columns, tuple(shown))

    def __repr__(self) -> str:
        return "\n".join([str(self.table), *(f"warning: {doubt}" for doubt in self.doubts)])

    def _look(self) -> Look:
        return Look(lines=[f"warning: {doubt}" for doubt in self.doubts], tables=[self.table])


def classify(
    net: Any, images: PathLike | Iterable[PathLike], *, top: int = 5, oversample: bool = False
) -> Classified:
    """The `top` classes of `images`: files, folders, .zip archives; unreadable ones in a folder are said.

    Those of several inputs are given as of `Network.taking`.

    With `oversample` the mean over ten crops: corners, centre and their mirror images.

    Raises:
        InputError: no such image, none that can be read, or no net that ends in classes.
    """
    whole = Network.of(net)
    network, album = whole.album(images, *(head.answer for head in class_heads(whole)))
    classifier = Classifier(network, album, top=top, oversample=oversample)
    answers = tuple(classifier)
    need_one(answers)
    return Classified(
        answers,
        described(classifier.network, oversample),
        classifier.doubts,
        classifier.values,
        classifier.engine,
    )


def need_one(answers: Iterable[Answer]) -> None:
    """Raises InputError if every image failed."""
    failed = [answer for answer in answers if not answer.guesses]
    if failed and len(failed) == len(list(answers)):
        others = f" (and {len(failed) - 1} more images)" if len(failed) > 1 else ""
        raise InputError(f"{failed[0].failed.rstrip('.')}{others}.")


def described(network: Network, oversample: bool = False) -> str:
    """How images get into the input of `network`, in words."""
    given, shape = network.preprocess, (0, 0, 0)
    if network.has_image:
        if network.pictures is None:
            return f"arrays {network.shape} as they are"
        shape = network.shape
    size = (shape[1], shape[2])
    own = " x ".join(map(str, size)) if all(size) else "the input"
    warped = own if given.resize is None else f"{given.resize} x {given.resize}"
    crop = f", ten crops of {own}" if oversample else f", centre crop {own}"
    scale = "" if given.scale == 1 else f" times {given.scale:g}"
    return (
        f"{given.channel_order}, (0..255 minus {given.mean}{_fate(given, size)}){scale}, warped to {warped}"
        f"{' and smoothed' if given.antialias else ''}{'' if given.resize is None else crop}"
    )


def _fate(given: Preprocess, size: tuple[int, int]) -> str:
    """What is done with a mean image so that it fits the input; no `size` is known where that is 0."""
    mean, frame = given.mean.size, given.frame(size)
    if mean is None or not all(size):
        return ""
    if mean == size:
        return "" if frame == size else ", after the crop"
    warped = "" if mean == frame else f", warped to {frame[0]} x {frame[1]}"
    return f"{warped}, cropped as the image is" if frame != size else warped


def settings(preprocess: Preprocess, source: str) -> dict[str, Any]:
    """`preprocess` as values for JSON, and where it is from."""
    return {
        "channel_order": preprocess.channel_order,
        "mean": list(preprocess.mean.average),
        "scale": preprocess.scale,
        "resize": preprocess.resize,
        "antialias": preprocess.antialias,
        "from": source,
    }
