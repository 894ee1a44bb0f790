"""The command `convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from caffe_viz.cli.app import app


@app.command()
def convert(
    weights: Annotated[
        Path,
        typer.Argument(
            help="A caffemodel, HDF5, .npz, .safetensors or .json of weights.", show_default=False
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The file to write.", show_default=False)
    ],
    to: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT",
            help="npz, hdf5, safetensors, json or caffemodel [default: by the suffix of FILE].",
        ),
    ] = None,
    prototxt: Annotated[
        Path | None, typer.Option(help="Their net, where the file does not tell it.", metavar="FILE")
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="As float16 (npz, hdf5, safetensors).")] = False,
) -> None:
    """Write weights in another format, or as a caffemodel again; names are LAYER/NUMBER, as conv1/0."""
    from caffe_viz.views.converted import convert as converted

    print(converted(weights, output, to, prototxt, half=half))
    print(output)
