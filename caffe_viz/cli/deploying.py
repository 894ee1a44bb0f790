"""The command `deploy`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from caffe_viz.cli.networks import Definition, command
from caffe_viz.cli.parts import print_files
from caffe_viz.errors import InputError


@command
def deploy(
    net: Definition,
    batch: Annotated[int | None, typer.Option(min=1, help="Images that the net takes [default: 1].")] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The prototxt to write.")
    ] = Path("out/deploy.prototxt"),
) -> None:
    """Write the net of a train_val file as it is used: Input layers, answers in place of losses.

    And preprocess.toml beside it, where there is none yet: how the training's images got in.
    """
    from caffe_viz.views import deploy as made_of

    if output.exists() and output.resolve() == net.prototxt.resolve():
        raise InputError(f"{output} is the file itself: give another one by --output.")
    made = made_of(net.network(), batch=batch)
    paths = made.save(output)
    if made.preprocess is not None and len(paths) == 1:
        print(f"{output.parent / 'preprocess.toml'} is there already and stays as it is", file=sys.stderr)
    for note in made.notes:
        print(note, file=sys.stderr)
    print_files(paths)
