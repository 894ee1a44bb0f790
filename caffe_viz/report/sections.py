"""What the page shows of images and layers, collected from the finished parts; no HTML yet."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from caffe_viz.attribution import METHODS
from caffe_viz.errors import InputError
from caffe_viz.geometry import LayerGeometry
from caffe_viz.netdef import as_text
from caffe_viz.report.context import ReportContext
from caffe_viz.report.part_cache import FinishedPart, PartCache
from caffe_viz.report.plan import Plan, image_key, layer_key, method_key, places_key
from caffe_viz.views.classified import described


@dataclass(frozen=True)
class Attributions:
    """The maps of one image as (method, part), and the methods without one, by reason."""

    made: Sequence[tuple[str, FinishedPart]]
    refused: Sequence[tuple[str, str]]
    waiting: Sequence[str]


@dataclass(frozen=True)
class ImageSection:
    name: str
    answer: FinishedPart | None
    attributions: Attributions


@dataclass(frozen=True)
class LayerSection:
    """A layer and everything there is of it; `activations` are (number of the image, top, part).

    `shown_at` is the layer that made the blob on which this one works in place. `waiting` names what there
    was no time for yet.
    """

    layer: LayerGeometry
    shown_at: LayerGeometry | None
    facts: Sequence[tuple[str, str]]
    prototxt: str
    weights: FinishedPart | None
    activations: Sequence[tuple[int, str, FinishedPart]]
    ascents: Sequence[FinishedPart]
    places: FinishedPart | None
    failures: Sequence[tuple[str, str]]
    waiting: Sequence[str]


def about(context: ReportContext) -> list[tuple[str, str]]:
    g, network = context.network.geometry, context.network
    field = next((x.field for x in reversed(g.layers) if x.field is not None), None)
    rows = [
        ("input", _input(context)),
        ("layers", f"{len(context.layers):,}"),
        ("parameters", f"{g.params:,} ({_bytes(g.param_bytes)})"),
        ("multiply-adds", f"{g.macs:,} for one image"),
        ("memory of blobs", f"{_bytes(g.blob_bytes)} for one image, and as much again for gradients"),
    ]
    if field is not None:
        rows.append(("receptive field at the end", _times(field.size)))
    if context.runs:
        rows.append(("engine", context.engine_name))
        with suppress(InputError):  # as in `_input`
            rows.append(("images get in as", described(network)))
    return rows


def _input(context: ReportContext) -> str:
    try:
        return f"{context.network.data}, {_times(context.network.shape)}"
    except InputError:  # several inputs, none of which must be the image
        return ", ".join(context.network.geometry.inputs) or "data layers"


def image_section(context: ReportContext, cache: PartCache, number: int) -> ImageSection:
    made, refused, waiting = list[tuple[str, FinishedPart]](), dict[str, list[str]](), list[str]()
    for method in METHODS:
        part = cache.get(method_key(number, method))
        if part is None:
            waiting.append(method)
        elif reason := part.failed or part.facts["refused"]:
            refused.setdefault(reason, []).append(method)
        else:
            made.append((method, part))
    reasons = [(", ".join(methods), reason) for reason, methods in refused.items()]
    answer = cache.get(f"{image_key(number)}-answer")
    return ImageSection(context.images[number].name, answer, Attributions(made, reasons, waiting))


def layer_section(context: ReportContext, cache: PartCache, plan: Plan, layer: LayerGeometry) -> LayerSection:
    key, failures = layer_key(layer), list[tuple[str, str]]()

    def got(name: str, what: str) -> FinishedPart | None:
        part = cache.get(name)
        if part is not None and part.failed:
            failures.append((what, part.failed))
            return None
        return part

    weights = got(f"{key}-weights", "weights")
    activations = []
    for number, image in enumerate(context.images):
        for k, top in enumerate(layer.tops):
            part = got(f"{image_key(number)}-{key}-{k}", f"activations of {top} for {image.name}")
            if part is not None:
                activations.append((number, top, part))
    ascents = [part for name in plan.ascents(layer) if (part := got(name, "inputs that maximise filters"))]
    places = got(places_key(layer), "places of highest activation")
    message = context.messages.get(layer.name)
    prototxt = "" if message is None else as_text(message)
    return LayerSection(
        layer=layer,
        shown_at=_maker(context, layer),
        facts=_facts(context, layer),
        prototxt=prototxt,
        weights=weights,
        activations=activations,
        ascents=ascents,
        places=places,
        failures=list(dict.fromkeys(failures)),
        waiting=plan.waiting(layer),
    )


def _facts(context: ReportContext, layer: LayerGeometry) -> list[tuple[str, str]]:
    """The words that the table shows about a layer."""
    rows = [
        ("bottoms", ", ".join(_shaped(layer.bottoms, layer.bottom_shapes))),
        ("tops", ", ".join(_shaped(layer.tops, layer.top_shapes))),
        ("parameters", ", ".join(_times(shape) for shape in layer.param_shapes)),
    ]
    if layer.macs:
        share = layer.macs / max(context.network.geometry.macs, 1)
        rows.append(("multiply-adds", f"{layer.macs:,} ({share:.1%} of the net)"))
    if layer.field is not None:
        stride = f", stride {_times(layer.field.stride)}" if any(layer.field.stride) else ""
        rows.append(("receptive field", f"{_times(layer.field.size)}{stride}"))
    return [(name, value) for name, value in rows if value]


def _maker(context: ReportContext, layer: LayerGeometry) -> LayerGeometry | None:
    if not layer.tops:
        return None
    first = next(x for x in context.layers if layer.tops[0] in x.tops)
    return None if first is layer else first


def _shaped(names: Sequence[str], shapes: Sequence[tuple[int, ...] | None]) -> list[str]:
    known = ("?" if s is None else _times(s) for s in shapes)
    return [f"{n.split('_split_')[0]} ({s})" for n, s in zip(names, known, strict=True)]


def _times(numbers: Sequence[float]) -> str:
    return " x ".join(f"{n:g}" for n in numbers)


def _bytes(size: int) -> str:
    return f"{size / 2**20:.1f} MiB" if size >= 2**20 else f"{size / 2**10:.1f} KiB"
