"""The true classes of images, from the names of their folders or from a list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from caffe_viz.answers import Head
from caffe_viz.errors import InputError, near
from caffe_viz.images import ImageCollection, Labels
from caffe_viz.images.label_files import WORDNET
from caffe_viz.network import Network

FOLDERS, LISTED = "the folders", "the labels of the list"


@dataclass(frozen=True)
class GroundTruth:
    """The class number of each image of a collection, in the answer `head`; `names` are the class names.

    The one unit of a sigmoid has two classes: what it detects is class 1. `said_by` is the source of the
    truth.
    """

    head: Head
    names: Labels
    classes: NDArray[np.int32]
    said_by: str

    @property
    def count(self) -> int:
        """The number of classes."""
        return max(len(self.head), 2)

    def name(self, number: int) -> str:
        """Return the name of a class: its first name, or its number."""
        return self.names[number].split(",")[0].strip() or str(number) if self.names else str(number)


def truth_of(
    network: Network, heads: Sequence[Head], collection: ImageCollection
) -> tuple[GroundTruth | None, str]:
    """Return the true classes of a collection if they are known, and otherwise a warning, or "".

    They are known if a list has them, or if every image is in a folder named after a class of one of the
    `heads`: by a name, a WordNet number, or its number. The warning says that some folders are, but not all.

    Raises:
        InputError: A list has labels that are not classes.
    """
    listed = [entry.told for entry in collection.entries]
    if any(listed):
        return _listed(network, heads, collection, listed), ""
    folders = [Path(entry.member or str(entry.file)).parent.name for entry in collection.entries]
    names = list(dict.fromkeys(folders))
    best, unknown = None, names
    for head in heads:
        numbers = {name: class_of(network, head, name) for name in names}
        gone = [name for name in names if numbers[name] is None]
        if len(gone) < len(unknown):
            best, unknown = head, gone
        if not gone and len(set(numbers.values())) == len(names) > 1:
            return _told(network, head, [numbers[name] for name in folders], FOLDERS), ""
    if best is None or len(names) < 2 or 2 * len(unknown) > len(names):
        return None, ""
    if not unknown:
        return None, "two folders are named after the same class: right answers are not counted"
    return None, (
        f"{len(names) - len(unknown)} of {len(names)} folders are named after classes, but "
        f"{unknown[0]!r} is not.{_alike(network, best, unknown[0])} Right answers are not counted"
    )


def class_of(network: Network, head: Head, name: str) -> int | None:
    """Return the class of an answer with this name; None if there is none, or several."""
    labels = _names(network, head)
    found = labels.find(name)
    if not found and (code := WORDNET.match(name.replace("-", " ").replace("_", " "))):
        found = labels.find(code[1])
    if len(found) == 1:
        return found[0]
    number = int(name) if name.isdecimal() and len(name) < 8 and not found else -1
    return number if 0 <= number < max(len(head), 2) else None


def _listed(
    network: Network, heads: Sequence[Head], collection: ImageCollection, listed: Sequence[str]
) -> GroundTruth:
    numbers: dict[str, int | None] = {}
    for head in heads:
        numbers = {name: class_of(network, head, name) for name in dict.fromkeys(listed)}
        if None not in numbers.values():
            return _told(network, head, [numbers[name] for name in listed], LISTED)
    head, name = heads[0], next(name for name, number in numbers.items() if number is None)
    where = collection.name(listed.index(name))
    if not name:
        raise InputError(f"{where} has no label in its list, but others have one.")
    raise InputError(
        f"the label {name!r} of {where} is not a class of {head.answer!r}.{_alike(network, head, name)}"
    )


def _told(network: Network, head: Head, classes: Sequence[int | None], said_by: str) -> GroundTruth:
    return GroundTruth(head, _names(network, head), np.array(classes, np.int32), said_by)


def _names(network: Network, head: Head) -> Labels:
    """The names of the two classes of a single unit, if there are two labels."""
    own, given = network.labels_of(head), network.labels
    if not head.single:
        return own
    return given if len(given) == 2 else Labels()


def _alike(network: Network, head: Head, name: str) -> str:
    labels = _names(network, head)
    alike = labels.near(name)
    if not labels:
        return f" The classes have no labels: 0 to {max(len(head), 2) - 1} are expected."
    return f" Did you mean {' or '.join(map(repr, alike))}?" if alike else near(name, filter(None, labels))
