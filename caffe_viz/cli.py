"""The commands: arguments and paths in, text and files out. The only module that prints."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caffe_viz.errors import CaffeVizError, InputError, RunError

if TYPE_CHECKING:
    from caffe_viz.images import Preprocess
    from caffe_viz.network import Network

INTERRUPTED = 130  # the shell's exit code of what Ctrl-C ended

app = typer.Typer(
    help="Look inside Caffe networks.", no_args_is_help=True, add_completion=False,
    pretty_exceptions_enable=False,
)  # fmt: skip

Prototxt = Annotated[Path, typer.Argument(help="The network's prototxt.", show_default=False)]
Weights = Annotated[Path, typer.Argument(help="Its caffemodel.", show_default=False)]
MaybeWeights = Annotated[Path | None, typer.Argument(help="Its caffemodel.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for the pictures.")]
Engine = Annotated[str, typer.Option(help="caffe, torch, or auto: caffe where it is installed.")]
Device = Annotated[str, typer.Option(help="Of the engine torch: cpu, cuda, cuda:1.")]
AllowCode = Annotated[bool, typer.Option(help="Accept layers that run code or touch files.")]
Image = Annotated[Path, typer.Option(help="A photograph, or an array (C, H, W) as .npy.", show_default=False)]
PreprocessFile = Annotated[
    Path | None,
    typer.Option("--preprocess", help="How images get in [default: preprocess.toml beside the prototxt]."),
]
Size = Annotated[str | None, typer.Option(help="Height and width of the input, as 227x227.")]
Filters = Annotated[str | None, typer.Option(help="As 0:160:10, or 3,7,12, or all.")]


@app.command()
def shapes(
    prototxt: Prototxt,
    weights: MaybeWeights = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Images in a batch.")] = None,
    size: Size = None,
    as_json: Json = False,
) -> None:
    """Shapes, parameters, multiply-adds and receptive field of every layer; needs no weights, no engine."""
    from caffe_viz.geometry import measure
    from caffe_viz.netdef import read_net
    from caffe_viz.tables import Shapes

    if weights is not None:
        from caffe_viz.checking import check as run_check

        run_check(prototxt, weights, probe=False).raise_for_errors()
    made = Shapes(measure(read_net(prototxt), batch=batch, size=height_width(size)))
    print(json.dumps(made.to_json(), indent=1) if as_json else made)


@app.command()
def check(
    prototxt: Prototxt, weights: MaybeWeights = None, allow_code: AllowCode = False, as_json: Json = False
) -> None:
    """Find what would make Caffe abort, or fail without a word, before Caffe sees the two files."""
    from caffe_viz.checking import check as run_check

    report = run_check(prototxt, weights, allow_code=allow_code)
    if as_json:
        print(
            json.dumps(
                [{"severity": f.severity, "where": f.where, "message": f.message} for f in report.findings]
            )
        )
    else:
        for finding in report.findings:
            print(f"{finding.severity}: {finding}")
        print(f"{len(report.errors)} errors, {len(report.warnings)} warnings")
    if not report.ok:
        raise typer.Exit(InputError.exit_code)


@app.command()
def parity(
    prototxt: Prototxt,
    weights: MaybeWeights = None,
    seed: Annotated[int, typer.Option(help="Of the noise in the inputs.", min=0)] = 0,
    preprocess: PreprocessFile = None,
    as_json: Json = False,
) -> None:
    """Compare the two engines on a net, layer by layer; needs both. Without weights it gets random ones."""
    from caffe_viz.netdef import read_net, read_weights
    from caffe_viz.parity import compare
    from caffe_viz.tables import parity_table

    given = preprocess_of(prototxt, preprocess)
    trained = None if weights is None else read_weights(weights)
    found = compare(read_net(prototxt), trained, seed=seed, amplitude=64 * given.scale)
    table = parity_table(found)
    print(json.dumps(table.to_json(), indent=1) if as_json else table)
    if found.first is not None:
        raise RunError(
            f"the engines differ from layer {found.first.layer!r} ({found.first.type}) on: by "
            f"{found.first.worst:.1e} of its largest value, more than {found.limit:.0e}."
        )


@app.command()
def weights(
    prototxt: Prototxt,
    weights: Weights,
    layer: Annotated[
        list[str] | None, typer.Option(help="Layer, again for more [default: the first with kernels].")
    ] = None,
    filters: Filters = None,
    preprocess: PreprocessFile = None,
    output: Output = Path("out"),
) -> None:
    """Kernels of a layer as one picture: in colour where they see 3 channels."""
    from caffe_viz.files import safe_name
    from caffe_viz.views import first_kernels, show_weights

    network = open_network(prototxt, weights, preprocess)
    for name in layer or [first_kernels(network)]:
        path = output / f"{safe_name(name)}_weights.png"
        show_weights(network, name, numbers(filters)).save(path)
        print(path)


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
    output: Output = Path("out"),
    as_json: Json = False,
) -> None:
    """What an image makes of each blob: maps as tiles, vectors as lines and histograms, and the top 5."""
    from caffe_viz.views import show_activations

    network = open_network(prototxt, weights, preprocess, engine, device, allow_code)
    found = show_activations(network, image, layer)
    paths = found.save(output, first)
    top = found.top() if len(list(found.arrays.values())[-1].squeeze().shape) == 1 else []
    if as_json:
        best = [{"index": i, "label": label, "value": value} for i, label, value in top]
        print(json.dumps({"blobs": found.table.to_json(), "top": best, "files": list(map(str, paths))}))
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
    output: Output = Path("out"),
    as_json: Json = False,
) -> None:
    """The gradient of one filter or class for an image: of blobs, and of every parameter before it."""
    from caffe_viz.views import show_gradients

    network = open_network(prototxt, weights, preprocess, engine, device, allow_code)
    found = show_gradients(network, image, layer, index, blob)
    paths = found.save(output)
    if as_json:
        print(
            json.dumps(
                {"of": found.target, "gradients": found.table.to_json(), "files": list(map(str, paths))}
            )
        )
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
    output: Output = Path("out"),
    as_json: Json = False,
) -> None:
    """Pictures of the inputs that maximise filters. Ctrl-C keeps the best so far."""
    from caffe_viz.files import need_folder
    from caffe_viz.views import maximize

    need_folder(output)
    network = open_network(prototxt, weights, preprocess, engine, device, allow_code)
    with progress_bar(f"{layer}, {method}") as report:
        found = maximize(
            network, layer, numbers(filters), method=method, steps=steps, rate=rate, neuron=neuron,
            size=height_width(size), start=start, seed=seed, save_every=save_every, jobs=jobs,
            on_progress=lambda p: report(p.done, p.total, p.note),
        )  # fmt: skip
    paths = found.save(output)
    if as_json:
        print(json.dumps({"filters": found.table.to_json(), "files": list(map(str, paths))}))
    else:
        print(found.table)
        print_files(paths)
    if found.interrupted:
        print("interrupted: these are the best images so far", file=sys.stderr)
        raise typer.Exit(INTERRUPTED)
    if not found.ascent.filters:
        raise RunError(f"layer {layer!r}: every chosen filter is dead, so nothing was drawn.")


@app.command()
def aux(
    prototxt: Prototxt,
    layer: Annotated[
        str, typer.Option(help="The layer whose filters are the objective.", show_default=False)
    ],
    batch: Annotated[int, typer.Option(min=1, help="Images, each with a filter of its own.")] = 1,
    size: Size = None,
    neuron: Annotated[
        bool, typer.Option("--neuron", help="A selector for single neurons, not for maps.")
    ] = False,
    output: Annotated[Path, typer.Option("--output", "-o", help="The prototxt to write.")] = Path(
        "out/aux.prototxt"
    ),
) -> None:
    """Write the auxiliary net: its forward() is a filter's activation, its backward() that one's gradient."""
    from caffe_viz.netdef import read_net, write_net
    from caffe_viz.surgery import auxiliary_net

    made = auxiliary_net(read_net(prototxt), layer, batch=batch, size=height_width(size), neuron=neuron)
    write_net(made.message, output)
    print(output)
    print(f"net.params[{made.image_layer!r}][0].data {made.image_shape}: the image")
    print(f"net.blobs[{made.selector!r}].data {made.selector_shape}: the factor of each activation")
    print(f"net.forward()[{made.objective!r}]: the objective; after net.backward() the gradient is")
    print(f"net.params[{made.image_layer!r}][0].diff")


@app.command()
def download(
    name: Annotated[str, typer.Argument(help="As in prototxt/: caffenet, vgg16, ..", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder [default: the user's cache].")
    ] = None,
) -> None:
    """Fetch published weights, check their SHA-1, and print where they are."""
    from caffe_viz.published import download as fetch

    with progress_bar(name) as report:
        path = fetch(name, output, progress=lambda done, total: report(done, total, ""))
    print(path)


def open_network(
    prototxt: Path,
    weights: Path,
    preprocess: Path | None,
    engine: str = "auto",
    device: str = "cpu",
    allow_code: bool = False,
) -> Network:
    """The two files, checked, with how images get in."""
    from caffe_viz.network import Network

    network = Network(prototxt, weights, preprocess_of(prototxt, preprocess), engine, device, allow_code)
    network.check()
    return network


def preprocess_of(prototxt: Path, given: Path | None) -> Preprocess:
    """How images get in: by the file given, or the one beside the prototxt."""
    from caffe_viz.images import Preprocess

    return Preprocess.near(prototxt) if given is None else Preprocess.from_toml(given)


def height_width(size: str | None) -> tuple[int, int] | None:
    if size is None:
        return None
    parts = size.lower().split("x")
    if len(parts) != 2 or not all(p.isdigit() and int(p) for p in parts):
        raise InputError(f"--size {size!r}: give height and width, as 227x227.")
    return int(parts[0]), int(parts[1])


def numbers(filters: str | None) -> list[int] | None:
    """0:160:10 and 3,7,12 and 5 as numbers; None: all."""
    if filters in (None, "all"):
        return None
    out: list[int] = []
    try:
        for part in filters.split(","):
            ends = [int(n) for n in part.split(":")]
            if min(ends) < 0 or len(ends) > 3:
                raise ValueError
            out += range(*ends) if len(ends) > 1 else ends
    except ValueError:
        raise InputError(f"--filters {filters!r}: give 0:160:10, or 3,7,12, or all.") from None
    if not out:
        raise InputError(f"--filters {filters!r} chooses none.")
    return out


def print_files(paths: list[Path]) -> None:
    for path in paths:
        print(path)


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int, str], None]]:
    """A bar with the remaining time on a terminal, else only notes; called with (done, total, note)."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns: list[Any] = [
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(),
    ]  # fmt: skip
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)

        def report(done: int, total: int, note: str = "") -> None:
            bar.update(task, completed=done, total=total)
            if note:
                print(note, file=sys.stderr)

        yield report


def main(task: str | None = None) -> None:
    """Run the command line; `task` is the command where the program's name already says it (scripts/)."""
    arguments = [*([task] if task else []), *sys.argv[1:]]
    debug = "--debug" in arguments
    try:
        app([a for a in arguments if a != "--debug"])
    except CaffeVizError as error:
        if debug:
            raise
        print(f"caffe-viz: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
