#!/usr/bin/env python3
"""Compare the engines on whole nets and write the table into README.md.

    python scripts/parity_table.py [FOLDER ...]     folders with a deploy.prototxt, and weights or none

By default the folders of prototxt/. Nets without weights get seeded random ones.
"""

from __future__ import annotations

import sys
from pathlib import Path

from caffe_viz.deploying import preprocess_near
from caffe_viz.files import write_whole
from caffe_viz.netdef import read_net, read_weights
from caffe_viz.parity import compare
from caffe_viz.surgery import with_batch

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- written by scripts/parity_table.py -->\n", "<!-- end -->\n"
HEAD = "| net | weights | layers | forward | gradient | gradient, decisions its own |\n" + "|---" * 6 + "|\n"


def row(folder: Path) -> str:
    weights = next(folder.glob("*.caffemodel"), None)
    found = compare(
        with_batch(read_net(folder / "deploy.prototxt"), 1),
        None if weights is None else read_weights(weights),
        amplitude=64 * preprocess_near(folder / "deploy.prototxt").scale,
    )
    kind = "random" if weights is None else "trained"
    numbers = [found.forward, found.gradient, found.scattered]
    cells = ["none" if value is None else f"{value:.0e}" for value in numbers]
    return f"| {folder.name} | {kind} | {len(found.layers)} | {' | '.join(cells)} |\n"


def main() -> None:
    given = [Path(name) for name in sys.argv[1:]]
    folders = given or sorted(p.parent for p in (ROOT / "prototxt").glob("*/deploy.prototxt"))
    rows = []
    for folder in folders:
        rows.append(row(folder))
        print(rows[-1], end="", flush=True)
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        sys.exit(f"{readme} has no place for the table: {BEGIN.strip()} .. {END.strip()}")
    write_whole(readme, (before + BEGIN + HEAD + "".join(rows) + END + after).encode())


if __name__ == "__main__":
    main()
