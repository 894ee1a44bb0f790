"""Layers that work value by value, and what forks added to those of real Caffe: their definitions as loops."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial, reduce

import numpy as np
from geometry_toys import Toy

from fork_cases import Array, ForkCase, Judge

AWAY = np.random.default_rng(7).uniform(0.3, 2, (2, 3, 4, 5))  # from 0 and other corners
WIDE = {"a": np.linspace(-3, 9, 120).reshape(2, 3, 4, 5) + 0.0137}


def each(function: Callable[[float], float]) -> Judge:
    """`function` of each value."""
    return lambda bottoms, params: np.vectorize(function, otypes=[float])(bottoms[0])


def mish(x: float) -> float:
    return x * math.tanh(math.log(1 + math.exp(x)))


def selu(x: float) -> float:
    return 1.050700987 * (x if x > 0 else 1.67326324 * (math.exp(x) - 1))


def axpy(bottoms: Sequence[Array], params: Sequence[Array]) -> Array:
    a, x, y = bottoms
    top = y.copy()
    for n, c in np.ndindex(x.shape[:2]):
        top[n, c] += a.reshape(x.shape[:2])[n, c] * x[n, c]
    return top


def channel_scale(bottoms: Sequence[Array], params: Sequence[Array]) -> Array:
    x, top = bottoms[0], bottoms[0].copy()
    factors = bottoms[1].reshape(len(x), *x.shape[2:])
    for c in range(x.shape[1]):
        top[:, c] *= factors
    return top


def one_scale(
    bottoms: Sequence[Array], params: Sequence[Array], *, low: float, high: float
) -> Sequence[Array]:
    scale = min(max(params[0].item(), low), high)
    return [bottoms[0] * scale, np.array([scale])]


def spread(bottoms: Sequence[Array], params: Sequence[Array], *, product: bool) -> Array:
    """Axes counted from the end; an index along one of size 1 is always 0."""
    first, second = (*bottoms, *params)
    axes = max(first.ndim, second.ndim)
    padded = [x.reshape((1,) * (axes - x.ndim) + x.shape) for x in (first, second)]
    top = np.empty([max(pair) for pair in zip(*(x.shape for x in padded), strict=True)])
    for place in np.ndindex(top.shape):
        a, b = (x[tuple(0 if n == 1 else i for i, n in zip(place, x.shape, strict=True))] for x in padded)
        top[place] = a * b if product else a + b
    return top


def batch_norm(
    bottoms: Sequence[Array], params: Sequence[Array], *, relu: bool = False, outside: bool = False
) -> Array:
    """Mean, variance, factor; a scale and a shift of its own."""
    top = np.empty_like(bottoms[0])
    mean, variance = (p / params[2].item() for p in params[:2])
    for c in range(top.shape[1]):
        deviation = math.sqrt(variance[c]) + 0.1 if outside else math.sqrt(variance[c] + 1e-5)
        top[:, c] = (bottoms[0][:, c] - mean[c]) / deviation
        for own, join in zip(params[3:], (np.multiply, np.add), strict=False):
            top[:, c] = join(top[:, c], own[c])
    return np.maximum(top, 0) if relu else top


def standardised(bottoms: Sequence[Array], params: Sequence[Array]) -> Array:
    top = np.empty_like(bottoms[0])
    for n, c in np.ndindex(top.shape[:2]):
        x = bottoms[0][n, c]
        top[n, c] = (x - x.mean()) / math.sqrt(x.var() + 0.1)
    return top


def unit_weights(bottoms: Sequence[Array], params: Sequence[Array]) -> Array:
    rows = [w / math.sqrt((w**2).sum() + 1e-6) for w in params[0]]
    return np.array([[x @ w for w in rows] for x in bottoms[0]]) + params[1]


def along(bottoms: Sequence[Array], params: Sequence[Array]) -> Array:
    """The second bottom has the axes 1 and 2 of the first."""
    top = bottoms[0].copy()
    for c, y in np.ndindex(bottoms[1].shape):
        top[:, c, y] *= bottoms[1][c, y]
    return top


def fused(bottoms: Sequence[Array], params: Sequence[Array]) -> Array:
    rows = [np.concatenate([x[n].reshape(-1) for x in bottoms]) for n in range(len(bottoms[0]))]
    return np.stack(rows)[..., None, None]


def one(kind: str, settings: str, function: Callable[[float], float], **more: object) -> ForkCase:
    return ForkCase(Toy(kind, ["2 3 4 5"], settings), each(function), **{"inputs": WIDE, **more})


def eltwise(operation: str, judge: Judge, on: str = "2 3 4 5, 2 3 4 5", **more: object) -> ForkCase:
    toy = Toy("Eltwise", on.split(", "), f"eltwise_param {{ operation: {operation} }}")
    return ForkCase(toy, judge, gradient="ab", **more)


NORMS = {1: np.array([0.5, 1, 2]), 2: 2}
CASES = [
    one("Mish", "", mish),
    one("Swish", "", lambda x: x / (1 + math.exp(-x))),
    one("Swish", "swish_param { beta: 1.7 }", lambda x: x / (1 + math.exp(-1.7 * x))),
    one("Clip", "clip_param { min: -1 max: 2.5 }", lambda x: min(max(x, -1), 2.5)),
    one("BReLU", "", lambda x: min(max(x, 0), 1)),
    one("BReLU", "brelu_param { minval: -1 maxval: 3 }", lambda x: min(max(x, -1), 3)),
    one("SeLU", "", selu),
    one("Insanity", "", lambda x: x if x > 0 else x * math.log(2) / 5),
    one("Insanity", "insanity_param { lb: 2 ub: 8 }", lambda x: x if x > 0 else x * math.log(4) / 6),
    one("OutputDecay", "", lambda x: x),
    one("ReLU", "relu_param { relu6: true }", lambda x: min(max(x, 0), 6)),
    one("ReLU", "relu_param { relu6: true negative_slope: 0.1 }", lambda x: min(x if x > 0 else 0.1 * x, 6)),
    one("ReLU", "relu_param { maximum: 2 }", lambda x: min(max(x, 0), 2)),
    one("ReLU", "relu_param { minimum: 1 maximum: 8 relu6: true }", lambda x: min(max(x, 1), 6)),
    one("Dropout", "dropout_param { scale_train: false dropout_ratio: 0.3 }", lambda x: 0.7 * x),
    one("Dropout", "dropout_param { dropout_ratio: 0.3 }", lambda x: x),
    ForkCase(Toy("Axpy", ["2 3 1 1", "2 3 4 5", "2 3 4 5"]), axpy, gradient="abc"),
    ForkCase(Toy("Axpy", ["2 3", "2 3 4 5", "2 3 4 5"]), axpy, gradient="abc"),
    ForkCase(Toy("ChannelScale", ["2 3 4 5", "2 1 4 5"]), channel_scale, gradient="ab"),
    ForkCase(Toy("ChannelScale", ["3 4", "3"]), channel_scale, gradient="ab"),
    ForkCase(
        Toy("ChannelScale", ["2 3 4 5", "2 4 5"], "channel_scale_param { global_scale: true max_global_scale: 4 }", 2),
        partial(one_scale, low=0, high=4),
        params={0: 7},
    ),
    ForkCase(
        Toy("ChannelScale", ["2 3 4 5", "2 4 5"], "channel_scale_param { do_forward: false }"),
        lambda bottoms, params: bottoms[0],
    ),
    ForkCase(Toy("Add", ["2 3 4 5", "3 1 5"]), partial(spread, product=False), gradient="ab"),
    ForkCase(Toy("Add", ["4 5", "2 3 4 1"]), partial(spread, product=False), gradient="ab"),
    ForkCase(Toy("Mul", ["2 3 4 5", "2 3 1 1"]), partial(spread, product=True), gradient="ab"),
    ForkCase(
        Toy("Mul", ["2 3 4 5"], "mul_param { mul_shape: 3 mul_shape: 1 mul_shape: 1 }"), partial(spread, product=True)
    ),
    ForkCase(Toy("Add", ["2 3 4 5"], "trained { dim: 5 }"), partial(spread, product=False)),
    eltwise("DIV", lambda bottoms, params: bottoms[0] / bottoms[1], inputs={"b": AWAY}),
    eltwise("MIN", lambda bottoms, params: np.minimum(*bottoms)),
    eltwise("SORT", lambda bottoms, params: reduce(np.multiply, [1 + x for x in bottoms])),
    eltwise("PROD axis: 1", along, on="2 3 4 5, 3 4"),
    ForkCase(
        Toy("Concat", ["2 3 4 5", "2 2 6 1"], "concat_param { per_fla_fuse: true }"), fused, gradient="ab"
    ),
    # The statistics get no gradient, as in Caffe.
    ForkCase(Toy("BatchNorm", ["2 3 4 5"], "batch_norm_param { scale_bias: true }"), batch_norm, params=NORMS, gradient=""),
    ForkCase(
        Toy("BatchNorm", ["2 3 4 5"], "batch_norm_param { filler { value: 1 } bias_term: false relu: true }"),
        partial(batch_norm, relu=True),
        params=NORMS,
        gradient="",
    ),
    ForkCase(
        Toy("BatchNorm", ["2 3 4 5"], "trained { } trained { } trained { } trained { } trained { }"),
        batch_norm,
        params=NORMS,
        gradient="",
    ),
    ForkCase(
        Toy("BatchNorm", ["2 3 4 5"], "batch_norm_param { eps: 0.1 add_eps_before_sqrt: false }"),
        partial(batch_norm, outside=True),
        params=NORMS,
        gradient="",
    ),
    ForkCase(Toy("MVN", ["2 3 4 5"], "mvn_param { eps: 0.1 add_eps_before_sqrt: true }"), standardised),
    ForkCase(Toy("InnerProduct", ["3 4"], "inner_product_param { num_output: 5 normalize: true }"), unit_weights),
]  # fmt: skip
