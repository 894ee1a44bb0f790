"""Commands that run a net."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from caffe_viz.cli.app import INTERRUPTED, app
from caffe_viz.cli.options import (
    AllowCode,
    Device,
    Engine,
    Filters,
    Image,
    Json,
    Layers,
    MaybeWeights,
    Output,
    PreprocessFile,
    Prototxt,
    PythonPath,
    Size,
    Variants,
    Weights,
)
from caffe_viz.cli.parts import (
    height_width,
    message_of,
    numbers,
    open_network,
    preprocess_of,
    print_files,
    progress_bar,
)
from caffe_viz.errors import RunError


@app.command()
def activations(
    prototxt: Prototxt,
    weights: Weights,
    image: Image,
    layer: Annotated[list[str] | None, typer.Option(help="Blob, again for more [default: all].")] = None,
    first: Annotated[int | None, typer.Option(min=1, help="Draw the first maps of each blob only.")] = None,
    preprocess: PreprocessFile = None,
    engine: Engine = "auto",
    device: Device = "cpu",
    allow_code: AllowCode = False,
    python_path: PythonPath = None,
    variant: Variants = None,
    layers: Layers = None,
    output: Output = Path("out"),
    as_json: Json = False,
) -> None:
    """What an image makes of each blob: maps as tiles, vectors as lines and histograms, and the top 5."""
    from caffe_viz.views import show_activations

    network = open_network(
        prototxt, weights, preprocess, engine, device, allow_code, python_path, layers, variant
    )
    found = show_activations(network, image, layer)
    paths = found.save(output, first)
    top = found.top() if len(list(found.arrays.values())[-1].squeeze().shape) == 1 else []
    if as_json:
        best = [{"index": i, "label": label, "value": value} for i, label, value in top]
        made = {"engine": found.engine, "blobs": found.table.to_json(), "top": best}
        print(json.dumps(made | {"files": list(map(str, paths))}))
        return
    print(found.table)
    for index, label, value in top:
        print(f"{value:.6f}  {index}  {label}")
    print_files(paths)


@app.command()
def gradient(
    prototxt: Prototxt,
    weights: Weights,
    image: Image,
    layer: Annotated[
        str | None, typer.Option(help="Whose filter to derive [default: the scores before the softmax].")
    ] = None,
    index: Annotated[
        int | None, typer.Option(help="Filter or class [default: the strongest for the image].")
    ] = None,
    blob: Annotated[
        list[str] | None, typer.Option(help="With respect to it, again for more [default: the image].")
    ] = None,
    preprocess: PreprocessFile = None,
    engine: Engine = "auto",
    device: Device = "cpu",
    allow_code: AllowCode = False,
    python_path: PythonPath = None,
    variant: Variants = None,
    layers: Layers = None,
    output: Output = Path("out"),
    as_json: Json = False,
) -> None:
    """The gradient of one filter or class for an image: of blobs, and of every parameter before it."""
    from caffe_viz.views import show_gradients

    network = open_network(
        prototxt, weights, preprocess, engine, device, allow_code, python_path, layers, variant
    )
    found = show_gradients(network, image, layer, index, blob)
    paths = found.save(output)
    if as_json:
        made = {"engine": found.engine, "of": found.target, "gradients": found.table.to_json()}
        print(json.dumps(made | {"files": list(map(str, paths))}))
        return
    print(found.table)
    print_files(paths)


@app.command()
def ascend(
    prototxt: Prototxt,
    weights: Weights,
    layer: Annotated[str, typer.Option(help="The layer whose filters are maximised.", show_default=False)],
    filters: Filters = None,
    method: Annotated[str, typer.Option(help="plain, or regularised: jitter, decay, blur.")] = "plain",
    steps: Annotated[int, typer.Option(min=1)] = 40,
    rate: Annotated[float, typer.Option(help="Root mean square of a step, in pixels of 0..255.")] = 8.0,
    neuron: Annotated[
        bool, typer.Option("--neuron", help="Maximise the central unit, not the map's mean.")
    ] = False,
    size: Size = None,
    start: Annotated[
        Path | None, typer.Option(help="Begin with this image, not with grey and noise.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the noise.", min=0)] = 0,
    save_every: Annotated[int, typer.Option(help="A frame of the GIF each so many steps.", min=0)] = 0,
    jobs: Annotated[int | None, typer.Option(help="Processes [default: one for each core].", min=1)] = None,
    preprocess: PreprocessFile = None,
    engine: Engine = "auto",
    device: Device = "cpu",
    allow_code: AllowCode = False,
    python_path: PythonPath = None,
    variant: Variants = None,
    layers: Layers = None,
    output: Output = Path("out"),
    as_json: Json = False,
) -> None:
    """Pictures of the inputs that maximise filters. Ctrl-C keeps the best so far."""
    from caffe_viz.files import need_folder
    from caffe_viz.views import maximize

    need_folder(output)
    network = open_network(
        prototxt, weights, preprocess, engine, device, allow_code, python_path, layers, variant
    )
    with progress_bar(f"{layer}, {method}") as report:
        found = maximize(
            network, layer, numbers(filters), method=method, steps=steps, rate=rate, neuron=neuron,
            size=height_width(size), start=start, seed=seed, save_every=save_every, jobs=jobs,
            on_progress=lambda p: report(p.done, p.total, p.note),
        )  # fmt: skip
    paths = found.save(output)
    if as_json:
        made = {"engine": found.ascent.engine, "filters": found.table.to_json()}
        print(json.dumps(made | {"files": list(map(str, paths))}))
    else:
        print(found.table)
        print_files(paths)
    if found.interrupted:
        kept = (
            ": these are the best images so far"
            if found.ascent.filters
            else " before the first step: there are no images"
        )
        print(f"interrupted{kept}", file=sys.stderr)
        raise typer.Exit(INTERRUPTED)
    if not found.ascent.filters:
        raise RunError(f"layer {layer!r}: every chosen filter is dead, so nothing was drawn.")


@app.command()
def parity(
    prototxt: Prototxt,
    weights: MaybeWeights = None,
    seed: Annotated[int, typer.Option(help="Of the noise in the inputs.", min=0)] = 0,
    preprocess: PreprocessFile = None,
    layers: Layers = None,
    as_json: Json = False,
) -> None:
    """Compare the two engines on a net, layer by layer; needs both. Without weights it gets random ones."""
    from caffe_viz.netdef import read_weights
    from caffe_viz.parity import compare
    from caffe_viz.tables import parity_table

    given = preprocess_of(prototxt, preprocess)
    trained = None if weights is None else read_weights(weights)
    found = compare(message_of(prototxt, layers=layers), trained, seed=seed, amplitude=64 * given.scale)
    table = parity_table(found)
    print(json.dumps(table.to_json(), indent=1) if as_json else table)
    for warning in found.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if found.first is not None:
        raise RunError(
            f"the engines differ from layer {found.first.layer!r} ({found.first.type}) on: by "
            f"{found.first.worst:.1e} of its largest value, more than {found.limit:.0e}."
        )
