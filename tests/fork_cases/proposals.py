"""Layers that find regions of interest, those of type Python too: each definition box after box."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from geometry_toys import Toy

from fork_cases import Array, ForkCase, Judge

Box = tuple[float, float, float, float]


def area(box: Sequence[float], pixels: int) -> float:
    return (box[2] - box[0] + pixels) * (box[3] - box[1] + pixels)


def overlap(one: Sequence[float], two: Sequence[float], pixels: int, kind: str = "IOU") -> float:
    """The common area as a share of both, of the smaller (IOMU), or of the first (IOFU)."""
    width = min(one[2], two[2]) - max(one[0], two[0]) + pixels
    height = min(one[3], two[3]) - max(one[1], two[1]) + pixels
    common = width * height if width > 0 and height > 0 else 0
    first, second = area(one, pixels), area(two, pixels)
    return common / {"IOU": first + second - common, "IOMU": min(first, second), "IOFU": first}[kind]


def greedy(rows: list[list[float]], limit: float, pixels: int, kind: str = "IOU") -> list[list[float]]:
    """Of rows of boxes, the best first, those that overlap no earlier one that stays."""
    kept: list[list[float]] = []
    for row in rows:
        if all(overlap(other, row, pixels, kind) <= limit for other in kept):
            kept.append(row)
    return kept


def moved(box: Sequence[float], code: Sequence[float]) -> Box:
    width, height = box[2] - box[0] + 1, box[3] - box[1] + 1
    x, y = box[0] + width / 2 + code[0] * width, box[1] + height / 2 + code[1] * height
    half_w, half_h = width * math.exp(code[2]) / 2, height * math.exp(code[3]) / 2
    return x - half_w, y - half_h, x + half_w, y + half_h


def clipped(box: Sequence[float], image: Sequence[float]) -> Box:
    x1, y1, x2, y2 = (max(min(v, image[1 - i % 2] - 1), 0) for i, v in enumerate(box))
    return x1, y1, x2, y2


def anchors(base: int, ratios: Sequence[float], scales: Sequence[float]) -> list[Box]:
    found = []
    for ratio in ratios:
        width = round(math.sqrt(base * base / ratio))
        height = round(width * ratio)
        for scale in scales:
            w, h, middle = width * scale, height * scale, (base - 1) / 2
            found.append(
                (middle - (w - 1) / 2, middle - (h - 1) / 2, middle + (w - 1) / 2, middle + (h - 1) / 2)
            )
    return found


def candidates(
    scores: Array, codes: Array, image: Sequence[float], stride: int, boxes: list[Box], least: float
) -> list[list[float]]:
    rows = []
    for y, x in np.ndindex(*scores.shape[2:]):
        for a, box in enumerate(boxes):
            start = [v + stride * (y if i % 2 else x) for i, v in enumerate(box)]
            found = clipped(moved(start, codes[0, 4 * a : 4 * a + 4, y, x]), image)
            if min(found[2] - found[0] + 1, found[3] - found[1] + 1) >= least * image[2]:
                rows.append([*found, scores[0, len(boxes) + a, y, x]])
    return sorted(rows, key=lambda row: -row[4])


def proposals(
    scales: Sequence[float] = (8, 16, 32),
    ratios: Sequence[float] = (0.5, 1, 2),
    limit: float = 0.7,
    after: int = 300,
    least: float = 16,
) -> Judge:
    def judge(bottoms: Sequence[Array], params: Sequence[Array]) -> list[Array]:
        scores, codes, image = bottoms
        rows = candidates(scores, codes, image[0], 16, anchors(16, ratios, scales), least)
        rows = greedy(rows, limit, 1)[:after]
        return [np.array([[0, *row[:4]] for row in rows]), np.array([[row[4]] for row in rows])]

    return judge


def pyramid(bottoms: Sequence[Array], params: Sequence[Array]) -> Array:
    """Strides 8 and 16, on an image of 60 x 50; filled up to 1000."""
    image, *maps = bottoms
    rows = []
    for stride, codes, scores in zip((8, 16), maps[:2], maps[2:], strict=True):
        height, width = 60 // stride, 50 // stride
        boxes = anchors(stride, (0.5, 1, 2), (16, 32))
        rows += candidates(scores[..., :height, :width], codes, image[0], stride, boxes, 16)
    rows = greedy(sorted(rows, key=lambda row: -row[4]), 0.7, 1)
    return np.array([[0, *rows[i % len(rows)][:4]] for i in range(1000)])


def texts(bottoms: Sequence[Array], params: Sequence[Array]) -> list[Array]:
    scores, codes, image = bottoms
    heights, boxes, values = [11, 16, 23, 33, 48, 68, 97, 139, 198, 283], [], []
    for y, x in np.ndindex(*scores.shape[2:]):
        for a, h in enumerate(heights):
            top, bottom = int(7.5 - h // 2) + 16 * y, int(7.5 + h // 2) + 16 * y
            tall = math.exp(codes[0, 2 * a + 1, y, x]) * (bottom - top + 1)
            upper = codes[0, 2 * a, y, x] * (bottom - top + 1) + (top + bottom) / 2 - tall / 2
            boxes.append(clipped((16 * x, upper, 16 * x + 15, upper + tall), image[0]))
            values.append([scores[0, 10 + a, y, x]])
    return [np.array(boxes), np.array(values)]


def level(row: Sequence[float]) -> int:
    side = math.sqrt(max((row[3] - row[1]) * (row[4] - row[2]), 1e-6))
    return int(min(max(math.floor(4 + math.log2(side / 224)), 2), 5)) - 2


def levels(bottoms: Sequence[Array], params: Sequence[Array]) -> list[Array]:
    (rows,) = bottoms
    found = np.zeros((4, len(rows), 5))
    for k in range(4):
        mine = [row for row in rows if level(row) == k]
        found[k, : len(mine)] = np.array(mine).reshape(-1, 5)
    return [found.reshape(-1, 5), *found]


def merged(bottoms: Sequence[Array], params: Sequence[Array]) -> list[Array]:
    (rows,) = bottoms
    found = [np.array([row for row in rows if level(row) == k] or np.zeros((4, 5))) for k in range(4)]
    return [np.concatenate(found), *found]


def bridge(bottoms: Sequence[Array], params: Sequence[Array]) -> Array:
    regions, codes, scores, image = bottoms
    found = []
    for region, code, score in zip(regions, codes, scores, strict=True):
        k = int(np.argmax(score))
        found.append([0, *clipped(moved(region[1:], code[4 * k : 4 * k + 4]), image[0])])
    return np.array(found)


def darknet(bottoms: Sequence[Array], params: Sequence[Array]) -> Array:
    """reorg_cpu with forward = 0, stride 2."""
    (x,) = bottoms
    n, c, h, w = x.shape
    flat, top, outer = x.reshape(-1), np.zeros(x.size), c // 4
    for b, k, j, i in np.ndindex(n, c, h, w):
        inner, offset = k % outer, k // outer
        place = (i * 2 + offset % 2) + w * 2 * ((j * 2 + offset // 2) + h * 2 * (inner + outer * b))
        top[i + w * (j + h * (k + c * b))] = flat[place]
    return top.reshape(n, 4 * c, h // 2, w // 2)


def combined(scaled: bool) -> Judge:
    def judge(bottoms: Sequence[Array], params: Sequence[Array]) -> list[Array]:
        tops = []
        for places, values in zip(bottoms[:2], bottoms[2:], strict=True):
            top = np.zeros_like(places)
            for n, _, y, x in np.ndindex(*places.shape):
                k = int(places[n, 0, y, x])
                value = values[n, k, y, x] if k else 0
                value = (k + value - 1) / (values.shape[1] - 1) if scaled else value
                top[n, 0, y, x] = value if value >= 0 else -1 if scaled else 0
            tops.append(top)
        return tops

    return judge


def decoded(bottoms: Sequence[Array], params: Sequence[Array]) -> Array:
    """With the means and deviations of NORM."""
    top = bottoms[1].copy().reshape(len(bottoms[1]), 5)
    for row, code in zip(top, bottoms[0], strict=True):
        dx, dy, dw, dh = code[4:] * [0.1, 0.1, 0.2, 0.2] + [0.01, 0, 0, -0.02]
        w, h = row[3] - row[1] + 1, row[4] - row[2] + 1
        x, y = dx * w + (row[1] + row[3]) / 2, dy * h + (row[2] + row[4]) / 2
        w, h = w * math.exp(dw), h * math.exp(dh)
        row[1:] = x - (w - 1) / 2, y - (h - 1) / 2, x - (w - 1) / 2 + w - 1, y - (h - 1) / 2 + h - 1
    return top.reshape(bottoms[1].shape)


def bounded(
    code: Sequence[float], w: float, h: float, x: int, y: int, stride: float, xyr: float
) -> list[float]:
    """Left, top, width and height."""
    dx, dy = (min(max(v, -1 / xyr), 1 / xyr) for v in code[:2])
    width, height = (
        side * math.exp(min(max(v, -math.log(2)), math.log(2)))
        for v, side in zip(code[2:], (w, h), strict=True)
    )
    return [dx * w + (x + 0.5) * stride - width / 2, dy * h + (y + 0.5) * stride - height / 2, width, height]


def outputs(kind: str, xyr: float, before: int, after: int, least: float, threshold: float) -> Judge:
    """BoxOutput on fields of 30 x 20 and 40 x 60, strides 8 and 16."""

    def judge(bottoms: Sequence[Array], params: Sequence[Array]) -> list[Array]:
        found = []
        for image in range(len(bottoms[0])):
            rows = []
            for maps, w, h, stride in zip(bottoms, (30, 40), (20, 60), (8, 16), strict=True):
                for y, x in np.ndindex(*maps.shape[2:]):
                    values = maps[image, :, y, x]
                    score = max(values[1:-4]) - values[0]
                    left, top, width, height = bounded(values[-4:], w, h, x, y, stride, xyr)
                    left, top = max(left, 0), max(top, 0)
                    width, height = (
                        min(width, maps.shape[3] * stride - left),
                        min(height, maps.shape[2] * stride - top),
                    )
                    if score >= threshold and min(width, height) >= least:
                        rows.append([left, top, left + width, top + height, score])
            rows = sorted(rows, key=lambda row: -row[4])[: before or None]
            found += [[image, *row] for row in greedy(rows, 0.4, 0, kind)[: after or None]]
        rows = found or [[0, 1, 1, 10, 10, 0]]
        return [np.array(rows)[:, :5, None, None], np.array(found or [[0] * 6])[..., None, None]]

    return judge


def groups(bottoms: Sequence[Array], params: Sequence[Array]) -> Array:
    """BoxGroupOutput: stride 8 with fields 30 x 20 and 20 x 40, stride 16 with a field 50 x 50."""
    fields, found = [(8, [(30, 20), (20, 40)]), (16, [(50, 50)])], []
    for image in range(len(bottoms[2])):
        rows = []
        for (stride, sizes), odds, codes in zip(fields, bottoms[::2], bottoms[1::2], strict=True):
            for k, (w, h) in enumerate(sizes):
                n = image * len(sizes) + k
                for y, x in np.ndindex(*odds.shape[2:]):
                    left, top, width, height = bounded(codes[n, :, y, x], w, h, x, y, stride, 2)
                    right = min(left + width - 1, odds.shape[3] * stride)
                    bottom = min(top + height - 1, odds.shape[2] * stride)
                    box = [max(left, 0), max(top, 0), right, bottom, 1 - odds[n, 0, y, x]]
                    if box[4] >= 0.2 and min(box[2] - box[0] + 1, box[3] - box[1] + 1) >= 15:
                        rows.append(box)
        rows = sorted(rows, key=lambda row: -row[4])
        found += [[image, *row[:4]] for row in greedy(rows, 0.5, 1)]
    return np.array(found)[..., None, None]


def python(module: str, kind: str, shapes: list[str], string: str = "", tops: int = 1) -> Toy:
    text = string.replace("\n", "\\n")
    return Toy(
        "Python", shapes, f'python_param {{ module: "{module}" layer: "{kind}" param_str: "{text}" }}', tops
    )


RNG = np.random.default_rng(5)


def chances(*shape: int) -> Array:
    return RNG.uniform(size=shape)


def small(*shape: int) -> Array:
    return RNG.normal(scale=0.3, size=shape)


def proposed(
    string: str, judge: Judge, count: int, module: str = "rpn.proposal_layer", scale: float = 1
) -> ForkCase:
    shapes = [f"1 {2 * count} 6 7", f"1 {4 * count} 6 7", "1 3"]
    toy = python(module, "ProposalLayer", shapes, string, 2)
    values = {"a": chances(1, 2 * count, 6, 7), "b": small(1, 4 * count, 6, 7), "c": [[96, 112, scale]]}
    return ForkCase(toy, judge, values, gradient="")


SIDES = RNG.uniform(2, 700, size=(12, 2))
ROWS = np.concatenate([np.zeros((12, 1)), np.full((12, 2), 3), SIDES + 3], 1)
NORM = "bbox_mean: 0.01 bbox_mean: 0 bbox_mean: 0 bbox_mean: -0.02 bbox_std: 0.1 bbox_std: 0.1 bbox_std: 0.2 bbox_std: 0.2"
FIELDS = "field_w: 30 field_w: 40 field_h: 20 field_h: 60 downsample_rate: 8 downsample_rate: 16 iou_thr: 0.4"
GROUPS = """box_group_param { stride: 8 field_w: 30 field_h: 20 field_w: 20 field_h: 40 }
    box_group_param { stride: 16 field_w: 50 field_h: 50 }"""
FPN = ["1 3", "1 24 8 7", "1 24 4 4", "1 12 8 7", "1 12 4 4"]
PARTS = RNG.integers(0, 4, size=(2, 1, 3, 4))


def found(settings: str, judge: Judge) -> ForkCase:
    toy = Toy("BoxOutput", ["2 7 6 7", "2 7 3 4"], f"box_output_param {{ {FIELDS} {settings} }}", 2)
    return ForkCase(toy, judge, {"a": small(2, 7, 6, 7) * 3, "b": small(2, 7, 3, 4) * 3}, gradient="")


CASES = [
    proposed("'feat_stride': 16", proposals(), 9),
    proposed("{'feat_stride': 16, 'gradient_scale': 1}", proposals(), 9, "pylayer.proposal_layer", 2.5),
    proposed(
        "'feat_stride': 16 \n'scales': !!python/tuple [2, 4]", proposals((2, 4)), 6, "lib.rpn.proposal_layer"
    ),
    proposed(
        "{'feat_stride': 16,'scales': [1,2], 'ratios':[1,]}",
        proposals((1, 2), (1,), limit=1, after=1000, least=0),
        2,
        "SSH.layers.proposal_layer",
    ),
    ForkCase(
        python("rpn.proposal_layer", "ProposalLayer", FPN, "'feat_stride': 8,16"),
        pyramid,
        {
            "a": [[60, 50, 1]],
            "b": small(1, 24, 8, 7),
            "c": small(1, 24, 4, 4),
            "d": chances(1, 12, 8, 7),
            "e": chances(1, 12, 4, 4),
        },
        gradient="",
    ),
    ForkCase(
        python(
            "layers.text_proposal_layer",
            "ProposalLayer",
            ["1 20 3 4", "1 20 3 4", "1 3"],
            "'feat_stride': 16",
            2,
        ),
        texts,
        {"c": [[45, 61, 1]]},
        gradient="",
    ),
    ForkCase(python("rpn.as_rois", "As_roisLayer", ["12 5"], tops=5), levels, {"a": ROWS}, gradient=""),
    ForkCase(
        python("rpn.as_rois_mrcnn", "As_rois_MergeRcnnLayer", ["4 5"], tops=5),
        merged,
        {"a": ROWS[:4]},
        gradient="",
    ),
    ForkCase(
        python("pylayer.mask_layer", "MaskLayer", ["3 441"]),
        lambda b, _: b[0].reshape(3, 1, 21, 21),
        gradient="",
    ),
    ForkCase(
        python("pylayer.stage_bridge_layer", "StageBridgeLayer", ["6 5", "6 12", "6 3", "1 3"]),
        bridge,
        {"a": ROWS[:6], "b": small(6, 12), "d": [[300, 400, 1]]},
        gradient="",
    ),
    ForkCase(
        python("norm2layer", "Norm2Layer", ["3 5"]),
        lambda b, _: b[0] / np.linalg.norm(b[0], axis=1, keepdims=True),
    ),
    ForkCase(
        python("spatial_dropout", "SpatialDropoutLayer", ["2 3 2 2"], "{'phase': 'TEST', 'p': '0.2'}"),
        lambda b, _: b[0] / 0.8,
    ),
    ForkCase(python("yolov2", "darknet_reorg", ["2 8 4 6"]), darknet),
    *[
        ForkCase(
            python(module, "CombineRegressionsLayer", ["2 1 3 4", "2 1 3 4", "2 4 3 4", "2 4 3 4"], tops=2),
            combined(module == "CombineRegressions"),
            {"a": PARTS, "b": PARTS[::-1]},
            gradient="cd",
        )
        for module in ("CombineRegressions", "CombineRegressionsHuman")
    ],
    ForkCase(
        Toy("DecodeBBox", ["6 8", "6 5 1 1"], f"bbox_reg_param {{ {NORM} }}"),
        decoded,
        {"b": ROWS[:6].reshape(6, 5, 1, 1)},
        gradient="ab",
    ),
    found("fg_thr: 0 max_nms_num: 40", outputs("IOU", 2, 40, 0, 15, 0)),
    found('fg_thr: -1 nms_type: "IOMU" max_post_nms_num: 5 field_xyr: 1', outputs("IOMU", 1, 0, 5, 15, -1)),
    found('nms_type: "IOFU" min_size: 30', outputs("IOFU", 2, 0, 0, 30, 0)),
    found("fg_thr: 100", outputs("IOU", 2, 0, 0, 15, 100)),
    ForkCase(
        Toy(
            "BoxGroupOutput",
            ["4 3 6 7", "4 4 6 7", "2 3 3 4", "2 4 3 4"],
            f"box_group_output_param {{ fg_thr: 0.2 {GROUPS} }}",
        ),
        groups,
        {"a": chances(4, 3, 6, 7), "c": chances(2, 3, 3, 4)},
        gradient="",
    ),
]
