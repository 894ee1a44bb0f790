"""Show which classes a network sees in images, as a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from caffe_viz import tables
from caffe_viz.classification import Answer, Classifier, class_heads
from caffe_viz.classification.accuracy import TOP, Tally
from caffe_viz.classification.ground_truth import truth_of
from caffe_viz.images import Preprocess
from caffe_viz.network import Network, PathLike
from caffe_viz.streaming import need_one
from caffe_viz.views.accuracy import Accuracy
from caffe_viz.views.rich import Display, Rich


@dataclass(frozen=True, repr=False)
class Classified(Rich):
    """The most likely classes of each image, in `answers`.

    `preprocessing` describes how the images were preprocessed, `doubts` what looks wrong about that.
    `accuracy` is None if the true classes are not known.
    """

    answers: tuple[Answer, ...]
    preprocessing: str
    doubts: tuple[str, ...]
    unit: str
    engine: str
    accuracy: Accuracy | None = None

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
        counted = [] if self.accuracy is None else [repr(self.accuracy)]
        return "\n".join([str(self.table), *(f"warning: {doubt}" for doubt in self.doubts), *counted])

    def _look(self) -> Display:
        doubts = [f"warning: {doubt}" for doubt in self.doubts]
        if self.accuracy is None:
            return Display(lines=doubts, tables=[self.table])
        counted = self.accuracy._look()
        return Display(counted.pictures, [*doubts, *counted.lines], [*counted.tables, self.table])


class Classifying:
    """A classification in progress: iterate for the answers; `accuracy` counts those so far.

    It is None if the true classes are not known, see `truth_of`. Images are given as to `Network.collection`.

    Raises:
        InputError: No such image, none that can be read, or a net that does not end in classes.
    """

    def __init__(
        self,
        network: Network,
        images: Any,
        *,
        top: int = 5,
        oversample: bool = False,
        root: Path | None = None,
        cluster: Any = None,
    ) -> None:
        heads = class_heads(network)
        given, collection = network.collection(images, *(head.answer for head in heads), root=root)
        truth, self._doubt = truth_of(given, heads, collection)
        self.accuracy = None if truth is None else Accuracy(Tally(truth), given, collection)
        least = 1 if truth is None else TOP
        self.classifier = Classifier(
            given, collection, top=max(top, least), oversample=oversample, cluster=cluster
        )

    def __iter__(self) -> Iterator[Answer]:
        for number, answer in enumerate(self.classifier):
            if self.accuracy is not None:
                self.accuracy.tally.add(number, answer)
            yield answer

    def __len__(self) -> int:
        return len(self.classifier.collection)

    @cached_property
    def doubts(self) -> tuple[str, ...]:
        """What looks wrong, one sentence each."""
        return (*self.classifier.doubts, *filter(None, [self._doubt]))


def classify(
    net: Any,
    images: PathLike | Iterable[PathLike],
    *,
    top: int = 5,
    oversample: bool = False,
    root: PathLike | None = None,
    cluster: Any = None,
) -> Classified:
    """Return the most likely classes of each image.

    Images of a folder that cannot be read are listed, not fatal. If the folders are named after classes, or
    a list of images has labels, `accuracy` of the result counts how many answers are right.

    Args:
        net: A net from `load_net`.
        images: Files, folders, .zip archives, or a list a.txt. For a net with several inputs, a mapping from
            input name to file or array.
        top: How many classes to return.
        oversample: Average over ten crops: corners and centre, and their mirror images.
        root: The folder that the paths in a list are relative to. Default: the list's folder.
        cluster: A dask client whose workers run the net.

    Raises:
        InputError: No such image, none that can be read, or a net that does not end in classes.

    Example::

        cv.classify(net, "cat.png").table
    """
    folder = None if root is None else Path(root)
    run = Classifying(Network.of(net), images, top=top, oversample=oversample, root=folder, cluster=cluster)
    answers = tuple(replace(answer, heads={k: v[:top] for k, v in answer.heads.items()}) for answer in run)
    need_one([one.failed for one in answers if not one.guesses], len(answers))
    made = run.classifier
    return Classified(
        answers, described(made.network, oversample), run.doubts, made.values, made.engine, run.accuracy
    )


def described(network: Network, oversample: bool = False) -> str:
    """How images get into the input of `network`, in words, and labels that were found beside its files."""
    found = f"; labels: {network.labels.source}" if network.labels_found else ""
    if not network.has_image:
        return in_words(network.preprocess) + found
    if network.pictures is None:
        return f"arrays {network.shape} as they are{found}"
    return in_words(network.preprocess, (network.shape[1], network.shape[2]), oversample) + found


def in_words(given: Preprocess, size: tuple[int, int] = (0, 0), oversample: bool = False) -> str:
    """Describe how images get into an input of `size` (H, W), and where that is said; 0: unknown size."""
    source = f" ({given.source})" if given.source else ""
    own = " x ".join(map(str, size)) if all(size) else "the input"
    warped = own if given.resize is None else f"{given.resize} x {given.resize}"
    crop = f", ten crops of {own}" if oversample else f", centre crop {own}"
    scale = "" if given.scale == 1 else f" times {given.scale:g}"
    return (
        f"{given.channel_order}, (0..255 minus {given.mean}{_fate(given, size)}){scale}, warped to {warped}"
        f"{' and smoothed' if given.antialias else ''}{'' if given.resize is None else crop}{source}"
    )


def _fate(given: Preprocess, size: tuple[int, int]) -> str:
    """How a mean image is fitted to the input, in words; a `size` of 0 is unknown."""
    mean, frame = given.mean.size, given.frame(size)
    if mean is None or not all(size):
        return ""
    if mean == size:
        return "" if frame == size else ", after the crop"
    warped = "" if mean == frame else f", warped to {frame[0]} x {frame[1]}"
    return f"{warped}, cropped as the image is" if frame != size else warped


def settings(preprocess: Preprocess) -> dict[str, Any]:
    """`preprocess` as values for JSON, and where it is from; of a mean image the averages, and its shape."""
    mean = preprocess.mean
    image = {} if mean.size is None else {"mean_image": {"file": mean.file, "shape": mean.values.shape}}
    return {
        "channel_order": preprocess.channel_order,
        "mean": list(mean.average),
        **image,
        "scale": preprocess.scale,
        "resize": preprocess.resize,
        "antialias": preprocess.antialias,
        "from": preprocess.source,
    }
