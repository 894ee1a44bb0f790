"""Draw the graph of layers."""

from __future__ import annotations

from typing import Any

from caffe_viz.figures.picture import DPI, Picture, clean, plain_style, rasterise
from caffe_viz.structure import Layout
from caffe_viz.structure.boxes import BIG, SMALL, STEM, LayerBox, baselines
from caffe_viz.structure.graphviz import Points
from caffe_viz.structure.heading import NARROWEST, SWATCH, Heading, heading
from caffe_viz.structure.layout import Unit
from caffe_viz.structure.palette import COLOURS
from caffe_viz.structure.placing import Box, place
from caffe_viz.structure.svg import ARROW

MOST = 1e7  # pixels of a picture
LONGEST = 30000  # pixels of a side, of which matplotlib draws 2 ** 16
SHARP = 2.0  # pixels for each unit of a layout, where that is not too many
POINT = 72 / DPI


def draw_structure(layout: Layout, *, fold: bool = False) -> Picture:
    """The layout in light colours; modules open, or folded to one box each."""
    from matplotlib.figure import Figure

    placed = place(layout, () if fold else range(len(layout.units)))
    width = max(placed.width, NARROWEST)
    above = heading(layout.graph, width)
    height = above.height + placed.height
    sharp = min(SHARP, LONGEST / max(width, height), (MOST / (width * height)) ** 0.5)
    with plain_style():
        figure: Any = Figure(figsize=(width / DPI, height / DPI), dpi=DPI * sharp)
        axes = figure.add_axes((0, 0, 1, 1))
        left = (width - placed.width) / 2
        axes.set(xlim=(-left, width - left), ylim=(placed.height, -above.height))
        axes.axis("off")
        _heading(axes, above, -left)
        for points in placed.wires:
            _line(axes, points, 0, 0, arrow=True)
        for unit, box in zip(layout.units, placed.boxes, strict=True):
            _unit(axes, unit, box)
        return rasterise(figure)


def _heading(axes: Any, above: Heading, dx: float) -> None:
    from matplotlib.patches import Rectangle

    for i, (x, y, line) in enumerate(above.words):
        look = {"ha": "left"} if i else {"ha": "left", "size": BIG, "weight": "bold"}
        _words(axes, x + dx, y - above.height, line, **look)
    for x, y, name in above.squares:
        corner = x + dx, y - above.height
        axes.add_patch(Rectangle(corner, SWATCH, SWATCH, fc=_colour(name), ec=_colour("line"), lw=POINT))


def _unit(axes: Any, unit: Unit, box: Box) -> None:
    if not box.open or unit.inside is None:
        _face(axes, unit.face, box.x, box.y)
        return
    _outline(axes, box.x, box.y, box.width, box.height, facecolor=_colour("module"), linestyle="--")
    name = unit.face.bands[0].lines[0]
    _words(axes, box.x + 10, box.y + 17, name, size=BIG, weight="bold", ha="left")
    for line in unit.inside.lines:
        _line(axes, line.points, box.x, box.y, arrow=bool(line.edges))
    for spot in unit.inside.spots:
        _face(axes, spot.face, box.x + spot.x, box.y + spot.y)
    middle = box.x + unit.inside.middle
    _line(axes, ((0, 0), (0, STEM)), middle, box.y + box.height, arrow=False)


def _face(axes: Any, face: LayerBox, x: float, y: float) -> None:
    """A box with its rows, its stem, and the shape beside that."""
    from matplotlib.patches import Rectangle

    edge = _outline(axes, x, y, face.width, face.height, facecolor="none")
    top = y
    for band in face.bands:
        row = Rectangle((x, top), face.width, band.height, color=_colour(band.family), linewidth=0, zorder=3)
        axes.add_patch(row)
        row.set_clip_path(edge)
        for k, (line, base) in enumerate(zip(band.lines, baselines(band, top), strict=True)):
            big = k == 0 and len(band.lines) > 1
            _words(
                axes, x + face.width / 2, base, line,
                size=BIG if big else SMALL, weight="bold" if big else "normal",
            )  # fmt: skip
        top += band.height
    middle = x + face.width / 2
    _line(axes, ((middle, top), (middle, top + STEM)), 0, 0, arrow=False)
    _words(axes, middle + 5, top + STEM - 4.5, face.out, ha="left", color=_colour("dim"))


def _outline(axes: Any, x: float, y: float, width: float, height: float, **look: Any) -> Any:
    from matplotlib.patches import FancyBboxPatch

    style = "round,pad=0,rounding_size=5"
    made = FancyBboxPatch((x, y), width, height, style, edgecolor=_colour("line"), linewidth=POINT, **look)
    made.set_zorder(2 if look["facecolor"] != "none" else 4)
    return axes.add_patch(made)


def _line(axes: Any, points: Points, dx: float, dy: float, *, arrow: bool) -> None:
    xs, ys = ([p[k] + d for p in points] for k, d in ((0, dx), (1, dy)))
    look = {"color": _colour("line"), "linewidth": 1.3 * POINT, "zorder": 2.5}
    axes.plot(xs, ys, **look)
    if arrow:
        (x, y), a = (xs[-1], ys[-1]), ARROW
        axes.plot((x - a, x, x + a), (y - 2 * a, y, y - 2 * a), **look)


def _words(axes: Any, x: float, y: float, words: str, *, size: float = SMALL, **look: Any) -> None:
    place = {"ha": "center", "va": "baseline", "color": _colour("text"), "zorder": 5, **look}
    axes.text(x, y, clean(words), fontsize=size * POINT, parse_math=False, **place)


def _colour(name: str) -> str:
    return COLOURS[name][0]
