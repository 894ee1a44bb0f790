"""The table in which every layer type's rule registers itself, and what rules share."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from caffe_viz.errors import InputError
from caffe_viz.geometry.receptive_fields import SAME, Shape, View
from caffe_viz.netdef import LayerParameter

Shapes = tuple[Shape, ...]
INT_MAX = 2**31 - 1  # Caffe counts a blob's values in a C int
MAX_AXES = 32


@dataclass(frozen=True)
class Out:
    """The result of a rule: shapes of tops and parameters, multiply-adds, views of the bottoms.

    `views` has one entry per top, or one for all; `sees` limits it to the first bottoms; `aliases` marks tops
    that share their bottom's memory. `remark` says what was assumed.
    """

    tops: Shapes
    params: Shapes = ()
    macs: int = 0
    views: tuple[View, ...] = (SAME,)
    sees: int | None = None
    aliases: bool = False
    remark: str = ""


@dataclass(frozen=True)
class Rule:
    """A layer type's function, and how many bottoms and tops it takes (None: any number).

    `fork` marks a type that real Caffe as built here does not have.
    """

    function: Callable[[LayerParameter, Shapes], Out]
    bottoms: tuple[int, int | None]
    tops: tuple[int, int | None]
    in_place: bool
    automatic: bool
    fork: bool = False


TABLE: dict[str, Rule] = {}
Count = int | tuple[int, int | None]
Function = Callable[[LayerParameter, Shapes], Out]


def rule(
    *types: str,
    bottoms: Count = 1,
    tops: Count = 1,
    in_place: bool = True,
    automatic: bool = False,
    fork: bool = False,
) -> Callable[[Function], Function]:
    """Register a function as the rule of `types`.

    `automatic` means that it also makes a top without a name; `fork`, that real Caffe as built here lacks
    these types.
    """

    def enter(function: Function) -> Function:
        for name in types:
            TABLE[name] = Rule(function, _span(bottoms), _span(tops), in_place, automatic, fork)
        return function

    return enter


def _span(count: Count) -> tuple[int, int | None]:
    return (count, count) if isinstance(count, int) else count


def need(condition: object, message: str) -> None:
    """Raise InputError(message) unless the condition holds; `measure` adds layer, type and shapes."""
    if not condition:
        raise InputError(message)


def axis_of(shape: Shape, axis: int, name: str = "axis") -> int:
    """Return the axis counted from the front; negative axes count from the end."""
    axes = many(len(shape), "axis", "axes")
    need(-len(shape) <= axis < len(shape), f"{name} {axis} is out of range for {axes}")
    return axis % len(shape)


def legacy(shape: Shape) -> tuple[int, int, int, int]:
    """Return (N, C, H, W) of a blob of at most four axes, missing ones 1, as Caffe's older layers read it."""
    need(len(shape) <= 4, f"takes blobs of at most 4 axes, not {text(shape)}")
    n, c, h, w = (*shape, 1, 1, 1, 1)[:4]
    return n, c, h, w


def four_axes(shape: Shape) -> tuple[int, int, int, int]:
    """Return (N, C, H, W) of a blob that must have exactly four axes."""
    need(len(shape) == 4, "takes a blob of 4 axes (N, C, H, W): put a Reshape layer before it")
    return legacy(shape)


def many(count: int, one: str, more: str = "") -> str:
    """Return a number with its noun, whose plural has an s unless `more` tells it: 1 axis, 2 axes."""
    return f"{count} {one if count == 1 else more or one + 's'}"


def as_float(value: float) -> float:
    """Round `value` to C's float."""
    try:
        return float(struct.unpack("f", struct.pack("f", value))[0])
    except OverflowError:
        return math.inf


def scaled(size: int, scale: float) -> int:
    """Return `size` times `scale` as C does: in single precision, without the fraction."""
    product = as_float(as_float(size) * scale)
    need(abs(product) <= INT_MAX, f"{size} times {scale:g} is no size of a blob: correct the scale")
    return int(product)


def text(shape: Sequence[int]) -> str:
    """Return a shape as messages show it: 1x3x227x227."""
    return "x".join(map(str, shape)) or "scalar"


def checked(shape: Shape, what: str, hint: str = "correct its settings") -> Shape:
    """Return the shape if Caffe can hold such a blob; raise InputError otherwise."""
    need(min(shape, default=1) >= 1, f"{what} would be {text(shape)}; no dimension may be below 1: {hint}")
    fits = math.prod(shape) <= INT_MAX and len(shape) <= MAX_AXES
    limit = f"{MAX_AXES} axes and {INT_MAX:,} values in a blob"
    need(
        fits,
        f"{what} would be {text(shape)}; Caffe holds at most {limit}: make the input or the batch smaller",
    )
    return shape
