"""The command `features`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from caffe_viz.cli.app import INTERRUPTED
from caffe_viz.cli.networks import Spread, command
from caffe_viz.cli.options import Images, Json, output_file
from caffe_viz.cli.parts import progress_bar
from caffe_viz.cli.usage import one_of


@command
def features(
    net: Spread,
    image: Images,
    blob: Annotated[
        list[str], typer.Option(help="Blob to save, such as fc7 (repeatable).", show_default=False)
    ],
    pool: Annotated[
        str | None,
        typer.Option(
            help="Reduce each channel to its mean or maximum. [default: save every place]",
            **one_of("mean", "max"),
        ),
    ] = None,
    output: Annotated[
        str,
        output_file(
            "File to write: .npz, .h5, .csv, .lmdb (for Caffe), or .zarr, a store that the workers of a "
            "cluster fill themselves, in a folder or at s3://.."
        ),
    ] = "out/features.npz",
    as_json: Json = False,
) -> None:
    """Save blobs of many images to one file.

    Example: `caffe-viz features caffenet_cifar10 --example --blob fc6`

    After Ctrl-C, the same command resumes where it stopped.
    """
    from caffe_viz.extraction import begin
    from caffe_viz.files import is_address, need_folder, shown
    from caffe_viz.views.featured import extracting, filed

    if not is_address(output):
        need_folder(Path(output).parent)
    opened = net.open()
    with net.client() as cluster:
        network, extraction = extracting(opened, image, blob, pool, cluster)
        into = begin(extraction, output)
        total = f"{len(extraction.collection):,} images"
        if into.begun:
            print(into.begun, file=sys.stderr)
        try:
            with progress_bar(f"{', '.join(extraction.blobs)}, {total}") as report:
                found = filed(network, into, lambda p: report(p.done, p.total, p.note))
        except KeyboardInterrupt:
            done = f"{into.seen:,} of {total}"
            print(
                f"interrupted after {done}: run the same command again to resume from {into.kept}",
                file=sys.stderr,
            )
            raise typer.Exit(INTERRUPTED) from None
    if as_json:
        print(json.dumps(found.to_json() | {"files": [shown(output)]}))
        return
    print(found.table)
    print(f"images skipped: {len(found.failed)}")
    print(shown(output))
