"""Convolution and pooling as forks extend them: uneven padding, volumes, one filter per channel, weights of one bit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import numpy as np
from geometry_toys import Toy

from fork_cases import Array, ForkCase, Judge

Pads = Sequence[tuple[int, int]]


def convolution(
    pads: Pads, stride: Sequence[int], dilation: Sequence[int] | None = None, group: int = 1
) -> Judge:
    """(N, C, axes ..) with weights (O, C / group, kernel ..), place by place."""

    def judge(bottoms: Sequence[Array], params: Sequence[Array]) -> list[Array]:
        weights, holes = params[0], dilation or [1] * len(stride)
        if weights.ndim < 2 + len(stride):
            weights = weights[:, None]
        bias = params[1].ravel() if len(params) > 1 else np.zeros(len(weights))
        return [_convolved(x, weights, bias, pads, stride, holes, group) for x in bottoms]

    return judge


def _convolved(
    x: Array, weights: Array, bias: Array, pads: Pads, stride: Sequence[int], holes: Sequence[int], group: int
) -> Array:
    x = np.pad(x, [(0, 0), (0, 0), *pads])
    kernel, (outputs, depth) = weights.shape[2:], weights.shape[:2]
    extents = [h * (k - 1) + 1 for k, h in zip(kernel, holes, strict=True)]
    room = [(n - e) // s + 1 for n, e, s in zip(x.shape[2:], extents, stride, strict=True)]
    top = np.zeros((len(x), outputs, *room))
    for n, o, *place in product(*map(range, top.shape)):
        first = o // (outputs // group) * depth
        total = bias[o]
        for c, *at in product(range(depth), *map(range, kernel)):
            source = [p * s + a * h for p, s, a, h in zip(place, stride, at, holes, strict=True)]
            total += weights[(o, c, *at)] * x[(n, first + c, *source)]
        top[(n, o, *place)] = total
    return top


def deconvolution(pads: Pads, stride: Sequence[int]) -> Judge:
    """Each value of (N, C, axes ..) spreads weights (C, O, kernel ..) over the top, whose ends are then cut off."""

    def judge(bottoms: Sequence[Array], params: Sequence[Array]) -> Array:
        (x,), (weights, bias) = bottoms, params
        kernel = weights.shape[2:]
        room = [(n - 1) * s + k for n, s, k in zip(x.shape[2:], stride, kernel, strict=True)]
        top = np.zeros((len(x), weights.shape[1], *room))
        for n, c, *place in product(*map(range, x.shape)):
            at = [slice(p * s, p * s + k) for p, s, k in zip(place, stride, kernel, strict=True)]
            top[(n, slice(None), *at)] += weights[c] * x[(n, c, *place)]
        cut = [slice(before, size - after) for (before, after), size in zip(pads, room, strict=True)]
        return top[(slice(None), slice(None), *cut)] + bias.reshape(1, -1, *[1] * len(kernel))

    return judge


def pool(
    method: str,
    kernel: Sequence[int],
    stride: Sequence[int],
    pads: Pads | None = None,
    room: Sequence[int] = (),
    mask: bool = False,
    dilation: int = 1,
) -> Judge:
    """MAX, AVE (the padding counts) or EXC (it does not) of (N, C, axes ..); `room` is the size of the top."""

    def judge(bottoms: Sequence[Array], params: Sequence[Array]) -> list[Array]:
        (x,) = bottoms
        ends = pads or [(0, 0)] * len(kernel)
        values = np.zeros((*x.shape[:2], *room))
        places = np.zeros_like(values)
        for n, c, *place in product(*map(range, values.shape)):
            window = [
                [p * s - before + i * dilation for i in range(k)]
                for p, s, (before, _), k in zip(place, stride, ends, kernel, strict=True)
            ]
            counted = [
                [i for i in along if i < size + after]
                for along, size, (_, after) in zip(window, x.shape[2:], ends, strict=True)
            ]
            inside = [
                [i for i in along if 0 <= i < size] for along, size in zip(window, x.shape[2:], strict=True)
            ]
            found = [(x[(n, c, *at)], at) for at in product(*inside)]
            where = (n, c, *place)
            if method == "MAX":
                best = max(found, key=lambda pair: pair[0])  # of equal ones the first
                values[where] = best[0]
                places[where] = np.ravel_multi_index(best[1], x.shape[2:])
            else:
                size = math.prod(map(len, counted if method == "AVE" else inside))
                values[where] = sum(value for value, _ in found) / size
        return [values, places] if mask else [values]

    return judge


def binary(judge: Judge, scaled: bool) -> Judge:
    """With weights that are signs, times their mean size in an output if `scaled`."""

    def signs(bottoms: Sequence[Array], params: Sequence[Array]) -> Array | Sequence[Array]:
        weights, *rest = params
        out = np.empty_like(weights)
        for row, values in zip(out, weights, strict=True):
            row[...] = np.where(values >= 0, 1, -1) * (np.abs(values).mean() if scaled else 1)
        return judge(bottoms, [out, *rest])

    return signs


def inner(bottoms: Sequence[Array], params: Sequence[Array]) -> Array:
    """Rows times weights (O, K), plus a bias if there is one."""
    out = bottoms[0].reshape(len(bottoms[0]), -1) @ params[0].T
    return out + params[1] if len(params) > 1 else out


def conv(
    settings: str, judge: Judge, on: str = "2 4 7 6", kind: str = "Convolution", **more: object
) -> ForkCase:
    return ForkCase(Toy(kind, [on], f"convolution_param {{ {settings} }}"), judge, **more)


def pooling(settings: str, judge: Judge, on: str = "2 3 7 6", tops: int = 1, **more: object) -> ForkCase:
    return ForkCase(Toy("Pooling", [on], f"pooling_param {{ {settings} }}", tops), judge, **more)


UNEVEN = "pad_l: 2 pad_r: 0 pad_t: 1 pad_b: 3"
SIDES = [(1, 3), (2, 0)]
NONE2, NONE3 = [(0, 0)] * 2, [(0, 0)] * 3
EQUAL = {"a": np.ones((2, 3, 7, 6))}

PADDED = [
    conv(f"num_output: 3 kernel_size: 3 {UNEVEN}", convolution(SIDES, (1, 1))),
    conv(
        f"num_output: 4 group: 2 kernel_h: 3 kernel_w: 2 stride: 2 {UNEVEN} pad_h: 0 pad_w: 0",
        convolution(SIDES, (2, 2), group=2),
    ),
    conv(f"num_output: 2 kernel_size: 2 dilation: 2 {UNEVEN}", convolution(SIDES, (1, 1), (2, 2))),
    conv("num_output: 2 kernel_size: 3 stride: 2 pad_type: 1", convolution([(1, 1), (0, 1)], (2, 2))),
    conv("num_output: 2 kernel_size: 2 stride: 3 pad_type: 1", convolution([(0, 1), (0, 0)], (3, 3))),
    conv("num_output: 2 kernel_size: 3 hole: 2 pad: 2", convolution([(2, 2)] * 2, (1, 1), (2, 2))),
    conv("num_output: 2 kernel_size: 2 hole_h: 3 hole_w: 1", convolution(NONE2, (1, 1), (3, 1))),
    conv(
        f"num_output: 3 kernel_size: 4 stride: 2 {UNEVEN}",
        deconvolution(SIDES, (2, 2)),
        kind="Deconvolution",
    ),
    pooling(f"kernel_size: 3 stride: 2 {UNEVEN}", pool("MAX", (3, 3), (2, 2), SIDES, (4, 4))),
    pooling(
        f"kernel_size: 3 stride: 2 {UNEVEN} ceil_mode: false",
        pool("MAX", (3, 3), (2, 2), SIDES, (5, 3)),
        on="2 3 8 6",
    ),
    pooling(f"pool: AVE kernel_size: 4 stride: 3 {UNEVEN}", pool("AVE", (4, 4), (3, 3), SIDES, (3, 3))),
    pooling(
        f"pool: AVE_EXC_PAD kernel_size: 4 stride: 3 {UNEVEN}", pool("EXC", (4, 4), (3, 3), SIDES, (3, 3))
    ),
    pooling("pool: AVE_TF kernel_size: 3 pad: 1", pool("EXC", (3, 3), (1, 1), [(1, 1)] * 2, (7, 6))),
    pooling(
        "pool: AVE_EXC_PAD kernel_size: 3 stride: 2 pad_type: 1",
        pool("EXC", (3, 3), (2, 2), [(1, 1), (0, 1)], (4, 3)),
    ),
    pooling("pool: AVE_EXC_PAD global_pooling: true", pool("EXC", (7, 6), (1, 1), None, (1, 1))),
    pooling("pool: AVE_EXC_PAD kernel_size: 3 stride: 2", pool("EXC", (3, 3), (2, 2), None, (3, 3))),
    pooling("kernel_size: 2 stride: 2 round_mode: FLOOR", pool("MAX", (2, 2), (2, 2), None, (3, 3))),
    pooling("kernel_size: 2 stride: 2 round_mode: CEIL", pool("MAX", (2, 2), (2, 2), None, (4, 3))),
    pooling("kernel_size: 2 dilation: 3 stride: 2", pool("MAX", (2, 2), (2, 2), None, (3, 2), dilation=3)),
    pooling(
        "pool: AVE kernel_size: 2 dilation: 2 pad: 1",
        pool("AVE", (2, 2), (1, 1), [(1, 1)] * 2, (7, 6), dilation=2),
    ),
    pooling(
        f"kernel_size: 3 stride: 2 {UNEVEN}",
        pool("MAX", (3, 3), (2, 2), SIDES, (4, 4), mask=True),
        tops=2,
        gradient="",
    ),
    pooling(
        "kernel_size: 2 dilation: 2",
        pool("MAX", (2, 2), (1, 1), None, (5, 4), mask=True, dilation=2),
        tops=2,
        inputs=EQUAL,
        gradient="",
    ),
]

DEPTHWISE = [
    conv(
        f"num_output: 4 kernel_size: 3 {settings}",
        convolution([(pad, pad)] * 2, (stride, stride), (hole, hole), group=4),
        kind=kind,
    )
    for kind in ("ConvolutionDepthwise", "DepthwiseConvolution")
    for settings, pad, stride, hole in (
        ("pad: 1", 1, 1, 1),
        ("pad: 1 stride: 2 group: 4 bias_term: false", 1, 2, 1),
        ("pad: 2 dilation: 2 group: 4", 2, 1, 2),
    )
]
DEPTHWISE += [
    # Whatever num_output says, or where it is not given at all.
    conv("kernel_size: 3 pad: 1", convolution([(1, 1)] * 2, (1, 1), group=4), kind="ConvolutionDepthwise"),
    conv("num_output: 7 kernel_size: 2", convolution(NONE2, (1, 1), group=4), kind="ConvolutionDepthwise"),
    conv(
        "num_output: 7 group: 2 kernel_h: 1 kernel_w: 3",
        convolution(NONE2, (1, 1), group=4),
        kind="ConvolutionDepthwise",
    ),
    conv("num_output: 8 kernel_size: 2", convolution(NONE2, (1, 1), group=4), kind="ConvolutionDepthwise"),
    conv("kernel_size: 2", convolution(NONE2, (1, 1), group=4), kind="DepthwiseConvolution"),
    conv(
        "num_output: 6 group: 2 kernel_size: 2",
        convolution(NONE2, (1, 1), group=2),
        kind="DepthwiseConvolution",
    ),
    conv(f"kernel_size: 3 {UNEVEN}", convolution(SIDES, (1, 1), group=4), kind="ConvolutionDepthwise"),
    ForkCase(
        Toy(
            "DepthwiseConvolution",
            ["2 4 7 6"],
            "trained { dim: 4 dim: 3 dim: 3 } convolution_param { num_output: 4 kernel_size: 3 }",
        ),
        convolution(NONE2, (1, 1), group=4),
    ),
    ForkCase(
        Toy(
            "ConvolutionDepthwise",
            ["2 4 7 6"],
            "trained { dim: 4 dim: 1 dim: 3 dim: 3 } convolution_param { num_output: 8 kernel_size: 3 }",
        ),
        convolution(NONE2, (1, 1), group=4),
    ),
]

CLIP = "kernel_size: 2 kernel_depth: 3 pad: 1 temporal_pad: 2 stride: 2"
CLIP_PADS = [(2, 2), (1, 1), (1, 1)]
VOLUMES = [
    *[
        ForkCase(Toy(kind, ["1 2 4 5 3"], f"{field} {{ num_output: 3 {CLIP} }}"), judge)
        for kind, judge in (
            ("Convolution3D", convolution(CLIP_PADS, (1, 2, 2))),
            ("Deconvolution3D", deconvolution(CLIP_PADS, (1, 2, 2))),
        )
        for field in ("convolution_param", "convolution3d_param")
    ],
    ForkCase(
        Toy("Convolution3D", ["1 2 4 5 3"], "convolution_param { num_output: 2 kernel_size: 2 }"),
        convolution(NONE3, (1, 1, 1)),
    ),
    *[
        ForkCase(
            Toy("Pooling3D", ["2 2 5 4 7"], f"{field} {{ {settings} }}"),
            pool(method, (2, 3, 3), (3, 2, 2), [(0, 0), (pad, pad), (pad, pad)], room),
        )
        for field in ("pooling_param", "pooling3d_param")
        for settings, method, pad, room in (
            ("kernel_depth: 2 temporal_stride: 3 kernel_size: 3 stride: 2", "MAX", 0, (2, 2, 3)),
            (
                "pool: AVE kernel_depth: 2 temporal_stride: 3 kernel_size: 3 stride: 2 pad: 1",
                "AVE",
                1,
                (2, 3, 4),
            ),
        )
    ],
    *[
        ForkCase(Toy("Pooling3D", ["2 2 5 4 7"], f"pooling3d_param {{ {settings} }}"), judge)
        for settings, judge in (
            ("kernel_size: 2 stride: 2", pool("MAX", (2, 2, 2), (2, 2, 2), None, (3, 2, 4))),
            ("kernel_size: 2 stride: 2 ceil_mode: false", pool("MAX", (2, 2, 2), (2, 2, 2), None, (2, 2, 3))),
            ("pool: AVE global_pooling: true", pool("AVE", (5, 4, 7), (1, 1, 1), None, (1, 1, 1))),
            (
                "pool: AVE_EXC_PAD kernel_d: 2 kernel_h: 3 kernel_w: 4 stride_d: 1 stride_h: 2 stride_w: 3 "
                "pad_d0: 1 pad_h1: 2 pad_w0: 1 pad_w1: 2",
                pool("EXC", (2, 3, 4), (1, 2, 3), [(1, 0), (0, 2), (1, 2)], (5, 2, 3)),
            ),
        )
    ],
    *[
        ForkCase(
            Toy("PoolingND", [on], f"pooling_nd_param {{ {settings} }}", tops),
            judge,
            gradient="a" * (tops == 1),
        )
        for on, settings, judge, tops in (
            ("2 2 5 4 7", "kernel_size: 2 stride: 2", pool("MAX", (2, 2, 2), (2, 2, 2), None, (3, 2, 4)), 1),
            (
                "2 2 5 4 7",
                "kernel_size: [2, 3, 1] stride: [2, 1, 3] pad: [1, 2, 0] engine: CAFFE",
                pool("MAX", (2, 3, 1), (2, 1, 3), [(1, 1), (2, 2), (0, 0)], (3, 6, 3), mask=True),
                2,
            ),
            (
                "2 2 5 4 7",
                "pool: AVE kernel_size: 3 stride: 2 pad: 1",
                pool("AVE", (3, 3, 3), (2, 2, 2), [(1, 1)] * 3, (3, 3, 4)),
                1,
            ),
            ("2 3 9", "kernel_size: 4 stride: 3", pool("MAX", (4,), (3,), None, (3,)), 1),
            (
                "2 3 7 6",
                "kernel_h: 3 kernel_w: 2 stride_h: 1 stride_w: 2 pad_h: 1 pad_w: 0",
                pool("MAX", (3, 2), (1, 2), [(1, 1), (0, 0)], (7, 3)),
                1,
            ),
            (
                "2 2 5 4 7",
                "pool: AVE global_pooling: true",
                pool("AVE", (5, 4, 7), (1, 1, 1), None, (1, 1, 1)),
                1,
            ),
        )
    ],
    ForkCase(
        Toy("VideoData", [], 'image_data_param { source: "x" batch_size: 2 crop_size: 4 new_length: 3 }', 2),
        lambda bottoms, params: [np.zeros((2, 3, 3, 4, 4)), np.zeros((2, 1, 1, 1, 1))],
        gradient="",
    ),
    pooling("kernel_size: 2 stride: 2", pool("MAX", (2, 2, 2), (2, 2, 2), None, (3, 2, 4)), on="2 2 5 4 7"),
    pooling(
        "pool: AVE global_pooling: true", pool("AVE", (5, 4, 7), (1, 1, 1), None, (1, 1, 1)), on="2 2 5 4 7"
    ),
]

BINARY = [
    *[
        ForkCase(
            Toy(
                "BinaryConvolution",
                ["2 4 7 6"],
                f"convolution_param {{ num_output: 3 kernel_size: 3 pad: 1 }} binary_convolution_param {{ {s} }}",
            ),
            judge,
            gradient=gradient,
        )
        for s, judge, gradient in (
            ("use_alpha: true", binary(convolution([(1, 1)] * 2, (1, 1)), True), ""),
            ("", binary(convolution([(1, 1)] * 2, (1, 1)), False), ""),
            ("use_binarization: false", convolution([(1, 1)] * 2, (1, 1)), "a"),
        )
    ],
    *[
        ForkCase(
            Toy(
                "BinaryInnerProduct",
                ["3 2 4"],
                f"inner_product_param {{ num_output: 5 {bias} }} binary_inner_product_param {{ {s} }}",
            ),
            judge,
            gradient=gradient,
        )
        for bias in ("", "bias_term: false")
        for s, judge, gradient in (
            ("use_alpha: true", binary(inner, True), ""),
            ("", binary(inner, False), ""),
            ("use_binarization: false", inner, "a"),
        )
    ],
]


def leaky(bottoms: Sequence[Array], params: Sequence[Array]) -> Array:
    """Negative values times the slope of their channel, or of all."""
    x, slopes = bottoms[0], np.broadcast_to(params[0], bottoms[0].shape[1:2])
    return np.array(
        [np.where(v > 0, v, s * v) for image in x for v, s in zip(image, slopes, strict=True)]
    ).reshape(x.shape)


VOLUMES += [
    ForkCase(Toy("PReLU", ["2 3 4 3 5"], f"prelu_param {{ {s} }}"), leaky)
    for s in ("", "channel_shared: true")
]

CASES = [*PADDED, *DEPTHWISE, *VOLUMES, *BINARY]
