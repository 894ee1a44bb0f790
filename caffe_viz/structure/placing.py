"""Open and folded modules: the axes are warped, so that things stay apart and in order.

A point t of an axis moves to the integral of 1 + max over the open modules m that cover s of
(open size of m - folded size of m) / folded size of m, s from 0 to t. report/static/graph.js does the same.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from caffe_viz.structure.boxes import STEM
from caffe_viz.structure.graphviz import Point
from caffe_viz.structure.layout import MARGIN, Inside, Layout, Unit


class Box(NamedTuple):
    """A box with its upper left corner; `open` modules show their inside."""

    x: float
    y: float
    width: float
    height: float
    open: bool


@dataclass(frozen=True)
class Placed:
    """The size of the whole, a box for each unit of the layout, points for each of its wires."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    wires: tuple[tuple[Point, ...], ...]


class Span(NamedTuple):
    """Part of an axis that is to become `size` long."""

    start: float
    end: float
    size: float


class Axis:
    """The warp of one axis: increasing, nowhere shorter than before."""

    def __init__(self, spans: Iterable[Span]) -> None:
        spans = sorted(spans, reverse=True)  # the first one last, to be taken off
        ends = sorted({t for span in spans for t in (span.start, span.end)})
        self.old, self.new = ends or [0.0], ends[:1] or [0.0]
        over = [(-1.0, math.inf)]  # (-factor, end) of the spans that have begun, the largest factor first
        for start, end in pairwise(ends):
            while spans and spans[-1].start <= start:
                span = spans.pop()
                if span.end > span.start:
                    heapq.heappush(over, (-span.size / (span.end - span.start), span.end))
            while over[0][1] <= start:
                heapq.heappop(over)
            self.new.append(self.new[-1] - (end - start) * over[0][0])

    def __call__(self, t: float) -> float:
        if t <= self.old[0]:
            return t
        if t >= self.old[-1]:
            return t - self.old[-1] + self.new[-1]
        i = bisect_right(self.old, t)
        (start, end), (first, last) = self.old[i - 1 : i + 1], self.new[i - 1 : i + 1]
        return first + (t - start) * (last - first) / (end - start)


def place(layout: Layout, opened: Collection[int]) -> Placed:
    """Return the drawing with the modules of the units `opened` open; others stay folded."""
    insides = {i: layout.units[i].inside for i in opened}
    states = [_State(unit, insides.get(i)) for i, unit in enumerate(layout.units)]
    wide = Axis(span for state in states for span in state.across)
    high = Axis(span for state in states for span in state.down)
    boxes = tuple(state.box(wide, high) for state in states)
    wires = tuple(
        (
            states[wire.tail].ends(boxes[wire.tail])[1],
            *((wide(x) + MARGIN, high(y) + MARGIN) for x, y in wire.line.points),
            states[wire.head].ends(boxes[wire.head])[0],
        )
        for wire in layout.wires
    )
    size = wide(layout.width) + 2 * MARGIN, high(layout.height) + 2 * MARGIN
    return Placed(*size, boxes, wires)


@dataclass(frozen=True)
class _State:
    """A unit; with its inside where that is open."""

    unit: Unit
    inside: Inside | None

    @property
    def middle(self) -> float:
        """Where lines enter, on the axis that is not warped."""
        return self.unit.x + self.unit.face.width / 2

    @property
    def bottom(self) -> float:
        return self.unit.y + self.unit.face.height + STEM

    @property
    def left(self) -> float:
        """From the box's left side to where lines enter it."""
        return self.inside.middle if self.inside else self.unit.face.width / 2

    @property
    def across(self) -> list[Span]:
        """What an open module needs of the axis, left and right of where lines enter."""
        if self.inside is None:
            return []
        end = self.unit.x + self.unit.face.width
        return [
            Span(self.unit.x, self.middle, self.left),
            Span(self.middle, end, self.inside.width - self.left),
        ]

    @property
    def down(self) -> list[Span]:
        return [] if self.inside is None else [Span(self.unit.y, self.bottom, self.inside.height + STEM)]

    def box(self, wide: Axis, high: Axis) -> Box:
        shown = self.inside or self.unit.face
        y = (high(self.unit.y) + high(self.bottom) - shown.height - STEM) / 2
        x = wide(self.middle) - self.left
        return Box(x + MARGIN, y + MARGIN, shown.width, shown.height, self.inside is not None)

    def ends(self, box: Box) -> tuple[Point, Point]:
        """Where lines enter the box, and where they leave the stem below it."""
        x = box.x + self.left
        return (x, box.y), (x, box.y + box.height + STEM)
