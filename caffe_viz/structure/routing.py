"""The lines between boxes, as points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from caffe_viz.structure.graphviz import GAP, Given, Point, Points, Wanted

BENDS = 4  # plain ways from box to box
STEP = 6.0  # about this far apart are the points that a curve becomes


def lines(wanted: Wanted, given: Given) -> Iterator[Points]:
    """Return the points of each edge: a plain bend if it meets no box, else the path that Graphviz found."""
    boxes = list(zip(given.centres, wanted.sizes, strict=True))
    corners = [(x - w / 2, y - h / 2, x + w / 2, y + h / 2) for (x, y), (w, h) in boxes]
    cells = _Cells(corners)
    for curve, (tail, head) in zip(given.curves, wanted.edges, strict=True):
        start = given.centres[tail][0], corners[tail][3]
        end = given.centres[head][0], corners[head][1]
        lane = curve[len(curve) // 2][0] if curve else start[0]
        found = (start, *curve[1:-1], end) if curve else _bend(start, end)
        ways = map(_sampled, (*_bends(start, end, lane), found))
        yield next(way for k, way in enumerate(ways) if k == BENDS or not cells.met(way, (tail, head)))


def _bends(start: Point, end: Point, lane: float) -> tuple[Points, ...]:
    """Down all the way, or between the first two rows, the last two, or both, with x `lane` in between."""
    (x0, y0), (x1, y1) = start, end
    early, late = min(y0 + GAP, y1), max(y1 - GAP, y0)
    return (
        _bend(start, end),
        (*_bend(start, (x1, early)), (x1, early), end, end),
        (start, start, (x0, late), *_bend((x0, late), end)),
        (*_bend(start, (lane, early)), (lane, early), (lane, late), *_bend((lane, late), end)),
    )


def _bend(start: Point, end: Point) -> Points:
    """A curve that leaves and arrives upright."""
    middle = (start[1] + end[1]) / 2
    return start, (start[0], middle), (end[0], middle), end


class _Cells:
    """Boxes (left, top, right, bottom) from the uppermost down: a line looks only at those beside it."""

    def __init__(self, corners: Sequence[tuple[float, float, float, float]]) -> None:
        cells = np.array(corners).reshape(-1, 4)
        self.order = cells[:, 1].argsort(kind="stable")
        self.cells = cells[self.order]
        self.tallest = (cells[:, 3] - cells[:, 1]).max(initial=0)

    def met(self, points: Points, ends: tuple[int, int]) -> bool:
        """Whether one of the points is in one of the boxes, those at the line's ends left out."""
        xy = np.array(points)
        (left, top), (right, bottom) = xy.min(0), xy.max(0)
        beside = slice(*np.searchsorted(self.cells[:, 1], (top - self.tallest, bottom)))
        cells = self.cells[beside]
        near = (cells[:, 0] < right) & (cells[:, 2] > left) & (cells[:, 3] > top)
        for end in ends:
            near &= self.order[beside] != end
        cells, xy = cells[near], xy[:, None]
        return bool(((xy > cells[:, :2]) & (xy < cells[:, 2:])).all(-1).any())


def _sampled(curve: Points) -> Points:
    """Points on Bezier curves of the third degree, given by 3 n + 1 control points."""
    out = [curve[0]]
    for i in range(0, len(curve) - 1, 3):
        a, b, c, d = piece = np.array(curve[i : i + 4])
        steps = int(np.clip(np.abs(np.diff(piece, axis=0)).sum() / STEP, 2, 40))
        t = np.linspace(0, 1, steps + 1)[1:, None]
        on = (1 - t) ** 3 * a + 3 * t * (1 - t) ** 2 * b + 3 * t**2 * (1 - t) * c + t**3 * d
        out += [(float(x), float(y)) for x, y in on]
    return tuple(out)
