"""Shell completion of networks, layers and blobs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from caffe_viz import shipped
from caffe_viz.errors import InputError

if TYPE_CHECKING:
    from caffe_viz.netdef import NetParameter


def networks(incomplete: str) -> list[str]:
    """Names of shipped networks; none if a file begins with the text, so that the shell completes files."""
    begun = incomplete and not any(Path().glob(f"{incomplete}*"))
    return shipped.names() if begun else []


def layers(ctx: typer.Context) -> list[str]:
    """Layers of the net on the command line."""
    return [layer.name for layer in _net(ctx).layer]


def blobs(ctx: typer.Context) -> list[str]:
    """Blobs of the net on the command line, in its order."""
    net = _net(ctx)
    return list(dict.fromkeys([*net.input, *(top for layer in net.layer for top in layer.top)]))


def _net(ctx: typer.Context) -> NetParameter:
    from caffe_viz.netdef import NetParameter, read_net

    # An option that still waits for its value leaves the arguments of the line unread.
    path = ctx.params.get("prototxt") or next(iter(ctx.args), None)
    try:
        return NetParameter() if path is None else read_net(path)
    except InputError:
        return NetParameter()


# By the name of the argument or option.
COMPLETED: dict[str, Callable[..., list[str]]] = {"prototxt": networks, "layer": layers, "blob": blobs}
