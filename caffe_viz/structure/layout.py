"""The place of everything while all modules are folded, and of what is inside each module."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from caffe_viz.structure.boxes import BIG, STEM, LayerBox, module_face, node_face, text_width
from caffe_viz.structure.graph import Edge, Graph
from caffe_viz.structure.graphviz import Given, Point, Points, Wanted, positions
from caffe_viz.structure.modules import Module, dominated
from caffe_viz.structure.routing import lines

BAR = 14.0  # above what is inside a module, for its title
MARGIN = 12.0  # around the picture inside a module, and around the whole
POINT = (0.01, 0.01)  # a box of no size


@dataclass(frozen=True)
class PlacedBox:
    """A box with its upper left corner."""

    x: float
    y: float
    face: LayerBox
    node: int


@dataclass(frozen=True)
class Line:
    """The points of a line, and the blobs that it stands for."""

    points: Points
    edges: tuple[Edge, ...]


@dataclass(frozen=True)
class Inside:
    """An open module from its upper left corner; lines enter above and leave below at x `middle`."""

    width: float
    height: float
    middle: float
    spots: tuple[PlacedBox, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Unit:
    """A node, or a module with its inside; (x, y) is the upper left corner of its folded box."""

    x: float
    y: float
    face: LayerBox
    node: int | None
    module: Module | None
    inside: Inside | None


@dataclass(frozen=True)
class Wire:
    """A line from unit `tail` to unit `head`."""

    tail: int
    head: int
    line: Line


@dataclass(frozen=True)
class Layout:
    """A graph with positions; `placing.place` opens and folds its `modules`."""

    graph: Graph
    width: float
    height: float
    units: tuple[Unit, ...]
    wires: tuple[Wire, ...]


def lay_out(graph: Graph) -> Layout:
    """Compute the positions of a graph and of the inside of its modules, by Graphviz.

    Raises:
        RunError: As `graphviz.positions`.
    """
    faces = [node_face(node) for node in graph.nodes]
    folded = {node: module for module in graph.modules for node in module.nodes}
    firsts = [n for n in range(len(faces)) if n not in folded or folded[n].nodes[0] == n]
    place = {n: u for u, n in enumerate(firsts)}
    unit_of = {n: place[folded[n].nodes[0] if n in folded else n] for n in range(len(faces))}
    outer = [module_face(folded[n], graph) if n in folded else faces[n] for n in firsts]
    whole = _sheet(graph.edges, outer, unit_of)
    entering: list[list[Edge]] = [[] for _ in graph.nodes]
    for edge in graph.edges:
        entering[edge.head].append(edge)
    inner = [_inner(entering, module, faces) for module in graph.modules]
    given, *answers = positions([sheet.wanted for sheet in (whole, *inner)])
    insides = {
        module.nodes[0]: _inside(sheet, answer, module, outer[place[module.nodes[0]]])
        for module, sheet, answer in zip(graph.modules, inner, answers, strict=True)
    }
    units = tuple(
        Unit(*_corner(centre, face), face, None if n in folded else n, folded.get(n), insides.get(n))
        for n, face, centre in zip(firsts, outer, given.centres, strict=True)
    )
    wires = tuple(
        Wire(*ends, line) for ends, line in zip(whole.wanted.edges, whole.lines(given), strict=True)
    )
    return Layout(graph, given.width, given.height, units, wires)


@dataclass(frozen=True)
class _Sheet:
    """What Graphviz lays out at once: boxes (None: a point); lines by (tail, head), the edges of each."""

    faces: Sequence[LayerBox | None]
    bundles: Mapping[tuple[int, int], Sequence[Edge]]
    spine: Sequence[tuple[int, int]] = ()

    @property
    def wanted(self) -> Wanted:
        sizes = [POINT if face is None else _cell(face) for face in self.faces]
        return Wanted(sizes, list(self.bundles), self.spine)

    def lines(self, given: Given, dx: float = 0, dy: float = 0) -> Iterator[Line]:
        """The lines of the edges, moved by (dx, dy)."""
        for points, edges in zip(lines(self.wanted, given), self.bundles.values(), strict=True):
            yield Line(tuple((x + dx, y + dy) for x, y in points), tuple(edges))


def _sheet(edges: Iterable[Edge], faces: Sequence[LayerBox | None], at: Mapping[int, int]) -> _Sheet:
    """`at`: node -> its box; all edges between the same two boxes are one line."""
    bundles: dict[tuple[int, int], list[Edge]] = {}
    for e in edges:
        if e.tail in at and e.head in at and at[e.tail] != at[e.head]:
            bundles.setdefault((at[e.tail], at[e.head]), []).append(e)
    return _Sheet(faces, bundles)


def _inner(entering: Sequence[Sequence[Edge]], module: Module, faces: Sequence[LayerBox]) -> _Sheet:
    """The inside of a module, given the edges that enter each node; box 0 is the point where lines enter."""
    at = {node: i for i, node in enumerate((module.source, *module.nodes))}
    edges = (edge for n in module.nodes for edge in entering[n])
    sheet = _sheet(edges, [None, *(faces[n] for n in module.nodes)], at)
    return replace(sheet, spine=list(_spine(sheet.wanted.edges, len(module.nodes))))


def _spine(edges: Sequence[tuple[int, int]], last: int) -> Iterator[tuple[int, int]]:
    """The boxes that all lines pass, from where they leave to where they enter, in pairs."""
    before: list[list[int]] = [[] for _ in range(last + 1)]
    for tail, head in edges:
        before[head].append(tail)
    while last > 0 and (found := dominated(last, before)) is not None:
        yield found[1], last
        last = found[1]


def _inside(sheet: _Sheet, given: Given, module: Module, folded: LayerBox) -> Inside:
    """The inside, with a title above it on the left of where lines enter."""
    x = given.centres[0][0]
    title = text_width(folded.bands[0].lines[0], BIG) + 40
    middle = max(x + MARGIN, title, folded.width / 2)
    width = middle + max(given.width - x + MARGIN, folded.width / 2)
    dx = middle - x
    centres = [(x + dx, y + BAR) for x, y in given.centres]
    spots = tuple(
        PlacedBox(*_corner(centre, face), face, node)
        for node, face, centre in zip(module.nodes, sheet.faces[1:], centres[1:], strict=True)
        if face is not None
    )
    (_, top), (last, _) = centres[0], centres[-1]
    height, end = given.height + BAR, spots[-1].y + _cell(spots[-1].face)[1]
    ends = (Line(((middle, 0.0), (middle, top)), ()), Line(((last, end), (middle, height)), ()))
    return Inside(width, height, middle, spots, (*ends, *sheet.lines(given, dx, BAR)))


def _cell(face: LayerBox) -> tuple[float, float]:
    """The size that Graphviz keeps free: the box, and below it room for the shape that leaves."""
    return face.width, face.height + STEM


def _corner(centre: Point, face: LayerBox) -> Point:
    width, height = _cell(face)
    return centre[0] - width / 2, centre[1] - height / 2
