"""Commands that read and write network files; only `shapes --time` runs an engine."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from caffe_viz import shipped
from caffe_viz.cli.app import INTERRUPTED, app
from caffe_viz.cli.networks import Definition, MaybeTrained, command
from caffe_viz.cli.options import (
    Device,
    Engine,
    Filters,
    Json,
    Objective,
    Output,
    OutputPrototxt,
    PreprocessFile,
    Prototxt,
    Size,
    Weights,
)
from caffe_viz.cli.parts import height_width, need_one_of, numbers, progress_bar
from caffe_viz.cli.pixels import preprocess_of
from caffe_viz.errors import CaffeVizWarning, InputError

if TYPE_CHECKING:
    from caffe_viz.checking import Finding, Report
    from caffe_viz.network import Network
    from caffe_viz.objectives import Objective as Goal
    from caffe_viz.surgery import Auxiliary
    from caffe_viz.tables import Shapes


@command
def shapes(
    net: MaybeTrained,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Number of images in a batch. [default: as in the prototxt]")
    ] = None,
    size: Size = None,
    timed: Annotated[
        bool,
        typer.Option(
            "--time",
            help="Also measure the milliseconds of each layer, forward and backward: medians of up to 20 "
            "passes within about 10 seconds, longer only if two passes take longer.",
        ),
    ] = False,
    engine: Engine = "auto",
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Show the shape, parameters, multiply-adds and receptive field of every layer.

    Example: `caffe-viz shapes caffenet --batch 50`

    Needs no weights, and no engine except for --time.
    """
    from caffe_viz.geometry import measure
    from caffe_viz.tables import Shapes

    if timed:
        network = net.network(weights=net.weights, engine=engine, device=device)
        made = _timed(network, batch, height_width(size))
        print(json.dumps(made.to_json(), indent=1) if as_json else made)
        return
    if (engine, device) != ("auto", "cpu"):
        raise InputError("only --time runs an engine: give it too, or leave --engine and --device out.")
    message = net.message()
    if net.weights is not None:
        net.checked("torch", probe=False).raise_for_errors()
    made = Shapes(measure(message, batch=batch, size=height_width(size), files=net.allow_code))
    print(json.dumps(made.to_json(), indent=1) if as_json else made)


def _timed(network: Network, batch: int | None, size: tuple[int, int] | None) -> Shapes:
    """Shapes and times; Ctrl-C ends the command, because half a pass gives no times."""
    from caffe_viz.views.files import shapes as shapes_of

    try:
        return shapes_of(network, batch=batch, size=size, time=True)
    except KeyboardInterrupt:
        print("interrupted: no layer was timed", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None


@command
def check(
    net: MaybeTrained,
    as_json: Json = False,
) -> None:
    """Report what real Caffe would do with the two files, and what works here.

    Example: `caffe-viz check caffenet_cifar10`

    Finds everything that would make Caffe abort or fail silently, before Caffe sees the files.
    """
    reports = {name: net.checked(name) for name in ANSWERS}
    if as_json:
        print(json.dumps(_findings(reports)))
    elif len({report.findings for report in reports.values()}) == 1:
        _print_report(reports["torch"])
    else:
        for name, report in reports.items():
            print(f"{ANSWERS[name]}:")
            _print_report(report)
    if not any(report.ok for report in reports.values()):
        raise typer.Exit(InputError.exit_code)


ANSWERS = {"caffe": "real Caffe, as `make caffe` builds it", "torch": "the embedded engine"}


def _print_report(report: Report) -> None:
    for finding in report.findings:
        print(f"{finding.severity}: {finding}")
    print(f"{len(report.errors)} errors, {len(report.warnings)} warnings")


def _findings(reports: dict[str, Report]) -> list[dict[str, str]]:
    """Each finding once, with the engine or engines that it concerns."""
    engines: dict[Finding, list[str]] = {}
    for name, report in reports.items():
        for finding in report.findings:
            engines.setdefault(finding, []).append(name)
    return [
        {"engine": " and ".join(names), "severity": f.severity, "where": f.where, "message": f.message}
        for f, names in engines.items()
    ]


@app.command()
def weights(
    prototxt: Prototxt,
    weights: Weights = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(help="Layer to draw (repeatable). [default: the first with kernels, else a matrix]"),
    ] = None,
    filters: Filters = None,
    preprocess: PreprocessFile = None,
    output: Output = Path("out"),
) -> None:
    """Draw the weights of a layer as one picture.

    Example: `caffe-viz weights caffenet_cifar10 --layer conv1`

    Kernels are in colour where they see 3 channels. Units of a fully connected layer become maps of the blob
    they see, or rows of a matrix.
    """
    from caffe_viz.files import need_folder, safe_name
    from caffe_viz.network import Network
    from caffe_viz.views import first_drawn, show_weights

    need_folder(output)
    prototxt, weights = shipped.files(prototxt, weights)
    # What else the net is, and whether an engine could run it, does not matter for its weights.
    network = Network(prototxt, weights, preprocess_of(prototxt, preprocess))
    network.need_weights()
    for name in layer or [first_drawn(network)]:
        path = output / f"{safe_name(name)}_weights.png"
        show_weights(network, name, numbers(filters)).save(path)
        print(path)


@command
def aux(
    net: Definition,
    layer: Annotated[str | None, typer.Option(help="Layer whose filters are the objective.")] = None,
    objective: Objective = None,
    weights: Annotated[
        Path | None, typer.Option(help="Caffemodel, needed for an objective with photographs.")
    ] = None,
    preprocess: PreprocessFile = None,
    batch: Annotated[int, typer.Option(min=1, help="Number of images, each with a filter of its own.")] = 1,
    size: Size = None,
    neuron: Annotated[
        bool, typer.Option("--neuron", help="Select single neurons instead of whole maps.")
    ] = False,
    output: OutputPrototxt = Path("out/aux.prototxt"),
) -> None:
    """Write a net whose forward() gives a filter's activation and whose backward() gives its gradient.

    Example: `caffe-viz aux caffenet --layer conv3`

    With --objective, it gives those of an objective, whose numbers are written next to it as .npz.
    """
    from caffe_viz.checking import why_embedded
    from caffe_viz.netdef import without_quiet, write_net
    from caffe_viz.surgery import auxiliary_net

    need_one_of(layer, objective)
    message, shape = net.message(), height_width(size)
    goal = None
    if objective is not None:
        from caffe_viz.network import Network
        from caffe_viz.views.objectives import read_objective, with_photographs

        network = Network(message, weights, preprocess_of(net.prototxt, preprocess))
        goal = with_photographs(network, read_objective(network, objective), shape)
    made = auxiliary_net(message, goal or layer or "", batch=batch, size=shape, neuron=neuron)
    write_net(without_quiet(made.message), output)
    if why := why_embedded(made.message):
        line = f"only caffe_viz.engine can load {output}, not real Caffe: {why}"
        warnings.warn(line, CaffeVizWarning, stacklevel=2)
    print(output)
    print(f"net.params[{made.image_layer!r}][0].data {made.image_shape}: the image")
    if goal is None:
        print(f"net.blobs[{made.selector!r}].data {made.selector_shape}: the factor of each activation")
    else:
        blobs = ", ".join(f"{name} {shape}" for name, shape in made.inputs.items())
        print(f"{_settings(made, goal, batch, output)}: what goes into net.blobs[..].data of {blobs}")
        print(f"net.blobs[{made.values!r}].data {(batch,)}: the objective of each image")
    print(f"net.forward()[{made.objective!r}]: the objective; after net.backward() the gradient is")
    print(f"net.params[{made.image_layer!r}][0].diff")


def _settings(made: Auxiliary, goal: Goal, batch: int, output: Path) -> Path:
    """Write the numbers of the objective next to the net, as npz, and return the path."""
    import io

    import numpy as np

    from caffe_viz.files import write_whole

    stream, path = io.BytesIO(), output.with_suffix(".npz")
    np.savez_compressed(stream, allow_pickle=False, **made.settings([goal] * batch))
    write_whole(path, stream.getvalue())
    return path


@app.command()
def download(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NETWORK", help="Network to download, such as caffenet or vgg16.", show_default=False
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to save to. [default: the user's cache]")
    ] = None,
) -> None:
    """Download published weights, check their SHA-1 and print their path.

    Example: `caffe-viz download caffenet`
    """
    from caffe_viz.published import download as fetch

    with progress_bar(name) as report:
        path = fetch(name, output, progress=lambda done, total: report(done, total, ""))
    print(path)
