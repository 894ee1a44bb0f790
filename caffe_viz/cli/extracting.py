"""The command `extract`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from caffe_viz.cli.app import app
from caffe_viz.cli.options import OutputPrototxt
from caffe_viz.errors import InputError


@app.command()
def extract(
    caffemodel: Annotated[
        Path, typer.Argument(help="The caffemodel, or the name of a shipped network.", show_default=False)
    ],
    output: OutputPrototxt = Path("out/net.prototxt"),
) -> None:
    """Write the prototxt of the net that a caffemodel contains.

    Example: `caffe-viz extract caffenet_cifar10`

    For a caffemodel whose prototxt is lost.
    """
    from caffe_viz.views.extracted import extract as found_in

    if output.exists() and output.resolve() == caffemodel.resolve():
        raise InputError(f"{output} is the input file: choose another one with --output.")
    found = found_in(caffemodel)
    found.save(output)
    for note in found.notes(output):
        print(note, file=sys.stderr)
    print(output)
