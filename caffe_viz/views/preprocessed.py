"""Show how images get into a network, what looks wrong about it, and write a preprocess.toml."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from caffe_viz import tables
from caffe_viz.classification import Classifier
from caffe_viz.classification.preprocessing_checks import check_settings
from caffe_viz.errors import InputError
from caffe_viz.images import ImageCollection, Preprocess
from caffe_viz.network import Network, PathLike
from caffe_viz.views.classified import described, in_words, settings
from caffe_viz.views.rich import Display, Rich


@dataclass(frozen=True, repr=False)
class Preprocessing(Rich):
    """The preprocessing of a network, also in `words`; `doubts` says what looks wrong about it."""

    preprocess: Preprocess
    words: str
    doubts: tuple[str, ...]

    @property
    def table(self) -> tables.Table:
        """One row for each setting; for a mean image also the averages."""
        how = self.preprocess
        average = "" if how.mean.size is None else f", average {how.mean.averaged}"
        rows = {
            "channel_order": how.channel_order,
            "mean": f"{how.mean}{average}",
            "scale": f"{how.scale:g}",
            "resize": "false" if how.resize is None else str(how.resize),
            "antialias": str(how.antialias).lower(),
            "labels": ", ".join(self._label_files) or "none",
        }
        return tables.Table(self.words, ("setting", "value"), tuple(rows.items()))

    @property
    def _label_files(self) -> list[str]:
        labels = self.preprocess.labels
        return [file for one in (labels, *labels.heads.values()) if (file := one.source)]

    def to_json(self) -> dict[str, Any]:
        """The settings, where they come from, and the doubts, for JSON."""
        return settings(self.preprocess) | {"labels": self._label_files, "warnings": self.doubts}

    def save(self, path: PathLike) -> list[Path]:
        """Write it as preprocess.toml; file names in it are relative to it.

        Raises:
            RunError: A file cannot be written.
        """
        source = self.preprocess.source
        return self.preprocess.save(path, f"# From {source}\n" if source else "")

    def __repr__(self) -> str:
        return "\n".join([str(self.table), *(f"warning: {doubt}" for doubt in self.doubts)])

    def _look(self) -> Display:
        return Display(lines=[f"warning: {doubt}" for doubt in self.doubts], tables=[self.table])


def show_preprocessing(net: Any, images: Any = ()) -> Preprocessing:
    """Show how images get into a network, and what looks wrong about that.

    With `images`, a net with weights that ends in classes is run on a sample of them to find out.

    Raises:
        InputError: No such image or network.
    """
    whole = Network.of(net)
    try:
        classes = [head for head in whole.heads if head.of_classes] if whole.given else []
    except InputError as error:  # a file of a training, of which nothing can be run as it is
        return Preprocessing(whole.preprocess, in_words(whole.preprocess), (str(error),))
    preprocess = replace(whole.preprocess, labels=whole.labels)
    if images and classes and whole.weights is not None:
        network, collection = whole.collection(images, *(head.answer for head in classes))
        classifier = Classifier(network, collection)
        return Preprocessing(preprocess, described(classifier.network), classifier.doubts)
    if images:
        whole, found = whole.taking(images)
        ImageCollection.of(*found)
    doubts = check_settings(whole, *map(len, classes)) if whole.has_image else ()
    return Preprocessing(preprocess, described(whole), tuple(doubts))
