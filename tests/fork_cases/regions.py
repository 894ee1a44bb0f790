"""Layers over regions of interest: each definition as loops over regions, bins and pixels.

Where a bin begins is computed in single precision, as Caffe does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np
from geometry_toys import Toy

from fork_cases import Array, ForkCase, Judge

f32 = np.float32
Bin = Callable[[Array, Array, int, int], float]  # map (H, W), box, row and column of the bin -> value

# Image and box: inside, over the border, outside, one pixel, turned round, on halves, large.
REGIONS = np.array(
    [
        [0, 10, 20, 60, 85],
        [1, -30, -5, 90, 47],
        [1, 300, 300, 400, 400],
        [0, 33, 33, 33, 33],
        [0, 50, 60, 20, 10],
        [1, 2.5, -2.5, 70.5, 71],
        [0, 0, 0, 87, 71],
        [1, 4, 12, 28, 60],
    ],
    f32,
)
COUNT = len(REGIONS)


def c_round(value: float) -> int:
    """C's round: halves away from 0."""
    return int(math.copysign(math.floor(abs(float(value)) + 0.5), value))


def over_bins(height: int, width: int, value: Bin) -> Judge:
    """A judge that asks `value` for each region, channel and bin of `height` x `width`."""

    def judge(bottoms: Sequence[Array], params: Sequence[Array]) -> Array:
        maps, regions = bottoms[0], bottoms[1].reshape(len(bottoms[1]), -1).astype(f32)
        top = np.zeros((len(regions), maps.shape[1], height, width))
        for r, c, i, j in np.ndindex(*top.shape):
            top[r, c, i, j] = value(maps[int(regions[r, 0]), c], regions[r, 1:], i, j)
        return top

    return judge


def bounds(start: int, size: int, place: int, count: int, room: int) -> range:
    pace = f32(size) / f32(count)
    low, high = math.floor(f32(place) * pace) + start, math.ceil(f32(place + 1) * pace) + start
    return range(min(max(low, 0), room), min(max(high, 0), room))


def roi_pooling(height: int, width: int, scale: float, pad: float = 0) -> Judge:
    def value(values: Array, box: Array, i: int, j: int) -> float:
        margin_x, margin_y = (box[2] - box[0] + f32(1)) * f32(pad), (box[3] - box[1] + f32(1)) * f32(pad)
        x1, y1 = (c_round(v * f32(scale)) for v in (box[0] - margin_x, box[1] - margin_y))
        x2, y2 = (c_round(v * f32(scale)) for v in (box[2] + margin_x, box[3] + margin_y))
        best, found = -math.inf, 0.0
        for y in bounds(y1, max(y2 - y1 + 1, 1), i, height, values.shape[0]):
            for x in bounds(x1, max(x2 - x1 + 1, 1), j, width, values.shape[1]):
                if values[y, x] > best:
                    best = found = values[y, x]
        return found

    return over_bins(height, width, value)


def region_pooling(height: int, width: int, scale: float, offset: float) -> Judge:
    def ends(a: float, b: float) -> tuple[int, int]:
        low = math.floor(float((a + f32(1 + offset)) * f32(scale)) + 0.5)
        high = math.ceil(float((b + f32(1 - offset)) * f32(scale)) - 0.5)
        return (low, high) if low <= high else (int((low + high) / 2),) * 2

    def value(values: Array, box: Array, i: int, j: int) -> float:
        (x1, x2), (y1, y2) = ends(box[0], box[2]), ends(box[1], box[3])
        (u1, u2), (v1, v2) = ends(box[4], box[6]), ends(box[5], box[7])
        best = 0.0
        for y in bounds(y1, y2 - y1 + 1, i, height, values.shape[0]):
            for x in bounds(x1, x2 - x1 + 1, j, width, values.shape[1]):
                if not (u1 < x < u2 and v1 < y < v2):
                    best = max(best, values[y, x])
        return best

    return over_bins(height, width, value)


def linear(values: Array, y: float, x: float, border: float) -> float | None:
    """Between the four pixels around (y, x); None further than `border` outside."""
    height, width = values.shape
    if y < -border or y > height - 1 + border or x < -border or x > width - 1 + border:
        return None
    y, x = min(max(float(y), 0), height - 1), min(max(float(x), 0), width - 1)
    top, left = int(y), int(x)
    below, right = min(top + 1, height - 1), min(left + 1, width - 1)
    upper = values[top, left] * (1 - x + left) + values[top, right] * (x - left)
    lower = values[below, left] * (1 - x + left) + values[below, right] * (x - left)
    return float(upper * (1 - y + top) + lower * (y - top))


def corner_align(height: int, width: int, scale: float, pad: float) -> Judge:
    def value(values: Array, box: Array, i: int, j: int) -> float:
        margin_x, margin_y = (box[2] - box[0] + f32(1)) * f32(pad), (box[3] - box[1] + f32(1)) * f32(pad)
        x1, y1 = (box[0] - margin_x) * f32(scale) - f32(0.5), (box[1] - margin_y) * f32(scale) - f32(0.5)
        x2, y2 = (box[2] + margin_x) * f32(scale) - f32(0.5), (box[3] + margin_y) * f32(scale) - f32(0.5)
        if x2 <= x1 or y2 <= y1:
            return 0
        y, x = y1 + i * ((y2 - y1) / f32(height)), x1 + j * ((x2 - x1) / f32(width))
        return linear(values, y, x, 0.5) or 0

    return over_bins(height + 1, width + 1, value)


def bin_align(height: int, width: int, scale: float, samples: int) -> Judge:
    def value(values: Array, box: Array, i: int, j: int) -> float:
        x1, y1, x2, y2 = box * f32(scale)
        tall, wide = max(y2 - y1, f32(1)) / f32(height), max(x2 - x1, f32(1)) / f32(width)
        down, across = (samples if samples > 0 else math.ceil(side) for side in (tall, wide))
        total = 0.0
        for u in range(down):
            for v in range(across):
                y, x = (
                    y1 + i * tall + (u + f32(0.5)) * tall / down,
                    x1 + j * wide + (v + f32(0.5)) * wide / across,
                )
                total += linear(values, y, x, 1) or 0
        return total / (down * across)

    return over_bins(height, width, value)


def alignment(height: int, width: int, scale: float) -> Judge:
    def along(start: float, end: float, place: int, count: int, room: int) -> Iterator[float]:
        pace = max(end - start + f32(1), f32(1)) / f32(count)
        low, high = (min(max(f32(p) * pace + start, f32(0)), f32(room)) for p in (place, place + 1))
        while low < high:
            yield low
            low += f32(1)

    def value(values: Array, box: Array, i: int, j: int) -> float:
        x1, y1, x2, y2 = box * f32(scale)
        found = [
            linear(values, y, x, 1)
            for y in along(y1, y2, i, height, values.shape[0])
            for x in along(x1, x2, j, width, values.shape[1])
        ]
        return float(np.mean(found)) if found else 0

    return over_bins(height, width, value)


def psroi_align(bottoms: Sequence[Array], params: Sequence[Array]) -> Array:
    """With output_dim 2, group_size 2, spatial_scale 0.125."""
    maps, regions, outputs, group, samples = bottoms[0], bottoms[1].astype(f32), 2, 2, 2
    height, width = maps.shape[2:]
    top = np.zeros((len(regions), outputs, group, group))
    for r, o, i, j in np.ndindex(*top.shape):
        x1, y1 = regions[r, 1:3] * f32(0.125)
        x2, y2 = (regions[r, 3:] + f32(1)) * f32(0.125)
        tall, wide = max(y2 - y1, f32(0.1)) / f32(group), max(x2 - x1, f32(0.1)) / f32(group)
        low_y, high_y = (min(max(k * tall + y1, f32(0)), f32(height - 1)) for k in (i, i + 1))
        low_x, high_x = (min(max(k * wide + x1, f32(0)), f32(width - 1)) for k in (j, j + 1))
        for u in range(1, samples + 1):
            for v in range(1, samples + 1):
                y, x = low_y + u * (tall / f32(samples + 1)), low_x + v * (wide / f32(samples + 1))
                if y < high_y and x < high_x:
                    values = maps[int(regions[r, 0]), (o * group + i) * group + j]
                    top[r, o, i, j] += (linear(values, y, x, 1) or 0) / samples**2
    return top


def warping(height: int, width: int, scale: float) -> Judge:
    def along(start: int, size: int, place: int, count: int) -> Iterator[float]:
        pace, ratio = f32(size) / f32(count), math.ceil(f32(size) / f32(count))
        at = f32(place)
        while at <= place + 1:
            yield f32(start) + at * pace
            at = at + f32(1 / ratio) if ratio else math.inf

    def value(values: Array, box: Array, i: int, j: int) -> float:
        x1, y1, x2, y2 = (c_round(v * f32(scale)) for v in box)
        found = [
            linear(values, y, x, 0.5)
            for y in along(y1, max(y2 - y1, 0), i, height)
            for x in along(x1, max(x2 - x1, 0), j, width)
        ]
        return max((v for v in found if v is not None), default=0)

    return over_bins(height, width, value)


def windows(bottoms: Sequence[Array], params: Sequence[Array]) -> list[Array]:
    """Of 4 x 5 around each of 3 points, with spatial_scale 0.125."""
    maps, points = bottoms[0], bottoms[1].astype(f32)
    tops = np.zeros((3, *maps.shape[:2], 4, 5))
    for t, n, c, i, j in np.ndindex(*tops.shape):
        y = c_round(points[n, t, 1] * f32(0.125) - 2) + i
        x = c_round(points[n, t, 0] * f32(0.125) - 2) + j
        if 0 <= y < maps.shape[2] and 0 <= x < maps.shape[3]:
            tops[t, n, c, i, j] = maps[n, c, y, x]
    return list(tops)


def resized(height: int, width: int) -> Judge:
    def judge(bottoms: Sequence[Array], params: Sequence[Array]) -> Array:
        (masks,) = bottoms
        top = np.zeros((*masks.shape[:2], height, width))
        for n, c, i, j in np.ndindex(*top.shape):
            y, x = i * masks.shape[2] / height, j * masks.shape[3] / width
            top[n, c, i, j] = linear(masks[n, c], y, x, 0.5) or 0
        return top

    return judge


def hardest(bottoms: Sequence[Array], params: Sequence[Array]) -> list[Array]:
    """Two of each image, ignore_label 9."""
    boxes, losses, labels, weights = bottoms
    tops = [np.full_like(labels, 9), np.zeros_like(weights)]
    left = {0: 2, 1: 2}
    for r in np.argsort(-losses.ravel()):
        if left[int(boxes[r, 0])]:
            left[int(boxes[r, 0])] -= 1
            tops[0][r], tops[1][r] = labels[r], weights[r]
    return [tops[0].reshape(-1, 1, 1, 1), tops[1].reshape(-1, 8, 1, 1)]


def by_opencv(toy: Toy) -> Judge:
    """OpenCV's layer; it takes one image."""

    def judge(bottoms: Sequence[Array], params: Sequence[Array]) -> Array:
        net = cv2.dnn.readNetFromCaffe(np.frombuffer(toy.prototxt().encode(), np.uint8))
        for name, values in zip("ab", bottoms, strict=True):
            net.setInput(values.astype(f32), name)
        found: Array = net.forward()
        return found

    return judge


MAPS = "2 2 5 6"
LARGE = "2 1 70 61"
ROWS = f"{COUNT} 5"


def pooled(
    kind: str, field: str, settings: str, judge: Judge, maps: str = MAPS, rows: str = ROWS
) -> ForkCase:
    """On the first of REGIONS, as many as `rows` says."""
    regions = REGIONS[: int(rows.split()[0])].reshape([int(n) for n in rows.split()])
    # The gradient of large maps by central differences takes minutes.
    gradient = "" if maps == LARGE else "a"
    return ForkCase(
        Toy(kind, [maps, rows], f"{field} {{ {settings} }}"), judge, {"b": regions}, gradient=gradient
    )


POOL = "pooled_h: 3 pooled_w: 4 spatial_scale: 0.125"
ROI = [
    pooled("ROIPooling", "roi_pooling_param", POOL, roi_pooling(3, 4, 0.125)),
    pooled("ROIPooling", "roi_pooling_param", POOL, roi_pooling(3, 4, 0.125), rows=f"{COUNT} 5 1 1"),
    pooled("ROIPooling", "roi_pooling_param", f"{POOL} pad_ratio: 0.25", roi_pooling(3, 4, 0.125, 0.25)),
    pooled("ROIPooling", "roi_pooling_param", "pooled_h: 7 pooled_w: 7", roi_pooling(7, 7, 1), LARGE),
    *[
        pooled(
            "ROIPooling",
            "roi_pooling_param",
            f"pooled_h: {n} pooled_w: {n}",
            roi_pooling(n, n, 1),
            LARGE,
        )
        for n in (6, 14)
    ],
]
INNER = REGIONS[:, 1:] * f32(0.5) + f32(20)
NESTED = np.concatenate([REGIONS, INNER], 1)
NESTED[2, 5:], NESTED[4, 5:] = [-50, -50, 500, 500], [0, 0, 0, 0]


def regions_of(settings: str, offset: float) -> ForkCase:
    toy = Toy("RegionPooling", [MAPS, f"{COUNT} 9"], f"region_pooling_param {{ {POOL} {settings} }}")
    return ForkCase(toy, region_pooling(3, 4, 0.125, offset), {"b": NESTED})


# OpenCV draws both ends of a bin to the nearest whole number: only where these are whole it judges.
PLAIN = Toy(
    "ROIPooling", ["1 3 24 32", "3 5"], "roi_pooling_param { pooled_h: 4 pooled_w: 2 spatial_scale: 0.5 }"
)
WHOLE = np.array([[0, 8, 8, 38, 22], [0, 0, 0, 62, 46], [0, 16, 4, 22, 18]], f32)

OHEM = Toy(
    "BoxAnnotatorOHEM",
    ["7 5", "7 1", "7 1", "7 8"],
    "box_annotator_ohem_param { roi_per_img: 2 ignore_label: 9 }",
    2,
)
OHEM_BOXES = np.concatenate([[[0], [1], [0], [0], [1], [1], [0]], np.ones((7, 4))], 1)
POINTS = [[[40, 30], [0, 0], [88, 71]], [[12, 60], [-50, 20], [20, 500]]]

CASES = [
    *ROI,
    ForkCase(PLAIN, by_opencv(PLAIN), {"b": WHOLE}, gradient=""),
    regions_of("", 0),
    regions_of("offset: 6", 6),
    pooled("ROIAlign", "roi_pooling_param", POOL, corner_align(3, 4, 0.125, 0)),
    pooled("ROIAlign", "roi_pooling_param", f"{POOL} pad_ratio: 0.25", corner_align(3, 4, 0.125, 0.25)),
    pooled("ROIAlign", "roi_align_param", POOL, bin_align(3, 4, 0.125, -1)),
    pooled("ROIAlign", "roi_align_param", f"{POOL} sampling_ratio: 2", bin_align(3, 4, 0.125, 2)),
    pooled("ROIAlign", "roi_align_param", "pooled_h: 7 pooled_w: 5", bin_align(7, 5, 1, -1), LARGE),
    pooled("ROIAlignment", "roi_alignment_param", POOL, alignment(3, 4, 0.125)),
    pooled("ROIAlignment", "roi_alignment_param", "pooled_h: 3 pooled_w: 2", alignment(3, 2, 1), LARGE),
    pooled(
        "PSROIAlign",
        "psroi_align_param",
        "spatial_scale: 0.125 output_dim: 2 group_size: 2",
        psroi_align,
        "2 8 4 5",
    ),
    pooled("ROIWarping", "roi_warping_param", POOL, warping(3, 4, 0.125), "2 1 5 6", "3 5"),
    pooled("ROIWarping", "roi_warping_param", "pooled_h: 6 pooled_w: 7", warping(6, 7, 1), LARGE),
    ForkCase(
        Toy(
            "MultiROIPooling",
            [MAPS, "2 3 2"],
            "multi_roi_pooling_param { pooled_h: 4 pooled_w: 5 spatial_scale: 0.125 top_num: 3 }",
            3,
        ),
        windows,
        {"b": POINTS},
    ),
    ForkCase(
        Toy("MaskPooling", [MAPS, "2 1 5 6"]), lambda bottoms, _: bottoms[0] * bottoms[1], gradient="ab"
    ),
    ForkCase(
        Toy("MaskResize", [MAPS], "mask_resize_param { output_height: 14 output_width: 5 }"), resized(14, 5)
    ),
    ForkCase(
        Toy("MaskResize", [MAPS], "mask_resize_param { output_height: 40 output_width: 9 }"),
        resized(40, 9),
        gradient="",
    ),
    ForkCase(
        Toy(
            "MaskResize",
            [MAPS],
            "mask_resize_param { output_height: 1 output_width: 7 factor_height: 0.5 factor_width: 1.3 }",
        ),
        resized(2, 7),
    ),
    ForkCase(OHEM, hardest, {"a": OHEM_BOXES}, gradient=""),
]
