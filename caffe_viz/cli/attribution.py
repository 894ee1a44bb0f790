"""The command `attribute`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from caffe_viz.cli.networks import Spread, command
from caffe_viz.cli.options import CamLayer, Images, Json, Output, PathSteps, Samples, Seed, Targets
from caffe_viz.cli.parts import print_files, print_note, progress_bar
from caffe_viz.cli.usage import one_of


@command
def attribute(
    net: Spread,
    image: Images,
    target: Targets = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="Method (repeatable): gradient, gradient-x-input, smoothgrad, integrated-gradients, "
            "guided-backprop, deconvnet, cam, grad-cam, grad-cam++, layer-cam, score-cam, guided-grad-cam, "
            "occlusion, or all. [default: grad-cam]"
        ),
    ] = None,
    layer: CamLayer = None,
    samples: Samples = 50,
    noise: Annotated[
        float,
        typer.Option(
            min=0, help="Standard deviation of smoothgrad's noise, as a fraction of the image's range."
        ),
    ] = 0.15,
    steps: PathSteps = 64,
    patch: Annotated[
        int | None,
        typer.Option(
            min=1, help="Side of occlusion's square, in pixels. [default: a seventh of the shorter side]"
        ),
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(min=1, help="Step of occlusion's square, in pixels. [default: half its side]"),
    ] = None,
    seed: Seed = 0,
    colours: Annotated[
        str, typer.Option(help="Colour map; jet runs from blue to red.", **one_of("inferno", "jet"))
    ] = "inferno",
    output: Output = Path("out"),
    as_json: Json = False,
) -> None:
    """Show which pixels made a class, filter or neuron respond, as heat maps.

    Example: `caffe-viz attribute caffenet_cifar10 --example --method all`
    """
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
