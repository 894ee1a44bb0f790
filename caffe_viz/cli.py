"""The commands: arguments and paths in, text out. The only module that prints."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from caffe_viz.errors import CaffeVizError, InputError

app = typer.Typer(
    help="Look inside Caffe networks.", no_args_is_help=True, add_completion=False,
    pretty_exceptions_enable=False,
)  # fmt: skip

Prototxt = Annotated[Path, typer.Argument(help="The network's prototxt.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


@app.command()
def shapes(
    prototxt: Prototxt,
    batch: Annotated[int | None, typer.Option(min=1, help="Images in a batch.")] = None,
    size: Annotated[str | None, typer.Option(help="Input height and width, as 227x227.")] = None,
    as_json: Json = False,
) -> None:
    """Shapes, parameters, multiply-adds and receptive field of every layer; needs no weights, no engine."""
    from caffe_viz import tables
    from caffe_viz.geometry import measure
    from caffe_viz.netdef import read_net

    geometry = measure(read_net(prototxt), batch=batch, size=height_width(size))
    makers = (tables.blob_table, tables.parameter_table, tables.layer_table, tables.totals)
    made = [make(geometry) for make in makers]
    if as_json:
        print(json.dumps({table.title: table.to_json() for table in made}, indent=1))
    else:
        print("\n\n".join(map(str, made)))


def height_width(size: str | None) -> tuple[int, int] | None:
    if size is None:
        return None
    parts = size.lower().split("x")
    if len(parts) != 2 or not all(p.isdigit() and int(p) for p in parts):
        raise InputError(f"--size {size!r}: give height and width, as 227x227.")
    return int(parts[0]), int(parts[1])


@app.command()
def check(
    prototxt: Prototxt,
    weights: Annotated[Path | None, typer.Argument(help="Its caffemodel.", show_default=False)] = None,
    allow_code: Annotated[bool, typer.Option(help="Accept layers that run code or touch files.")] = False,
    as_json: Json = False,
) -> None:
    """Find what would make Caffe abort, or fail without a word, before Caffe sees the two files."""
    from caffe_viz.check import check as run_check

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
