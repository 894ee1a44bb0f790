#!/usr/bin/env python3
"""Draw docs/how_it_works.svg: how data flows from the two files to pictures.

Every text stands in a box with a fill of its own, and there is no background, so the drawing is readable
on white and on black. It is narrow, so that its text stays large enough on a phone.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

NAME = "how_it_works.svg"
FILE, STEP, ENGINE, RESULT = "#f6d98b", "#cfe3f7", "#f3c1b2", "#cdeac4"  # fills, light enough for dark text
LEFT, RIGHT = 248, 148  # widths of the two columns
COLUMN = LEFT + 40  # where the right one begins

HEAD = """\
<svg xmlns="http://www.w3.org/2000/svg" {} role="img" aria-label="From prototxt and caffemodel to pictures">
<style>
text {{ font: 13px system-ui, 'DejaVu Sans', sans-serif; fill: #2c3844; text-anchor: middle }}
.title {{ font-size: 15px; font-weight: 600; fill: #111b26 }}
rect, polyline {{ stroke: #7d8894; stroke-width: 1.5 }}
polyline {{ fill: none }}
</style>
<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
<path d="M0 0 L8 4 L0 8 z" fill="#7d8894"/></marker>"""


@dataclass(frozen=True)
class Box:
    """A title and lines of text below it."""

    x: int
    y: int
    width: int
    fill: str
    title: str
    lines: tuple[str, ...] = ()

    @property
    def height(self) -> int:
        return 34 + 18 * len(self.lines)

    @property
    def bottom(self) -> int:
        return self.y + self.height

    @property
    def right(self) -> int:
        return self.x + self.width

    @property
    def centre(self) -> int:
        return self.x + self.width // 2

    @property
    def middle(self) -> int:
        return self.y + self.height // 2

    def svg(self) -> str:
        texts = [f'<text class="title" x="{self.centre}" y="{self.y + 22}">{self.title}</text>']
        texts += [
            f'<text x="{self.centre}" y="{self.y + 42 + 18 * n}">{line}</text>'
            for n, line in enumerate(self.lines)
        ]
        shape = f'x="{self.x}" y="{self.y}" width="{self.width}" height="{self.height}" rx="7"'
        return "\n".join([f'<rect {shape} fill="{self.fill}"/>', *texts])


def arrow(*points: tuple[int, int]) -> str:
    """A line through `points`, with a head at the last."""
    return f'<polyline points="{" ".join(f"{x},{y}" for x, y in points)}" marker-end="url(#head)"/>'


def down(upper: Box, lower: Box) -> str:
    """An arrow from one box to another below it, in the middle of the narrower one."""
    x = min(upper, lower, key=lambda box: box.width).centre
    return arrow((x, upper.bottom), (x, lower.y - 2))


def drawing() -> str:
    """The whole drawing as SVG."""
    half = (LEFT - 8) // 2
    prototxt = Box(1, 1, half, FILE, "prototxt")
    caffemodel = Box(prototxt.right + 8, 1, half, FILE, "caffemodel")
    message = Box(1, 65, LEFT, STEP, "message", ("read, upgraded and checked",))
    shapes = Box(COLUMN, 65, RIGHT, RESULT, "shapes", ("needs no engine",))
    surgery = Box(
        1, 147, LEFT, STEP, "surgery", ("cut at a layer, add an objective,", "or take layers out of place")
    )
    photographs = Box(COLUMN, 165, RIGHT, FILE, "photographs")
    engine = Box(1, 247, LEFT, ENGINE, "real Caffe or PyTorch", ("same interface, same numbers",))
    preprocessing = Box(COLUMN, 247, RIGHT, STEP, "preprocessing", ("mean, scale, order",))
    arrays = Box(1, 329, LEFT, RESULT, "blobs and gradients")
    results = Box(1, 393, LEFT, RESULT, "results", ("npz, JSON: no engine from here on",))
    pictures = Box(1, 475, LEFT, RESULT, "pictures, tables, pages")
    boxes = [
        prototxt, caffemodel, message, shapes, surgery, photographs, engine,
        preprocessing, arrays, results, pictures,
    ]  # fmt: skip
    arrows = [
        down(prototxt, message),
        down(caffemodel, message),
        arrow((message.right, message.middle), (shapes.x - 2, shapes.middle)),
        down(message, surgery),
        down(surgery, engine),
        down(photographs, preprocessing),
        arrow((preprocessing.x, preprocessing.middle), (engine.right + 2, engine.middle)),
        down(engine, arrays),
        down(arrays, results),
        down(results, pictures),
    ]
    width, height = COLUMN + RIGHT + 1, pictures.bottom + 1
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    return "\n".join([HEAD.format(size), *(box.svg() for box in boxes), *arrows, "</svg>\n"])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("out"), help="folder [default: out]")
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    path = given.output / NAME
    path.write_text(drawing(), encoding="utf-8")
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
