#!/usr/bin/env python3
"""The reference of the API, from docstrings; `make docs` writes it into out/api."""

from __future__ import annotations

import argparse
import pkgutil
import warnings
from pathlib import Path

import pdoc
from pdoc import render

import caffe_viz

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "out" / "api", help="folder [default: out/api]")
    output = parser.parse_args().output
    for name in caffe_viz.__all__:  # they are loaded when first used, and pdoc looks at what is there
        setattr(caffe_viz, name, getattr(caffe_viz, name))
    rooms = [
        f"caffe_viz.{room.name}" for room in pkgutil.iter_modules(caffe_viz.__path__) if room.name != "cli"
    ]
    # Of a dataclass from another module pdoc cannot resolve the annotations; it shows them as written.
    warnings.filterwarnings("ignore", "Error parsing type annotation", module="pdoc")
    render.configure(docformat="google", show_source=False)
    pdoc.pdoc("caffe_viz", *rooms, output_directory=output)
    print(output / "index.html")


if __name__ == "__main__":
    main()
