"""Open and folded modules: the axes are warped, so that what was apart stays apart and in order.

A point t of an axis moves to the integral of 1 + max over the open modules m that cover s of
(open size of m - folded size of m) / folded size of m, for s from 0 to t. report/static/graph.js does the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from caffe_viz.structure.boxes import STEM
from caffe_viz.structure.graphviz import Point
from caffe_viz.structure.layout import MARGIN, Layout, Unit

BEND = 30.0  # over so much of a line's end it moves to where it is wanted


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
    """Part of an axis that shall become `size` long."""

    start: float
    end: float
    size: float


class Axis:
    """The warp of one axis: increasing, nowhere shorter than before."""

    def __init__(self, spans: Iterable[Span]) -> None:
        spans = list(spans)
        ends = sorted({t for span in spans for t in (span.start, span.end)})
        self.old, self.new = ends or [0.0], ends[:1] or [0.0]
        for start, end in zip(ends, ends[1:], strict=False):
            over = [s.size / (s.end - s.start) for s in spans if s.start <= start and end <= s.end]
            self.new = [*self.new, self.new[-1] + (end - start) * max([1.0, *over])]

    def __call__(self, t: float) -> float:
        if t <= self.old[0]:
            return t
        if t >= self.old[-1]:
            return t - self.old[-1] + self.new[-1]
        return float(np.interp(t, self.old, self.new))


def place(layout: Layout, opened: Collection[int]) -> Placed:
    """The drawing with the modules of the units `opened` open; others stay folded."""
    wide = Axis(Span(u.x, u.x + u.face.width, _size(u, True)[0]) for u in _open(layout, opened))
    high = Axis(
        Span(u.y, u.y + u.face.height + STEM, _size(u, True)[1] + STEM) for u in _open(layout, opened)
    )
    boxes = []
    for i, unit in enumerate(layout.units):
        width, height = _size(unit, i in opened)
        left, right = wide(unit.x), wide(unit.x + unit.face.width)
        top, bottom = high(unit.y), high(unit.y + unit.face.height + STEM)
        x, y = (left + right - width) / 2, (top + bottom - height - STEM) / 2
        boxes.append(Box(x + MARGIN, y + MARGIN, width, height, i in opened and unit.inside is not None))
    wires = []
    for wire in layout.wires:
        points = [(wide(x) + MARGIN, high(y) + MARGIN) for x, y in wire.line.points]
        tail, head = (_ends(layout.units[u], boxes[u]) for u in (wire.tail, wire.head))
        wires.append(tuple(_bent(points, tail[1], head[0])))
    size = wide(layout.width) + 2 * MARGIN, high(layout.height) + 2 * MARGIN
    return Placed(*size, tuple(boxes), tuple(wires))


def _open(layout: Layout, opened: Collection[int]) -> list[Unit]:
    return [unit for i, unit in enumerate(layout.units) if i in opened and unit.inside is not None]


def _size(unit: Unit, opened: bool) -> tuple[float, float]:
    if opened and unit.inside is not None:
        return unit.inside.width, unit.inside.height
    return unit.face.width, unit.face.height


def _ends(unit: Unit, box: Box) -> tuple[Point, Point]:
    """Where lines enter a box, and where they leave the stem below it."""
    middle = box.width / 2
    entry, exit_ = (unit.inside.entry, unit.inside.exit) if box.open and unit.inside else (middle, middle)
    return (box.x + entry, box.y), (box.x + exit_, box.y + box.height + STEM)


def _bent(points: list[Point], tail: Point, head: Point) -> list[Point]:
    """`points` from `tail` to `head`: near its ends the line moves sideways, as far as it has to."""
    (x0, y0), (x1, y1) = points[0], points[-1]
    reach = max(min(BEND, (y1 - y0) / 2), 1.0)
    out = [tail]
    for x, y in points:
        near_tail, near_head = _smooth(1 - (y - y0) / reach), _smooth(1 - (y1 - y) / reach)
        out.append((x + (tail[0] - x0) * near_tail + (head[0] - x1) * near_head, y))
    return [*out, head]


def _smooth(t: float) -> float:
    """0 below 0, 1 above 1, level at both ends."""
    t = min(max(t, 0.0), 1.0)
    return t * t * (3 - 2 * t)
