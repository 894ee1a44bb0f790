"""The command `extract`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from caffe_viz.cli.app import app
from caffe_viz.errors import InputError


@app.command()
def extract(
    caffemodel: Annotated[Path, typer.Argument(help="The caffemodel.", show_default=False)],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The prototxt to write.")
    ] = Path("out/net.prototxt"),
) -> None:
    """Write the prototxt of the net that a caffemodel holds, where that is all there is."""
    from caffe_viz.views.extracted import extract as found_in

    if output.exists() and output.resolve() == caffemodel.resolve():
        raise InputError(f"{output} is the file itself: give another one by --output.")
    found = found_in(caffemodel)
    found.save(output)
    for note in found.notes(output):
        print(note, file=sys.stderr)
    print(output)
