"""The command `deploy`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from caffe_viz.cli.networks import Definition, command
from caffe_viz.cli.options import OutputPrototxt
from caffe_viz.cli.parts import print_files
from caffe_viz.errors import InputError


@command
def deploy(
    net: Definition,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Number of images the net takes. [default: 1]")
    ] = None,
    output: OutputPrototxt = Path("out/deploy.prototxt"),
) -> None:
    """Turn the prototxt of a training into a deploy.prototxt, without data layers and losses.

    Example: `caffe-viz deploy train_val.prototxt -o deploy.prototxt`

    Also writes preprocess.toml next to it, if there is none yet, with the preprocessing of the training.
    """
    from caffe_viz.views import deploy as made_of

    if output.exists() and output.resolve() == net.prototxt.resolve():
        raise InputError(f"{output} is the input file: choose another one with --output.")
    made = made_of(net.network(), batch=batch)
    paths = made.save(output)
    if made.preprocess is not None and len(paths) == 1:
        print(f"{output.parent / 'preprocess.toml'} is there already and stays as it is", file=sys.stderr)
    for note in made.notes:
        print(note, file=sys.stderr)
    print_files(paths)
