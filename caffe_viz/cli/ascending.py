"""Commands that change an image until a net sees more in it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from caffe_viz.cli.app import INTERRUPTED
from caffe_viz.cli.networks import Spread, command
from caffe_viz.cli.options import Filters, Image, Inputs, Json, Output, Size
from caffe_viz.cli.parts import height_width, need_one_of, numbers, print_files, progress_bar
from caffe_viz.cli.usage import one_of
from caffe_viz.errors import RunError
from caffe_viz.files import shown

if TYPE_CHECKING:
    from caffe_viz.network import Network
    from caffe_viz.objectives import Objective
    from caffe_viz.views import Maximized

Rate = Annotated[
    float | None, typer.Option(help="Of the steps: in pixels of 0..255, or Adam's [default: the method's].")
]
Steps = Annotated[int | None, typer.Option(min=1, help="How many [default: the method's].")]
Seed = Annotated[int, typer.Option(help="Of the noise.", min=0)]
SaveEvery = Annotated[int, typer.Option(help="A frame of the GIF each so many steps.", min=0)]
Jobs = Annotated[int | None, typer.Option(help="Processes [default: one for each core].", min=1)]
Octaves = Annotated[
    int | None, typer.Option(min=1, help="Sizes to go through, small to large [default: the method's].")
]
Goal = Annotated[
    str | None,
    typer.Option("--objective", help='As "conv3:16 + 0.5*conv3:40", or a class: docs/objectives.md.'),
]


@command
def ascend(
    net: Spread,
    layer: Annotated[str | None, typer.Option(help="The layer whose filters are maximised.")] = None,
    filters: Filters = None,
    objective: Goal = None,
    method: Annotated[
        str,
        typer.Option(
            help="regularised: by jitter, decay, blur.", **one_of("natural", "regularised", "plain")
        ),
    ] = "natural",
    steps: Steps = None,
    rate: Rate = None,
    pictures: Annotated[int, typer.Option(min=1, help="Of each filter, unlike each other.")] = 1,
    neuron: Annotated[
        bool, typer.Option("--neuron", help="Maximise the central unit, not the map's mean.")
    ] = False,
    size: Size = None,
    start: Annotated[
        Path | None, typer.Option(help="Begin with this image [default: grey and noise].")
    ] = None,
    image: Inputs = None,
    octaves: Octaves = None,
    seed: Seed = 0,
    save_every: SaveEvery = 0,
    photos: Annotated[
        list[str] | None,
        typer.Option(
            help="Images, folders, .zip: the places that activate each filter go beside; again for more."
        ),
    ] = None,
    jobs: Jobs = None,
    output: Output = Path("out"),
    as_json: Json = False,
) -> None:
    """Pictures of the inputs that maximise filters. Ctrl-C keeps the best so far."""
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
    layer: Annotated[str | None, typer.Option(help="The layer that shall find more in the image.")] = None,
    objective: Goal = None,
    mask: Annotated[Path | None, typer.Option(help="An image: where it is black, nothing changes.")] = None,
    guide: Annotated[Path | None, typer.Option(help="An image: bring in what the layer sees in it.")] = None,
    size: Size = None,
    octaves: Octaves = None,
    steps: Steps = None,
    rate: Rate = None,
    seed: Seed = 0,
    save_every: SaveEvery = 0,
    output: Output = Path("out"),
    as_json: Json = False,
) -> None:
    """A photograph with more of whatever a layer sees in it (DeepDream). Ctrl-C keeps the best so far."""
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
    layer: Annotated[str, typer.Option(help="The layer whose blob is kept.", show_default=False)],
    pictures: Annotated[int, typer.Option(min=1, help="How many, each from another start.")] = 1,
    steps: Steps = None,
    rate: Rate = None,
    seed: Seed = 0,
    save_every: SaveEvery = 0,
    output: Output = Path("out"),
    as_json: Json = False,
) -> None:
    """An image that has the same blob as a photograph: what a layer keeps of it."""
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


def _target(network: Network, layer: str | None, objective: str | None) -> str | Objective:
    """Exactly one of them is needed."""
    from caffe_viz.views import read_objective

    need_one_of(layer, objective)
    return read_objective(network, objective) if objective is not None else str(layer)


def _deliver(found: Maximized, output: Path, as_json: bool) -> None:
    """Write the pictures, say what they are, and leave as the command shall end."""
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
