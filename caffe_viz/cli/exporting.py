"""The command `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from caffe_viz.cli.app import app
from caffe_viz.cli.options import AllowCode, Layers, Prototxt, PythonPath, Variants, Weights
from caffe_viz.cli.parts import meanings


@app.command()
def export(
    prototxt: Prototxt,
    weights: Weights,
    to: Annotated[str, typer.Option(help="torch: for torch.export.load; or onnx.", show_default=False)],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The file to write, .pt2 or .onnx.", show_default=False)
    ],
    blob: Annotated[
        list[str] | None, typer.Option(help="What it gives, again for more [default: the net's outputs].")
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Images that it takes [default: any number].")
    ] = None,
    allow_code: AllowCode = False,
    python_path: PythonPath = None,
    variant: Variants = None,
    layers: Layers = None,
) -> None:
    """Write the net as a file that programs without Caffe load: PyTorch's .pt2, or ONNX."""
    from caffe_viz.backend import load_net
    from caffe_viz.exporting import export as write

    net = load_net(
        prototxt, weights, engine="torch", allow_code=allow_code, python_path=python_path or (),
        layers=layers or (), variants=meanings(variant),
    )  # fmt: skip
    print(write(net, output, to, blobs=blob or (), batch=batch))
