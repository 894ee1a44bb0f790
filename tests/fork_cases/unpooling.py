"""Layers that undo a pooling."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from geometry_toys import Toy

from fork_cases import Array, ForkCase, Judge


def by_mask(room: tuple[int, int]) -> Judge:
    """Each value at its place; of several the last stays."""

    def judge(bottoms: Sequence[Array], params: Sequence[Array]) -> Array:
        x, mask = bottoms
        top = np.zeros((*x.shape[:2], *room))
        for n, c, y, z in product(*map(range, x.shape)):
            top[n, c].ravel()[int(mask[n, c, y, z])] = x[n, c, y, z]
        return top

    return judge


def spread(
    method: str, kernel: tuple[int, int], stride: tuple[int, int], pad: tuple[int, int], room: tuple[int, int]
) -> Judge:
    """Each value over its window of the top, or at one place of it."""

    def judge(bottoms: Sequence[Array], params: Sequence[Array]) -> Array:
        x = bottoms[0]
        top, times = np.zeros((*x.shape[:2], *room)), np.zeros(room)
        for y, z in product(range(x.shape[2]), range(x.shape[3])):
            firsts = [i * s - p for i, s, p in zip((y, z), stride, pad, strict=True)]
            ends = [min(f + k, n + p) for f, k, n, p in zip(firsts, kernel, room, pad, strict=True)]
            if method in ("MAX", "FIXED"):
                # int() rounds towards zero, as C does.
                middles = [int((2 * f + k - 1) / 2) for f, k in zip(firsts, kernel, strict=True)]
                at = firsts if method == "MAX" else middles
                h, w = (min(max(i, 0), n - 1) for i, n in zip(at, room, strict=True))
                top[:, :, h, w] = x[:, :, y, z]
                continue
            size = (ends[0] - firsts[0]) * (ends[1] - firsts[1]) if method in ("AVE", "DIV") else 1
            for h, w in product(
                *(range(max(f, 0), min(e, n)) for f, e, n in zip(firsts, ends, room, strict=True))
            ):
                top[:, :, h, w] += x[:, :, y, z] / size
                times[h, w] += 1
        return top / np.maximum(times, 1) if method in ("DIV", "REP") else top

    return judge


def masked(
    room: tuple[int, int], shape: tuple[int, ...] = (2, 3, 4, 5), once: bool = True
) -> dict[str, Array]:
    """A mask: places without repetition, or with."""
    rng = np.random.default_rng(3)
    size, count = room[0] * room[1], shape[2] * shape[3]
    rows = [rng.choice(size, count, replace=not once) for _ in range(shape[0] * shape[1])]
    return {"b": np.array(rows, np.float32).reshape(shape)}


TWO = ["2 3 4 5", "2 3 4 5"]

MASKS = [
    ForkCase(Toy(kind, TWO, settings), by_mask(room), masked(room, once=once))
    for kind, settings, room in (
        ("Upsample", "upsample_param { scale: 2 }", (8, 10)),
        ("Upsample", "upsample_param { scale_h: 2 scale_w: 3 }", (8, 15)),
        ("Upsample", "upsample_param { scale: 2 pad_out_h: true pad_out_w: true }", (7, 9)),
        ("Upsample", "upsample_param { scale: 2 pad_out_h: true }", (7, 10)),
        ("Upsample", "upsample_param { scale: 2 upsample_h: 9 upsample_w: 7 }", (9, 7)),
        ("Unpooling", "unpooling_param { unpool: MAX kernel_size: 2 stride: 2 unpool_size: 9 }", (9, 9)),
        ("Unpooling", "unpooling_param { kernel_size: 2 stride: 2 unpool_h: 8 unpool_w: 11 }", (8, 11)),
        ("Unpooling", "unpooling_param { kernel_size: 2 stride: 2 }", (8, 10)),
        ("Unpooling", "pooling_param { kernel_size: 3 stride: 2 }", (8, 11)),
        ("UnPooling", "unpooling_param { pool: MAX kernel_size: 2 stride: 2 }", (9, 11)),
        ("MaxUnPool", "max_unpool_param { dst_h: 8 dst_w: 10 }", (8, 10)),
    )
    for once in (True, False)
]

SPREADS = [
    ForkCase(Toy(kind, ["2 3 4 5"], f"unpooling_param {{ {settings} }}"), judge)
    for kind, settings, judge in (
        (
            "Unpooling",
            "kernel_size: 2 stride: 2 unpool_size: 10",
            spread("MAX", (2, 2), (2, 2), (0, 0), (10, 10)),
        ),
        (
            "Unpooling",
            "unpool: AVE kernel_h: 3 kernel_w: 2 stride: 2 unpool_h: 8 unpool_w: 10",
            spread("AVE", (3, 2), (2, 2), (0, 0), (8, 10)),
        ),
        (
            "Unpooling",
            "unpool: TILE kernel_size: 3 stride_h: 2 stride_w: 1 unpool_h: 9 unpool_w: 7",
            spread("TILE", (3, 3), (2, 1), (0, 0), (9, 7)),
        ),
        ("UnPooling", "pool: MAX kernel_size: 2 stride: 2", spread("MAX", (2, 2), (2, 2), (0, 0), (9, 11))),
        ("UnPooling", "pool: AVE kernel_size: 2 stride: 2", spread("AVE", (2, 2), (2, 2), (0, 0), (9, 11))),
        ("UnPooling", "kernel_size: 3 stride: 2 pad: 1", spread("MAX", (3, 3), (2, 2), (1, 1), (8, 10))),
        *[
            (
                "UnPooling",
                f"unpool: {method} out_kernel_size: 3 out_stride: 2 out_pad: {pad}",
                spread(method, (3, 3), (2, 2), (pad, pad), (9 - 2 * pad, 11 - 2 * pad)),
            )
            for method in ("FIXED", "DIV", "REP")
            for pad in (0, 1)
        ],
        (
            "UnPooling",
            "out_kernel_h: 2 out_kernel_w: 4 out_stride_h: 1 out_stride_w: 3 out_pad_h: 1 out_pad_w: 2",
            spread("FIXED", (2, 4), (1, 3), (1, 2), (3, 12)),
        ),
    )
]
SPREADS += [
    # The second bottom gives nothing but its size.
    ForkCase(
        Toy("UnPooling", ["2 3 4 5", "1 1 9 10"], "unpooling_param { unpool: REP out_kernel_size: 1 }"),
        spread("REP", (3, 2), (3, 2), (1, 0), (10, 10)),
    ),
    ForkCase(
        Toy("Upsample", ["2 3 4 5"], "upsample_param { scale_h: 2 scale_w: 3 }"),
        lambda bottoms, params: np.repeat(np.repeat(bottoms[0], 2, 2), 3, 3),
    ),
]

CASES = [*MASKS, *SPREADS]
