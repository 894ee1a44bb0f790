"""Commands that optimise an image: `ascend`, `dream` and `invert`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from caffe_viz.cli.app import INTERRUPTED
from caffe_viz.cli.networks import Spread, command
from caffe_viz.cli.options import Filters, Image, Inputs, Json, Objective, Output, Seed, Size
from caffe_viz.cli.parts import height_width, need_one_of, numbers, print_files, progress_bar
from caffe_viz.cli.usage import one_of
from caffe_viz.errors import RunError
from caffe_viz.files import shown

if TYPE_CHECKING:
    from caffe_viz.network import Network
    from caffe_viz.objectives import Objective as Goal
    from caffe_viz.views import Maximized

Rate = Annotated[
    float | None,
    typer.Option(
        help="Step size, in pixel values of 0..255, or Adam's learning rate. [default: the method's]"
    ),
]
Steps = Annotated[int | None, typer.Option(min=1, help="Number of steps. [default: the method's]")]
SaveEvery = Annotated[
    int, typer.Option(min=0, help="Save a GIF with a frame after every N steps; 0: no GIF.")
]
Octaves = Annotated[
    int | None,
    typer.Option(min=1, help="Number of image sizes, from small to large. [default: the method's]"),
]


@command
def ascend(
    net: Spread,
    layer: Annotated[str | None, typer.Option(help="Layer whose filters are maximised.")] = None,
    filters: Filters = None,
    objective: Objective = None,
    method: Annotated[
        str,
        typer.Option(
            help="Method of ascent; regularised uses jitter, decay and blur.",
            **one_of("natural", "regularised", "plain"),
        ),
    ] = "natural",
    steps: Steps = None,
    rate: Rate = None,
    pictures: Annotated[int, typer.Option(min=1, help="Number of pictures per filter, made to differ.")] = 1,
    neuron: Annotated[
        bool, typer.Option("--neuron", help="Maximise the central unit instead of the mean of the map.")
    ] = False,
    size: Size = None,
    start: Annotated[
        Path | None, typer.Option(help="Image to start from. [default: grey with noise]")
    ] = None,
    image: Inputs = None,
    octaves: Octaves = None,
    seed: Seed = 0,
    save_every: SaveEvery = 0,
    photos: Annotated[
        list[str] | None,
        typer.Option(
            help="Images, folders or .zip archives: also show the places in them that activate each filter "
            "most (repeatable)."
        ),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Number of worker processes. [default: one per core]")
    ] = None,
    output: Output = Path("out"),
    as_json: Json = False,
) -> None:
    """Draw the inputs that maximise filters, classes or any other objective.

    Example: `caffe-viz ascend caffenet_cifar10 --layer conv3 --filters 0:8`

    Ctrl-C keeps the best pictures so far.
    """
    from caffe_viz.files import need_folder
    from caffe_viz.views import maximize

    need_folder(output)
    network = net.open()
    target = _target(network, layer, objective)
    with net.client() as cluster, progress_bar(f"{target}, {method}") as report:
        found = maximize(
            network, target, numbers(filters), method=method, steps=steps, rate=rate, pictures=pictures,
            neuron=neuron, size=height_width(size), start=start, octaves=octaves, seed=seed,
            save_every=save_every, photos=photos, inputs=image or (), jobs=jobs, cluster=cluster,
            on_progress=lambda p: report(p.done, p.total, p.note),
        )  # fmt: skip
    _deliver(found, output, as_json)


@command
def dream(
    net: Spread,
    image: Image,
    layer: Annotated[str | None, typer.Option(help="Layer whose activations are amplified.")] = None,
    objective: Objective = None,
    mask: Annotated[
        Path | None, typer.Option(help="Image that limits the change: black areas stay as they are.")
    ] = None,
    guide: Annotated[
        Path | None, typer.Option(help="Image whose features, as the layer sees them, are brought in.")
    ] = None,
    size: Size = None,
    octaves: Octaves = None,
    steps: Steps = None,
    rate: Rate = None,
    seed: Seed = 0,
    save_every: SaveEvery = 0,
    output: Output = Path("out"),
    as_json: Json = False,
) -> None:
    """Amplify in a photograph whatever a layer sees in it (DeepDream).

    Example: `caffe-viz dream caffenet_cifar10 --example --layer conv3`

    Ctrl-C keeps the best picture so far.
    """
    from caffe_viz.files import need_folder
    from caffe_viz.views import dream

    need_folder(output)
    network = net.open()
    target = _target(network, layer, objective)
    with net.client() as cluster, progress_bar(f"{Path(shown(image[0])).name}, {target}") as report:
        found = dream(
            network, image, target, guide=guide, mask=mask, size=height_width(size), octaves=octaves,
            steps=steps, rate=rate, seed=seed, save_every=save_every, cluster=cluster,
            on_progress=lambda p: report(p.done, p.total, p.note),
        )  # fmt: skip
    _deliver(found, output, as_json)


@command
def invert(
    net: Spread,
    image: Image,
    layer: Annotated[str, typer.Option(help="Layer whose output is reproduced.", show_default=False)],
    pictures: Annotated[
        int, typer.Option(min=1, help="Number of pictures, each from a different start.")
    ] = 1,
    steps: Steps = None,
    rate: Rate = None,
    seed: Seed = 0,
    save_every: SaveEvery = 0,
    output: Output = Path("out"),
    as_json: Json = False,
) -> None:
    """Show what a layer keeps of a photograph, by finding an image with the same blob.

    Example: `caffe-viz invert caffenet_cifar10 --example --layer conv3`

    Ctrl-C keeps the best pictures so far.
    """
    from caffe_viz.files import need_folder
    from caffe_viz.views import invert

    need_folder(output)
    network = net.open()
    with net.client() as cluster, progress_bar(f"{Path(shown(image[0])).name} from {layer}") as report:
        found = invert(
            network, image, layer, pictures=pictures, steps=steps, rate=rate, seed=seed,
            save_every=save_every, cluster=cluster, on_progress=lambda p: report(p.done, p.total, p.note),
        )  # fmt: skip
    _deliver(found, output, as_json)


def _target(network: Network, layer: str | None, objective: str | None) -> str | Goal:
    """What to maximise; exactly one of the two options must be given."""
    from caffe_viz.views import read_objective

    need_one_of(layer, objective)
    return read_objective(network, objective) if objective is not None else str(layer)


def _deliver(found: Maximized, output: Path, as_json: bool) -> None:
    """Write the pictures, print the table, and exit with the right code."""
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
    if found.failure:  # which a warning has told
        raise typer.Exit(1)
    if not found.ascent.filters:
        raise RunError(f"{found.ascent.layer}: every chosen filter is dead, so nothing was drawn.")
