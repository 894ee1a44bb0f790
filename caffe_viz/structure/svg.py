"""A layout as SVG: a file of its own, or a fragment of a page with the data that graph.js needs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from html import escape

from caffe_viz.structure.boxes import BIG, STEM, Band, LayerBox, baselines, clean, text_width
from caffe_viz.structure.descriptions import dims
from caffe_viz.structure.graph import Edge, Graph
from caffe_viz.structure.graphviz import Point
from caffe_viz.structure.heading import NARROWEST, SWATCH, Heading, heading, note, present
from caffe_viz.structure.layout import MARGIN, Inside, Layout, Unit
from caffe_viz.structure.palette import COLOURS, FILLS
from caffe_viz.structure.placing import Box, place

Link = Callable[[int], str | None]  # index of a layer -> address, or None
ARROW = 3.5  # half its width
CORNER = 5.0
_RULES = """\
.cvg-drawing { font: 11px "DejaVu Sans", Verdana, system-ui, sans-serif; }
.cvg-drawing text { fill: var(--cvg-text); text-anchor: middle; }
.cvg-drawing .cvg-name { font-size: 12px; font-weight: 600; }
.cvg-drawing .cvg-shape { fill: var(--cvg-dim); text-anchor: start; }
.cvg-drawing .cvg-left { text-anchor: start; }
.cvg-line { fill: none; stroke: var(--cvg-line); stroke-width: 1.3; }
.cvg-box { fill: none; stroke: var(--cvg-line); }
.cvg-frame { fill: var(--cvg-module); stroke: var(--cvg-line); stroke-dasharray: 4 3; }
.cvg-mark { fill: var(--cvg-dim); }
.cvg-grip { fill: none; pointer-events: all; }
.cvg-swatch { stroke: var(--cvg-line); }
"""


def style() -> str:
    """Return the CSS rules that a drawing needs, in a file and in a page."""
    light, dark = (
        "".join(f" --cvg-{_slug(name)}: {pair[mode]};" for name, pair in COLOURS.items()) for mode in (0, 1)
    )
    modes = f".cvg {{{light} }}\n@media (prefers-color-scheme: dark) {{ .cvg {{{dark} }} }}\n"
    return modes + _RULES + "".join(f".cvg-{_slug(n)} {{ fill: var(--cvg-{_slug(n)}); }}\n" for n in FILLS)


def standalone(layout: Layout, *, fold: bool = False) -> str:
    """Return a whole SVG file, light or dark like its viewer, with modules open or folded."""
    opened = () if fold else range(len(layout.units))
    size = place(layout, opened)
    width = max(size.width, NARROWEST)
    above = heading(layout.graph, width)
    moved = f'transform="translate({_n((width - size.width) / 2)} {_n(above.height)})"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="cvg cvg-drawing" role="group" '
        f'aria-label="{escape(label(layout.graph))}" {_frame(width, above.height + size.height)}>\n'
        f'<style>\n{style()}</style>\n<rect width="100%" height="100%" class="cvg-canvas"/>\n'
        f"{_heading(above)}<g {moved}>\n"
        f"{''.join(_body(layout, opened, lambda index: None, both=False))}</g>\n</svg>\n"
    )


def fragment(layout: Layout, link: Link) -> str:
    """Return the drawing for a page with `style`, graph.css and graph.js; complete without the script."""
    opened = range(len(layout.units))
    size = place(layout, opened)
    named = f'aria-label="{escape(label(layout.graph))}"'
    swatch = '<svg width="14" height="14" aria-hidden="true"><rect class="cvg-{} cvg-swatch" {}/></svg> {}'
    square = 'x=".5" y=".5" width="13" height="13"'
    legend = "".join(f"<li>{swatch.format(_slug(n), square, escape(n))}</li>" for n in present(layout.graph))
    cells = " ".join(map(_n, (layout.width, layout.height, MARGIN, STEM)))
    return (
        f'<figure class="cvg">\n<figcaption><ul class="cvg-legend">{legend}</ul>'
        f'<p class="cvg-note">{escape(note(layout.graph))}</p></figcaption>\n'
        f'<div class="cvg-tools"></div>\n'
        '<div class="cvg-view" tabindex="0" role="region" aria-label="drawing">\n'
        f'<svg class="cvg-drawing" role="group" {named} {_frame(size.width, size.height)} '
        f'data-cells="{cells}">\n'
        f"{''.join(_body(layout, opened, link, both=True))}</svg>\n</div>\n</figure>\n"
    )


def label(graph: Graph) -> str:
    """Return the drawing's accessible name."""
    modules = f", {len(graph.modules)} modules" if graph.modules else ""
    return f"graph of the layers of {clean(graph.name) or 'the net'}: {len(graph.nodes)} boxes{modules}"


def path(points: Sequence[Point], *, arrow: bool) -> str:
    """Return points as an SVG path, with an arrow that points down at its end."""
    (x, y), tip = points[-1], ""
    if arrow:
        left, right, up = _n(x - ARROW), _n(x + ARROW), _n(y - 2 * ARROW)
        tip = f"M{left} {up}L{_n(x)} {_n(y)}L{right} {up}"
    return "M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in points) + tip


def _body(layout: Layout, opened: Collection[int], link: Link, *, both: bool) -> Iterator[str]:
    """Lines, then boxes; `both`: the folded and the open state of each module, with their numbers."""
    placed = place(layout, opened)
    for wire, points in zip(layout.wires, placed.wires, strict=True):
        data = ""
        if both:
            old = " ".join(f"{_n(x)},{_n(y)}" for x, y in wire.line.points)
            data = f' data-wire="{wire.tail} {wire.head}" data-points="{old}"'
        yield _line(points, wire.line.edges, data)
    for unit, box in zip(layout.units, placed.boxes, strict=True):
        yield from _unit(layout, unit, box, link, both=both)


def _unit(layout: Layout, unit: Unit, box: Box, link: Link, *, both: bool) -> Iterator[str]:
    face, inside = unit.face, unit.inside
    data = ""
    if both:
        data = f' data-unit="{" ".join(map(_n, (unit.x, unit.y, face.width, face.height)))}"'
        if inside:
            numbers = (inside.width, inside.height, inside.middle)
            data += f' data-inside="{" ".join(map(_n, numbers))}"'
    yield f'<g{data} transform="translate({_n(box.x)} {_n(box.y)})">'
    if inside is None:
        yield from _face(face, link)
    else:
        off = ' display="none"'
        if both or not box.open:
            yield f'<g class="cvg-folded"{off if box.open else ""}>{"".join(_folded(face))}</g>'
        if both or box.open:
            yield f'<g class="cvg-open"{"" if box.open else off}>{"".join(_open(face, inside, link))}</g>'
    yield "</g>\n"


def _folded(face: LayerBox) -> Iterator[str]:
    yield f'<g class="cvg-toggle"><title>{escape(face.title)}</title>'
    yield _band(face.bands[0], face.width, 0, first=True, last=True)
    yield f'{_outline(face)}<path class="cvg-mark" d="M8 8v9l7-4.5z"/></g>'
    yield _stem(face.width / 2, face.height, face.out)


def _open(face: LayerBox, inside: Inside, link: Link) -> Iterator[str]:
    """An open module: its frame, its title, its lines and boxes."""
    name = face.bands[0].lines[0]
    yield f'<rect class="cvg-frame" width="{_n(inside.width)}" height="{_n(inside.height)}" rx="8"/>'
    grip = f'<rect class="cvg-grip" x="1" y="1" width="{_n(text_width(name, BIG) + 36)}" height="22" rx="7"/>'
    mark = '<path class="cvg-mark" d="M8 8h9l-4.5 7z"/>'
    yield f'<g class="cvg-toggle">{grip}{mark}{_text(23, 16, name, "cvg-name cvg-left")}</g>'
    for line in inside.lines:
        yield _line(line.points, line.edges)
    yield _stem(inside.middle, inside.height, "")  # the shape stands inside
    for spot in inside.spots:
        yield f'<g transform="translate({_n(spot.x)} {_n(spot.y)})">'
        yield from _face(spot.face, link)
        yield "</g>"


def _face(face: LayerBox, link: Link) -> Iterator[str]:
    """A box with its rows, each a link to its layer, and the stem below."""
    yield f"<g><title>{escape(face.title)}</title>"
    y, last = 0.0, len(face.bands) - 1
    for i, band in enumerate(face.bands):
        drawn = _band(band, face.width, y, first=i == 0, last=i == last)
        target = None if band.layer is None else link(band.layer.index)
        if target is not None:
            said = escape(face.title.split("\n")[i])
            drawn = f'<a href="{escape(target)}" aria-label="{said}">{drawn}</a>'
        yield drawn
        y += band.height
    yield f"{_outline(face)}</g>{_stem(face.width / 2, face.height, face.out)}"


def _band(band: Band, width: float, y: float, *, first: bool, last: bool) -> str:
    """One row; the outer corners of a box are round."""
    up, down = (CORNER if first else 0.0), (CORNER if last else 0.0)
    corners = (
        f"M0 {_n(y + up)}", _turn(up, 0, -1, 1, 0), f"h{_n(width - 2 * up)}", _turn(up, 1, 0, 0, 1),
        f"v{_n(band.height - up - down)}", _turn(down, 0, 1, -1, 0), f"h{_n(2 * down - width)}",
        _turn(down, -1, 0, 0, -1), "z",
    )  # fmt: skip
    texts = [
        _text(width / 2, base, line, "cvg-name" if i == 0 and len(band.lines) > 1 else "")
        for i, (line, base) in enumerate(zip(band.lines, baselines(band, y), strict=True))
    ]
    return f'<path class="cvg-{_slug(band.family)}" d="{"".join(corners)}"/>{"".join(texts)}'


def _turn(r: float, x0: int, y0: int, x1: int, y1: int) -> str:
    """A round corner of radius `r`, from direction (x0, y0) into (x1, y1)."""
    return f"q{_n(r * x0)} {_n(r * y0)} {_n(r * (x0 + x1))} {_n(r * (y0 + y1))}" if r else ""


def _outline(face: LayerBox) -> str:
    return f'<rect class="cvg-box" width="{_n(face.width)}" height="{_n(face.height)}" rx="{_n(CORNER)}"/>'


def _stem(x: float, y: float, out: str) -> str:
    """Where the blob leaves a box, with its shape."""
    words = _text(x + 5, y + STEM - 4.5, out, "cvg-shape") if out else ""
    return f'<path class="cvg-line" d="M{_n(x)} {_n(y)}v{_n(STEM)}"/>{words}'


def _line(points: Sequence[Point], edges: Sequence[Edge], data: str = "") -> str:
    """A line, with an arrow and a title where it is more than the end of another."""
    blobs = [edge.blob for edge in edges]
    said = dict.fromkeys(f"{clean(b.name)} {'' if b.shape is None else dims(b.shape)}".strip() for b in blobs)
    title = f"<title>{escape('; '.join(said))}</title>" if said else ""
    return f'<path class="cvg-line"{data} d="{path(points, arrow=bool(edges))}">{title}</path>\n'


def _text(x: float, y: float, words: str, classes: str) -> str:
    named = f' class="{classes}"' if classes else ""
    return f'<text{named} x="{_n(x)}" y="{_n(y)}">{escape(words)}</text>'


def _heading(above: Heading) -> str:
    side = f'width="{_n(SWATCH)}" height="{_n(SWATCH)}"'
    squares = (
        f'<rect class="cvg-{_slug(name)} cvg-swatch" x="{_n(x)}" y="{_n(y)}" {side}/>'
        for x, y, name in above.squares
    )
    words = (
        _text(x, y, line, "cvg-left" if i else "cvg-name cvg-left")
        for i, (x, y, line) in enumerate(above.words)
    )
    return "\n".join((*words, *squares, ""))


def _frame(width: float, height: float) -> str:
    return f'width="{_n(width)}" height="{_n(height)}" viewBox="0 0 {_n(width)} {_n(height)}"'


def _slug(name: str) -> str:
    return name.replace(" ", "-")


def _n(value: float) -> str:
    """A coordinate, to a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0")
