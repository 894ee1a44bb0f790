"""The command `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from caffe_viz.cli.networks import Trained, command, meanings, shapes_by_name
from caffe_viz.cli.options import output_file
from caffe_viz.cli.usage import one_of


@command
def export(
    net: Trained,
    to: Annotated[
        str,
        typer.Option(
            help="Format; a torch file is read by torch.export.load.",
            show_default=False,
            **one_of("torch", "onnx"),
        ),
    ],
    output: Annotated[Path, output_file("File to write, .pt2 or .onnx.", show_default=False)],
    blob: Annotated[
        list[str] | None, typer.Option(help="Blob to output (repeatable). [default: the net's outputs]")
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Number of images the net takes. [default: any number]")
    ] = None,
) -> None:
    """Export the net to a file that needs no Caffe: .pt2 for PyTorch, or ONNX.

    Example: `caffe-viz export caffenet_cifar10 --to onnx -o net.onnx`
    """
    from caffe_viz.backend import load_net
    from caffe_viz.exporting import export as write

    loaded = load_net(
        net.prototxt, net.weights, engine="torch", allow_code=net.allow_code,
        python_path=net.python_path or (), layers=net.layers or (), variants=meanings(net.variant),
        state=net.state, input_shapes=shapes_by_name(net.input),
    )  # fmt: skip
    print(write(loaded, output, to, blobs=blob or (), batch=batch))
