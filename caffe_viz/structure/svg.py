"""A layout as SVG: a file of its own, or a fragment of a page with what graph.js needs to fold its modules."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from html import escape

from caffe_viz.structure.boxes import BIG, LINE, PAD, SMALL, STEM, Band, Face, clean, text_width
from caffe_viz.structure.graph import Edge, Graph
from caffe_viz.structure.graphviz import Point
from caffe_viz.structure.layout import BAR, MARGIN, Inside, Layout, Spot, Unit
from caffe_viz.structure.palette import COLOURS
from caffe_viz.structure.placing import Box, place
from caffe_viz.structure.words import dims

Link = Callable[[int], str | None]
NARROWEST = 440.0  # of a file, so that its legend has room
ARROW = 3.5
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
    """The rules that a drawing needs; report/static/graph.css begins with them."""
    light, dark = (
        "".join(f" --cvg-{name.replace(' ', '-')}: {pair[mode]};" for name, pair in COLOURS.items())
        for mode in (0, 1)
    )
    bands = "".join(f".cvg-{_slug(name)} {{ fill: var(--cvg-{_slug(name)}); }}\n" for name in _families())
    return (
        f".cvg {{{light} }}\n@media (prefers-color-scheme: dark) {{ .cvg {{{dark} }} }}\n{_RULES}{bands}"
    )


def standalone(layout: Layout, *, fold: bool = False) -> str:
    """A whole SVG file, in light or dark as its viewer is; modules open, or folded."""
    opened = () if fold else range(len(layout.units))
    placed = place(layout, opened)
    width = max(placed.width, NARROWEST)
    head, top = _heading(layout.graph, width)
    body = "".join(_body(layout, opened, lambda index: None, both=False))
    height = top + placed.height
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="cvg cvg-drawing" role="group" '
        f'width="{_n(width)}" height="{_n(height)}" viewBox="0 0 {_n(width)} {_n(height)}" '
        f'aria-label="{escape(label(layout.graph))}">\n<style>\n{style()}</style>\n'
        f'<rect width="100%" height="100%" class="cvg-canvas"/>\n{head}'
        f'<g transform="translate({_n((width - placed.width) / 2)} {_n(top)})">\n{body}</g>\n</svg>\n'
    )


def fragment(layout: Layout, link: Link, *, fold: bool = False) -> str:
    """The drawing for a page with graph.css and graph.js: complete without the script, which adds folding."""
    opened = () if fold else range(len(layout.units))
    placed = place(layout, opened)
    size = f'width="{_n(placed.width)}" height="{_n(placed.height)}"'
    legend = "".join(
        f'<li><svg width="14" height="14" aria-hidden="true"><rect class="cvg-{_slug(name)} cvg-swatch" '
        f'width="13" height="13" x=".5" y=".5"/></svg> {escape(name)}</li>'
        for name in present(layout.graph)
    )
    return (
        f'<figure class="cvg" data-graph>\n<figcaption><ul class="cvg-legend">{legend}</ul>'
        f'<p class="cvg-note">{escape(note(layout.graph))}</p></figcaption>\n'
        f'<div class="cvg-view" tabindex="0" role="region" aria-label="{escape(label(layout.graph))}">\n'
        f'<svg class="cvg-drawing" role="group" {size} aria-label="{escape(label(layout.graph))}" '
        f'viewBox="0 0 {_n(placed.width)} {_n(placed.height)}" data-cells="{_n(layout.width)} '
        f'{_n(layout.height)} {_n(MARGIN)} {_n(STEM)}">\n'
        f"{''.join(_body(layout, opened, link, both=True))}</svg>\n</div>\n</figure>\n"
    )


def label(graph: Graph) -> str:
    """The drawing's name for those who do not see it."""
    modules = f" in {len(graph.modules)} modules" if graph.modules else ""
    return f"graph of the layers of {clean(graph.name) or 'the net'}: {len(graph.nodes)} boxes{modules}"


def note(graph: Graph) -> str:
    """What a reader of the shapes must know."""
    if graph.unmeasured:
        return f"Without shapes: {clean(graph.unmeasured)}"
    return f"Shapes leave out the batch ({graph.batch})." if graph.batch else ""


def present(graph: Graph) -> list[str]:
    """The families that the graph has, in the order of the palette."""
    from caffe_viz.structure.palette import family

    found = {family(layer.type) for node in graph.nodes for layer in node.layers}
    return [name for name in COLOURS if name in found]


def _body(layout: Layout, opened: Collection[int], link: Link, *, both: bool) -> Iterator[str]:
    """Lines, then boxes; `both`: the folded and the open state of each module, with their numbers."""
    placed = place(layout, opened)
    for wire, points in zip(layout.wires, placed.wires, strict=True):
        data = ""
        if both:
            old = " ".join(f"{_n(x)},{_n(y)}" for x, y in wire.line.points)
            data = f' data-wire="{wire.tail} {wire.head}" data-points="{old}"'
        yield _line(points, wire.line.edges, data, arrow=True)
    for unit, box in zip(layout.units, placed.boxes, strict=True):
        yield from _unit(layout, unit, box, link, both=both)


def _unit(layout: Layout, unit: Unit, box: Box, link: Link, *, both: bool) -> Iterator[str]:
    face, inside = unit.face, unit.inside
    data = ""
    if both:
        cell = f"{_n(unit.x)} {_n(unit.y)} {_n(face.width)} {_n(face.height)}"
        sizes = "" if inside is None else " ".join(
            map(_n, (inside.width, inside.height, inside.entry, inside.exit))
        )  # fmt: skip
        data = f' data-unit="{cell}"' + (f' data-inside="{sizes}"' if sizes else "")
    yield f'<g{data} transform="translate({_n(box.x)} {_n(box.y)})">'
    if both or not box.open:
        hidden = ' display="none"' if box.open else ""
        yield f'<g class="cvg-folded"{hidden}>' if inside else "<g>"
        yield from _face(face, link, layout.graph, folded=inside is not None)
        yield "</g>"
    if inside is not None and (both or box.open):
        hidden = "" if box.open else ' display="none"'
        yield f'<g class="cvg-open"{hidden}>'
        yield from _open(face, inside, link, layout.graph)
        yield "</g>"
    yield "</g>\n"


def _open(face: Face, inside: Inside, link: Link, graph: Graph) -> Iterator[str]:
    """An open module: its frame, its title, its lines and boxes."""
    name = face.bands[0].lines[0]
    size = f'width="{_n(inside.width)}" height="{_n(inside.height)}"'
    yield f'<rect class="cvg-frame" {size} rx="8"/>'
    grip = f'<rect class="cvg-grip" x="1" y="1" width="{_n(text_width(name, BIG) + 36)}" height="{_n(BAR - 2)}" rx="7"/>'
    mark = '<path class="cvg-mark" d="M8 9h9l-4.5 7z"/>'
    yield f'<g class="cvg-toggle">{grip}{mark}<text class="cvg-name cvg-left" x="23" y="17">{escape(name)}</text></g>'
    for line in inside.lines:
        yield _line(line.points, line.edges, "", arrow=bool(line.edges))
    yield _stem(inside.exit, inside.height, "")  # the shape stands inside
    for spot in inside.spots:
        yield f'<g transform="translate({_n(spot.x)} {_n(spot.y)})">'
        yield from _face(spot.face, link, graph, folded=False)
        yield "</g>"


def _face(face: Face, link: Link, graph: Graph, *, folded: bool) -> Iterator[str]:
    """A box with its rows, each a link to its layer, and the stem below."""
    width, height = face.width, face.height
    yield f"<g><title>{escape(face.title)}</title>"
    yield '<g class="cvg-toggle">' if folded else ""
    y = 0.0
    for i, band in enumerate(face.bands):
        inner = _band(band, width, y, first=i == 0, last=i == len(face.bands) - 1)
        target = link(band.layer.index) if band.layer else None
        if target is not None and band.layer is not None:
            said = f"{clean(band.layer.name)}: {clean(band.layer.type)} {band.layer.words}".strip()
            inner = f'<a href="{escape(target)}" aria-label="{escape(said)}">{inner}</a>'
        yield inner
        y += band.height
    yield f'<rect class="cvg-box" width="{_n(width)}" height="{_n(height)}" rx="5"/>'
    if folded:
        yield '<path class="cvg-mark" d="M8 8v9l7-4.5z"/></g>'
    yield f"</g>{_stem(width / 2, height, face.out)}"


def _band(band: Band, width: float, y: float, *, first: bool, last: bool) -> str:
    """One row; the outer corners of a box are round."""
    h, r = band.height, 5.0
    up, down = (r if first else 0.0), (r if last else 0.0)
    shape = (
        f"M0 {_n(y + up)}q0 {_n(-up)} {_n(up)} {_n(-up)}h{_n(width - 2 * up)}q{_n(up)} 0 {_n(up)} {_n(up)}"
        f"v{_n(h - up - down)}q0 {_n(down)} {_n(-down)} {_n(down)}h{_n(2 * down - width)}q{_n(-down)} 0 {_n(-down)} {_n(-down)}z"
    )
    texts = [
        f'<text{_classes(band, i)} x="{_n(width / 2)}" y="{_n(base)}">{escape(line)}</text>'
        for i, (line, base) in enumerate(zip(band.lines, baselines(band, y), strict=True))
    ]
    return f'<path class="cvg-{_slug(band.family)}" d="{shape}"/>{"".join(texts)}'


def baselines(band: Band, y: float) -> list[float]:
    """Where the lines of a row at `y` stand."""
    free = (band.height - LINE * len(band.lines)) / 2
    return [y + free + LINE * (i + 1) - 4 for i in range(len(band.lines))]


def _classes(band: Band, line: int) -> str:
    return ' class="cvg-name"' if line == 0 and len(band.lines) > 1 else ""


def _stem(x: float, y: float, out: str) -> str:
    """Where the blob leaves a box, with its shape."""
    text = f'<text class="cvg-shape" x="{_n(x + 5)}" y="{_n(y + STEM - 4.5)}">{escape(out)}</text>' if out else ""
    return f'<path class="cvg-line" d="M{_n(x)} {_n(y)}v{_n(STEM)}"/>{text}'


def _line(points: Sequence[Point], edges: Iterable[Edge], data: str, *, arrow: bool) -> str:
    said = dict.fromkeys(f"{clean(e.blob.name)} {'' if e.blob.shape is None else dims(e.blob.shape)}" for e in edges)
    title = f"<title>{escape('; '.join(said).strip())}</title>" if said else ""
    return f'<path class="cvg-line"{data} d="{path(points, arrow=arrow)}">{title}</path>\n'


def path(points: Sequence[Point], *, arrow: bool) -> str:
    """Points as a path, with an arrow that points down at its end."""
    (x, y), tip = points[-1], ""
    if arrow:
        tip = f"M{_n(x - ARROW)} {_n(y - 2 * ARROW)}L{_n(x)} {_n(y)}L{_n(x + ARROW)} {_n(y - 2 * ARROW)}"
    return "M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in points) + tip


def _heading(graph: Graph, width: float) -> tuple[str, float]:
    """The net's name, the note and the legend of a file, and their height."""
    out, x, y = [], MARGIN, 24.0
    out.append(f'<text class="cvg-name cvg-left" x="{_n(x)}" y="{_n(y)}">{escape(clean(graph.name)[:60])}</text>')
    if note(graph):
        y += LINE
        out.append(f'<text class="cvg-left" x="{_n(x)}" y="{_n(y)}">{escape(note(graph)[:70])}</text>')
    y += 8
    for name in present(graph):
        wide = text_width(name, SMALL) + 32
        if x + wide > width:
            x, y = MARGIN, y + 20
        out.append(f'<rect class="cvg-{_slug(name)} cvg-swatch" x="{_n(x)}" y="{_n(y)}" width="13" height="13"/>')
        out.append(f'<text class="cvg-left" x="{_n(x + 18)}" y="{_n(y + 11)}">{escape(name)}</text>')
        x += wide
    return "\n".join(out) + "\n", y + 22


def _families() -> list[str]:
    return [name for name in COLOURS if name not in ("text", "dim", "line")]


def _slug(family: str) -> str:
    return family.replace(" ", "-")


def _n(value: float) -> str:
    """A coordinate, to a tenth of a pixel."""
    return f"{round(value, 1):g}" if abs(value) < 1e5 else f"{value:.0f}"
