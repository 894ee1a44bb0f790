"""The command `features`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from caffe_viz.cli.app import INTERRUPTED
from caffe_viz.cli.images import Images
from caffe_viz.cli.networks import Spread, command
from caffe_viz.cli.options import Json
from caffe_viz.cli.parts import print_files, progress_bar
from caffe_viz.cli.usage import one_of


@command
def features(
    net: Spread,
    image: Images,
    blob: Annotated[list[str], typer.Option(help="A blob, such as fc7; again for more.", show_default=False)],
    pool: Annotated[
        str | None,
        typer.Option(help="Of each channel over its places [default: all of them].", **one_of("mean", "max")),
    ] = None,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FILE", help="It ends in .npz, .h5, .csv, or .lmdb for Caffe."
        ),
    ] = Path("out/features.npz"),
    as_json: Json = False,
) -> None:
    """Blobs of many images in one file. After Ctrl-C the same command goes on."""
    from caffe_viz.extraction import Filing
    from caffe_viz.files import need_folder
    from caffe_viz.views.featured import extracting, filed

    need_folder(output.parent)
    opened = net.open()
    with net.client() as cluster:
        network, extraction = extracting(opened, image, blob, pool, cluster)
        filing = Filing(extraction, output)
        spool, total = filing.spool, f"{len(extraction.album):,} images"
        if spool.seen:
            print(f"{spool.folder}: going on after {spool.seen:,} images", file=sys.stderr)
        try:
            with progress_bar(f"{', '.join(extraction.blobs)}, {total}") as report:
                found = filed(network, filing, lambda p: report(p.done, p.total, p.note))
        except KeyboardInterrupt:
            done = f"{spool.seen:,} of {total}"
            print(f"interrupted after {done}: the same command goes on from {spool.folder}", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
    if as_json:
        print(json.dumps(found.to_json() | {"files": [str(output)]}))
        return
    print(found.table)
    print(f"images passed over: {len(found.failed)}")
    print_files([output])
