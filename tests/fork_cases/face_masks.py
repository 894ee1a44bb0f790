"""Masks around landmarks: what src/au_mask_based_land_layer.cpp of ZhiwenShao/JAANet says, pixel by pixel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
from geometry_toys import Toy

from fork_cases import Array, ForkCase

# Landmark, and shift in rulers, of the left and right centre of each action unit.
LEFT = [
    (4, -0.5),
    (1, -1 / 3),
    (2, 1 / 3),
    (24, 1),
    (21, 0),
    (43, 0),
    (31, 0),
    (31, 0),
    (31, 0),
    (39, 0.5),
    (34, 0),
    (34, 0),
]
RIGHT = [
    (5, -0.5),
    (8, -1 / 3),
    (7, 1 / 3),
    (29, 1),
    (26, 0),
    (45, 0),
    (37, 0),
    (37, 0),
    (37, 0),
    (41, 0.5),
    (40, 0),
    (40, 0),
]


def rounded(value: float) -> int:
    return int(math.copysign(math.floor(abs(value) + 0.5), value))


def masks(
    bottoms: Sequence[Array], params: Sequence[Array], *, size: int, image: int, ratio: float, scale: float
) -> Sequence[Array]:
    tops = [np.zeros((len(bottoms[0]), 1, size, size)) for _ in range(13)]
    for n, values in enumerate(bottoms[0].reshape(len(bottoms[0]), -1)):
        ruler = abs(values[44] - values[50])
        for unit, pair in enumerate(zip(LEFT, RIGHT, strict=True)):
            for landmark, below in pair:
                x, y = values[2 * landmark], values[2 * landmark + 1] + ruler * below
                half = (image - 1) / 2 * ratio
                rows, columns = (
                    [min(max(rounded((v + side * half) * scale), 0), size - 1) for side in (-1, 1)]
                    for v in (y, x)
                )
                for h in range(rows[0], rows[1] + 1):
                    for w in range(columns[0], columns[1] + 1):
                        far = abs(h - y * scale) + abs(w - x * scale)
                        tops[unit][n, 0, h, w] = value = max(1 - far * 0.04 * 100 / (image * scale), 0)
                        tops[12][n, 0, h, w] = max(tops[12][n, 0, h, w], value)
    return tops


CASES = [
    ForkCase(
        Toy(
            "AUMaskBasedLand",
            ["2 98"],
            "au_mask_based_land_param { img_size: 60 spatial_ratio: 0.3 spatial_scale: 0.25 fill_coeff: 0.04 }",
            13,
        ),
        partial(masks, size=15, image=60, ratio=0.3, scale=0.25),
        inputs={"a": np.random.default_rng(3).uniform(-5, 65, (2, 98))},
        gradient="",
    )
]
