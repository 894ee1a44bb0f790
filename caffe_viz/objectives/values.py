"""Objectives as values: what an image is to maximise, closed under +, - and *.

Each gives one number for each image of a batch, and higher is better. A is the activation (C, ..) of the
objective's layer for one image, C channels of P places; a fully connected layer has one place.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_viz.errors import InputError
from caffe_viz.objectives.writing import CENTRE, name_text, number_text, path_text

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Objective:
    """Base class. Equal objectives have equal parts, arrays included; `str` is the text for `parse`.

    >>> print(2 * (Channel("conv3", 16) - Layer("conv2")) * Channel("conv3", 40))
    (2*conv3:16 - 2*conv2) * conv3:40
    """

    def __add__(self, other: Objective) -> Objective:
        return _total(self, other) if isinstance(other, Objective) else NotImplemented

    def __radd__(self, other: int) -> Objective:
        """`sum` starts with 0."""
        return self if other == 0 else NotImplemented

    def __sub__(self, other: Objective) -> Objective:
        return self + -other if isinstance(other, Objective) else NotImplemented

    def __neg__(self) -> Objective:
        return -1.0 * self

    def __mul__(self, other: float | Objective) -> Objective:
        if isinstance(other, Objective):
            return _product(self, other)
        return _scaled(self, float(other)) if isinstance(other, int | float | np.number) else NotImplemented

    __rmul__ = __mul__

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and all(
            _same(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)
        )

    def __hash__(self) -> int:
        return hash((type(self), str(self)))


@dataclass(frozen=True, eq=False)
class Named:
    """An array and the `text` by which objectives call it: of a photograph (C, H, W) in units of the input,
    or of a vector (C,), as `loaded` reads them.
    """

    values: Array
    text: str = "array"

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, Named) and type(self) is type(other) and self.text == other.text
        return same and _same(self.values, getattr(other, "values", None))

    def __hash__(self) -> int:
        return hash(self.text)


class Target(Named):
    """What a net makes of a photograph, computed by `resolved`: an activation, Gram matrix, or vector."""


Source = str | Path | Array | Named


@dataclass(frozen=True, eq=False)
class Leaf(Objective):
    """An objective of one layer."""

    layer: str


@dataclass(frozen=True, eq=False)
class Channel(Leaf):
    """The mean of a channel's map: mean of A[channel]."""

    channel: int

    def __str__(self) -> str:
        return f"{name_text(self.layer)}:{self.channel}"


@dataclass(frozen=True, eq=False)
class Neuron(Leaf):
    """One unit of a channel's map, A[channel, y, x], at `position` (y, x); None means the central one."""

    channel: int
    position: tuple[int, ...] | None = None

    def __str__(self) -> str:
        place = ",".join(map(str, self.position)) if self.position else CENTRE
        return f"{name_text(self.layer)}:{self.channel}:{place}"


@dataclass(frozen=True, eq=False)
class Layer(Leaf):
    """The mean of the squares of all of A, which amplifies whatever the layer has found.

    Source: Mordvintsev et al., Inceptionism (DeepDream), 2015.
    """

    def __str__(self) -> str:
        return name_text(self.layer)


@dataclass(frozen=True, eq=False)
class Direction(Leaf):
    """The mean over places of <A, v / |v|>, along a vector v (C,) in the space of channels.

    With `away` both are photographs, and v is the mean over places of the activation of `toward` minus
    that of `away`.
    """

    toward: Source
    away: Source | None = None

    def __str__(self) -> str:
        away = () if self.away is None else (self.away,)
        return _call("direction", self.layer, self.toward, *away)


@dataclass(frozen=True, eq=False)
class Content(Leaf):
    """Minus the mean of (A - B)^2, B the activation of a photograph.

    Source: Gatys et al., A Neural Algorithm of Artistic Style, 2015; as a mean, not half a sum.
    """

    image: Source

    def __str__(self) -> str:
        return _call("content", self.layer, self.image)


@dataclass(frozen=True, eq=False)
class Style(Leaf):
    """Minus the mean of (G(A) - G(B))^2, B the activation of a photograph, of any size.

    G is the Gram matrix (C, C): the mean over places of the products of two channels.
    Source: Gatys et al., as above.
    """

    image: Source

    def __str__(self) -> str:
        return _call("style", self.layer, self.image)


@dataclass(frozen=True, eq=False)
class Diversity(Leaf):
    """Minus the mean cosine similarity of its Gram matrix with those of the other images of its group.

    Added to other objectives, it keeps images of the same objective apart. It is 0 for an image alone in its
    group. Source: Olah et al., Feature Visualization, 2017, and lucid's `diversity`.
    """

    def __str__(self) -> str:
        return _call("diversity", self.layer)


@dataclass(frozen=True, eq=False)
class Sum(Objective):
    """The sum of all terms, each times its factor. Made by `+`, `-` and numbers; no term is a Sum."""

    terms: tuple[tuple[float, Objective], ...]

    def __str__(self) -> str:
        first, *others = (_term_text(*term) for term in self.terms)
        begin = first if self.terms[0][0] >= 0 else f"-{first}"
        signs = (" - " if factor < 0 else " + " for factor, _ in self.terms[1:])
        return begin + "".join(sign + text for sign, text in zip(signs, others, strict=True))


@dataclass(frozen=True, eq=False)
class Product(Objective):
    """The product of all `factors`. Made by `*`; no factor is a number or a Product."""

    factors: tuple[Objective, ...]

    def __str__(self) -> str:
        return " * ".join(f"({f})" if isinstance(f, Sum) else str(f) for f in self.factors)


def leaves(objective: Objective) -> Iterator[Leaf]:
    """Return the single-layer objectives in it, in the order of the text."""
    if isinstance(objective, Leaf):
        yield objective
    for part in parts_of(objective):
        yield from leaves(part)


def parts_of(objective: Objective) -> tuple[Objective, ...]:
    """Return the terms of a sum, the factors of a product, or nothing."""
    if isinstance(objective, Sum):
        return tuple(part for _, part in objective.terms)
    return objective.factors if isinstance(objective, Product) else ()


def with_parts(objective: Objective, parts: tuple[Objective, ...]) -> Objective:
    """Return the sum or product with other parts."""
    if isinstance(objective, Sum):
        return Sum(tuple((f, part) for (f, _), part in zip(objective.terms, parts, strict=True)))
    return Product(parts) if isinstance(objective, Product) else objective


def source_text(source: Source) -> str:
    """Return the name of a photograph or an array in the text of an objective."""
    if isinstance(source, Named):
        return source.text
    return path_text(str(source)) if isinstance(source, str | Path) else "array"


def _call(function: str, layer: str, *sources: Source) -> str:
    return f"{function}({', '.join([name_text(layer), *map(source_text, sources)])})"


def _term_text(factor: float, term: Objective) -> str:
    text = f"({term})" if isinstance(term, Sum) else str(term)
    return text if abs(factor) == 1 else f"{number_text(abs(factor))}*{text}"


def _terms(objective: Objective) -> tuple[tuple[float, Objective], ...]:
    return objective.terms if isinstance(objective, Sum) else ((1.0, objective),)


def _total(*objectives: Objective) -> Objective:
    return Sum(tuple(term for each in objectives for term in _terms(each)))


def _scaled(objective: Objective, number: float) -> Objective:
    terms = tuple((number * factor, part) for factor, part in _terms(objective))
    if not all(math.isfinite(factor) for factor, _ in terms):
        raise InputError(f"objective {objective}: its factor of {number:g} is too large or no number.")
    return terms[0][1] if len(terms) == 1 and terms[0][0] == 1 else Sum(terms)


def _product(a: Objective, b: Objective) -> Objective:
    """Multiply, with numbers in front, so that equal products have equal texts."""
    number, factors = 1.0, list[Objective]()
    for each in (a, b):
        if isinstance(each, Sum) and len(each.terms) == 1:
            factor, each = each.terms[0]
            number *= factor
        factors += each.factors if isinstance(each, Product) else (each,)
    return _scaled(Product(tuple(factors)), number)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and np.array_equal(a, b)
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)
