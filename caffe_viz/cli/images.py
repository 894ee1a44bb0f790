"""Commands that run a net on many images."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caffe_viz.cli.app import INTERRUPTED
from caffe_viz.cli.networks import Spread, command
from caffe_viz.cli.options import Filters, Images, Json, Output
from caffe_viz.cli.parts import numbers, print_files, progress_bar
from caffe_viz.errors import InputError, RunError

if TYPE_CHECKING:
    from caffe_viz.classification import Answer
    from caffe_viz.views.classified import Classifying


@command
def classify(
    net: Spread,
    image: Images,
    root: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder that the paths in a list of images are relative to. [default: the list's folder]",
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Number of classes to print per image.")] = 5,
    oversample: Annotated[
        bool, typer.Option("--oversample", help="Average over ten crops: corners and centre, also mirrored.")
    ] = False,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder to write the accuracy files to.")
    ] = Path("out"),
    as_json: Json = False,
) -> None:
    """Print the likeliest classes of images, and measure accuracy where the true classes are known.

    Example: `caffe-viz classify caffenet_cifar10 --example`

    The true classes are known from folders named after them, or from a .txt list of "path label" lines.
    Warns if the preprocessing looks wrong.
    """
    from caffe_viz.views.classified import Classifying

    network = net.open(say=False)
    with net.client() as cluster:
        run = Classifying(network, image, top=top, oversample=oversample, root=root, cluster=cluster)
        _classify(run, output, oversample, as_json)


def _classify(run: Classifying, output: Path, oversample: bool, as_json: bool) -> None:
    from caffe_viz.files import need_folder
    from caffe_viz.views.classified import described, settings

    if run.accuracy is not None:
        need_folder(output)
    made = run.classifier
    if not as_json:
        print(f"preprocessing: {described(made.network, oversample)}")
        print(f"values: {made.values}; engine: {made.engine}")
    for doubt in run.doubts:
        print(f"warning: {doubt}", file=sys.stderr)
    told = {
        "engine": made.engine, "values": made.values, "preprocess": settings(made.network.preprocess),
        "labels": made.network.labels.source, "oversample": oversample, "warnings": run.doubts,
    }  # fmt: skip
    (_each if run.accuracy is None else _counted)(run, told, output, as_json)


def _each(run: Classifying, told: dict[str, Any], output: Path, as_json: bool) -> None:
    """Print the classes of each image."""
    from caffe_viz.streaming import need_one

    answers: list[Answer] = []
    interrupted = False
    try:
        for answer in run:
            answers.append(answer)
            if len(run) > 1 or not answer.failed:  # the only one's failure is the command's
                _say(answer, as_json)
    except KeyboardInterrupt:
        interrupted = True
    if as_json:
        print(json.dumps(told | {"images": [_as_json(answer) for answer in answers]}))
    _end(interrupted, len(answers))
    need_one([one.failed for one in answers if not one.guesses], len(answers))


def _counted(run: Classifying, told: dict[str, Any], output: Path, as_json: bool) -> None:
    """Print the accuracy, and write it to files."""
    interrupted, done, first = False, 0, ""
    try:
        with progress_bar(f"{len(run):,} images") as report:
            for done, answer in enumerate(run, 1):
                first = first or answer.failed
                report(done, len(run), f"skipped: {answer.failed}" if answer.failed else "")
    except KeyboardInterrupt:
        interrupted = True
    found = run.accuracy
    if found is None or not found.tally.images:
        _end(interrupted, done)
        raise InputError(first)
    paths = found.save(output)
    if as_json:
        print(json.dumps(told | {"accuracy": found.to_json(), "files": list(map(str, paths))}))
    else:
        print(found)
        print_files(paths)
    _end(interrupted, done)


def _end(interrupted: bool, done: int) -> None:
    if interrupted:
        print(f"interrupted after {done:,} images", file=sys.stderr)
        raise typer.Exit(INTERRUPTED)


def _say(answer: Answer, as_json: bool) -> None:
    if answer.failed:
        print(f"skipped: {answer.failed}", file=sys.stderr)
    elif not as_json:
        print(answer.image)
        for head, guesses in answer.heads.items():
            if len(answer.heads) > 1:
                print(f"{head}:")
            for guess in guesses:
                print(f"{guess.value:.6f}  {guess.number}  {guess.label}".rstrip(), flush=True)


def _as_json(answer: Answer) -> dict[str, Any]:
    if answer.failed:
        return {"image": answer.image, "failed": answer.failed}
    best = {
        head: [{"index": x.number, "label": x.label, "value": x.value} for x in guesses]
        for head, guesses in answer.heads.items()
    }
    return {"image": answer.image, "top": next(iter(best.values())), "heads": best}


@command
def top(
    net: Spread,
    image: Images,
    layer: Annotated[
        str,
        typer.Option(
            help="Layer whose filters are examined, or a single filter LAYER:3, or a class.",
            show_default=False,
        ),
    ],
    filters: Filters = None,
    count: Annotated[
        int, typer.Option(min=1, help="Number of places per filter, at most one per image.")
    ] = 9,
    gradient: Annotated[
        str,
        typer.Option(
            metavar="METHOD",
            help="Also show what in each crop activates the unit, by guided-backprop, deconvnet or gradient.",
            show_default=False,
        ),
    ] = "",
    output: Output = Path("out"),
    as_json: Json = False,
) -> None:
    """Find the places in many images that activate each filter of a layer most.

    Example: `caffe-viz top caffenet_cifar10 --layer conv3 --example`

    After Ctrl-C, the same command resumes where it stopped.
    """
    from caffe_viz.files import need_folder, safe_name
    from caffe_viz.views.top_patches import searched, searching

    need_folder(output)
    file = output / f"{safe_name(layer)}_top.unfinished.npz"
    network, chosen = net.open(), numbers(filters)
    with net.client() as cluster:
        search = searching(network, image, layer, chosen, count, file, gradient, cluster)
        if search.top_k.seen:
            print(f"{file}: resuming after {search.top_k.seen:,} images", file=sys.stderr)
        try:
            with progress_bar(f"{layer}, {len(search.collection):,} images") as report:
                found = searched(search, lambda p: report(p.done, p.total, p.note))
        except KeyboardInterrupt:
            done = f"{search.top_k.seen:,} of {len(search.collection):,} images"
            print(
                f"interrupted after {done}: run the same command again to resume from {file}", file=sys.stderr
            )
            raise typer.Exit(INTERRUPTED) from None
    paths = found.save(output)
    search.forget()
    if as_json:
        print(json.dumps(found.top.to_json() | {"files": list(map(str, paths))}))
    else:
        print(found.table)
        dead = ", ".join(map(str, found.top.dead)) or "none"
        print(f"dead filters: {dead}; images skipped: {len(found.top.failed)}")
        print_files(paths)
    if not found.top.shown:
        raise RunError(f"layer {layer!r}: no chosen filter was active, so nothing was drawn.")
