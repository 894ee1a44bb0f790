"""Make the parts of a report, with one function for each kind, as values and pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from caffe_viz.ascent import canvas_size
from caffe_viz.attribution import Steps, attributing, centre
from caffe_viz.classification import likeliest
from caffe_viz.comparing.changes import side_of
from caffe_viz.comparing.filters import StoredFilters
from caffe_viz.errors import CaffeVizError, InputError, RunError
from caffe_viz.figures import heat, signed_colours
from caffe_viz.geometry import LayerGeometry, measure
from caffe_viz.network import Array
from caffe_viz.probe import relu_state
from caffe_viz.report.context import ReportContext
from caffe_viz.report.part_cache import Figure, PartCache, PartResult
from caffe_viz.report.showing import SIDE, enlarged, file_name, json_number, plain, stem
from caffe_viz.surgery import auxiliary_net, with_batch
from caffe_viz.tasks import InProcess
from caffe_viz.views import show_evolution
from caffe_viz.views.attributed import SIGNED
from caffe_viz.views.kernels import draw_weights, has_kernels
from caffe_viz.views.maximized import Maximized, climbing_of
from caffe_viz.views.objectives import climbed
from caffe_viz.views.streams import draw, has_maps, statistics, strengths
from caffe_viz.views.structured import show_structure
from caffe_viz.views.top_patches import searched, searching

BINS = 60  # of histograms
GUESSES = 5
PIXELS = 4_000_000  # of one picture of maps
PLACES = 9  # of highest activation, for each filter
METHOD, STEPS = "natural", 64  # of an ascent
CURVES = {  # captions of the pictures of a training
    "curves": "loss and scores", "gradients": "norm of the gradients",
    "ratios": "norm of the update over that of the weights", "dead": "units that are never active",
    "norms": "norm of the weights", "histograms": "distribution of the weights",
}  # fmt: skip


class OutOfTime(Exception):
    """The time for a part was up; what was done of it is discarded."""


def why(error: Exception) -> str:
    """The text shown for a part that could not be made."""
    return str(error) if isinstance(error, CaffeVizError) else f"{type(error).__name__}: {error}"


def structure(context: ReportContext) -> PartResult:
    """Draw the graph of layers as SVG; each layer links to its section, if it has one."""
    return PartResult({"svg": graph(context, lambda layer: f"#layer-{layer.index}")})


def graph(context: ReportContext, address: Callable[[LayerGeometry], str]) -> str:
    """Draw the graph of layers as SVG, including unknown types; those of `context.layers` are links."""
    drawn = show_structure(with_batch(context.network.whole, 1))
    known = {layer.name: layer for layer in context.layers}
    names = {layer.index: layer.name for node in drawn.graph.nodes for layer in node.layers}

    def link(index: int) -> str | None:
        layer = known.get(names[index])
        return None if layer is None else address(layer)

    return drawn.fragment(link)


def weights(context: ReportContext, layer: LayerGeometry) -> PartResult:
    """Draw the weights, unless they are vectors, and compute the statistics of every parameter."""
    message = context.messages[layer.name]
    if layer.name not in context.stored:
        raise InputError(
            "the caffemodel holds no weights under this name; the layer may share those of another."
        )
    stored = StoredFilters(context.stored[layer.name], message, layer.name, context.seen.get(layer.name))
    arrays = [stored.values(k) for k in range(len(layer.param_shapes))]
    side = side_of(stored, arrays[0])
    facts: dict[str, Any] = {
        "filters": side.filters, "dead": list(side.dead), "copies": side.copies, "pairs": side.pairs,
        "duplicates": [(p.first, p.second, p.cosine) for p in side.duplicates[:GUESSES]],
        "blobs": [{"shape": list(a.shape), **_distribution(a)} for a in arrays],
    }  # fmt: skip
    if arrays[0].ndim < 2:
        return PartResult(facts)
    what = "kernels" if has_kernels(stored) else "weights"
    picture = draw_weights(stored, context.network.preprocess.channel_order)
    return PartResult(
        facts | {"drawn": what},
        (Figure(picture.rgb, f"{what} of {layer.name}", file_name(layer.name, what)),),
    )


def answer(context: ReportContext, number: int) -> PartResult:
    """Show what the net saw, and the most likely classes; `failed` if the net does not end in classes."""
    network, image = context.network, context.images[number]
    figures = []
    if network.pictures is not None:
        rgb = enlarged(network.pictures.to_display(image.pixels[None])[0])
        figures.append(
            Figure(rgb, f"{image.name} as the net sees it", file_name(stem(image.name), "input"), photo=True)
        )
    facts: dict[str, Any] = {"guesses": [], "unit": "", "why": ""}
    head = network.heads[0]
    values = context.blobs(number)[head.answer]
    if not head.of_classes:
        why = f"the net ends in {head.answer}, {values.shape}, which is not one value for each class."
        return PartResult(facts | {"why": why}, tuple(figures))
    guesses = likeliest(values.ravel(), network.labels_of(head), GUESSES)
    facts["guesses"] = [(guess.number, guess.label, json_number(guess.value)) for guess in guesses]
    facts["unit"] = "probability" if head.values == "probabilities" else "score"
    return PartResult(facts, tuple(figures))


def activation(context: ReportContext, number: int, layer: LayerGeometry, blob: str) -> PartResult:
    """Draw a blob for one image, maps as tiles and vectors as lines, and list how active each filter is."""
    array, image = context.blobs(number)[blob], context.images[number]
    state = relu_state(context.network.message, blob)
    first = max(1, PIXELS // math.prod(array.shape[1:]))
    title = f"{blob}  {state}".strip()
    picture = draw(array, title, context.network.labels.of(len(array)), first)
    rows = array.reshape(len(array), -1)
    facts = {
        "blob": blob, "state": state, "statistics": list(map(plain, statistics(blob, array)[2:])),
        "strength": [json_number(v) for v in strengths(array)],
        "silent": int((rows == 0).all(1).sum()) if has_maps(array) else 0,
    }  # fmt: skip
    name = file_name(f"{blob}_{stem(image.name)}", "activation")
    return PartResult(facts, (Figure(picture.rgb, f"activations of {title} for {image.name}", name),))


def attribution(context: ReportContext, number: int, method: str) -> Steps[PartResult]:
    """Draw the map of one method for an image's most likely class, or say why it does not fit."""
    image = context.images[number]
    try:
        a = yield from attributing(context.probe, image.pixels[None], None, method, names=[image.name])
    except (InputError, RunError) as error:
        return PartResult({"refused": str(error)})
    if method in SIGNED and a.channel_order:
        picture = signed_colours(a.values[0], a.channel_order)
    else:
        picture = heat(a.maps[0])
    place = centre(a.maps[0])
    facts = {
        "refused": "",
        "target": a.targets[0],
        "score": json_number(a.scores[0]),
        "layer": f"{a.layer} {a.state}".strip(),
        "empty": not np.isfinite(place[0]),
    }
    alt = f"{method} for {a.targets[0]} in {image.name}"
    return PartResult(facts, (Figure(enlarged(picture), alt, file_name(stem(image.name), method)),))


def ascent(
    context: ReportContext, layer: LayerGeometry, filters: Sequence[int], alone: bool = False
) -> Steps[PartResult]:
    """Make inputs that maximise `filters`, one picture each.

    By one process for each core, or if `alone`, in this process.
    """
    network, climbing = climbing_of(context.network, layer.name, filters, method=METHOD, steps=STEPS)
    if alone:
        climbing.running = InProcess
    for progress in climbing:
        yield progress.done / progress.total
    return ascended(Maximized(climbing.result, network))


def ascended(shown: Maximized) -> PartResult:
    """Return the images of an ascent, one picture each."""
    found = shown.ascent
    figures = [
        Figure(
            enlarged(picture.rgb, SIDE // 2),
            f"input that maximises {title}",
            file_name(found.layer, f"{number}_ascent"),
            photo=shown.network.pictures is not None,
        )
        for (number, picture), title in zip(shown.pictures.items(), shown.titles, strict=True)
    ]
    facts = {
        "titles": [title.removeprefix(f"{found.layer} ") for title in shown.titles],
        "values": [json_number(value) for value in found.values],
        "dead": list(found.dead),
        "method": f"{found.method}, {found.curve.shape[1] - 1} steps",
    }
    return PartResult(facts, tuple(figures))


def ascent_macs(context: ReportContext, layer: LayerGeometry) -> int:
    """Multiply-adds of one forward pass of the net that is climbed, for one filter."""
    part = climbed(context.network, layer.name)
    size = canvas_size(part.message, layer.name, part.data)
    return measure(auxiliary_net(part.message, layer.name, size=size, image=part.data).message).macs


def places(
    context: ReportContext,
    layer: LayerGeometry,
    filters: Sequence[int],
    cache: PartCache,
    late: Callable[[], bool],
    cluster: Any = None,
) -> PartResult:
    """Find the places in the photographs that activate `filters` most; the workers of a `cluster` can do it.

    Raises:
        OutOfTime: It became `late` before all were looked at; the next search continues from there.
    """
    assert context.photos is not None
    file = cache.folder / f"layer-{layer.index:04d}-search.npz"
    search = searching(context.network, context.photos, layer.name, filters, PLACES, file, cluster=cluster)

    def told(_: Any) -> None:
        if late():
            search.save()
            raise OutOfTime

    found = searched(search, told)
    search.forget()
    top = found.top
    facts = {"seen": top.seen, "dead": list(top.dead), "state": top.state}
    if not top.shown:
        return PartResult(facts)
    return PartResult(
        facts,
        (Figure(found.sheet.rgb, f"places that activate {layer.name} most", file_name(layer.name, "top")),),
    )


def training(context: ReportContext) -> PartResult:
    """Draw the record: curves, and the kernels of the first kept layer at each moment."""
    assert context.record is not None
    order = context.network.preprocess.channel_order
    found = show_evolution(context.record, channel_order=order)
    shown = [(CURVES[name], name, picture.rgb) for name, picture in found.pictures()]
    figures = [Figure(rgb, f"training: {caption}", f"training_{name}") for caption, name, rgb in shown]
    moments, layer = [], ""
    if found.kept:
        layer = found.kept[0]
        moments = found.moments
        figures += [
            Figure(
                frame.rgb,
                f"kernels of {layer} after iteration {moment}",
                file_name(layer, f"{moment}_kernels"),
            )
            for frame, moment in zip(found.film(layer), moments, strict=True)
        ]
    facts = {
        "curves": [caption for caption, _, _ in shown],
        "layer": layer,
        "moments": moments,
        "note": found.record.note,
    }
    return PartResult(facts, tuple(figures))


def _distribution(array: Array) -> dict[str, Any]:
    """Histogram and moments of the finite values of a parameter."""
    flat = array.ravel()
    good = flat[np.isfinite(flat)]
    if not good.size:
        return {"values": int(flat.size), "not_finite": int(flat.size)}
    low, high = float(good.min()), float(good.max())
    counts = np.histogram(good, BINS, (low, high) if low < high else (low - 0.5, high + 0.5))[0]
    return {
        "values": int(flat.size), "not_finite": int(flat.size - good.size), "min": low, "max": high,
        "mean": float(good.mean(dtype=np.float64)), "deviation": float(good.std(dtype=np.float64)),
        "zeros": int(flat.size - np.count_nonzero(flat)), "counts": counts.tolist(),
    }  # fmt: skip
