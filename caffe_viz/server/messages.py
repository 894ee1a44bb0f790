"""What the server and its worker processes say to each other; all of it is pickled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from caffe_viz.network import Network
from caffe_viz.report.shelf import Shot
from caffe_viz.server.asked import Asked


@dataclass(frozen=True)
class Setup:
    """What a worker is about: one network or two, the many photographs, the record of a training.

    `folder` is where unfinished searches and what they found are kept; `layers` and `permits` are what layer
    types of one's own need.
    """

    networks: tuple[Network, ...]
    photos: tuple[str | Path, ...] = ()
    record: Path | None = None
    folder: Path | None = None
    layers: tuple[Path, ...] = ()
    permits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """An image that is not decoded yet: the bytes of its file, and what it is called."""

    name: str
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class Answer:
    """What a question gives: `facts` as JSON has them, pictures, arrays to save, a page to send.

    `arrays` are as the commands save them, in units of the net.
    """

    facts: Mapping[str, Any]
    shots: tuple[Shot, ...] = ()
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    page: bytes = b""


@dataclass(frozen=True)
class Step:
    """Of a question that takes long: how much is done, of how much, and what there is to see by now."""

    done: float
    total: float
    answer: Answer | None = None


# To a worker.


@dataclass(frozen=True)
class Ask:
    """`question` is a name in QUESTIONS, `key` stands for all that decides its answer.

    `images` has the sources of `asked.images`. `data`: the arrays are wanted, as npz, not the pictures.
    """

    key: str
    question: str
    asked: Asked
    images: Mapping[str, Source] = field(default_factory=dict)
    data: bool = False

    @property
    def ticket(self) -> str:
        """What the other messages call it: the data of an answer is another than its pictures."""
        return f"{self.key}/data" if self.data else self.key


@dataclass(frozen=True)
class Drop:
    """Nobody waits for it any more: what has begun is kept for a while, to go on if it is asked again."""

    ticket: str


# From a worker; `ticket` is that of an Ask.


@dataclass(frozen=True)
class Began:
    """The worker is busy with this one, until its end or the next message of this kind; "" is none."""

    ticket: str


@dataclass(frozen=True)
class Picture:
    """An encoded picture."""

    data: bytes = field(repr=False)
    kind: str  # "png" or "jpeg"
    width: int
    height: int
    alt: str
    name: str  # of the file that it is saved as, without an ending


@dataclass(frozen=True)
class Given:
    """An answer as it goes to the browser: JSON text, and pictures or, where it was asked for, `data`.

    `ending` is that of the file that `data` is, of an answer with pictures too: "npz" of the arrays, "html"
    of the page, "" where there is none.
    """

    facts: str
    pictures: tuple[Picture, ...] = ()
    data: bytes = field(default=b"", repr=False)
    ending: str = ""

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return len(self.facts) + len(self.data) + sum(len(one.data) for one in self.pictures)


@dataclass(frozen=True)
class Progress:
    """How far a question is; `given` is what there is to see by now."""

    ticket: str
    done: float
    total: float
    given: Given | None = None


@dataclass(frozen=True)
class Finished:
    """The answer."""

    ticket: str
    given: Given


@dataclass(frozen=True)
class Failed:
    """Why there is none, in a line; `asked_wrong`: another question would have one (InputError).

    Of the ticket "": why the worker cannot begin at all.
    """

    ticket: str
    reason: str
    asked_wrong: bool = False
