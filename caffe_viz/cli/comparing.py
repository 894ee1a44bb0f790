"""The command `diff`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from caffe_viz.cli.app import app
from caffe_viz.cli.options import Json, Output, PreprocessFile
from caffe_viz.cli.parts import print_files, progress_bar


@app.command()
def diff(
    a: Annotated[Path, typer.Argument(metavar="BEFORE", help="The first caffemodel.", show_default=False)],
    b: Annotated[Path, typer.Argument(metavar="AFTER", help="The second caffemodel.", show_default=False)],
    prototxt: Annotated[
        Path | None,
        typer.Option(
            help="Prototxt of the net, for layer types and groups that the caffemodels lack, and for the "
            "preprocess.toml next to it."
        ),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            help="Layer whose filters are drawn (repeatable). [default: the layers that changed most]"
        ),
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=20, help="Number of filters drawn per layer.")] = 8,
    preprocess: PreprocessFile = None,
    output: Output = Path("out"),
    as_json: Json = False,
) -> None:
    """Show what changed between two caffemodels: layers, filters, dead and duplicated filters.

    Example: `caffe-viz diff before.caffemodel after.caffemodel`

    Needs no engine.
    """
    from caffe_viz.files import need_folder
    from caffe_viz.images import Preprocess
    from caffe_viz.views.compared import compare_weights

    need_folder(output)
    order = None if preprocess is None else Preprocess.from_toml(preprocess).channel_order
    with progress_bar("diff") as report:
        found = compare_weights(
            a, b, prototxt, layer, count=count, channel_order=order,
            on_progress=lambda done, total: report(done, total, ""),
        )  # fmt: skip
    paths = found.save(output)
    if as_json:
        print(json.dumps(found.to_json() | {"files": list(map(str, paths))}))
        return
    print(found)
    print()
    print_files(paths)
