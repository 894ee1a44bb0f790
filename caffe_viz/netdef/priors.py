"""The boxes that PriorBox's fields describe, and which fork's PriorBox it is if its fields do not tell."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

from caffe_viz.netdef.net_pb2 import LayerParameter, NetParameter, PriorBoxParameter

# FaceBoxes: size to boxes along each axis of a unit, and pixels between them.
_DENSE = {32: (4, 8), 64: (2, 16)}


class Prior(NamedTuple):
    """One box of each unit: width, height in pixels, centre (x, y) in steps of the units, shift in pixels.

    `inside` means that its near sides are not below 0 and its far sides not beyond the image.
    """

    width: float
    height: float
    x: float
    y: float
    right: float = 0
    down: float = 0
    inside: bool = False


def priors(layer: LayerParameter) -> list[Prior]:
    """Return the boxes of one unit, in the order in which the layer writes them."""
    p = layer.prior_box_param
    if p.offset_w or p.offset_h:
        return list(_at_offsets(p))
    if p.box_width or layer.type == "PriorBoxClustered":
        sides = zip(p.box_width or p.width, p.box_height or p.height, strict=False)
        return [Prior(w, h, p.offset, p.offset) for w, h in sides]
    return [*_fixed(p), *_BOXES.get(layer.variant, _plain)(p)]


def tell_priors(net: NetParameter) -> None:
    """Set the variant of PriorBox layers that only the layers beside them can tell.

    Of the convolutions that read the same bottom, one makes the codes of the boxes, 4 channels for each box,
    or more if it is rotated, and one the confidences, a channel for each box and class.
    """
    outputs: dict[str, set[int]] = {}
    for layer in net.layer:
        if layer.type == "Convolution" and layer.bottom:
            outputs.setdefault(layer.bottom[0], set()).add(layer.convolution_param.num_output)
    known = {
        layer.detection_output_param.num_classes or layer.multibox_loss_param.num_classes
        for layer in net.layer
    }

    def fits(count: int, made: set[int]) -> bool:
        return any(count * each in made for each in (4, 9, 12)) and any(count * c in made for c in known if c)

    layers = [x for x in net.layer if x.type == "PriorBox" and x.bottom and not x.variant]
    beside = [outputs.get(x.bottom[0], set()) for x in layers]
    for layer, made in zip(layers, beside, strict=True):
        told = next((v for v in ("", *_BOXES) if fits(len(_of(layer, v)), made)), "")
        if told:  # and so are all of the net, even where the number of boxes is the same
            for other, around in zip(layers, beside, strict=True):
                other.variant = told if fits(len(_of(other, told)), around) else ""
            return


def _of(layer: LayerParameter, variant: str) -> list[Prior]:
    told = LayerParameter(type=layer.type, prior_box_param=layer.prior_box_param, variant=variant)
    try:
        return priors(told)
    except (ArithmeticError, LookupError, ValueError):  # of settings that the layer's rule refuses
        return []


def _plain(p: PriorBoxParameter) -> Iterator[Prior]:
    """SSD's. Sizes count as whole numbers, as in Caffe."""
    if p.faceboxes:
        yield from _faces(p)
        return
    for place, small in enumerate(map(int, p.min_size)):
        for box in (Prior(small, small, p.offset, p.offset), *_others(p, place)):
            yield box
            if p.denser_prior_boxes:
                yield box._replace(y=1.0)


def _others(p: PriorBoxParameter, place: int) -> Iterator[Prior]:
    """All boxes of one min_size except the first."""
    small = int(p.min_size[place])
    yield from _middle(p, place, small)
    for ratio in _ratios(p, [1.0])[1:]:
        yield Prior(small * math.sqrt(ratio), small / math.sqrt(ratio), p.offset, p.offset)


def _middle(p: PriorBoxParameter, place: int, small: float) -> Iterator[Prior]:
    """Between min_size and max_size."""
    if p.max_size:
        side = math.sqrt(small * int(p.max_size[place]))
        yield Prior(side, side, p.offset, p.offset)


def _ratios(p: PriorBoxParameter, known: list[float], *, flip: bool = True) -> list[float]:
    """Width to height, none twice, with those `known`."""
    for ratio in p.aspect_ratio:
        if all(abs(ratio - k) >= 1e-6 for k in known):
            known += [ratio, 1 / ratio] if p.flip and flip else [ratio]
    return known


def _twice(p: PriorBoxParameter) -> Iterator[Prior]:
    """Each box again half a unit lower (zj463261929/TextBoxes: src/caffe/layers/prior_box_layer.cpp)."""
    for box in _plain(p):
        yield from (box, box._replace(y=1.0))


def _faces(p: PriorBoxParameter) -> Iterator[Prior]:
    """Small squares in a grid within the unit (sfzhang15/FaceBoxes: src/caffe/layers/prior_box_layer.cpp)."""
    for place, small in enumerate(map(int, p.min_size)):
        count, apart = _DENSE.get(small, (1, 0))
        moves = [(i - count // 2) * apart for i in range(count)]
        for down in moves:
            yield from (Prior(small - 1, small - 1, p.offset, p.offset, right, down) for right in moves)
        yield from _others(p, place)


def _long(p: PriorBoxParameter) -> Iterator[Prior]:
    """One side stays, the other is longer by the ratio.

    BestSonny/SSTD: src/caffe/layers/prior_box_layer.cpp
    """
    ratios = [r for r in _ratios(p, [1.0], flip=False) if abs(r - 1) >= 1e-6]
    for place, small in enumerate(p.min_size):
        yield Prior(small, small, p.offset, p.offset)
        yield from _middle(p, place, small)
        yield from (Prior(small * r, small, p.offset, p.offset) for r in ratios)
        yield from (Prior(small, small * r, p.offset, p.offset) for r in ratios if p.flip)


def _fixed(p: PriorBoxParameter) -> Iterator[Prior]:
    """For each size and ratio a grid of boxes.

    lippman1125/faceboxes_lqy: src/caffe/layers/prior_box_layer.cpp
    """
    for size, density in zip(p.fixed_size, map(int, p.density), strict=False):
        apart = int(size / density)
        moves = [i * apart + apart / 2 - int(size) // 2 for i in range(density)]
        for n, ratio in enumerate(p.fixed_ratio or _ratios(p, [1.0])):
            side = size if n or p.fixed_ratio else int(size)
            width, height = side * math.sqrt(ratio), side / math.sqrt(ratio)
            for down in moves:
                yield from (Prior(width, height, p.offset, p.offset, x, down, inside=True) for x in moves)


def _at_offsets(p: PriorBoxParameter) -> Iterator[Prior]:
    """Only what the ratios say, at each offset (julimueller/tl_ssd: src/caffe/layers/prior_box_layer.cpp)."""
    for x in p.offset_w:
        for y in p.offset_h:
            for small in map(int, p.min_size):
                for ratio in _ratios(p, []):
                    yield Prior(small * math.sqrt(ratio), small / math.sqrt(ratio), x, y)


# Variants of PriorBox whose fields are SSD's.
_BOXES: dict[str, Callable[[PriorBoxParameter], Iterator[Prior]]] = {
    "TextBoxes": _twice,
    "FaceBoxes": _faces,
    "SSTD": _long,
}
