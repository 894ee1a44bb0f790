"""Commands that run a net on one image, and `parity`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from caffe_viz.cli.networks import MaybeTrained, Running, command
from caffe_viz.cli.options import UNIT, Image, Json, Output, PreprocessFile, Seed
from caffe_viz.cli.parts import print_files
from caffe_viz.cli.pixels import preprocess_of
from caffe_viz.errors import RunError


@command
def activations(
    net: Running,
    image: Image,
    layer: Annotated[list[str] | None, typer.Option(help="Blob to show (repeatable). [default: all]")] = None,
    first: Annotated[
        int | None, typer.Option(min=1, help="Draw only the first N maps of each blob. [default: all]")
    ] = None,
    output: Output = Path("out"),
    as_json: Json = False,
) -> None:
    """Show what each blob holds for an image, and the top 5 classes.

    Example: `caffe-viz activations caffenet_cifar10 --example`

    Maps are drawn as tiles, vectors as lines and histograms.
    """
    from caffe_viz.files import need_folder
    from caffe_viz.views import show_activations

    need_folder(output)
    network = net.open()
    found = show_activations(network, image, layer)
    paths = found.save(output, first)
    top = {blob: found.top(blob=blob) for blob in found.answers}
    if as_json:
        best = [
            {"blob": blob, "index": i, "label": label, "value": value}
            for blob, guesses in top.items()
            for i, label, value in guesses
        ]
        made = {"engine": found.engine, "blobs": found.table.to_json(), "top": best}
        print(json.dumps(made | {"files": list(map(str, paths))}))
        return
    print(found.table)
    for blob, guesses in top.items():
        if len(top) > 1:
            print(f"{blob}:")
        for index, label, value in guesses:
            print(f"{value:.6f}  {index}  {label}".rstrip())
    print_files(paths)


@command
def gradient(
    net: Running,
    image: Image,
    target: Annotated[
        str | None,
        typer.Option(
            help=f"What to differentiate: {UNIT}; LAYER alone is its strongest filter. "
            "[default: the likeliest class]"
        ),
    ] = None,
    layer: Annotated[str | None, typer.Option(hidden=True)] = None,  # of version 0.1.0, with --index
    index: Annotated[int | None, typer.Option(hidden=True)] = None,
    blob: Annotated[
        list[str] | None,
        typer.Option(help="Blob to differentiate with respect to (repeatable). [default: the image]"),
    ] = None,
    output: Output = Path("out"),
    as_json: Json = False,
) -> None:
    """Compute the gradient of a class, filter or neuron for an image.

    Example: `caffe-viz gradient caffenet_cifar10 --example --target cat`

    It is taken with respect to blobs, and to every parameter before the target.
    """
    from caffe_viz.files import need_folder
    from caffe_viz.views import show_gradients

    need_folder(output)
    network = net.open()
    found = show_gradients(network, image, target if layer is None else layer, index, blob)
    paths = found.save(output)
    if as_json:
        made = {"engine": found.engine, "of": found.target, "gradients": found.table.to_json()}
        print(json.dumps(made | {"files": list(map(str, paths))}))
        return
    print(found.table)
    print_files(paths)


@command
def parity(
    net: MaybeTrained,
    seed: Seed = 0,
    preprocess: PreprocessFile = None,
    as_json: Json = False,
) -> None:
    """Compare the two engines on a net, layer by layer.

    Example: `caffe-viz parity caffenet_cifar10`

    Needs both engines. Without weights, the net gets random ones.
    """
    from caffe_viz.netdef import own_weights, read_weights
    from caffe_viz.parity import compare
    from caffe_viz.tables import parity_table

    given = preprocess_of(net.prototxt, preprocess)
    message = net.message()
    file = net.weights or own_weights(net.prototxt)
    trained = None if file is None else read_weights(file, message)
    found = compare(message, trained, seed=seed, amplitude=64 * given.scale)
    table = parity_table(found)
    print(json.dumps(table.to_json(), indent=1) if as_json else table)
    for warning in found.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if found.first is not None:
        raise RunError(
            f"the engines differ from layer {found.first.layer!r} ({found.first.type}) on: by "
            f"{found.first.worst:.1e} of its largest value, more than {found.limit:.0e}."
        )
