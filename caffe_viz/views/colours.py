"""Colour statistics of photographs: a sample is shrunk where it is read, and measured together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from caffe_viz.ascent import colours_of
from caffe_viz.errors import InputError
from caffe_viz.images import ImageCollection, resized
from caffe_viz.network import Array
from caffe_viz.tasks import Cluster, Execution, ImageChunk, InProcess, Tell, WorkerDeath, cut, stop

PHOTOS = 256  # of which colours are measured, at most
PIECE = 16  # photographs that a worker of a cluster is given at once
SIDE = 64  # pixels that one is brought to

Some = tuple[ImageChunk, ...]  # of one photograph each


class Thumbnail(NamedTuple):
    """A photograph (64, 64, 3) RGB in 0..1, by its number."""

    number: int
    rgb: Array


@dataclass(frozen=True)
class Shrinking:
    """Implements `tasks.Work`: photographs made small, those that have colours and can be read."""

    def open(self) -> Callable[[Some], Iterator[Thumbnail]]:
        return _small

    def gathered(self, reports: Iterator[Thumbnail], tell: Tell[Thumbnail]) -> Sequence[Thumbnail]:
        return list(reports)

    def named(self, piece: Some) -> str:
        return f"{len(piece)} photographs from {piece[0].name(piece[0].first)} on"


def colours(collection: ImageCollection, cluster: Any = None) -> tuple[tuple[float, ...], ...] | None:
    """Return the `colours_of` up to 256 photographs, evenly chosen; None if there are none.

    The workers of a `cluster`, a dask client, read them.
    """
    step = -(-len(collection) // PHOTOS)
    few = list(cut(collection, (range(n, n + 1) for n in range(0, len(collection), step))))
    pieces = [tuple(few[i : i + PIECE]) for i in range(0, len(few), PIECE)]
    work = Shrinking()
    run: Execution[Some, Thumbnail] = InProcess(work) if cluster is None else Cluster(cluster).running(work)
    with run:
        found = [one for one in run.run(pieces) if not isinstance(one, WorkerDeath)]
    return colours_of([one.rgb for one in sorted(found, key=lambda one: one.number)]) if found else None


def _small(some: Some) -> Iterator[Thumbnail]:
    for one in some:
        if stop.asked:
            return
        with suppress(InputError):  # one that cannot be read is named by the search
            photo = one.load(one.first)
            if photo.shape[2:] == (3,):
                yield Thumbnail(one.first, resized(photo, (SIDE, SIDE), antialias=True))
