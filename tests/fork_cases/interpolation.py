"""Layers that resize: DeepLab's and others' against loops over pixels, and against OpenCV's Interp."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import cv2
import numpy as np
from geometry_toys import Toy

from fork_cases import Array, ForkCase

Place = Callable[[int, int, int], float]


def corner(i: int, old: int, new: int) -> float:
    """Where unit i of the new axis lies in the old, if the ends of both meet."""
    return i * np.float32((old - 1) / (new - 1)) if new > 1 else 0


def plain(i: int, old: int, new: int) -> float:
    return np.float32(i) * np.float32(old / new)


def half(i: int, old: int, new: int) -> float:
    return (np.float32(i) + np.float32(0.5)) * np.float32(old / new) - np.float32(0.5)


def torch_half(i: int, old: int, new: int) -> float:
    return half(i, old, new) if new > 1 else -0.5


def mixed(x: Array, size: tuple[int, int], place: Place) -> Array:
    """Bilinear, value by value; (N, C, H, W)."""
    n, c, h, w = x.shape
    top = np.empty((n, c, *size))
    for y in range(size[0]):
        for z in range(size[1]):
            v, u = place(y, h, size[0]), place(z, w, size[1])
            above, left = int(np.floor(v)), int(np.floor(u))
            dv, du = v - above, u - left
            rows = [min(max(above, 0), h - 1), min(int(np.ceil(v)), h - 1)]
            columns = [min(max(left, 0), w - 1), min(int(np.ceil(u)), w - 1)]
            upper = x[:, :, rows[0], columns[0]] * (1 - du) + x[:, :, rows[0], columns[1]] * du
            lower = x[:, :, rows[1], columns[0]] * (1 - du) + x[:, :, rows[1], columns[1]] * du
            top[:, :, y, z] = upper * (1 - dv) + lower * dv
    return top


def nearest(x: Array, size: tuple[int, int], place: Callable[[int, int, int], int]) -> Array:
    n, c, h, w = x.shape
    top = np.empty((n, c, *size))
    for y in range(size[0]):
        for z in range(size[1]):
            row, column = place(y, h, size[0]), place(z, w, size[1])
            top[:, :, y, z] = x[:, :, min(max(row, 0), h - 1), min(max(column, 0), w - 1)]
    return top


def resized(
    bottoms: Sequence[Array],
    params: Sequence[Array],
    *,
    size: tuple[int, int],
    how: Callable[..., Array] = mixed,
    place: Callable[[int, int, int], float] = corner,
    cut: tuple[int, int] = (0, 0),
    last: bool = False,
) -> Array:
    """What `how` makes of the first bottom, of which `cut` (begin, end) is left out; (N, H, W, C) if `last`."""
    x = bottoms[0]
    x = np.moveaxis(x, -1, 1) if last else x
    x = x[:, :, cut[0] : x.shape[2] - cut[1], cut[0] : x.shape[3] - cut[1]]
    top = how(x, size, place)
    return np.moveaxis(top, 1, -1) if last else top


def by_opencv(bottoms: Sequence[Array], params: Sequence[Array], *, settings: str) -> Array:
    """Interp of OpenCV's importer."""
    shape = " ".join(map(str, bottoms[0].shape))
    net = cv2.dnn.readNetFromCaffe(
        np.frombuffer(Toy("Interp", [shape], settings).prototxt().encode(), np.uint8)
    )
    net.setInput(bottoms[0].astype(np.float32))
    return np.asarray(net.forward())


def interp(settings: str, size: tuple[int, int], on: str = "2 3 7 9", **more: object) -> ForkCase:
    return ForkCase(
        Toy("Interp", on.split(", "), f"interp_param {{ {settings} }}" if settings else ""),
        partial(resized, size=size, **more),
    )


def opencv(settings: str, on: str = "2 3 7 9") -> ForkCase:
    settings = f"interp_param {{ {settings} }}"
    return ForkCase(Toy("Interp", [on], settings), partial(by_opencv, settings=settings))


def tf(kind: str, settings: str, size: tuple[int, int], on: str = "2 3 5 7", **more: object) -> ForkCase:
    name = "resize_bilinear_param" if kind == "ResizeBilinear" else "resize_nearest_neighbor_param"
    return ForkCase(Toy(kind, [on], f"{name} {{ {settings} }}"), partial(resized, size=size, **more))


def rounded(i: int, old: int, new: int) -> int:
    """The nearer of the two around, of two as near the later."""
    return int(np.floor(corner(i, old, new) + 0.5))


def floored(place: Place) -> Callable[[int, int, int], int]:
    return lambda i, old, new: int(np.floor(place(i, old, new)))


def centre(i: int, old: int, new: int) -> float:
    return (np.float32(i) + np.float32(0.5)) * np.float32(old / new)


NEAREST = "ResizeNearestNeighbor"
CASES = [
    interp("zoom_factor: 3", (19, 25)),
    ForkCase(
        Toy("Interp", ["2 3 7 9"], 'variant: "training_toolbox_caffe" interp_param { zoom_factor: 3 }'),
        partial(resized, size=(21, 27)),
    ),
    interp("shrink_factor: 3", (3, 3)),
    interp("shrink_factor: 2 zoom_factor: 3", (10, 13)),
    interp("height: 5 width: 20", (5, 20)),
    interp("height: 7 width: 9", (7, 9)),
    interp("height: 1 width: 4", (1, 4)),
    interp("zoom_factor: 2 height: 3 width: 4", (13, 17)),
    interp("zoom_factor: 2 shrink_factor: 2 height: 3 width: 4", (3, 4)),
    interp("full_zoom_factor: 2", (14, 18)),
    interp("zoom_factor: 2 pad_beg: -1 pad_end: -2", (7, 11), cut=(1, 2)),
    interp("pad_beg: -2 height: 8 width: 4", (8, 4), cut=(2, 0)),
    interp("", (4, 12), on="2 3 7 9, 2 5 4 12"),
    interp('height: 4 width: 13 interp_type: "nearest_neighbor"', (4, 13), how=nearest, place=rounded),
    interp("zoom_factor: 2 is_seglabel: true", (13, 17), how=nearest, place=rounded),
    interp("zoom_factor: 4", (1, 1), on="3 2 1 1"),
    *map(opencv, ("zoom_factor: 2", "height: 5 width: 20", "height: 9 width: 3")),
    ForkCase(
        Toy("BilinearInterpolation", ["2 3 4 5", "2 1 9 7"]), partial(resized, size=(9, 7))
    ),
    ForkCase(
        Toy("BilinearInterpolation", ["2 3 4 5"], "bilinear_interpolation_param { interpolation_factor: 2 }"),
        partial(resized, size=(8, 10)),
    ),
    tf("ResizeBilinear", 'output_height: 8 output_width: 3 data_format: "NCHW"', (8, 3), place=plain),
    tf("ResizeBilinear", 'align_corners: true output_height: 8 output_width: 3 data_format: "NCHW"', (8, 3)),
    tf("ResizeBilinear", 'align_corners: true output_height: 1 output_width: 1 data_format: "NCHW"', (1, 1)),
    tf(
        "ResizeBilinear",
        'half_pixel_centers: true output_height: 8 output_width: 1 data_format: "NCHW"',
        (8, 1),
        place=half,
    ),
    tf(
        "ResizeBilinear",
        'pytorch_half_pixel: true output_height: 1 output_width: 11 data_format: "NCHW"',
        (1, 11),
        place=torch_half,
    ),
    tf("ResizeBilinear", "scale_height: 2 scale_width: 1.5", (10, 10), on="2 5 7 3", place=plain, last=True),
    tf(NEAREST, 'scale_height: 2 scale_width: 2 data_format: "NCHW"', (10, 14), how=nearest, place=floored(plain)),
    tf(NEAREST, "output_height: 3 output_width: 9", (3, 9), on="2 5 7 3", how=nearest, place=floored(plain), last=True),
    tf(
        NEAREST,
        'align_corners: true output_height: 8 output_width: 4 data_format: "NCHW"',
        (8, 4),
        how=nearest,
        place=rounded,
    ),
    tf(
        NEAREST,
        'half_pixel_centers: true output_height: 8 output_width: 3 data_format: "NCHW"',
        (8, 3),
        how=nearest,
        place=floored(centre),
    ),
    tf(
        NEAREST,
        'half_pixel_onnx: true output_height: 8 output_width: 3 data_format: "NCHW"',
        (8, 3),
        how=nearest,
        place=floored(half),
    ),
]  # fmt: skip
