"""Compare two caffemodels layer by layer, with two blobs in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from caffe_viz.comparing.changes import change_of, side_of
from caffe_viz.comparing.duplicates import kept
from caffe_viz.comparing.filters import StoredFilters, as_filters, as_seen
from caffe_viz.comparing.pairing import Match, paired
from caffe_viz.comparing.result import Array, Diff, FilterChange, FilterComparison, LayerDiff, Side
from caffe_viz.errors import InputError, near
from caffe_viz.geometry import measure, seen_by_units
from caffe_viz.geometry.receptive_fields import Shape
from caffe_viz.netdef import NetParameter, stored_layers
from caffe_viz.netdef.embedded_net import embedded_net

LAYERS = 4  # whose filters are shown where none are chosen

Weights = NetParameter | Path | str


def compare(
    a: Weights,
    b: Weights,
    net: NetParameter | None = None,
    layers: Sequence[str] | None = None,
    *,
    count: int = 8,
    channel_order: str = "BGR",
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Diff:
    """Compare the weights `a` and `b`, caffemodels of any age or messages.

    Args:
        a: The first file.
        b: The second file.
        net: Gives the types and groups of layers if the caffemodels do not.
        layers: The layers whose filters to keep. Default: those that changed most.
        count: How many filters of a layer to keep, and how many duplicated pairs.
        channel_order: Of kernels with 3 input channels.
        on_progress: Called with (layers done, total).

    Raises:
        InputError: A file is missing, damaged or not a caffemodel; `net` or `layers` are of other weights.
    """
    sides = _stored(a, "A", net), _stored(b, "B", net)
    if net is not None:
        _need_shared(net, *sides)
    matches = paired(*sides)
    found = []
    for done, match in enumerate(matches):
        on_progress(done, len(matches))
        found.append(_compared(*match))
    on_progress(len(matches), len(matches))
    chosen = _chosen(found, layers)
    shown = [one for k in chosen for one in _shown(matches[k], found[k], count)]
    return Diff(_name(a, "A"), _name(b, "B"), channel_order, tuple(found), tuple(shown))


def _stored(weights: Weights, default: str, net: NetParameter | None) -> list[StoredFilters]:
    messages = {} if net is None else {layer.name: layer for layer in net.layer}
    path, seen = _name(weights, default), _seen(weights, net)
    return [
        StoredFilters(layer, messages.get(layer.name, layer.message), path, seen.get(layer.name))
        for layer in stored_layers(weights, net)
        if layer.blobs
    ]


def _seen(weights: Weights, net: NetParameter | None) -> dict[str, Shape]:
    """Fully connected layer -> the axes that its units see, as far as `net`, or that in the file, tells."""
    try:
        known = net if net is not None or isinstance(weights, NetParameter) else embedded_net(weights)
        return {} if known is None else dict(seen_by_units(measure(known).layers))
    except InputError:
        return {}


def _name(weights: Weights, default: str) -> str:
    return default if isinstance(weights, NetParameter) else str(weights)


def _need_shared(net: NetParameter, *sides: Sequence[StoredFilters]) -> None:
    known = {layer.name for layer in net.layer}
    given = [x.layer.name for side in sides for x in side]
    if known.isdisjoint(given):
        raise InputError(f"net {net.name!r} has none of the layers of the weights.{near('', given)}")


def _compared(one: StoredFilters | None, two: StoredFilters | None) -> LayerDiff:
    a, b = (None if x is None else x.values(0) for x in (one, two))
    side_a = None if one is None or a is None else side_of(one, a)
    if one is None or two is None or a is None or b is None:
        return LayerDiff(side_a, None if two is None or b is None else side_of(two, b), None)
    change = change_of(one, two, a, b)
    if side_a is not None and change is not None and change.same and one.message == two.message:
        return LayerDiff(side_a, Side(**vars(side_a) | {"name": two.layer.name}), change)
    filters = as_filters(a, one), as_filters(b, two)
    same = None if change or filters[0] is None or filters[1] is None else kept(filters[0], filters[1])
    return LayerDiff(side_a, side_of(two, b), change, same)


def _chosen(found: Sequence[LayerDiff], names: Sequence[str] | None) -> list[int]:
    """Numbers of the layers whose filters are shown, in the order of the net."""
    if names is None:
        return _interesting(found)
    known = {side.name: k for k, x in enumerate(found) for side in (x.a, x.b) if side is not None}
    for name in names:
        if name not in known:
            raise InputError(f"the weights have no layer {name!r}.{near(name, known)}")
    return sorted({known[name] for name in names})


def _interesting(found: Sequence[LayerDiff]) -> list[int]:
    """The layers that changed most, the first one with filters, and those with most duplicates."""
    changed = {x.name: k for k, x in enumerate(found) if x.change is not None and x.change.filters}
    ranked = sorted(changed.values(), key=lambda k: -_amount(found[k]))
    copied = [k for k, x in enumerate(found) if _pairs(x)]
    most = sorted(copied, key=lambda k: -_pairs(found[k]))
    return sorted({*list(changed.values())[:1], *ranked[:LAYERS], *most[:LAYERS]})


def _amount(one: LayerDiff) -> float:
    relative = None if one.change is None else one.change.relative
    return np.inf if relative is None else relative


def _pairs(one: LayerDiff) -> int:
    return max(side.pairs for side in (one.a, one.b) if side is not None)


def _shown(match: Match, found: LayerDiff, count: int) -> list[FilterComparison]:
    a, b = (None if x is None else _drawn(x) for x in match)
    out = []
    if a is not None and b is not None and found.change is not None and found.change.filters:
        most = found.change.filters[:count]
        numbers = [x.filter for x in most]
        dead = () if found.b is None else found.b.dead
        titles = tuple(_title(x) + ", dead in B" * (x.filter in dead) for x in most)
        if a.ndim != b.ndim:  # a convolution made of an InnerProduct
            a, b = (x.reshape(max(a.shape, b.shape, key=len)) for x in (a, b))
        out.append(FilterComparison(found.name, "changed", "A and B", titles, a[numbers], b[numbers]))
    alike = found.a is not None and found.b is not None and found.a.duplicates == found.b.duplicates
    for side, filters, file in ((found.a, a, "A"), (found.b, b, "B")):
        if side is None or filters is None or not side.duplicates or (alike and file == "A"):
            continue
        pairs = side.duplicates[:count]
        first, second = (_unit(filters[[getattr(p, end) for p in pairs]]) for end in ("first", "second"))
        titles = tuple(f"{p.first} and {p.second}: cosine {p.cosine:.4f}" for p in pairs)
        out.append(
            FilterComparison(side.name, "duplicates", "A and B" if alike else file, titles, first, second)
        )
    return out


def _drawn(one: StoredFilters) -> Array | None:
    filters = as_filters(one.values(0), one)
    return None if filters is None else as_seen(filters, one)


def _title(x: FilterChange) -> str:
    change = "from zero" if x.relative is None else f"change {x.relative:.3g}"
    return f"{x.filter}: {change}" + ("" if x.cosine is None else f", cosine {x.cosine:.3f}")


def _unit(filters: Array) -> Array:
    lengths = np.linalg.norm(filters.reshape(len(filters), -1).astype(np.float64), axis=1)
    return np.asarray(filters / lengths.reshape(-1, *[1] * (filters.ndim - 1)), np.float32)
