"""The messages between the server and its worker processes; all of them are pickled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from caffe_viz.network import Network
from caffe_viz.report.part_cache import Figure
from caffe_viz.server.queries import Query


@dataclass(frozen=True)
class Setup:
    """What a worker needs: one or two networks, the photographs, the record of a training.

    `folder` is where unfinished searches and their results are kept; `layers` and `permits` are for custom
    layer types.
    """

    networks: tuple[Network, ...]
    photos: tuple[str | Path, ...] = ()
    record: Path | None = None
    folder: Path | None = None
    layers: tuple[Path, ...] = ()
    permits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """An image that is not decoded yet: the bytes of its file, and its name."""

    name: str
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class Answer:
    """The answer to a question: `facts` for JSON, pictures, arrays to save, a page to send.

    `arrays` are in units of the net, as the commands save them.
    """

    facts: Mapping[str, Any]
    figures: tuple[Figure, ...] = ()
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    page: bytes = b""


@dataclass(frozen=True)
class Step:
    """The progress of a slow question: how much is done, of how much, and what can be shown so far."""

    done: float
    total: float
    answer: Answer | None = None


# To a worker.


@dataclass(frozen=True)
class Ask:
    """`question` is a name in QUESTIONS, `key` identifies everything that determines the answer.

    `images` has the sources of `query.images`. With `data` the arrays are wanted as npz instead of the
    pictures.
    """

    key: str
    question: str
    query: Query
    images: Mapping[str, Source] = field(default_factory=dict)
    data: bool = False

    @property
    def ticket(self) -> str:
        """Its name in other messages: the data of an answer are not the same as its pictures."""
        return f"{self.key}/data" if self.data else self.key


@dataclass(frozen=True)
class Drop:
    """Nobody waits for it any more; if it was started, it is kept for a while, to continue if asked again."""

    ticket: str


# From a worker; `ticket` is that of an Ask.


@dataclass(frozen=True)
class Began:
    """The worker is busy with this question until it ends, or until the next such message; "" means none."""

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
class EncodedAnswer:
    """An answer for the browser: JSON text, and pictures, or `data` if those were asked for.

    `ending` is the suffix of the file that `data` is, also of an answer with pictures: "npz" for arrays,
    "html" for a page, "" if there is none.
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
    """The progress of a question; `given` is what can be shown so far."""

    ticket: str
    done: float
    total: float
    given: EncodedAnswer | None = None


@dataclass(frozen=True)
class Finished:
    """The answer."""

    ticket: str
    given: EncodedAnswer


@dataclass(frozen=True)
class Failed:
    """Why there is no answer, in one line. `asked_wrong` means that the question was wrong (InputError).

    With the ticket "" it says why the worker cannot start at all.
    """

    ticket: str
    reason: str
    asked_wrong: bool = False
