"""Layers that move values: their definitions as loops over places, and OpenCV's ShuffleChannel."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import cv2
import numpy as np
from geometry_toys import Toy

from fork_cases import Array, ForkCase


def shuffled(bottoms: Sequence[Array], params: Sequence[Array], *, groups: int) -> Array:
    top = np.empty_like(bottoms[0])
    rows = top.shape[1] // groups
    for c in range(top.shape[1]):
        group, member = divmod(c, rows)
        top[:, member * groups + group] = bottoms[0][:, c]
    return top


def by_opencv(bottoms: Sequence[Array], params: Sequence[Array], *, settings: str) -> Array:
    shape = " ".join(map(str, bottoms[0].shape))
    text = Toy("ShuffleChannel", [shape], settings).prototxt()
    net = cv2.dnn.readNetFromCaffe(np.frombuffer(text.encode(), np.uint8))
    net.setInput(bottoms[0].astype(np.float32))
    return np.asarray(net.forward())


def mirrored(bottoms: Sequence[Array], params: Sequence[Array], *, rows: bool, columns: bool) -> Array:
    top, (h, w) = np.empty_like(bottoms[0]), bottoms[0].shape[2:]
    for y, x in np.ndindex(h, w):
        top[:, :, y, x] = bottoms[0][:, :, h - 1 - y if rows else y, w - 1 - x if columns else x]
    return top


def squeezed(bottoms: Sequence[Array], params: Sequence[Array], *, shape: tuple[int, ...]) -> Array:
    return bottoms[0].reshape(shape)


def divided(
    bottoms: Sequence[Array],
    params: Sequence[Array],
    *,
    size: tuple[int, int],
    corners: list[tuple[int, int]],
) -> Sequence[Array]:
    tops = [np.empty((*bottoms[0].shape[:2], *size)) for _ in corners]
    for top, (row, column) in zip(tops, corners, strict=True):
        for y, x in np.ndindex(size):
            top[:, :, y, x] = bottoms[0][:, :, row + y, column + x]
    return tops


def combined(
    bottoms: Sequence[Array],
    params: Sequence[Array],
    *,
    size: tuple[int, int],
    corners: list[tuple[int, int]],
) -> Array:
    top = np.zeros((*bottoms[0].shape[:2], *size))
    for part, (row, column) in zip(bottoms, corners, strict=True):
        for y, x in np.ndindex(part.shape[2:]):
            top[:, :, row + y, column + x] = part[:, :, y, x]
    return top


def centre(bottoms: Sequence[Array], params: Sequence[Array], *, cuts: tuple[int, ...]) -> Array:
    top = np.empty([n - 2 * cut for n, cut in zip(bottoms[0].shape, cuts, strict=True)])
    for place in np.ndindex(top.shape):
        top[place] = bottoms[0][tuple(i + cut for i, cut in zip(place, cuts, strict=True))]
    return top


def tiled(bottoms: Sequence[Array], params: Sequence[Array], *, side: int) -> Array:
    n, c, h, w = bottoms[0].shape
    top = np.empty((n, c // side**2, h * side, w * side))
    for channel, y, x in np.ndindex(c, h, w):
        out, (row, column) = channel // side**2, divmod(channel % side**2, side)
        top[:, out, y * side + row, x * side + column] = bottoms[0][:, channel, y, x]
    return top


def columns(bottoms: Sequence[Array], params: Sequence[Array], *, step: int) -> Sequence[Array]:
    """Every `step`-th pixel of the first bottom, and all others there, as hypercolumns_layer.cpp says."""
    first, *others = bottoms
    n, _, h, w = first.shape
    tops: tuple[list[list[float]], list[Array]] = ([], [])
    for i in range(n):
        for place in range(0, h * w, step):
            y, x = divmod(place, w)
            values: list[float] = []
            for b in others:
                scale = h // b.shape[2]
                values += [
                    sample(b[i, c], (y - (scale - 1) / 2) / scale, (x - (scale - 1) / 2) / scale)
                    for c in range(b.shape[1])
                ]
            tops[0].append(values)
            tops[1].append(first[i, :, y, x])
    return [np.array(tops[0])[..., None, None], np.array(tops[1])]


def sample(image: Array, y: float, x: float) -> float:
    """Between the four pixels around; at the edge those that there are."""
    total = 0.0
    axes = []
    for place, size in ((y, image.shape[0]), (x, image.shape[1])):
        low, high = max(int(np.floor(place)), 0), max(int(np.ceil(place)), 0)
        high = high if high < size else low
        axes.append([(low, 1.0)] if low == high else [(low, 1 - (place - low)), (high, place - low)])
    for row, a in axes[0]:
        for column, b in axes[1]:
            total += a * b * image[row, column]
    return total


def warped(bottoms: Sequence[Array], params: Sequence[Array], *, outside: float = 0) -> Array:
    image, flow = bottoms
    n, _, h, w = image.shape
    top = np.full_like(image, outside)
    for i, y, x in np.ndindex(n, h, w):
        v, u = y + flow[i, 1, y, x], x + flow[i, 0, y, x]
        if not (0 <= v < h and 0 <= u < w):
            continue
        above, left = int(v), int(u)
        below, right, dv, du = min(above + 1, h - 1), min(left + 1, w - 1), v - int(v), u - int(u)
        upper = image[i, :, above, left] * (1 - du) + image[i, :, above, right] * du
        lower = image[i, :, below, left] * (1 - du) + image[i, :, below, right] * du
        top[i, :, y, x] = upper * (1 - dv) + lower * dv
    return top


def attended(
    bottoms: Sequence[Array],
    params: Sequence[Array],
    *,
    kernel: int,
    stride: int = 1,
    pad: int = 0,
    dilation: int = 1,
    whole: bool = False,
) -> Array:
    x, weights = bottoms
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    top = np.zeros((*x.shape[:2], *weights.shape[2:]))
    for n, c, y, z in np.ndindex(top.shape):
        for row, column in np.ndindex(kernel, kernel):
            corner = (0, 0) if whole else (y * stride, z * stride)
            value = padded[n, c, corner[0] + row * dilation, corner[1] + column * dilation]
            top[n, c, y, z] += value * weights[n, row * kernel + column, y, z]
    return top


def coordinates(corners: list[tuple[int, int]]) -> str:
    return " ".join(f"ycoord: {y} xcoord: {x}" for y, x in corners)


GROUPS = "shuffle_channel_param { group: %d }"
CORNERS = [(0, 0), (0, 3), (2, 1)]
FLOW = np.random.default_rng(2).uniform(-2.5, 2.5, (2, 2, 4, 5))
CASES = [
    ForkCase(Toy("ShuffleChannel", ["2 6 3 4"], GROUPS % 2), partial(shuffled, groups=2)),
    ForkCase(Toy("ShuffleChannel", ["2 6 3 4"], GROUPS % 3), partial(shuffled, groups=3)),
    ForkCase(Toy("ShuffleChannel", ["2 6"], GROUPS % 3), partial(shuffled, groups=3)),
    ForkCase(Toy("ShuffleChannel", ["2 12 3 4"], GROUPS % 3), partial(by_opencv, settings=GROUPS % 3)),
    ForkCase(Toy("Flip", ["2 3 4 5"]), partial(mirrored, rows=False, columns=True)),
    ForkCase(
        Toy("Flip", ["2 3 4 5"], "flip_param { flip_height: true flip_width: false }"),
        partial(mirrored, rows=True, columns=False),
    ),
    ForkCase(Toy("Flip", ["2 3 4 5"], "flip_param { flip_height: true }"), partial(mirrored, rows=True, columns=True)),
    ForkCase(Toy("Squeeze", ["2 1 3 1"]), partial(squeezed, shape=(2, 3))),
    ForkCase(Toy("Squeeze", ["2 1 3 1"], "squeeze_param { axis: -3 }"), partial(squeezed, shape=(2, 3, 1))),
    ForkCase(
        Toy("Division", ["2 3 5 6"], f"division_param {{ height: 3 width: 2 {coordinates(CORNERS)} }}", 3),
        partial(divided, size=(3, 2), corners=CORNERS),
    ),
    ForkCase(
        Toy("Combination", ["2 3 2 3", "2 3 2 3", "2 3 3 5"], f"combination_param {{ {coordinates(CORNERS)} }}"),
        partial(combined, size=(5, 6), corners=CORNERS),
        gradient="abc",
    ),
    ForkCase(
        Toy("CropCenter", ["2 3 6 7"], "crop_center_param { crop_size: [0, 1, 2, 1] }"),
        partial(centre, cuts=(0, 1, 2, 1)),
    ),
    ForkCase(Toy("Tiling", ["2 8 3 2"], "tiling_param { tile_dim: 2 }"), partial(tiled, side=2)),
    ForkCase(Toy("Tiling", ["2 9 1 2"], "tiling_param { tile_dim: 3 }"), partial(tiled, side=3)),
    ForkCase(Toy("Reshape", ["2 8 3 2"], "reshape_param { pixelshuffler: 2 }"), partial(tiled, side=2)),
    ForkCase(
        Toy("HyperColumns", ["2 2 8 8", "2 3 8 8", "2 2 4 4", "2 1 2 2"], "hypercolumns_param { is_train: false }", 2),
        partial(columns, step=1),
        gradient="abcd",
    ),
    ForkCase(
        Toy("HyperColumns", ["2 2 4 6", "2 3 2 3"], "hypercolumns_param { is_train: false skip_ratio: 5 }", 2),
        partial(columns, step=4),
    ),
    ForkCase(Toy("FlowWarp", ["2 3 4 5", "2 2 4 5"]), warped, inputs={"b": FLOW}, gradient="ab"),
    ForkCase(
        Toy("FlowWarp", ["2 3 4 5", "2 2 4 5"], "flow_warp_param { fill_value: NOT_A_NUMBER }"),
        partial(warped, outside=np.nan),
        inputs={"b": FLOW},
        gradient="",
    ),
    ForkCase(
        Toy("AttPooling", ["2 3 5 4", "2 9 5 4"], "att_pooling_param { kernel_size: 3 pad: 1 }"),
        partial(attended, kernel=3, pad=1),
        gradient="ab",
    ),
    ForkCase(
        Toy("PwAttend", ["2 3 9 8", "2 9 3 2"], "pw_attend_param { kernel_size: 3 stride: 2 dilation: 2 }"),
        partial(attended, kernel=3, stride=2, dilation=2),
        gradient="ab",
    ),
    ForkCase(
        Toy("PwAttend", ["2 3 4 4", "2 16 4 5"], "pw_attend_param { att_mode: GLOBAL }"),
        partial(attended, kernel=4, whole=True),
        gradient="ab",
    ),
]  # fmt: skip
