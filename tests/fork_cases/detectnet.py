"""The boxes of DetectNet: OpenCV groups them, as it does there."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from geometry_toys import Toy

from fork_cases import Array, ForkCase, Judge

RNG = np.random.default_rng(8)


def clustered(
    side: tuple[int, int], stride: int, least: float, votes: int, eps: float, tall: int, most: int = 50
) -> Judge:
    def judge(bottoms: Sequence[Array], params: Sequence[Array]) -> list[Array]:
        coverage, codes = bottoms
        columns, rows = side[0] // stride, side[1] // stride
        tops = np.zeros((coverage.shape[1], len(coverage), most, 5))
        for n, k in np.ndindex(*coverage.shape[:2]):
            boxes = []
            for y, x in np.ndindex(*coverage.shape[2:]):
                if coverage[n, k, y, x] >= least and y < min(columns, rows):
                    cell = [x * (side[0] // columns), y * (side[1] // rows)] * 2
                    boxes.append([round(float(v) + c) for v, c in zip(codes[n, :, y, x], cell, strict=True)])
            found, weights = cv2.groupRectangles(boxes, votes, eps) if boxes else ([], [])
            found = [[*b, math.log(w)] for b, w in zip(found, weights, strict=True) if b[3] - b[1] >= tall]
            for i, row in enumerate(found[:most]):
                tops[k, n, i] = np.float16(row)
        return list(tops)

    return judge


def maps(n: int, k: int, h: int, w: int, stride: int, spread: float) -> dict[str, Array]:
    """Coverage, and boxes around a few places and within some of them."""
    coverage = RNG.uniform(size=(n, k, h, w))
    boxes = [[8, 6, 60, 58], [9, 30, 120, 90], [70, 20, 130, 100], [75, 30, 90, 50], [14, 12, 57, 50]]
    chosen = np.array(boxes)[RNG.integers(0, len(boxes), size=(n, h, w))]
    cells = np.stack(
        [stride * np.arange(w)[None] + np.zeros((h, 1)), stride * np.arange(h)[:, None] + np.zeros(w)] * 2
    )
    return {
        "a": coverage,
        "b": chosen.transpose(0, 3, 1, 2) - cells + RNG.normal(scale=spread, size=(n, 4, h, w)),
    }


def case(string: str, judge: Judge, values: dict[str, Array]) -> ForkCase:
    shapes = [" ".join(map(str, values[name].shape)) for name in "ab"]
    settings = 'module: "caffe.layers.detectnet.clustering" layer: "ClusterDetections"'
    toy = Toy("Python", shapes, f'python_param {{ {settings} param_str: "{string}" }}', values["a"].shape[1])
    return ForkCase(toy, judge, values, gradient="")


CASES = [
    case(
        "160, 96, 16, 0.2, 3, 0.1, 22, 1", clustered((160, 96), 16, 0.2, 3, 0.1, 22), maps(2, 1, 6, 10, 16, 2)
    ),
    case(
        "170,100,8,0.3,1,0.05,15,2,7", clustered((170, 100), 8, 0.3, 1, 0.05, 15, 7), maps(2, 2, 12, 21, 8, 3)
    ),
    case("64,112,16,0.1,1,0.3,0", clustered((64, 112), 16, 0.1, 1, 0.3, 0), maps(1, 1, 7, 4, 16, 1)),
    case("160,96,16,0.7,0,0.3,40", clustered((160, 96), 16, 0.7, 0, 0.3, 40), maps(1, 1, 6, 10, 16, 1)),
    case("160,96,16,2,1,0.3,40", clustered((160, 96), 16, 2, 1, 0.3, 40), maps(1, 1, 6, 10, 16, 1)),
]
