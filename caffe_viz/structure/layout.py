"""Where everything stands while all modules are folded, and what is inside each module."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from caffe_viz.structure.boxes import BIG, STEM, Face, module_face, node_face, text_width
from caffe_viz.structure.graph import Edge, Graph
from caffe_viz.structure.graphviz import Given, Point, Wanted, positions
from caffe_viz.structure.modules import Module, dominated

BAR = 24.0  # height of the title of an open module
MARGIN = 12.0  # around the picture inside a module, and around the whole
POINT = (0.01, 0.01)  # a box of no size
STEP = 6.0  # about this far apart are the points that a curve becomes


@dataclass(frozen=True)
class Spot:
    """A box with its upper left corner."""

    x: float
    y: float
    face: Face
    node: int


@dataclass(frozen=True)
class Line:
    """Points of a line, and the blobs that go along it."""

    points: tuple[Point, ...]
    edges: tuple[Edge, ...]


@dataclass(frozen=True)
class Inside:
    """An open module from its upper left corner; lines enter at x `entry` above and leave at `exit` below."""

    width: float
    height: float
    entry: float
    exit: float
    spots: tuple[Spot, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Unit:
    """A node, or a module with its inside; (x, y) is the upper left corner of its face while all are folded."""

    x: float
    y: float
    face: Face
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
    """A graph with its places; `modules` open and fold by `placing.place`."""

    graph: Graph
    width: float
    height: float
    units: tuple[Unit, ...]
    wires: tuple[Wire, ...]


def lay_out(graph: Graph) -> Layout:
    """Positions of a graph and of the inside of its modules, by Graphviz.

    Raises:
        RunError: as `graphviz.positions`.
    """
    faces = [node_face(node) for node in graph.nodes]
    owner = {node: m for m, module in enumerate(graph.modules) for node in module.nodes}
    loose = [n for n in range(len(faces)) if n not in owner]
    starts = sorted([(n, None, n) for n in loose] + [(m.nodes[0], i, None) for i, m in enumerate(graph.modules)])
    place = {("m", m) if n is None else ("n", n): u for u, (_, m, n) in enumerate(starts)}
    unit_of = [place["m", owner[n]] if n in owner else place["n", n] for n in range(len(faces))]
    outer = [module_face(graph.modules[m], graph) if m is not None else faces[n or 0] for _, m, n in starts]
    crossing = [e for e in graph.edges if unit_of[e.tail] != unit_of[e.head]]
    bundles = _bundles(((unit_of[e.tail], unit_of[e.head], e.blob.name), e) for e in crossing)
    whole = Wanted([_cell(f) for f in outer], [(tail, head) for tail, head, _ in bundles])
    asked = [_inner(graph, module, faces) for module in graph.modules]
    given, *inner = positions([whole, *(wanted for wanted, _ in asked)])
    insides = [
        _inside(answer, edges, module, faces, outer[place["m", m]])
        for m, (module, answer, (_, edges)) in enumerate(zip(graph.modules, inner, asked, strict=True))
    ]
    units = tuple(
        Unit(
            *_corner(given.centres[u], face), face, node,
            None if m is None else graph.modules[m], None if m is None else insides[m],
        )
        for u, (face, (_, m, node)) in enumerate(zip(outer, starts, strict=True))
    )  # fmt: skip
    wires = tuple(
        Wire(tail, head, Line(tuple(sampled(curve)), tuple(edges)))
        for ((tail, head, _), edges), curve in zip(bundles.items(), given.curves, strict=True)
    )
    return Layout(graph, given.width, given.height, units, wires)


Key = tuple[int, int, str]


def _bundles(keyed: Iterable[tuple[Key, Edge]]) -> dict[Key, list[Edge]]:
    """Edges of one blob between the same two boxes are one line."""
    out: dict[Key, list[Edge]] = {}
    for key, edge in keyed:
        out.setdefault(key, []).append(edge)
    return out


def _cell(face: Face) -> tuple[float, float]:
    """The size that Graphviz keeps free: the box, and below it room for the shape that leaves."""
    return face.width, face.height + STEM


def _corner(centre: Point, face: Face) -> Point:
    width, height = _cell(face)
    return centre[0] - width / 2, centre[1] - height / 2


def _inner(graph: Graph, module: Module, faces: list[Face]) -> tuple[Wanted, list[list[Edge]]]:
    """The graph inside a module, box 0 being where lines enter; and the edges that each of its lines stands for."""
    at = {node: i for i, node in enumerate((module.source, *module.nodes))}
    bundles = _bundles(
        ((at[e.tail], at[e.head], e.blob.name), e) for e in graph.edges if e.tail in at and e.head in at
    )
    edges = [(tail, head) for tail, head, _ in bundles]
    sizes = [POINT, *(_cell(faces[n]) for n in module.nodes)]
    return Wanted(sizes, edges, list(_spine(edges, len(module.nodes)))), list(bundles.values())


def _spine(edges: list[tuple[int, int]], last: int) -> Iterator[tuple[int, int]]:
    """The boxes that all lines pass, from where they leave to where they enter, in pairs."""
    before: list[list[int]] = [[] for _ in range(last + 1)]
    for tail, head in dict.fromkeys(edges):
        before[head].append(tail)
    while last > 0 and (found := dominated(last, before)) is not None:
        yield found[1], last
        last = found[1]


def _inside(given: Given, bundles: list[list[Edge]], module: Module, faces: list[Face], folded: Face) -> Inside:
    """The inside below a title, as wide on both sides of where lines enter and leave, on average."""
    left = (given.centres[0][0] + given.centres[-1][0]) / 2
    title = text_width(folded.bands[0].lines[0], BIG) + 60
    half = max(left + MARGIN, given.width - left + MARGIN, title, folded.width / 2)
    centres = [(x + half - left, y + BAR) for x, y in given.centres]
    spots = tuple(
        Spot(*_corner(centre, faces[node]), faces[node], node)
        for node, centre in zip(module.nodes, centres[1:], strict=True)
    )
    (entry, top), (exit_, middle) = centres[0], centres[-1]
    height, end = given.height + BAR, middle + _cell(faces[module.nodes[-1]])[1] / 2
    lines = [Line(((entry, 0.0), (entry, top)), ()), Line(((exit_, end), (exit_, height)), ())]
    lines += [
        Line(tuple((x + half - left, y + BAR) for x, y in sampled(curve)), tuple(bundle))
        for curve, bundle in zip(given.curves, bundles, strict=True)
    ]
    return Inside(2 * half, height, entry, exit_, spots, tuple(lines))


def sampled(curve: tuple[Point, ...]) -> Iterator[Point]:
    """Points on Bezier curves of the third degree, given by 3 n + 1 control points."""
    yield curve[0]
    for i in range(0, len(curve) - 1, 3):
        (ax, ay), (bx, by), (cx, cy), (dx, dy) = curve[i : i + 4]
        length = abs(ax - bx) + abs(bx - cx) + abs(cx - dx) + abs(ay - by) + abs(by - cy) + abs(cy - dy)
        steps = max(2, min(40, round(length / STEP)))
        for k in range(1, steps + 1):
            t = k / steps
            a, b, c, d = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3
            yield a * ax + b * bx + c * cx + d * dx, a * ay + b * by + c * cy + d * dy
