"""The command `preprocess`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from caffe_viz.cli.networks import MaybeRunning, command
from caffe_viz.cli.options import Json
from caffe_viz.cli.parts import print_files


@command
def preprocess(
    net: MaybeRunning,
    image: Annotated[
        list[str] | None,
        typer.Option(
            help="Images that tell whether it looks right: a file, a folder, a .zip; again for more."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="The preprocess.toml to write.")
    ] = None,
    as_json: Json = False,
) -> None:
    """How images get into the net, where that is said, and what looks wrong about it; -o writes it down."""
    from caffe_viz.views import show_preprocessing

    found = show_preprocessing(net.given(), image or ())
    paths = [] if output is None else found.save(output)
    if as_json:
        print(json.dumps(found.to_json() | {"files": list(map(str, paths))}))
        return
    print(f"preprocessing: {found.table}")
    for doubt in found.doubts:
        print(f"warning: {doubt}", file=sys.stderr)
    print_files(paths)
