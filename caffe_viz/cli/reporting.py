"""The command `report`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from caffe_viz.cli.app import INTERRUPTED
from caffe_viz.cli.networks import MaybeSpread, command, command_line
from caffe_viz.cli.options import Json, Output, Photos, Record, image_sources
from caffe_viz.cli.parts import print_files, progress_bar


@command
def report(
    net: MaybeSpread,
    image: Annotated[list[str] | None, image_sources("Images to show the net")] = None,
    photos: Photos = None,
    record: Record = None,
    budget: Annotated[
        float,
        typer.Option(min=0, help="Seconds for the slow parts: ascents, slow attributions and --photos."),
    ] = 70,
    folder: Annotated[
        bool,
        typer.Option("--folder", help="Keep pictures in a folder next to the page, for very large nets."),
    ] = False,
    output: Output = Path("out"),
    as_json: Json = False,
) -> None:
    """Make one HTML page that shows the whole net.

    Example: `caffe-viz report caffenet_cifar10 --example`

    Ctrl-C keeps what is finished, and the same command resumes from there.
    """
    from caffe_viz.report import RunningReport
    from caffe_viz.report.context import ReportContext

    network = net.given()
    asked = command_line(
        report, net, image=image, photos=photos, record=record, budget=budget, folder=folder, output=output
    )
    subject = ReportContext.of(network, image or (), photos, record)
    if image or photos:
        net.say_images(network)
    interrupted = False
    with net.client() as cluster:
        reporting = RunningReport(
            subject, output, budget=budget, beside=folder, command=asked, cluster=cluster
        )
        try:
            with progress_bar(f"report on {network.message.name or net.prototxt}") as told:
                for progress in reporting:
                    told(round(10 * progress.done), round(10 * progress.total), progress.note)
        except KeyboardInterrupt:
            interrupted = True
            reporting.write()
    if as_json:
        made = {"unfinished": reporting.unfinished, "interrupted": interrupted}
        print(json.dumps(made | {"files": [str(reporting.path)]}))
    else:
        print_files([reporting.path])
    if interrupted:
        print(
            "interrupted: the page shows what was finished; run the same command again to resume",
            file=sys.stderr,
        )
        raise typer.Exit(INTERRUPTED)
    if reporting.unfinished and not as_json:
        print(f"no time yet for {'; '.join(reporting.unfinished)}", file=sys.stderr)
        print(
            "run the same command again to resume, with a larger --budget for more at once", file=sys.stderr
        )
