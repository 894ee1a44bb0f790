"""The command `draw`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from caffe_viz.cli.networks import Definition, command
from caffe_viz.cli.options import Json, Output
from caffe_viz.cli.parts import print_files
from caffe_viz.cli.usage import one_of


@command
def draw(
    net: Definition,
    format: Annotated[
        list[str] | None,
        typer.Option(help="File format (repeatable). [default: svg]", **one_of("svg", "png", "dot")),
    ] = None,
    fold: Annotated[bool, typer.Option("--fold", help="Draw each module as one box.")] = False,
    output: Output = Path("out"),
    as_json: Json = False,
) -> None:
    """Draw the graph of layers, with its branches, modules and shapes.

    Example: `caffe-viz draw googlenet --fold`

    Needs no weights and no engine.
    """
    from caffe_viz.files import need_folder
    from caffe_viz.views import show_structure

    need_folder(output)
    shown = show_structure(net.message())
    paths = shown.save(output, format or ["svg"], fold=fold)
    for line in shown.graph.remarks:
        print(line, file=sys.stderr)
    if shown.graph.unmeasured:
        print(f"without shapes: {shown.graph.unmeasured}", file=sys.stderr)
    if as_json:
        print(json.dumps(shown.to_json() | {"files": list(map(str, paths))}))
        return
    print(shown)
    print_files(paths)
