"""The Split layers that Caffe inserts where a blob has several consumers, with Caffe's names."""

from __future__ import annotations

from collections import Counter
from itertools import accumulate

from caffe_viz.errors import InputError, near
from caffe_viz.geometry.results import Geometry, LayerGeometry
from caffe_viz.netdef import LayerParameter, NetParameter, in_other_states

Place = tuple[int, int]


def with_splits(net: NetParameter) -> NetParameter:
    """Copy `net` (filtered by phase) with the hidden Split layers of Caffe's `net._layer_names`.

    The blob `b`, top j of layer `l`, becomes `b_l_j_split_0`, `b_l_j_split_1`, ... of a layer `b_l_j_split`.
    A loss weight counts as a consumer and takes the first of them. Source: Caffe's insert_splits.cpp.

    Raises:
        InputError: A bottom that no earlier layer produces.
    """
    sources, consumers, weights = _uses(net)
    taken: Counter[Place] = Counter()
    result = NetParameter()
    result.CopyFrom(net)
    del result.layer[:]
    for i, original in enumerate(net.layer):
        layer = result.layer.add()
        layer.CopyFrom(original)
        for k, bottom in enumerate(original.bottom):
            place = sources[i, k]
            if consumers[place] > 1:
                layer.bottom[k] = f"{_split_name(net, place, bottom)}_{taken[place]}"
                taken[place] += 1
        for j, top in enumerate(original.top):
            place = (i, j)
            if consumers[place] > 1:
                weight = weights.get(place, 0.0)
                if weight:
                    layer.ClearField("loss_weight")
                    taken[place] += 1
                _add_split(result.layer.add(), _split_name(net, place, top), top, consumers[place], weight)
    return result


def own_layers(net: NetParameter, geometry: Geometry) -> list[LayerGeometry]:
    """Return what `geometry` has on each layer of its `net` (filtered by phase), without hidden Split layers.

    They are found by position, as layers may share a name and a file may have Splits of its own.
    """
    _, consumers, _ = _uses(net)
    hidden = [sum(consumers[i, j] > 1 for j in range(len(x.top))) for i, x in enumerate(net.layer)]
    before = accumulate(hidden, initial=0)
    return [geometry.layers[i + n] for i, n in zip(range(len(hidden)), before, strict=False)]


def _uses(net: NetParameter) -> tuple[dict[Place, Place], Counter[Place], dict[Place, float]]:
    """(layer, bottom) -> the (layer, top) it reads; how often each top is used; loss weights of tops."""
    latest: dict[str, Place] = {}
    sources: dict[Place, Place] = {}
    consumers: Counter[Place] = Counter()
    weights: dict[Place, float] = {}
    for i, layer in enumerate(net.layer):
        for k, bottom in enumerate(layer.bottom):
            if bottom not in latest:
                text = f"layer {layer.name!r} ({layer.type}): no layer before it makes its bottom {bottom!r}"
                if others := in_other_states(net, bottom):
                    raise InputError(f"{text}; {others}.")
                raise InputError(f"{text}: correct the name or move the layer.{near(bottom, latest)}")
            sources[i, k] = latest[bottom]
            consumers[latest[bottom]] += 1
        latest.update({top: (i, j) for j, top in enumerate(layer.top)})
        for top, weight in zip(layer.top, layer.loss_weight, strict=False):
            weights[latest[top]] = weight
            consumers[latest[top]] += weight != 0
    return sources, consumers, weights


def _split_name(net: NetParameter, place: Place, blob: str) -> str:
    """Name of the Split layer of a layer's top."""
    return f"{blob}_{net.layer[place[0]].name}_{place[1]}_split"


def _add_split(layer: LayerParameter, name: str, bottom: str, count: int, weight: float) -> None:
    """Fill in a Split layer of `count` tops; a loss weight goes to its first top."""
    layer.name, layer.type = name, "Split"
    layer.bottom.append(bottom)
    layer.top.extend(f"{name}_{k}" for k in range(count))
    if weight:
        layer.loss_weight.extend([weight] + [0.0] * (count - 1))
