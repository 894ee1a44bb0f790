"""What forks make of SSD's layers, and of SmoothL1Loss, by loops. Confidences are all different."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from geometry_toys import Toy
from layer_cases.detection import codes, confidences, priors

from fork_cases import Array, ForkCase, Judge
from fork_cases.yolo import meeting

P = 40
# Of one unit: moves of the centre in steps and in pixels, width and height in pixels.
Boxes = Sequence[tuple[float, float, float, float, float, float]]


def prior_judge(boxes: Boxes, image: tuple[int, int], variance: float = 0.1, inside: bool = False) -> Judge:
    """`inside`: xmin and ymin are not below 0, xmax and ymax not above 1."""

    def judge(bottoms: list[Array], params: list[Array]) -> Array:
        h, w = bottoms[0].shape[2:]
        tall, wide = image
        rows = []
        for i in range(h):
            for j in range(w):
                for x, y, right, down, width, height in boxes:
                    cx, cy = (j + x) * wide / w + right, (i + y) * tall / h + down
                    row = [(cx - width / 2) / wide, (cy - height / 2) / tall]
                    row += [(cx + width / 2) / wide, (cy + height / 2) / tall]
                    if inside:
                        row = [max(row[0], 0), max(row[1], 0), min(row[2], 1), min(row[3], 1)]
                    rows.append(row)
        flat = np.array(rows).reshape(-1)
        return np.stack([flat, np.full_like(flat, variance)])[None]

    return judge


def prior(
    settings: str, boxes: Boxes, kind: str = "PriorBox", inside: bool = False, variant: str = ""
) -> ForkCase:
    text = f"prior_box_param {{ clip: false {settings} }} variant: '{variant}'"
    return ForkCase(
        Toy(kind, ["2 6 2 3", "2 3 50 60"], text), prior_judge(boxes, (50, 60), inside=inside), gradient=""
    )


def centred(*sides: tuple[float, float]) -> Boxes:
    return [(0.5, 0.5, 0, 0, w, h) for w, h in sides]


def doubled(boxes: Boxes) -> Boxes:
    return [each for x, y, r, d, w, h in boxes for each in ((x, y, r, d, w, h), (x, 1, r, d, w, h))]


def dense(size: float, count: int, apart: int, ratio: float = 1) -> Boxes:
    """As anchors of a fixed size stand."""
    places = [k * apart + apart / 2 - int(size) // 2 for k in range(count)]
    side = size if ratio != 1 else int(size)
    w, h = side * ratio**0.5, side / ratio**0.5
    return [(0.5, 0.5, right, down, w, h) for down in places for right in places]


def faces(size: int, count: int, apart: int) -> Boxes:
    places = [(k - count // 2) * apart for k in range(count)]
    return [(0.5, 0.5, right, down, size - 1, size - 1) for down in places for right in places]


ROOT = 2**0.5
PRIORS = [
    prior("width: 9.5 width: 20 height: 4 height: 33.3", centred((9.5, 4), (20, 33.3)), "PriorBoxClustered"),
    prior("box_width: 9.5 box_height: 4 box_width: 7 box_height: 8", centred((9.5, 4), (7, 8))),
    prior(
        "min_size: 8 max_size: 18 aspect_ratio: 2 denser_prior_boxes: true",
        doubled(centred((8, 8), (12, 12), (8 * ROOT, 8 / ROOT), (8 / ROOT, 8 * ROOT))),
    ),
    prior(
        "min_size: 8 min_size: 5 aspect_ratio: 2 aspect_ratio: 2 flip: false offset_w: 0.25 offset_w: 0.75 offset_h: 0.5",
        [(x, 0.5, 0, 0, s * ROOT, s / ROOT) for x in (0.25, 0.75) for s in (8, 5)],
    ),
    prior(
        "fixed_size: 16.5 fixed_size: 5 density: 3 density: 1",
        [*dense(16.5, 3, 5), *dense(5, 1, 5)],
        inside=True,
    ),
    prior(
        "fixed_size: 9 density: 2 fixed_ratio: 2 fixed_ratio: 0.5",
        [*dense(9, 2, 4, 2), *dense(9, 2, 4, 0.5)],
        inside=True,
    ),
    prior(
        "fixed_size: 9 density: 2 aspect_ratio: 2 flip: false",
        [*dense(9, 2, 4), *dense(9, 2, 4, 2)],
        inside=True,
    ),
    prior(
        "min_size: 32 min_size: 64 min_size: 128 faceboxes: true",
        [*faces(32, 4, 8), *faces(64, 2, 16), *faces(128, 1, 0)],
    ),
    prior("min_size: 64 min_size: 32", [*faces(64, 2, 16), *faces(32, 4, 8)], variant="FaceBoxes"),
    prior(
        "min_size: 8 max_size: 18 aspect_ratio: 2 flip: false",
        doubled(centred((8, 8), (12, 12), (8 * ROOT, 8 / ROOT))),
        variant="TextBoxes",
    ),
    prior(
        "min_size: 8.5 max_size: 34.5 aspect_ratio: 2 aspect_ratio: 0.5 aspect_ratio: 2",
        centred((8.5, 8.5), (17, 17), (17, 8.5), (4.25, 8.5), (8.5, 17), (8.5, 4.25)),
        variant="SSTD",
    ),
]


def decoded(code: Array, box: Array, variance: Array) -> Array:
    """CENTER_SIZE."""
    w, h = box[2] - box[0], box[3] - box[1]
    x = (box[0] + box[2]) / 2 + variance[0] * code[0] * w
    y = (box[1] + box[3]) / 2 + variance[1] * code[1] * h
    w, h = w * np.exp(variance[2] * code[2]), h * np.exp(variance[3] * code[3])
    return np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2])


# (code, prior, variance) -> its columns; (image, prior) -> the columns before them
Columns = Callable[[Array, Array, Array], Array]


def rows(
    boxes: Array,
    scores: Array,
    more: Callable[[int, int], Array],
    before: Callable[[int, int], Sequence[float]] = lambda n, p: (),
    keep: int = 20,
) -> Array:
    """Of boxes (N, P, 4) and scores (N, P, C), class 0 the background; NMS 0.45, confidence 0.1."""
    found = []
    for n in range(len(boxes)):
        image = []
        for c in range(1, scores.shape[2]):
            kept: list[int] = []
            for p in sorted(range(scores.shape[1]), key=lambda p, n=n, c=c: -scores[n, p, c]):
                if scores[n, p, c] > 0.1 and all(meeting(boxes[n, p], boxes[n, k]) <= 0.45 for k in kept):
                    kept.append(p)
            image += [(scores[n, p, c], c, p) for p in kept]
        image = sorted(sorted(image, key=lambda i: -i[0])[:keep], key=lambda i: i[1])
        found += [[n, c, s, *before(n, p), *boxes[n, p], *more(n, p)] for s, c, p in image]
    extra = len(before(0, 0)) + len(more(0, 0))
    return np.array(found or [[n, *[-1] * (6 + extra)] for n in range(len(boxes))], float)[None, None]


def unpacked(bottoms: list[Array], each: int, classes: int) -> tuple[Array, Array, Array, Array]:
    """Codes (N, P, each), scores (N, P, C), priors (P, 4), variances (P, 4)."""
    flat = bottoms[2].reshape(2, P, 4)
    return bottoms[0].reshape(-1, P, each), bottoms[1].reshape(-1, P, classes), *flat


def many(codes: Array, boxes: Array, variances: Array) -> Array:
    """(N, P, 4) Decoded; priors (P, 4), or (N, P, 4)."""
    boxes = np.broadcast_to(boxes, codes[..., :4].shape)
    return np.array(
        [
            [decoded(c, b, v) for c, b, v in zip(image, given, variances, strict=True)]
            for image, given in zip(codes, boxes, strict=True)
        ]
    )


def polygons(bottoms: list[Array], params: list[Array]) -> Array:
    given, scores, boxes, variances = unpacked(bottoms, 12, 3)

    def more(n: int, p: int) -> Array:
        (x0, y0, x1, y1), (vx, vy, _, _) = boxes[p], variances[p]
        corners = [x0, y0, x1, y0, x1, y1, x0, y1]
        scale = [vx * (x1 - x0), vy * (y1 - y0)] * 4
        return given[n, p, 4:] * scale + corners

    return rows(many(given, boxes, variances), scores, more)


def rotated(bottoms: list[Array], params: list[Array]) -> Array:
    given, scores, boxes, variances = unpacked(bottoms, 9, 3)

    def more(n: int, p: int) -> Array:
        (x0, y0, x1, y1), (vx, vy, _, vh) = boxes[p], variances[p]
        w, h = x1 - x0, y1 - y0
        centre = [(x0 + x1) / 2, (y0 + y1) / 2] * 2
        ends = given[n, p, 4:8] * ([vx * w, vy * h] * 2)
        return np.array([*(ends + centre), np.exp(vh * given[n, p, 8]) * h])

    return rows(many(given, boxes, variances), scores, more)


def states(bottoms: list[Array], params: list[Array]) -> Array:
    given, scores, boxes, variances = unpacked(bottoms, 4, 3)
    said = bottoms[3].reshape(len(given), P, 5)
    return rows(many(given, boxes, variances), scores, lambda n, p: np.empty(0), lambda n, p: said[n, p])


def two_stages(limit: float) -> Judge:
    def judge(bottoms: list[Array], params: list[Array]) -> Array:
        given, scores, boxes, variances = unpacked(bottoms, 4, 3)
        objects = bottoms[3].reshape(len(given), P, 2)[..., 1]
        scores = np.where((objects < limit)[..., None], 0, scores)
        if len(bottoms) == 5:
            boxes = many(bottoms[4].reshape(-1, P, 4), boxes, variances)
        return rows(many(given, boxes, variances), scores, lambda n, p: np.empty(0))

    return judge


def in_pieces(bottoms: list[Array], params: list[Array]) -> Array:
    """Two scales, 4 boxes at 2 x 3 units and 2 at 2 x 4; priors by unit."""
    conf, loc, order = [], [], bottoms[4].reshape(2, P, 4)
    for scores, where in zip(bottoms[:2], bottoms[2:4], strict=True):
        h, w = where.shape[2:]
        for i in range(h):
            for j in range(w):
                for r in range(where.shape[1] // 4):
                    loc.append(where[:, 4 * r : 4 * r + 4, i, j])
                    conf.append(scores[:, :, r, i * w + j])
    given, sure = np.stack(loc, 1), np.stack(conf, 1)
    return rows(many(given, order[0], order[1]), sure, lambda n, p: np.empty(0))


def flat_pieces(bottoms: list[Array], params: list[Array]) -> Array:
    joined = [np.concatenate(bottoms[2:4], 1), np.concatenate(bottoms[:2], 1), np.concatenate(bottoms[4:], 2)]
    given, scores, boxes, variances = unpacked(joined, 4, 3)
    return rows(many(given, boxes, variances), scores, lambda n, p: np.empty(0))


SSD = "num_classes: 3 code_type: CENTER_SIZE keep_top_k: 20 confidence_threshold: 0.1 nms_param { nms_threshold: 0.45 }"


def output(
    settings: str, judge: Judge, each: int = 4, more: Sequence[Array] = (), images: int = 2
) -> ForkCase:
    given = [codes(images, P * each), confidences(images, 3), priors(), *more]
    return whole(settings, judge, given)


def whole(settings: str, judge: Judge, given: Sequence[Array]) -> ForkCase:
    shapes = [" ".join(map(str, x.shape)) for x in given]
    toy = Toy("DetectionOutput", shapes, f"detection_output_param {{ {SSD} {settings} }}")
    return ForkCase(toy, judge, dict(zip("abcdefgh", given, strict=False)), gradient="")


def pieces() -> list[Array]:
    """Of 24 and of 16 priors."""
    sure = confidences(2, 3).reshape(2, P, 3)
    first = sure[:, :24].transpose(0, 2, 1).reshape(2, 3, 4, 6)
    second = sure[:, 24:].transpose(0, 2, 1).reshape(2, 3, 2, 8)
    return [first, second, codes(2, 16, 2, 3), codes(2, 8, 2, 4), priors()]


def slices() -> list[Array]:
    where, sure, boxes = codes(2, P * 4), confidences(2, 3), priors()
    parts = [sure[:, :72], sure[:, 72:], where[:, :96], where[:, 96:]]
    return [*parts, boxes[..., :96], boxes[..., 96:]]


OUTPUTS = [
    output("use_polygon: true", polygons, 12),
    output("use_polygon: false", rotated, 9),
    output("", rotated, 9, images=1),
    output("do_state_prediction: true num_states: 5", states, more=[codes(2, P * 5)]),
    output("objectness_score: 0.3", two_stages(0.3), more=[confidences(2, 2)]),
    output("", two_stages(0.01), more=[confidences(2, 2), 0.5 * codes(2, P * 4)]),
    output("objectness_score: 0.5", two_stages(0.5), more=[confidences(2, 2), 0.5 * codes(2, P * 4)]),
    whole("use_polygon: true", polygons, [codes(2, P * 12), 0.1 * confidences(2, 3), priors()]),
    whole("no_permute: true nbottom: 2", in_pieces, pieces()),
    whole("nbottom: 2", flat_pieces, slices()),
]


def smooth(sigma: float) -> Judge:
    def judge(bottoms: list[Array], params: list[Array]) -> Array:
        x, target, inner, outer = [*bottoms, *[np.ones_like(bottoms[0])] * 2][:4]
        total = 0.0
        for i in np.ndindex(x.shape):
            d = abs(inner[i] * (x[i] - target[i]))
            loss = 0.5 * (sigma * d) ** 2 if d < 1 / sigma**2 else d - 0.5 / sigma**2
            total += outer[i] * loss
        return np.array(total / len(x))

    return judge


SMOOTH = [
    ForkCase(
        Toy("SmoothL1Loss", ["4 6 2"] * count, f"smooth_l1_loss_param {{ {settings} }}"),
        smooth(sigma),
        gradient="ab",
    )
    for count in (2, 3, 4)
    for settings, sigma in (("", 1), ("sigma: 3", 3))
]

CASES = [*PRIORS, *OUTPUTS, *SMOOTH]
