"""The contents and the size of a box of the drawing; one unit is a pixel, and Graphviz's point."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache

from caffe_viz.structure.descriptions import TIMES, dims
from caffe_viz.structure.graph import Blob, Graph, Layer, Node
from caffe_viz.structure.modules import Module
from caffe_viz.structure.palette import family

BIG, SMALL = 12.0, 11.0  # sizes of text
LINE = 15.0  # from line to line
PAD = 6.0  # from the box's border to its text, up and down
STEM = 17.0  # below the box: where the line leaves and the blob's shape stands beside it
LONGEST = 34  # characters of a name that are shown
SHOWN_BLOBS = 2  # beside a box

# Widths in ems of a wide face (DejaVu Sans), so that text fits in the faces of browsers too.
_WIDTHS = {c: w for w, group in (
    (0.3, "'ijlIJ"), (0.36, " ,./:;\\|f-()[]t"), (0.45, "!r"), (0.54, "\"*_`szc?"),
    (0.72, "ABCDGHKNRUVXYZ"), (0.86, "w#+<=>^~MQO&" + TIMES), (1.0, "m%W@"),
) for c in group}  # fmt: skip


@dataclass(frozen=True)
class Band:
    """One row of a box: the layer that a click opens, its family, its lines of text."""

    layer: Layer | None
    family: str
    lines: tuple[str, ...]
    height: float


@dataclass(frozen=True)
class LayerBox:
    """A box: its rows from the top, its size, the shape that leaves it, and a description in one sentence."""

    bands: tuple[Band, ...]
    width: float
    height: float
    out: str
    title: str


def node_face(node: Node) -> LayerBox:
    """Make the box of a node: the layer, and a thin row for each layer that works in place on its top."""
    head, *stacked = node.layers
    bands = [_band(head, (short(head.name), short(f"{head.type} {head.words}".strip(), LONGEST + 8)))]
    bands += [_band(layer, (short(f"{layer.name} · {layer.type}", LONGEST + 8),)) for layer in stacked]
    return _face(bands, _outs(node.tops), node_title(node))


def module_face(module: Module, graph: Graph) -> LayerBox:
    """Make the box of a folded module."""
    nodes = [graph.nodes[n] for n in module.nodes]
    layers = [layer for node in nodes for layer in node.layers]
    params = sum(layer.params for layer in layers)
    said = f"{len(layers)} layers" + (f", {params:,} parameters" if params else "")
    lines = (short(module.name), said)
    band = Band(None, "module", lines, 2 * LINE + 2 * PAD)
    return _face([band], _outs(nodes[-1].tops), f"module {clean(module.name)}: {said}")


def node_title(node: Node) -> str:
    """Describe a node completely, one line for each layer."""
    lines = []
    for layer in node.layers:
        params = f", {layer.params:,} parameters" if layer.params else ""
        words = f" {layer.words}" if layer.words else ""
        lines.append(f"{clean(layer.name)}: {clean(layer.type)}{words}{params}")
    tops = [f"{clean(b.name)} {_shape(b)}".strip() for b in node.tops]
    return "\n".join([*lines, *([f"makes {', '.join(tops)}"] if tops else [])])


def baselines(band: Band, y: float) -> list[float]:
    """Return the baselines of the lines of a row at `y`."""
    free = (band.height - LINE * len(band.lines)) / 2
    return [y + free + LINE * (i + 1) - 4 for i in range(len(band.lines))]


def clean(words: str) -> str:
    """Make one printable line: names from files may contain anything."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(words.split()))


def short(words: str, most: int = LONGEST) -> str:
    """Shorten `words` with an ellipsis in the middle if they are longer than `most` characters."""
    words = clean(words[: 1000 * most])
    if len(words) <= most:
        return words
    end = most // 3
    return f"{words[: most - end - 1]}…{words[-end:]}"


@cache
def text_width(words: str, size: float) -> float:
    """Estimate the width of `words` in a sans-serif font of `size`, rather too large than too small."""
    return size * sum(_width(c) for c in words)


def _width(c: str) -> float:
    if c in _WIDTHS:
        return _WIDTHS[c]
    if unicodedata.combining(c):
        return 0.0
    return 0.65 if c.isascii() else 1.0 if unicodedata.east_asian_width(c) in "WF" else 0.75


def _band(layer: Layer, lines: tuple[str, ...]) -> Band:
    height = len(lines) * LINE + (2 * PAD if len(lines) > 1 else 4)
    return Band(layer, family(layer.type, layer.known), lines, height)


def _face(bands: list[Band], out: str, title: str) -> LayerBox:
    widths = [
        text_width(line, BIG if i == 0 and len(band.lines) > 1 else SMALL) * (1.08 if i == 0 else 1)
        for band in bands
        for i, line in enumerate(band.lines)
    ]
    width = max(90.0, max(widths) + 20, 2 * text_width(out, SMALL) + 16)
    return LayerBox(tuple(bands), 2.0 * round(width / 2), sum(band.height for band in bands), out, title)


def _outs(tops: tuple[Blob, ...]) -> str:
    """What leaves a box: the shape, or names and shapes of several blobs."""
    if len(tops) == 1:
        return _shape(tops[0])
    if len(tops) > SHOWN_BLOBS:
        return f"{len(tops)} blobs"
    return ", ".join(f"{short(b.name, 16)} {_shape(b)}".strip() for b in tops)


def _shape(blob: Blob) -> str:
    """Nothing where the net was not measured, a question mark where this blob's shape cannot be known."""
    return dims(blob.shape) if blob.shape is not None else "?" if blob.unknown else ""
