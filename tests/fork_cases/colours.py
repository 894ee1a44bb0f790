"""Each pixel's colour in another space, by the definitions of sRGB, CIE XYZ and CIE Lab; values as one of a few."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
from geometry_toys import Toy

from fork_cases import Array, ForkCase, Judge

Colour = tuple[float, ...]
BGR_, RGB_, XYZ_, LAB_, GRAY_ = 0, 1, 2, 3, 5
WHITE = (0.95074, 1.0, 1.08883)
MATRIX = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)
INVERSE = (
    (3.2404542, -1.5371385, -0.4985314),
    (-0.9692660, 1.8760108, 0.0415560),
    (0.0556434, -0.2040259, 1.0572252),
)


def times(matrix: Sequence[Colour], colour: Colour) -> Colour:
    return tuple(sum(a * b for a, b in zip(row, colour, strict=True)) for row in matrix)


def to_xyz(colour: Colour) -> Colour:
    parts = [v / 255 for v in colour]
    return times(MATRIX, tuple(v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts))


def from_xyz(colour: Colour) -> Colour:
    parts = times(INVERSE, colour)
    return tuple(255 * (v * 12.92 if v <= 0.0031308 else 1.055 * v ** (1 / 2.4) - 0.055) for v in parts)


def to_lab(colour: Colour) -> Colour:
    parts = [v / w for v, w in zip(colour, WHITE, strict=True)]
    x, y, z = (v ** (1 / 3) if v > 0.008867 else (903.3 * v + 16) / 116 for v in parts)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def from_lab(colour: Colour) -> Colour:
    y = (colour[0] + 16) / 116
    parts = (y + colour[1] / 500, y, y - colour[2] / 200)
    return tuple(
        w * (v**3 if v > 0.206896 else (116 * v - 16) / 903.3) for v, w in zip(parts, WHITE, strict=True)
    )


def pixels(one: Callable[[Colour], Colour]) -> Judge:
    """Pixel by pixel."""

    def judge(bottoms: Sequence[Array], params: Sequence[Array]) -> Array:
        (x,) = bottoms
        n, _, h, w = x.shape
        found = {(i, y, z): one(tuple(x[i, :, y, z])) for i, y, z in product(range(n), range(h), range(w))}
        top = np.empty((n, len(next(iter(found.values()))), h, w))
        for (i, y, z), colour in found.items():
            top[i, :, y, z] = colour
        return top

    return judge


def space(start: int, end: int, one: Callable[[Colour], Colour], values: Array) -> ForkCase:
    toy = Toy(
        "ColorConv",
        [" ".join(map(str, values.shape))],
        f"color_conv_param {{ input: {start} output: {end} }}",
    )
    return ForkCase(toy, pixels(one), {"a": values})


rng = np.random.default_rng(0)
LIGHT = rng.uniform(0, 255, (2, 3, 5, 4))
DARK = rng.uniform(0.5, 20, (1, 3, 5, 4))  # over the straight part of the curves and a little more
CIE = rng.uniform(0.01, 1, (2, 3, 5, 4))
DIM = rng.uniform(0.0005, 0.01, (1, 3, 5, 4))
LAB = np.concatenate([rng.uniform(2, 98, (2, 1, 5, 4)), rng.uniform(-20, 20, (2, 2, 5, 4))], 1)

SPACES = [
    space(BGR_, LAB_, lambda c: to_lab(to_xyz(c[::-1])), LIGHT),
    space(RGB_, LAB_, lambda c: to_lab(to_xyz(c)), LIGHT),
    space(RGB_, XYZ_, to_xyz, LIGHT),
    space(RGB_, XYZ_, to_xyz, DARK),
    space(RGB_, BGR_, lambda c: c[::-1], LIGHT),
    space(BGR_, GRAY_, lambda c: times(MATRIX[1:2], c[::-1]), LIGHT),
    space(GRAY_, RGB_, lambda c: c * 3, LIGHT[:, :1]),
    space(XYZ_, LAB_, to_lab, CIE),
    space(XYZ_, LAB_, to_lab, DIM),
    space(XYZ_, RGB_, from_xyz, CIE),
    space(XYZ_, RGB_, from_xyz, DIM / 10),
    space(LAB_, XYZ_, from_lab, LAB),
    space(LAB_, BGR_, lambda c: from_xyz(from_lab(c))[::-1], LAB),
]


def each(one: Callable[[float], float]) -> Judge:
    """Value by value."""

    def judge(bottoms: Sequence[Array], params: Sequence[Array]) -> Array:
        return np.array([one(v) for v in bottoms[0].ravel()]).reshape(bottoms[0].shape)

    return judge


def stairs(v: float) -> float:
    """The nearest of the centres; not above 0, minus the slope."""
    centres = (0.538, 1.076, 1.614)
    return min(centres, key=lambda c: abs(c - v)) if v > 0 else -0.25


QUANT = [
    ForkCase(Toy("Quant", ["2 3 4 5"], f"quant_param {{ {settings} }}"), each(one), gradient=gradient)
    for settings, one, gradient in (
        ("centers: 0.538 centers: 1.076 centers: 1.614 clip_thr: 1.614 negative_slope: 0.25", stairs, ""),
        ('forward_func: "sign" backward_func: "hard_tanh"', lambda v: 1 if v >= 0 else -1, ""),
        (
            'forward_func: "hard_tanh" backward_func: "hard_tanh" clip_thr: 1',
            lambda v: min(max(v, -1), 1),
            "a",
        ),
        ('forward_func: "relu" negative_slope: 0.1', lambda v: v if v > 0 else 0.1 * v, "a"),
    )
]

CASES = [*SPACES, *QUANT]
