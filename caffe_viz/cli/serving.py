"""The command `serve`."""

from __future__ import annotations

import json
import signal
import sys
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caffe_viz.cli.networks import Running, command, command_line
from caffe_viz.cli.options import Json, Photos, Record, image_sources

if TYPE_CHECKING:
    from caffe_viz.network import Network


@command
def serve(
    net: Running,
    image: Annotated[list[str] | None, image_sources("Images to choose from")] = None,
    photos: Photos = None,
    beside: Annotated[
        Path | None,
        typer.Option(
            metavar="WEIGHTS",
            help="Second caffemodel to compare with, such as a snapshot or a fine-tuned net.",
        ),
    ] = None,
    beside_prototxt: Annotated[
        Path | None,
        typer.Option(metavar="PROTOTXT", help="Prototxt of the second caffemodel. [default: PROTOTXT]"),
    ] = None,
    record: Record = None,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address to listen on; 0.0.0.0 lets other machines in.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Port to listen on. [default: 8642, or the next free one]"),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder that keeps answers for next time. [default: none]"),
    ] = None,
    browser: Annotated[bool, typer.Option("--browser", help="Open the page in a browser.")] = False,
    as_json: Json = False,
) -> None:
    """Explore the network in a browser, unit by unit.

    Example: `caffe-viz serve caffenet_cifar10 --example`

    Open the address that is printed. Ctrl-C ends the server.
    """
    from caffe_viz.server.running import started

    network = net.given()
    asked = command_line(
        serve, net, image=image, photos=photos, beside=beside, beside_prototxt=beside_prototxt, record=record,
        host=host, port=port, cache=cache,
    )  # fmt: skip
    with _until_interrupted(), started(
        network, image or (), photos=photos, beside=_second(net, beside, beside_prototxt), record=record,
        host=host, port=port, cache=cache, command=asked,
    ) as server:  # fmt: skip
        if image:
            net.say_images(network)
        if server.beyond:
            print(
                f"caffe-viz: whoever reaches {server.host} and knows the address can use it, and can read "
                f"what is sent: use it in networks that you trust.", file=sys.stderr,
            )  # fmt: skip
        if as_json:
            print(
                json.dumps({"address": server.address, "host": server.host, "port": server.port}), flush=True
            )
        else:
            reach = "other machines reach it too" if server.beyond else "for this machine only"
            listens = f"listens at {server.host}, port {server.port}, {reach}; Ctrl-C ends it"
            print(f"{server.address}\n{listens}", flush=True)
        if browser:
            webbrowser.open(server.address)
        server.wait()


def _second(net: Running, weights: Path | None, prototxt: Path | None) -> Network | None:
    """The second network, if one is given."""
    if weights is None and prototxt is None:
        return None
    return replace(net, prototxt=prototxt or net.prototxt, weights=weights).given()


@contextmanager
def _until_interrupted() -> Iterator[None]:
    """End normally on Ctrl-C or SIGTERM."""

    def end(*_: Any) -> None:
        raise KeyboardInterrupt

    usual = signal.signal(signal.SIGTERM, end)
    try:
        with suppress(KeyboardInterrupt):
            yield
    finally:
        signal.signal(signal.SIGTERM, usual)
