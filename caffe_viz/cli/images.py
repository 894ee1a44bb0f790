"""Commands that run a net on many images."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caffe_viz.cli.app import INTERRUPTED
from caffe_viz.cli.networks import Running, command
from caffe_viz.cli.options import Filters, Json, Output
from caffe_viz.cli.parts import numbers, print_files, progress_bar
from caffe_viz.errors import RunError

if TYPE_CHECKING:
    from caffe_viz.classification import Answer

Images = Annotated[
    list[Path],
    typer.Option(
        "--image", "--images",
        help="An image, a folder, a .zip, or a folder in one; NAME=FILE for an input; again for more.",
        show_default=False,
    ),
]  # fmt: skip


@command
def classify(
    net: Running,
    image: Images,
    top: Annotated[int, typer.Option(min=1, help="Classes to name.")] = 5,
    oversample: Annotated[
        bool, typer.Option("--oversample", help="The mean over ten crops: corners, centre, mirrored.")
    ] = False,
    as_json: Json = False,
) -> None:
    """What the net sees in images: the likeliest classes of each. Warns if the preprocessing looks wrong."""
    from caffe_viz.classification import Classifier, class_heads
    from caffe_viz.views.classified import described, need_one, settings

    whole = net.open()
    given, album = whole.album(image, *(head.answer for head in class_heads(whole)))
    classifier = Classifier(given, album, top=top, oversample=oversample)
    network = classifier.network
    source = _source(net.prototxt, net.preprocess)
    if not as_json:
        print(f"preprocessing: {described(network, oversample)} ({source})")
        print(f"values: {classifier.values}; engine: {classifier.engine}")
    for doubt in classifier.doubts:
        print(f"warning: {doubt}", file=sys.stderr)
    answers: list[Answer] = []
    interrupted = False
    try:
        for answer in classifier:
            answers.append(answer)
            if len(album) > 1 or not answer.failed:  # the only one's failure is the command's
                _say(answer, as_json)
    except KeyboardInterrupt:
        interrupted = True
    if as_json:
        made = {
            "engine": classifier.engine, "values": classifier.values,
            "preprocess": settings(network.preprocess, source),
            "oversample": oversample, "warnings": classifier.doubts, "images": [_as_json(a) for a in answers],
        }  # fmt: skip
        print(json.dumps(made))
    if interrupted:
        print(f"interrupted after {len(answers)} images", file=sys.stderr)
        raise typer.Exit(INTERRUPTED)
    need_one(answers)


def _say(answer: Answer, as_json: bool) -> None:
    if answer.failed:
        print(f"passed over: {answer.failed}", file=sys.stderr)
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


def _source(prototxt: Path, given: Path | None) -> str:
    path = given or prototxt.parent / "preprocess.toml"
    return str(path) if path.exists() else "CaffeNet's: there is no preprocess.toml beside the prototxt"


@command
def top(
    net: Running,
    image: Images,
    layer: Annotated[str, typer.Option(help="The layer whose filters are looked at.", show_default=False)],
    filters: Filters = None,
    count: Annotated[int, typer.Option(min=1, help="Places for each filter, one of an image.")] = 9,
    output: Output = Path("out"),
    as_json: Json = False,
) -> None:
    """What many images hold where a filter is most active. After Ctrl-C the same command goes on."""
    from caffe_viz.files import need_folder, safe_name
    from caffe_viz.views.topmost import searched, searching

    need_folder(output)
    file = output / f"{safe_name(layer)}_top.unfinished.npz"
    search = searching(net.open(), image, layer, numbers(filters), count, file)
    if search.standing.seen:
        print(f"{file}: going on after {search.standing.seen:,} images", file=sys.stderr)
    try:
        with progress_bar(f"{layer}, {len(search.album):,} images") as report:
            found = searched(search, lambda p: report(p.done, p.total, p.note))
    except KeyboardInterrupt:
        done = f"{search.standing.seen:,} of {len(search.album):,} images"
        print(f"interrupted after {done}: the same command goes on from {file}", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    paths = found.save(output)
    search.forget()
    if as_json:
        print(json.dumps(found.top.to_json() | {"files": list(map(str, paths))}))
    else:
        print(found.table)
        dead = ", ".join(map(str, found.top.dead)) or "none"
        print(f"dead filters: {dead}; images passed over: {len(found.top.failed)}")
        print_files(paths)
    if not found.top.shown:
        raise RunError(f"layer {layer!r}: no chosen filter was active, so nothing was drawn.")
