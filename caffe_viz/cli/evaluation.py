"""The command `evaluate`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from caffe_viz.cli.app import INTERRUPTED
from caffe_viz.cli.networks import Spread, command
from caffe_viz.cli.options import CamLayer, Images, Json, Output, PathSteps, Samples, Seed, Targets
from caffe_viz.cli.parts import print_files, print_note, progress_bar
from caffe_viz.cli.usage import one_of


@command
def evaluate(
    net: Spread,
    image: Images,
    count: Annotated[
        int | None, typer.Option(min=1, help="Use only N of the images, evenly spaced. [default: all]")
    ] = None,
    target: Targets = None,
    method: Annotated[
        list[str] | None,
        typer.Option(help="Method of attribute to evaluate (repeatable). [default: all that fit the net]"),
    ] = None,
    layer: CamLayer = None,
    check: Annotated[
        list[str] | None,
        typer.Option(
            help="Test to run: curves (deletion and insertion) or sanity (randomised weights) (repeatable). "
            "[default: both]",
            **one_of("curves", "sanity"),
        ),
    ] = None,
    points: Annotated[int, typer.Option(min=1, help="Number of steps of a curve.")] = 64,
    samples: Samples = 50,
    steps: PathSteps = 64,
    seed: Seed = 0,
    write: Annotated[
        Path | None,
        typer.Option(
            help="Also write the tables into this Markdown file, between their markers.", show_default=False
        ),
    ] = None,
    output: Output = Path("out"),
    as_json: Json = False,
) -> None:
    """Measure how faithful attributions are, by deletion, insertion and randomised weights.

    Example: `caffe-viz evaluate caffenet_cifar10 --example`

    Ctrl-C keeps the images that are finished.
    """
    from caffe_viz.attribution import Settings
    from caffe_viz.files import need_folder
    from caffe_viz.views.evaluated import CHECKS, need_checks, show_evaluation
    from caffe_viz.views.markdown import need_marks

    need_folder(output)
    checks = need_checks(check or CHECKS)
    network = net.open()
    if write is not None:
        need_marks(write, network.message.name, checks)
    methods = "all" if method in (None, ["all"]) else method
    settings = Settings(samples=samples, steps=steps, seed=seed)
    with net.client() as cluster, progress_bar("evaluation") as report:
        found = show_evaluation(
            network, image, target, methods, layer, count=count, checks=checks, points=points,
            settings=settings, cluster=cluster, on_progress=lambda done, total: report(done, total, ""),
            on_note=print_note,
        )  # fmt: skip
    paths = found.save(output)
    if write is not None and not found.interrupted:
        found.write(write, network.message.name)
        paths.append(write)
    if as_json:
        made: dict[str, Any] = {"engine": found.engine}
        made |= {name: table.to_json() for name, table in found.tables.items()}
        told = {"failed": list(found.sanity.failed)} if found.sanity else {}
        more = {"refused": dict(found.refused), "settings": asdict(settings), "files": list(map(str, paths))}
        print(json.dumps(made | told | more))
    else:
        print(found)
        print_files(paths)
    if found.interrupted:
        print("interrupted: these are the images that were finished", file=sys.stderr)
        raise typer.Exit(INTERRUPTED)
