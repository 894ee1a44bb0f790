"""Questions about one unit: what it does for an image, and its weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffe_viz.errors import InputError, near
from caffe_viz.figures import heat_over, map_sheet
from caffe_viz.geometry import ReceptiveField
from caffe_viz.images import resized
from caffe_viz.network import Array, Network
from caffe_viz.report.part_cache import Figure
from caffe_viz.report.showing import enlarged, file_name, json_number
from caffe_viz.server.handlers.loaded_network import need_unit
from caffe_viz.server.handlers.resources import Resources
from caffe_viz.server.messages import Answer
from caffe_viz.server.queries import UnitQuery, Weights
from caffe_viz.top.crops import Cutter
from caffe_viz.views.kernels import ROWS, draw_weights, outputs


def unit(resources: Resources, query: UnitQuery) -> Answer:
    """The map of a unit, alone and over the image, and its numbers; the part of the image at its maximum."""
    opened, layer = resources.open(query.net), query.layer
    found = opened.map(query.image, layer, query.unit)
    shape, measured = opened.maps(query.image, layer).shape, opened.layer(layer)
    labels = opened.labels(layer, shape[0])
    title = f"{layer} {query.unit} {labels[query.unit] if labels else ''}".strip()
    network = opened.leading(opened.blob(layer))
    pixels = opened.pixels(query.image, network)
    at = [int(n) for n in np.unravel_index(int(found.argmax()), found.shape)] or [0, 0]
    cutter = None
    if len(pixels.shape) == 3:
        field = measured.field if found.ndim == 2 else None
        cutter = Cutter(field, (pixels.shape[0], pixels.shape[1], pixels.shape[2]), network.pictures)
    facts = {
        "title": title, "label": labels[query.unit] if labels else "", "layer": layer,
        "type": measured.type, "unit": query.unit, "shape": list(shape), "field": _told(measured.field),
        "min": json_number(found.min()), "mean": json_number(found.mean(dtype=np.float64)),
        "max": json_number(found.max()), "zeros": json_number(np.mean(found == 0)), "at": at,
        "box": None if cutter is None else list(cutter.box(_place(at))), "dead": not found.any(),
    }  # fmt: skip
    pictures = [
        ("map", f"map of {title}", enlarged(map_sheet(found[None]).rgb / np.float32(255))),
        ("over", f"{title} over the image", _over(found, opened.draw(pixels, network), network)),
    ]
    if cutter is not None:
        part = cutter.cut(cutter.view(pixels), _place(at), cutter.tile(1))
        pictures.append(("part", f"what {title} sees at its maximum", enlarged(part / np.float32(255))))
    figures = [
        Figure(rgb, words, file_name(title, name), photo=name == "over") for name, words, rgb in pictures
    ]
    return Answer(facts, tuple(figures), {"map": found})


def kernel(resources: Resources, query: Weights) -> Answer:
    """The weights of a unit, as the caffemodel has them."""
    opened, layer = resources.open(query.net), query.layer
    if layer not in opened.stored:
        raise InputError(f"the weights have no layer {layer!r}.{near(layer, opened.stored)}")
    stored = opened.stored[layer]
    if stored.message.type in ROWS:
        row = ROWS[stored.message.type][0]
        raise InputError(
            f"layer {layer!r} ({stored.message.type}) has no weights of units: a row is a {row}."
        )
    array = outputs(stored)
    need_unit(layer, query.unit, len(array))
    weights, bias = array[query.unit], None
    if len(stored.shapes) > 1 and stored.shapes[1] == (len(array),):
        bias = stored.values(1)[query.unit]
    facts = {
        "shape": list(weights.shape), "bias": None if bias is None else json_number(bias),
        "min": json_number(weights.min()), "mean": json_number(weights.mean(dtype=np.float64)),
        "max": json_number(weights.max()), "norm": json_number(np.linalg.norm(weights.ravel())),
        "zeros": json_number(np.mean(weights == 0)),
    }  # fmt: skip
    picture = draw_weights(stored, opened.network.preprocess.channel_order, [query.unit])
    name = f"weights of {layer} {query.unit}"
    figure = Figure(picture.rgb, name, file_name(f"{layer}_{query.unit}", "weights"))
    return Answer(facts, (figure,), {"weights": weights} | ({} if bias is None else {"bias": np.array(bias)}))


def _told(field: ReceptiveField | None) -> dict[str, list[float]] | None:
    if field is None:
        return None
    return {"size": list(field.size), "stride": list(field.stride), "offset": list(field.offset)}


def _place(at: Sequence[int]) -> tuple[int, int]:
    """The (y, x) of a unit in a map; for units without a map, which see the whole input, any place."""
    return (at[0], at[1]) if len(at) == 2 else (0, 0)


def _over(found: Array, seen: Array, network: Network) -> Array:
    """A map as heat over the image; the image alone if the map has other axes or the input is no picture."""
    if network.pictures is None or found.ndim not in (0, 2):
        return seen
    return heat_over(seen, resized(np.atleast_2d(found)[..., None], seen.shape[:2])[..., 0])
