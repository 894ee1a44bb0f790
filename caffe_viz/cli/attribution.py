"""The command `attribute`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from caffe_viz.cli.images import Images
from caffe_viz.cli.networks import Spread, command
from caffe_viz.cli.options import UNIT, Json, Output
from caffe_viz.cli.parts import print_files, print_note, progress_bar
from caffe_viz.cli.usage import one_of


@command
def attribute(
    net: Spread,
    image: Images,
    target: Annotated[
        list[str] | None,
        typer.Option(help=f"{UNIT}; again for more [default: each image's likeliest class]."),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="gradient, gradient-x-input, smoothgrad, integrated-gradients, guided-backprop, deconvnet, "
            "cam, grad-cam, grad-cam++, layer-cam, score-cam, guided-grad-cam, occlusion, all; again for "
            "more [default: grad-cam]."
        ),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(help="The maps that a CAM reads [default: the last spatial ones that no pooling made]."),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Of smoothgrad: noisy copies.")] = 50,
    noise: Annotated[float, typer.Option(min=0, help="Their deviation, over the image's range.")] = 0.15,
    steps: Annotated[int, typer.Option(min=1, help="Of integrated gradients.")] = 64,
    patch: Annotated[
        int | None, typer.Option(min=1, help="Of occlusion: pixels of the square [default: a seventh].")
    ] = None,
    stride: Annotated[
        int | None, typer.Option(min=1, help="And of its step [default: half of that].")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the noise.")] = 0,
    colours: Annotated[str, typer.Option(help="jet: blue to red.", **one_of("inferno", "jet"))] = "inferno",
    output: Output = Path("out"),
    as_json: Json = False,
) -> None:
    """Which pixels made a class, a filter or a neuron answer: heat maps, and all methods in one sheet."""
    from caffe_viz.attribution import Settings
    from caffe_viz.files import need_folder
    from caffe_viz.views import show_attribution

    need_folder(output)
    settings = Settings(samples, noise, steps, patch, stride, seed)
    network = net.open()
    methods = "all" if method == ["all"] else method or ["grad-cam"]
    with net.client() as cluster, progress_bar("attribution") as report:
        found = show_attribution(
            network, image, target, methods, layer, settings=settings, colours=colours, cluster=cluster,
            on_progress=lambda done, total: report(done, total, ""), on_note=print_note,
        )  # fmt: skip
    paths = found.save(output)
    if as_json:
        made = {
            "engine": found.attributions[0].engine,
            "attributions": found.table.to_json(),
            "refused": dict(found.refused),
            "settings": asdict(settings),
        }
        print(json.dumps(made | {"files": list(map(str, paths))}))
        return
    print(found)
    print_files(paths)
