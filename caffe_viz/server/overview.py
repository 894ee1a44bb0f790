"""What the page gets first: the networks with their layers and answers, the images, the questions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from caffe_viz.ascent import METHODS as ASCENTS
from caffe_viz.attribution import METHODS, PASSES
from caffe_viz.errors import CaffeVizError
from caffe_viz.geometry import LayerGeometry
from caffe_viz.network import Network
from caffe_viz.report import parts
from caffe_viz.report.context import ReportContext
from caffe_viz.report.page import templates
from caffe_viz.server.guard import MOST_BYTES
from caffe_viz.server.handlers.uploads import LIMITS
from caffe_viz.server.image_library import ImageLibrary
from caffe_viz.views.classified import described

if TYPE_CHECKING:
    from markupsafe import Markup


def overview(contexts: Sequence[ReportContext], library: ImageLibrary, command: str) -> dict[str, Any]:
    """For /api/network."""
    attribution = [
        {"name": name, "long": name in PASSES, "reads": method.reads.name.lower()}
        for name, method in METHODS.items()
    ]
    return {
        "networks": [_network(context) for context in contexts],
        "images": [{"id": one.id, "name": one.name} for one in library.strip],
        "methods": {
            "attribution": attribution,
            "ascent": {name: recipe.steps for name, recipe in ASCENTS.items()},
        },
        "photos": contexts[0].photos is not None,
        "record": contexts[0].record is not None,
        "command": command,
        "limits": {"bytes": MOST_BYTES, "pixels": LIMITS.pixels},
    }


def page(context: ReportContext) -> bytes:
    """The HTML of the page."""
    html: str = templates("caffe_viz.server").get_template("page.html").render(
        name=context.name, svg=_graph(context), static="/static"
    )  # fmt: skip
    return html.encode()


def _network(context: ReportContext) -> dict[str, Any]:
    network = context.network
    return {
        "name": context.name,
        "engine": context.engine_name,
        "prototxt": _file(network.prototxt),
        "weights": _file(network.weights),
        "layers": [_layer(network, layer) for layer in context.layers],
        "heads": _heads(network),
        "remarks": context.remarks,
        "preprocessing": described(network),
    }


def _layer(network: Network, layer: LayerGeometry) -> dict[str, Any]:
    """`shape` is that of the first top for one image, `climbs` whether its units can be maximised."""
    first = layer.top_shapes[0] if layer.top_shapes else None
    shape = None if first is None else network.of_one(first)
    units = shape[0] if shape else 0
    return {
        "name": layer.name,
        "type": layer.type,
        "index": layer.index,
        "tops": list(layer.tops),
        "shape": shape,
        "units": units,
        "params": sum(map(math.prod, layer.param_shapes)),
        "maps": units > 0,
        "climbs": units > 0 and bool(layer.bottoms),
    }


def _heads(network: Network) -> list[dict[str, Any]]:
    return [
        {
            "name": head.answer,
            "count": len(head),
            "unit": "probability" if head.values == "probabilities" else "score",
            "labels": list(network.labels_of(head)),
        }
        for head in network.heads if head.of_classes
    ]  # fmt: skip


def _graph(context: ReportContext) -> Markup | None:
    """The graph of layers, each a link to itself; None without Graphviz."""
    from markupsafe import Markup

    with suppress(CaffeVizError):
        # It has escaped what it holds.
        return Markup(parts.graph(context, lambda layer: f"?layer={quote(layer.name)}"))
    return None


def _file(given: object) -> str:
    """A path as text; "" for something in memory."""
    return str(given) if hasattr(given, "__fspath__") or isinstance(given, str) else ""
