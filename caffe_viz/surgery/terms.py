"""The layers behind a cut net that compute an objective, and the numbers that they need.

All are layers of BVLC Caffe, none in place or with parameters, so that any Caffe runs them. Whatever may
differ from image to image, and the numbers of an objective, are blobs of Input layers. A is the activation
(N, C, ..) of a slot's layer, with P places.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from caffe_viz.errors import InputError
from caffe_viz.netdef import NetParameter
from caffe_viz.objectives import Form, Slot, Times, Total
from caffe_viz.surgery.in_place import free
from caffe_viz.surgery.inputs import Shape

GIB = 2**30
MOST_BYTES = 2 * GIB  # of the blobs of Gram matrices; Caffe itself would take whatever there is, and swap
TINY = 1e-20  # beside the square of a Gram matrix's norm; its power of -1.5 still is a float32


class Blob(NamedTuple):
    """A blob's name and shape."""

    name: str
    shape: Shape


@dataclass(frozen=True)
class Term:
    """A slot in a net: `activation` is A, and `inputs` are the blobs of Input layers for its numbers."""

    slot: Slot
    activation: Blob
    inputs: tuple[Blob, ...]


class Adding:
    """Adds layers with new names to the end of a net; what several terms need is added once."""

    def __init__(self, net: NetParameter, taken: Iterable[str], activations: Mapping[str, Blob]) -> None:
        self.net, self.taken, self.activations = net, set(taken), activations
        self.terms: list[Term] = []
        self._count = Counter[str]()
        self._made: dict[tuple[str, str], Blob] = {}

    def name(self, wanted: str) -> str:
        """Return `wanted`, numbered from the second on, with underscores if the net has that name already."""
        self._count[wanted] += 1
        found = free(wanted if self._count[wanted] == 1 else f"{wanted}{self._count[wanted]}", self.taken)
        self.taken.add(found)
        return found

    def input(self, wanted: str, shape: Shape) -> Blob:
        """A blob to be filled from outside."""
        blob = Blob(self.name(wanted), shape)
        self.net.layer.add(
            name=blob.name, type="Input", top=[blob.name], input_param={"shape": [{"dim": shape}]}
        )
        return blob

    def layer(self, wanted: str, type: str, bottoms: Sequence[Blob], shape: Shape, **param: Any) -> Blob:
        """A layer with one top of that shape."""
        blob = Blob(self.name(wanted), shape)
        names = [bottom.name for bottom in bottoms]
        self.net.layer.add(name=blob.name, type=type, bottom=names, top=[blob.name], **param)
        return blob

    def once(self, what: str, layer: str, make: Callable[[Adding, str], Blob]) -> Blob:
        """Return what `make` makes of a layer's activation; it is made only once."""
        key = what, self.activations[layer].name
        if key not in self._made:
            self._made[key] = make(self, layer)
        return self._made[key]

    def reduced(self, wanted: str, blob: Blob, axis: int, how: str = "SUM", coeff: float = 1.0) -> Blob:
        """`coeff` times the sum, or the sum of squares, over the axes from `axis` on."""
        param = {"operation": how, "axis": axis, "coeff": coeff}
        return self.layer(wanted, "Reduction", [blob], blob.shape[:axis], reduction_param=param)

    def product(self, wanted: str, blobs: Sequence[Blob]) -> Blob:
        """Multiply blobs of one shape, element by element."""
        param = {"operation": "PROD"}
        return self.layer(wanted, "Eltwise", blobs, blobs[0].shape, eltwise_param=param)

    def sum(self, wanted: str, blobs: Sequence[Blob], coeff: Sequence[float] = ()) -> Blob:
        """Add blobs of one shape, each with its coefficient."""
        return self.layer(wanted, "Eltwise", blobs, blobs[0].shape, eltwise_param={"coeff": coeff})

    def reshaped(self, wanted: str, blob: Blob, shape: Shape) -> Blob:
        """The same values in another shape."""
        param = {"shape": {"dim": shape}}
        return self.layer(wanted, "Reshape", [blob], shape, reshape_param=param)

    def tiled(self, wanted: str, blob: Blob, axis: int, tiles: int) -> Blob:
        """Repeat the blob along an axis of length 1."""
        shape = (*blob.shape[:axis], tiles, *blob.shape[axis + 1 :])
        return self.layer(wanted, "Tile", [blob], shape, tile_param={"axis": axis, "tiles": tiles})


def add_form(adding: Adding, form: Form, name: str = "values") -> Blob:
    """Add the layers of `form`; the blob `name` (N,) has its value for each image.

    Raises:
        InputError: The Gram matrices would need more memory than MOST_BYTES.
    """
    if isinstance(form, Slot):
        return ADD[form.kind](adding, form, name)
    assert isinstance(form, Total | Times)
    parts = [add_form(adding, part, "value") for part in form.parts]
    return (adding.sum if isinstance(form, Total) else adding.product)(name, parts)


def _linear(adding: Adding, slot: Slot, name: str) -> Blob:
    """The sum of A times the selector: a factor (N, C) for each map, or (N, C, ..) for each unit."""
    a = adding.activations[slot.layer]
    selector = adding.input("selector", a.shape if slot.single else a.shape[:2])
    adding.terms.append(Term(slot, a, (selector,)))
    selected = adding.layer("selected", "Scale", [a, selector], a.shape, scale_param={"axis": 0})
    return adding.reduced(name, selected, 1)


def _squares(adding: Adding, slot: Slot, name: str) -> Blob:
    return _times_factor(adding, slot, adding.once("squares", slot.layer, _mean_square), (), name)


def _content(adding: Adding, slot: Slot, name: str) -> Blob:
    a = adding.activations[slot.layer]
    target = adding.input("content", a.shape)
    return _times_factor(adding, slot, _distance(adding, "content", a, target), (target,), name)


def _style(adding: Adding, slot: Slot, name: str) -> Blob:
    made = adding.once("gram", slot.layer, _gram)
    target = adding.input("style", made.shape)
    return _times_factor(adding, slot, _distance(adding, "style", made, target), (target,), name)


def _diversity(adding: Adding, slot: Slot, name: str) -> Blob:
    cosines = adding.once("cosines", slot.layer, _cosines)
    pairs = adding.input("pairs", cosines.shape)
    adding.terms.append(Term(slot, adding.activations[slot.layer], (pairs,)))
    return adding.reduced(name, adding.product("chosen_pairs", [cosines, pairs]), 1)


def _times_factor(adding: Adding, slot: Slot, value: Blob, inputs: tuple[Blob, ...], name: str) -> Blob:
    """Multiply by factors; images that do not count have the factor 0."""
    factor = adding.input(f"{slot.kind}_factor", value.shape)
    adding.terms.append(Term(slot, adding.activations[slot.layer], (*inputs, factor)))
    return adding.product(name, [value, factor])


# Kind of slot -> what adds its layers and notes it as a term; the last blob has `name`.
ADD: Mapping[str, Callable[[Adding, Slot, str], Blob]] = {
    "linear": _linear,
    "squares": _squares,
    "content": _content,
    "style": _style,
    "diversity": _diversity,
}


def _mean_square(adding: Adding, layer: str) -> Blob:
    a = adding.activations[layer]
    return adding.reduced("squares", a, 1, "SUMSQ", 1 / _count(a.shape[1:]))


def _distance(adding: Adding, what: str, a: Blob, b: Blob) -> Blob:
    """Minus the mean of (a - b)^2, for each image."""
    difference = adding.sum(f"{what}_difference", [a, b], (1, -1))
    return adding.reduced(f"{what}_distance", difference, 1, "SUMSQ", -1 / _count(a.shape[1:]))


def _gram(adding: Adding, layer: str) -> Blob:
    """Gram matrices (N, C, C): Caffe can compute them only from all the products (N, C, C, P)."""
    a = adding.activations[layer]
    n, c, p = a.shape[0], a.shape[1], _count(a.shape[2:])
    _need_memory(layer, f"{c} x {c} channels at {p} places for each of {n} images", n * c * c * p)
    rows = adding.tiled("gram_rows", adding.reshaped("gram_row", a, (n, c, 1, p)), 2, c)
    columns = adding.tiled("gram_columns", adding.reshaped("gram_column", a, (n, 1, c, p)), 1, c)
    return adding.reduced("gram", adding.product("gram_products", [rows, columns]), 3, coeff=1 / p)


def _cosines(adding: Adding, layer: str) -> Blob:
    """The cosine similarity (N, N) of the Gram matrices of each two images."""
    gram = adding.once("gram", layer, _gram)
    n, k = gram.shape[0], _count(gram.shape[1:])
    _need_memory(layer, f"{k} values for each of {n} x {n} pairs of images", n * n * k)
    flat = adding.reshaped("gram_flat", gram, (n, k))
    square = adding.reduced("gram_square", flat, 1, "SUMSQ")
    param = {"power": -0.5, "shift": TINY}
    inverse = adding.layer("gram_inverse", "Power", [square], (n,), power_param=param)
    unit = adding.layer("gram_unit", "Scale", [flat, inverse], (n, k), scale_param={"axis": 0})
    rows = adding.tiled("pair_rows", adding.reshaped("pair_row", unit, (n, 1, k)), 1, n)
    columns = adding.tiled("pair_columns", adding.reshaped("pair_column", unit, (1, n, k)), 0, n)
    return adding.reduced("cosines", adding.product("pair_products", [rows, columns]), 2)


def _need_memory(layer: str, what: str, values: int) -> None:
    """Check the memory for three blobs, rows, columns and products, and the gradient of each, in float32."""
    size = 3 * 2 * 4 * values
    if size > MOST_BYTES:
        raise InputError(
            f"the Gram matrices of layer {layer!r} need {size / GIB:.1f} GiB, {what}; at most "
            f"{MOST_BYTES / GIB:g} GiB: choose fewer images, a smaller size, or fewer channels."
        )


def _count(shape: Sequence[int]) -> int:
    return int(np.prod(shape))
