"""YOLO's layers: Reorg by OpenCV (darknet's order) and loops, the others by loops."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from geometry_toys import Toy

from fork_cases import Array, ForkCase, Judge


def darknet(stride: int) -> Judge:
    """Darknet's reorg layer, as OpenCV has it."""

    def judge(bottoms: list[Array], params: list[Array]) -> Array:
        n, c, h, w = bottoms[0].shape
        head = f"[net]\nbatch={n}\nchannels={c}\nheight={h}\nwidth={w}\n[reorg]\nstride={stride}\n"
        net = cv2.dnn.readNetFromDarknet(np.frombuffer(head.encode(), np.uint8))
        net.setInput(bottoms[0].astype(np.float32))
        return net.forward()

    return judge


def loops(stride: int, channel: str) -> Judge:
    """Larger: unit (y, x) of the top is from unit (y // s, x // s), and a channel by (y % s, x % s)."""

    def judge(bottoms: list[Array], params: list[Array]) -> Array:
        x, s = bottoms[0], stride
        n, c, h, w = x.shape
        top = np.zeros((n, c // s**2, h * s, w * s))
        for _, k, i, j in np.ndindex(top.shape):
            part = i % s * s + j % s
            source = part * (c // s**2) + k if channel == "first" else k * s * s + part
            top[:, k, i, j] = x[:, source, i // s, j // s]
        return top

    return judge


def smaller(stride: int) -> Judge:
    def judge(bottoms: list[Array], params: list[Array]) -> Array:
        x, s = bottoms[0], stride
        n, c, h, w = x.shape
        top = np.zeros((n, c * s * s, h // s, w // s))
        for _, k, i, j in np.ndindex(x.shape):
            top[:, k * s * s + i % s * s + j % s, i // s, j // s] = x[:, k, i, j]
        return top

    return judge


def flat(stride: int, back: bool) -> Judge:
    def judge(bottoms: list[Array], params: list[Array]) -> Array:
        n, c, h, w = bottoms[0].shape
        given, top = bottoms[0].reshape(n, -1), np.zeros((n, c * h * w))
        for k in range(c):
            for i in range(h * w):
                one, other = k * h * w + i, i * c + k
                top[:, one if back else other] = given[:, other if back else one]
        s = stride
        return top.reshape((n, c // s**2, h * s, w * s) if back else (n, c * s * s, h // s, w // s))

    return judge


def reorg(shape: str, settings: str, judge: Judge, gradient: str = "a") -> ForkCase:
    return ForkCase(Toy("Reorg", [shape], f"reorg_param {{ {settings} }}"), judge, gradient=gradient)


REORG = [
    reorg("2 8 4 6", "stride: 2", darknet(2)),
    reorg("1 18 3 6", "stride: 3 reverse: false", darknet(3)),
    reorg("1 64 26 26", "stride: 2", darknet(2), gradient=""),
    reorg("2 8 3 5", "stride: 2 reverse: true", loops(2, "first")),
    reorg("1 18 1 2", "stride: 3 reverse: true", loops(3, "first")),
    reorg("2 3 4 6", "stride: 2 up_down: DOWN", smaller(2)),
    reorg("2 12 3 5", "stride: 2 up_down: UP", loops(2, "last")),
    reorg("2 3 4 6", "stride: 2 flatten: true", flat(2, False)),
    reorg("2 12 3 5", "stride: 2 flatten: true reverse: true", flat(2, True)),
]


def sigmoid(x: float) -> float:
    return 1 / (1 + np.exp(-x))


def softmax(x: Array) -> Array:
    return np.exp(x - x.max()) / np.exp(x - x.max()).sum()


def region(boxes: int, classes: int, soft: bool) -> Judge:
    def judge(bottoms: list[Array], params: list[Array]) -> Array:
        x = bottoms[0]
        n, _, h, w = x.shape
        top = np.zeros((n, h, w, boxes, 5 + classes))
        for m, i, j, b in np.ndindex(top.shape[:4]):
            values = x[m, b * (5 + classes) : (b + 1) * (5 + classes), i, j].copy()
            values[4] = sigmoid(values[4])
            values[5:] = softmax(values[5:]) if soft else values[5:]
            top[m, i, j, b] = values
        return top.reshape(x.shape)

    return judge


REGION = [
    ForkCase(Toy("Region", ["2 24 3 4"], f"region_param {{ {settings} }}"), region(3, 3, soft))
    for settings, soft in (
        ("classes: 3 coords: 4 boxes_of_each_grid: 3 softmax: true", True),
        ("classes: 3 num: 3", False),
    )
]


def meeting(a: Array, b: Array) -> float:
    """Intersection over union of corners."""
    w, h = (min(a[i + 2], b[i + 2]) - max(a[i], b[i]) for i in (0, 1))
    common = max(w, 0) * max(h, 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common
    return common / union if common else 0


def corners(x: float, y: float, w: float, h: float) -> Array:
    return np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2])


def candidates(
    x: Array, biases: list[float], mask: list[int], classes: int, scale: int = 1
) -> Iterator[tuple[Array, float, Array]]:
    """Centre and sides, objectness, and values of classes of each box of one image."""
    _, h, w = x.shape
    for i in range(h):
        for j in range(w):
            for place, m in enumerate(mask):
                v = x[place * (5 + classes) : (place + 1) * (5 + classes), i, j]
                sides = (
                    np.exp(v[2]) * biases[2 * m] / (w * scale),
                    np.exp(v[3]) * biases[2 * m + 1] / (h * scale),
                )
                yield (
                    np.array([(j + sigmoid(v[0])) / w, (i + sigmoid(v[1])) / h, *sides]),
                    sigmoid(v[4]),
                    v[5:],
                )


def greedy(found: list[tuple[float, int, Array]], limit: float, clip: bool) -> list[tuple[float, int, Array]]:
    kept: list[tuple[float, int, Array]] = []
    for each in found:
        box, others = corners(*each[2]), [corners(*k[2]) for k in kept]
        if clip:
            box, others = box.clip(0, 1), [o.clip(0, 1) for o in others]
        if all(meeting(box, o) < limit for o in others):
            kept.append(each)
    return kept


def table(images: list[list[list[float]]]) -> Array:
    rows = [[n, *row] for n, image in enumerate(images) for row in image]
    return np.array(rows or [[n, *[-1] * 6] for n in range(len(images))], float)[None, None]


def yolo2(biases: list[float], classes: int, sure: float, limit: float) -> Judge:
    def judge(bottoms: list[Array], params: list[Array]) -> Array:
        images = []
        for m in range(len(bottoms[0])):
            found = []
            for x in bottoms:
                for box, objectness, values in candidates(
                    x[m], biases, list(range(len(biases) // 2)), classes
                ):
                    score = objectness * softmax(values).max()
                    found += [(score, int(values.argmax()), box)] if score >= sure else []
            found.sort(key=lambda f: -f[0])
            images.append([[k + 1, s, *corners(*b)] for s, k, b in greedy(found, limit, False)])
        return table(images)

    return judge


def yolo3(
    biases: list[float], masks: list[list[int]], scales: list[int], classes: int, sure: float, limit: float
) -> Judge:
    """Every class of a box is a candidate of its own, as in the fork."""

    def judge(bottoms: list[Array], params: list[Array]) -> Array:
        images = []
        for m in range(len(bottoms[0])):
            found = []
            for x, mask, scale in zip(bottoms, masks, scales, strict=True):
                for box, objectness, values in candidates(x[m], biases, mask, classes, scale):
                    for k, value in enumerate(values):
                        score = objectness * sigmoid(value)
                        found += [(score, k, box)] if score > sure else []
            found.sort(key=lambda f: -f[0])
            images.append([[k + 1, s, *corners(*b)] for s, k, b in greedy(found, limit, False)])
        return table(images)

    return judge


def region_output(biases: list[float], classes: int, sure: float, limit: float) -> Judge:
    """In the grid's order, centres and sides."""

    def judge(bottoms: list[Array], params: list[Array]) -> Array:
        images = []
        for x in bottoms[0]:
            found = []
            for box, objectness, values in candidates(x, biases, list(range(len(biases) // 2)), classes):
                score = objectness * softmax(values).max()
                found += [(score, int(values.argmax()), box)] if score >= sure else []
            images.append([[k, s, *b] for s, k, b in greedy(found, limit, True)])
        return table(images)

    return judge


def values(shape: str, seed: int) -> Array:
    return 2 * np.random.default_rng(seed).normal(size=[int(d) for d in shape.split()])


V2 = [1.08, 1.19, 3.42, 4.41, 0.6, 2.4]
V3 = [20.0, 37.0, 49.0, 94.0, 73.0, 201.0, 143.0, 65.0]


def named(name: str, numbers: list[float]) -> str:
    return " ".join(f"{name}: {n}" for n in numbers)


def v2(sure: float, limit: float, *shapes: str, more: str = "") -> ForkCase:
    settings = f"num_classes: 3 num_box: 3 coords: 4 {named('biases', V2)} {more}"
    if (sure, limit) != (0.01, 0.45):
        settings += f" confidence_threshold: {sure} nms_threshold: {limit}"
    toy = Toy("YoloDetectionOutput", list(shapes), f"yolo_detection_output_param {{ {settings} }}")
    inputs = {"ab"[i]: values(s, i) for i, s in enumerate(shapes)}
    return ForkCase(toy, yolo2(V2, 3, sure, limit), inputs, gradient="")


def v3(sure: float, limit: float, images: int = 1) -> ForkCase:
    settings = f"num_classes: 4 num_box: 2 mask_group_num: 2 {named('biases', V3)}"
    settings += f" {named('mask', [2, 3, 0, 1])} anchors_scale: 32 anchors_scale: 16"
    settings += f" confidence_threshold: {sure} nms_threshold: {limit}"
    shapes = [f"{images} 18 3 4", f"{images} 18 6 8"]
    toy = Toy("Yolov3DetectionOutput", shapes, f"yolov3_detection_output_param {{ {settings} }}")
    inputs = {"ab"[i]: values(s, i) for i, s in enumerate(shapes)}
    return ForkCase(toy, yolo3(V3, [[2, 3], [0, 1]], [32, 16], 4, sure, limit), inputs, gradient="")


def output(settings: str, sure: float, limit: float, images: int = 2) -> ForkCase:
    shape = f"{images} 24 3 4"
    text = f"detection_output_param {{ num_box: 3 {named('biases', V2)} {settings} }}"
    return ForkCase(
        Toy("DetectionOutput", [shape], text),
        region_output(V2, 3, sure, limit),
        {"a": values(shape, 5)},
        gradient="",
    )


CASES = [
    *REORG,
    *REGION,
    v2(0.01, 0.45, "2 24 5 4"),
    v2(0.2, 0.3, "1 24 4 4", "1 24 8 8", more="side: 26"),
    v2(0.99, 0.3, "3 24 4 4"),
    v3(0.01, 0.45),
    v3(0.3, 0.2, images=2),
    v3(0.999, 0.2, images=2),
    output("num_classes: 3 coords: 4 confidence_threshold: 0.2", 0.2, 0.45),
    output("classes: 3 confidence_threshold: 0.1 nms_threshold: 0.3", 0.1, 0.3, images=1),
    output("num_classes: 3", 0.01, 0.45),
    output("num_classes: 3 confidence_threshold: 0.999", 0.999, 0.45),
]
