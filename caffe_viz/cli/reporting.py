"""The command `report`."""

from __future__ import annotations

import json
import shlex
import sys
from inspect import signature
from pathlib import Path
from typing import Annotated

import typer

from caffe_viz.cli.app import INTERRUPTED, app
from caffe_viz.cli.options import (
    AllowCode,
    Device,
    Engine,
    Json,
    Layers,
    MaybeWeights,
    Output,
    PreprocessFile,
    Prototxt,
    PythonPath,
    Variants,
)
from caffe_viz.cli.parts import meanings, preprocess_of, print_files, progress_bar


@app.command()
def report(
    prototxt: Prototxt,
    weights: MaybeWeights = None,
    image: Annotated[
        list[Path] | None,
        typer.Option(
            "--image", "--images", help="What the net is to look at: an image, a folder; again for more."
        ),
    ] = None,
    photos: Annotated[
        Path | None,
        typer.Option(help="Many images: the places in them that activate each filter most are looked for."),
    ] = None,
    record: Annotated[Path | None, typer.Option(help="The record of its training, of `train`.")] = None,
    budget: Annotated[
        float, typer.Option(min=0, help="Seconds for what takes long: ascents, slow attributions, --photos.")
    ] = 70,
    folder: Annotated[
        bool, typer.Option("--folder", help="Pictures beside the page, not in it: for very large nets.")
    ] = False,
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
    """One page that shows the whole net. Ctrl-C keeps what is finished; the same command goes on from it."""
    from caffe_viz.network import Network
    from caffe_viz.report import Reporting
    from caffe_viz.report.subject import Subject

    network = Network(
        prototxt, weights, preprocess_of(prototxt, preprocess), engine, device, allow_code,
        python_path or (), layers or (), meanings(variant),
    )  # fmt: skip
    command = _command(
        [prototxt, *([weights] if weights else [])],
        image=image, photos=photos, record=record, budget=budget, folder=folder, preprocess=preprocess,
        engine=engine, device=device, allow_code=allow_code, python_path=python_path,
        variant=variant, layers=layers, output=output,
    )  # fmt: skip
    subject = Subject.of(network, image or (), photos, record)
    reporting = Reporting(subject, output, budget=budget, beside=folder, command=command)
    interrupted = False
    try:
        with progress_bar(f"report on {network.message.name or prototxt}") as told:
            for progress in reporting:
                told(round(10 * progress.done), round(10 * progress.total), progress.note)
    except KeyboardInterrupt:
        interrupted = True
        reporting.write()
    if as_json:
        made = {"unfinished": reporting.unfinished, "interrupted": interrupted}
        print(json.dumps(made | {"files": [str(reporting.path)]}))
    else:
        print_files([reporting.path])
    if interrupted:
        print("interrupted: the page shows what was finished; the same command goes on", file=sys.stderr)
        raise typer.Exit(INTERRUPTED)
    if reporting.unfinished and not as_json:
        print(f"no time yet for {'; '.join(reporting.unfinished)}", file=sys.stderr)
        print("the same command goes on; --budget gives more seconds", file=sys.stderr)


def _command(files: list[Path], **options: object) -> str:
    """The command line that asks for the same, without what is the default."""
    words = ["caffe-viz", "report", *map(str, files)]
    usual = signature(report).parameters
    for name, value in options.items():
        if value == usual[name].default:
            continue
        option = f"--{name.replace('_', '-')}"
        for one in value if isinstance(value, list) else [value]:
            words += [option] if one is True else [option, f"{one:g}" if isinstance(one, float) else str(one)]
    return shlex.join(words)
