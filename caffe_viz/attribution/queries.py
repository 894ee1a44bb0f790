"""A net that is asked about images piece by piece, in any process: a `tasks.Work` of many questions."""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from caffe_viz.attribution import steps
from caffe_viz.attribution.targets import Array, likeliest_class
from caffe_viz.errors import InputError
from caffe_viz.images import ImageCollection
from caffe_viz.network import Network
from caffe_viz.probe import Probe
from caffe_viz.tasks import Cluster, Execution, InProcess, Tell, WorkerDeath, stop

T = TypeVar("T")

LOOKED = 16  # images that a process looks at in one go


class QueryProgress(NamedTuple):
    """The progress of the query `key`."""

    key: Hashable
    share: float


class QueryResults(dict[Hashable, Any]):
    """Results by key, such as the number of an image; each is found once."""

    def take(self, other: QueryResults) -> QueryResults:
        """Add other results. Raises ValueError if both have the same key, which would count twice."""
        if both := self.keys() & other.keys():
            raise ValueError(f"{both.pop()} is in both")
        self.update(other)
        return self


class Query(Protocol):
    """A piece: what is asked, as a value that can be pickled."""

    def answers(self, probe: Probe) -> Iterator[QueryProgress | QueryResults]:
        """Ask it; the probe is afterwards as it was, however this ends."""


def told(key: Hashable, work: steps.Steps[T]) -> Generator[QueryProgress, None, T | None]:
    """Yield the progress of `key`; returns the result, or None if this process was asked to stop."""
    with closing(work):
        run = steps.SteppedRun(work)
        for share in run:
            if stop.asked:
                return None
            yield QueryProgress(key, share)
    return run.made


@dataclass(frozen=True, eq=False)
class NamedImage:
    """An image and its name: a collection of it alone, which is read where the net runs, or its array."""

    name: str
    image: ImageCollection | Array

    def pixels(self, probe: Probe) -> Array:
        """Return (C, H, W) in units of the input, like `Network.pixels`.

        Raises:
            InputError: It cannot be read, does not fit, or is not finite.
        """
        image = self.image.load(0) if isinstance(self.image, ImageCollection) else self.image
        pixels = probe.network.pixels(image, name=self.name)
        if not np.isfinite(pixels).all():
            raise InputError(f"{self.name} has NaN or infinity: finite numbers are expected.")
        return pixels


@dataclass(frozen=True)
class NetQueries:
    """Implements `tasks.Work`: questions to what of a network makes `blobs` (none: to all of it).

    With a `caffe.Net` of this process as `net`, the weights are those that it has.
    """

    network: Network
    blobs: tuple[str, ...] = ()
    net: Any = None

    @cached_property
    def probe(self) -> Probe:
        """Loaded when it is first needed."""
        part = self.network.part(*self.blobs)
        return Probe(part if self.net is None else self.net, part)

    def run(self, cluster: Any = None) -> Execution[Query, QueryProgress | QueryResults]:
        """Return who answers: this process, or the workers of a dask client, on the same engine.

        Raises:
            InputError: It is not such a client.
        """
        if cluster is None:
            return InProcess(self)
        checked = Cluster(cluster)
        weights = self.network.weights if self.net is None else Network.of(self.net).weights
        return checked.running(
            NetQueries(replace(self.network, weights=weights, engine=self.probe.engine), self.blobs)
        )

    def open(self) -> Callable[[Query], Iterator[QueryProgress | QueryResults]]:
        probe = self.probe
        return lambda question: question.answers(probe)

    def gathered(
        self, reports: Iterator[QueryProgress | QueryResults], tell: Tell[QueryProgress | QueryResults]
    ) -> Sequence[QueryProgress | QueryResults]:
        found = QueryResults()
        for report in reports:
            if isinstance(report, QueryResults):
                found.take(report)
            else:
                tell(report)
        return [found]

    def named(self, piece: Query) -> str:
        return str(piece)

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}


def collected(
    run: Execution[Query, QueryProgress | QueryResults],
    questions: Iterable[Query],
    count: int,
    on_share: Callable[[float], None],
    on_note: Callable[[str], None],
    *,
    keep: bool = False,
) -> QueryResults:
    """Return the results of the queries, `count` in all; report the share that is done, and worker deaths.

    With `keep`, Ctrl-C returns the results so far, if there are any.
    """
    found, begun, most = QueryResults(), dict[Hashable, float](), 0.0
    reports: Any = run.run(questions)
    try:
        with closing(reports):  # so that an abandoned query ends now
            for report in reports:
                if isinstance(report, WorkerDeath):
                    on_note(str(report))
                    continue
                if isinstance(report, QueryResults):
                    found.take(report)
                    for key in report:
                        begun.pop(key, None)
                else:
                    begun[report.key] = report.share
                most = max(most, (len(found) + sum(begun.values())) / count)  # some are started again
                on_share(most)
    except KeyboardInterrupt:
        if not (keep and found):
            raise
    return found


@dataclass(frozen=True)
class LikeliestClasses:
    """Find the most likely class of each image, if that is asked, and check that all can be read."""

    first: int
    images: tuple[NamedImage, ...]
    likeliest: bool

    def answers(self, probe: Probe) -> Iterator[QueryProgress | QueryResults]:
        for number, image in enumerate(self.images, self.first):
            pixels = image.pixels(probe)
            yield QueryResults({number: likeliest_class(probe, pixels).number if self.likeliest else None})

    def __str__(self) -> str:
        last = self.first + len(self.images) - 1
        return f"images {self.first:,} to {last:,}, {self.images[0].name} and on"


def looked_at(
    run: Execution[Query, QueryProgress | QueryResults],
    images: Sequence[NamedImage],
    targets: Sequence[int | str] | None,
    on_share: Callable[[float], None],
    on_note: Callable[[str], None],
) -> list[Sequence[int | str]]:
    """Return the targets of each image: the given ones, or its most likely class.

    Each image is read once here, before any long work, so that errors come at once.

    Raises:
        InputError: An image that cannot be read, or does not fit.
    """
    pieces = (
        LikeliestClasses(first, tuple(images[first : first + LOOKED]), targets is None)
        for first in range(0, len(images), LOOKED)
    )
    found = collected(run, pieces, len(images), on_share, on_note)
    return [[found[n]] if targets is None else targets for n in range(len(images))]
