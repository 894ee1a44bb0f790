"""The heading of a drawing that is a file of its own: the net's name, a note, the legend."""

from __future__ import annotations

from dataclasses import dataclass

from caffe_viz.structure.boxes import LINE, SMALL, clean, short, text_width
from caffe_viz.structure.graph import Graph
from caffe_viz.structure.layout import MARGIN
from caffe_viz.structure.palette import FILLS, family

NARROWEST = 440.0  # of a drawing with a heading
SWATCH = 13.0
LONGEST = 60  # characters of the note


@dataclass(frozen=True)
class Heading:
    """Lines of text (x, y, words), the first one large; colour squares (x, y, family); total height."""

    words: tuple[tuple[float, float, str], ...]
    squares: tuple[tuple[float, float, str], ...]
    height: float


def heading(graph: Graph, width: float) -> Heading:
    """Make the heading of a drawing of `width`, from its upper left corner."""
    x, y = MARGIN, 24.0
    words, squares = [(x, y, short(graph.name, 50) or "a net without a name")], []
    if note(graph):
        y += LINE
        said = note(graph)
        words.append((x, y, said if len(said) <= LONGEST else f"{said[:LONGEST]}…"))
    y += 8
    for name in present(graph):
        wide = text_width(name, SMALL) + 32
        if x + wide > width:
            x, y = MARGIN, y + 20
        squares.append((x, y, name))
        words.append((x + SWATCH + 5, y + 11, name))
        x += wide
    return Heading(tuple(words), tuple(squares), y + 22)


def note(graph: Graph) -> str:
    """Return what readers of the shapes must know."""
    if graph.unmeasured:
        return f"Without shapes: {clean(graph.unmeasured)}"
    return f"Shapes leave out the batch ({graph.batch})." if graph.batch else ""


def present(graph: Graph) -> list[str]:
    """Return the families in the graph, in the order of the palette."""
    found = {family(layer.type, layer.known) for node in graph.nodes for layer in node.layers}
    return [name for name in FILLS if name in found]
