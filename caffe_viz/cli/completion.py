"""What the shell offers behind an argument or option: networks, layers and blobs."""

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
    """The shipped ones; none where a file begins so, as the shell then offers its files."""
    begun = incomplete and not any(Path().glob(f"{incomplete}*"))
    return shipped.names() if begun else []


def layers(ctx: typer.Context) -> list[str]:
    """Those of the net that the line names."""
    return [layer.name for layer in _net(ctx).layer]


def blobs(ctx: typer.Context) -> list[str]:
    """Those of the net that the line names, in its order."""
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
