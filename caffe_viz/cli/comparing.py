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
    a: Annotated[Path, typer.Argument(metavar="BEFORE", help="A caffemodel.", show_default=False)],
    b: Annotated[Path, typer.Argument(metavar="AFTER", help="Another one.", show_default=False)],
    prototxt: Annotated[
        Path | None,
        typer.Option(help="The net: types and groups where the caffemodels lack them, and preprocess.toml."),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(help="Whose filters are drawn, again for more [default: those that changed most]."),
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=20, help="Filters drawn of each layer.")] = 8,
    preprocess: PreprocessFile = None,
    output: Output = Path("out"),
    as_json: Json = False,
) -> None:
    """What changed between two caffemodels: layers, filters, dead and duplicated ones; needs no engine."""
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
