"""Call Graphviz for positions; everything written in its language is quoted here."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from caffe_viz.errors import RunError

TIMEOUT = 60.0  # seconds
INCH = 72.0
SPINE, CHAIN = 1000, 50  # how much it matters that an edge is upright
GAP = 29.0  # between two rows
Point = tuple[float, float]
Points = tuple[Point, ...]


@dataclass(frozen=True)
class Wanted:
    """A graph to lay out: sizes (width, height) of its boxes, and edges (tail, head), each once.

    `spine` are pairs of boxes to place one below the other. A box without size is only a point.
    """

    sizes: Sequence[tuple[float, float]]
    edges: Sequence[tuple[int, int]]
    spine: Sequence[tuple[int, int]] = ()


@dataclass(frozen=True)
class Given:
    """Centres of boxes and control points of Bezier curves (3 n + 1, or none if no path), y downwards."""

    width: float
    height: float
    centres: tuple[Point, ...]
    curves: tuple[Points, ...]


def program() -> str:
    """Return Graphviz's `dot`, or the program of the package graphviz-pure, which takes the same flags.

    Raises:
        RunError: Neither is installed.
    """
    beside = str(Path(sys.executable).parent)
    found = shutil.which("dot") or shutil.which("graphviz-pure") or shutil.which("graphviz-pure", path=beside)
    if found is None:
        raise RunError(
            "a drawing needs Graphviz: pip install 'caffe-viz[report]', or install graphviz with its dot."
        )
    return found


def run(text: str, form: str) -> bytes:
    """Run Graphviz on `text`, in its language, and return one of its formats: plain, svg, png.

    Raises:
        RunError: Graphviz is not installed, failed, or took longer than a minute.
    """
    try:
        done = subprocess.run(
            [program(), f"-T{form}"], input=text.encode(), capture_output=True, timeout=TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise RunError(f"Graphviz took more than {TIMEOUT:g} seconds: the graph is too large.") from None
    except OSError as error:
        raise RunError(f"Graphviz ({program()}) cannot be started: {error.strerror}.") from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise RunError(f"Graphviz failed (exit code {done.returncode}): {said[0] if said else 'no message'}")
    return done.stdout


def positions(graphs: Sequence[Wanted]) -> list[Given]:
    """Return the positions of the boxes and edges of each graph, layer above layer, in one run for all.

    Raises:
        RunError: Graphviz is not installed, failed, or took longer than a minute.
    """
    answer = run("\n".join(map(_written, graphs)), "plain").decode()
    try:
        *drawn, _ = answer.split("\nstop\n")
        return [_read(one, graph) for one, graph in zip(drawn, graphs, strict=True)]
    except (IndexError, KeyError, ValueError):
        raise RunError(f"Graphviz ({program()}) gave an answer that is not understood.") from None


def _written(graph: Wanted) -> str:
    """The graph in Graphviz's language; only numbers of ours go in, no names."""
    lines = [
        "digraph {",
        f"nodesep=0.25 ranksep={GAP / INCH:.4f}",
        'node [shape=box fixedsize=true label=""]',
        "edge [arrowhead=none tailport=s headport=n]",
    ]
    spine, leaving, entering = set(graph.spine), *(Counter(e[k] for e in graph.edges) for k in (0, 1))
    for tail, head in _ordered(graph.edges, graph.spine):
        alone = leaving[tail] == entering[head] == 1
        weight = SPINE if (tail, head) in spine else CHAIN if alone else 1
        lines.append(f"{tail} -> {head} [weight={weight}]")
    lines += [f"{i} [width={w / INCH:.4f} height={h / INCH:.4f}]" for i, (w, h) in enumerate(graph.sizes)]
    return "\n".join([*lines, "}"])


def _ordered(edges: Sequence[tuple[int, int]], spine: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """With what is missing of the spine amid its tail's edges: Graphviz starts from the order of edges."""
    out = list(edges)
    for pair in set(spine).difference(edges):
        beside = [i for i, (tail, _) in enumerate(out) if tail == pair[0]]
        out.insert(beside[len(beside) // 2], pair)
    return out


def _read(text: str, graph: Wanted) -> Given:
    """What Graphviz wrote (its format `plain`: inches, y upwards) of `graph`."""
    width = height = 0.0
    centres: dict[int, Point] = {}
    curves: dict[tuple[int, int], Points] = {}
    for words in map(str.split, text.splitlines()):
        if words[0] == "graph":
            width, height = (float(w) * INCH for w in words[2:4])
        elif words[0] == "node":
            centres[int(words[1])] = (float(words[2]) * INCH, height - float(words[3]) * INCH)
        elif words[0] == "edge":
            numbers = [float(w) * INCH for w in words[4 : 4 + 2 * int(words[3])]]
            points = tuple((x, height - y) for x, y in zip(numbers[::2], numbers[1::2], strict=True))
            curves[int(words[1]), int(words[2])] = points
    boxes = tuple(centres[i] for i in range(len(graph.sizes)))
    return Given(width, height, boxes, tuple(curves.get(edge, ()) for edge in graph.edges))
