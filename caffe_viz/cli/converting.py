"""The command `convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from caffe_viz.cli.app import app
from caffe_viz.cli.options import output_file


@app.command()
def convert(
    weights: Annotated[
        Path,
        typer.Argument(
            help="Weights to convert: a caffemodel, HDF5, .npz, .safetensors or .json file, or a shipped "
            "network.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, output_file("File to write.", show_default=False)],
    to: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT",
            help="Format: npz, hdf5, safetensors, json or caffemodel. [default: by the suffix of FILE]",
        ),
    ] = None,
    prototxt: Annotated[
        Path | None,
        typer.Option(help="Prototxt of their net, where the file does not contain it.", metavar="FILE"),
    ] = None,
    half: Annotated[
        bool, typer.Option("--half", help="Store values as float16 (npz, hdf5, safetensors).")
    ] = False,
) -> None:
    """Convert weights between caffemodel, npz, HDF5, safetensors and JSON.

    Example: `caffe-viz convert caffenet_cifar10 -o net.npz`

    The arrays are called LAYER/NUMBER, such as conv1/0.
    """
    from caffe_viz.views.converted import convert as converted

    print(converted(weights, output, to, prototxt, half=half))
    print(output)
