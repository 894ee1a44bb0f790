"""Layers that normalise: their definitions as loops."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from geometry_toys import Toy

from fork_cases import Array, ForkCase, Judge

POSITIVE = np.random.default_rng(5).uniform(0.5, 2, 6)
VARIANCE = {3: POSITIVE[:4].reshape(1, 4, 1, 1)}
FILLERS = "scale_filler { value: 1 } shift_filler { }"


def stored(bottoms: Sequence[Array], params: Sequence[Array], *, eps: float = 1e-5) -> Array:
    """Scale, shift, mean, variance."""
    top = np.empty_like(bottoms[0])
    for c in range(top.shape[1]):
        scale, shift, mean, variance = (p.reshape(-1)[c] for p in params)
        top[:, c] = (bottoms[0][:, c] - mean) / np.sqrt(variance + eps) * scale + shift
    return top


def scaled(bottoms: Sequence[Array], params: Sequence[Array]) -> Array:
    top = np.empty_like(bottoms[0])
    for c in range(top.shape[1]):
        top[:, c] = bottoms[0][:, c] * params[0].reshape(-1)[c] + params[1].reshape(-1)[c]
    return top


def learning(
    bottoms: Sequence[Array], params: Sequence[Array], *, tops: int = 1, eps: float = 1e-9
) -> Sequence[Array]:
    """By the batch's own statistics, E(x^2) - E(x)^2."""
    (x,), channels = bottoms, bottoms[0].shape[1]
    means = [x[:, c].mean() for c in range(channels)]
    variances = [(x[:, c] ** 2).mean() - means[c] ** 2 for c in range(channels)]
    top = stored(bottoms, [*params[:2], np.array(means), np.array(variances)], eps=eps)
    return [top, *(np.reshape(v, (1, channels, 1, 1)) for v in (means, variances))][:tops]


def in_groups(bottoms: Sequence[Array], params: Sequence[Array], *, groups: int, eps: float = 1e-5) -> Array:
    top = bottoms[0].copy()
    step = top.shape[1] // groups
    for n in range(len(top)):
        for start in range(0, top.shape[1], step):
            part = bottoms[0][n, start : start + step]
            top[n, start : start + step] = (part - part.mean()) / np.sqrt(part.var() + eps)
    return top


def by_image(bottoms: Sequence[Array], params: Sequence[Array]) -> Array:
    rows = [(x - x.mean()) / np.sqrt(x.var() + 1e-5) for x in bottoms[0]]
    return np.stack([row * params[0] + params[1] if params else row for row in rows])


def unit_rows(bottoms: Sequence[Array], params: Sequence[Array]) -> Array:
    return np.stack([x / (np.sqrt((x**2).sum()) + 1e-9) for x in bottoms[0]])


def unit_pixels(
    bottoms: Sequence[Array], params: Sequence[Array], *, kind: str, tops: int = 1
) -> Sequence[Array]:
    """Each pixel's channels over their norm, and the norms."""
    n, c, h, w = (*bottoms[0].shape, 1, 1)[:4]
    x = bottoms[0].reshape(n, c, h, w)
    norms, top = np.empty((n, 1, h, w)), np.empty_like(x)
    for i, y, z in np.ndindex(n, h, w):
        pixel = x[i, :, y, z]
        norm = np.sqrt((pixel**2).sum() + 1e-6) if kind == "L2" else np.abs(pixel).sum() + 1e-6
        top[i, :, y, z], norms[i, 0, y, z] = pixel / norm, norm
    return [top, norms][:tops]


def distances(bottoms: Sequence[Array], params: Sequence[Array], *, power: int, unit: bool = False) -> Array:
    rows = bottoms[0].reshape(len(bottoms[0]), -1)
    weights = params[0] if params else bottoms[1].reshape(len(bottoms[1]), -1)
    top = np.empty((len(rows), len(weights)))
    for i, j in np.ndindex(top.shape):
        w = weights[j] / np.sqrt((weights[j] ** 2).sum() + 1e-6) if unit else weights[j]
        top[i, j] = (np.abs(rows[i] - w) ** power).sum()
    return top + params[1] if len(params) > 1 else top


def convolved(x: Array, kernel: Array, pad: int) -> Array:
    """Stride 1; (N, C, H, W)."""
    n, _, h, w = x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    top = np.empty((n, len(kernel), h, w))
    for i, o, y, z in np.ndindex(top.shape):
        top[i, o, y, z] = (padded[i, :, y : y + kernel.shape[2], z : z + kernel.shape[3]] * kernel[o]).sum()
    return top


def dense(bottoms: Sequence[Array], params: Sequence[Array], *, steps: int, narrow: bool) -> Array:
    """Blobs in groups of `steps`: kernels, scales, shifts, means, variances; the narrow ones; one factor."""
    x, factor = bottoms[0], params[-1].item()
    for i in range(steps):
        kernel, scale, shift, mean, variance = (params[group * steps + i] for group in range(5))
        y = np.maximum(stored([x], [scale, shift, mean / factor, variance / factor]), 0)
        if narrow:
            first, scale, shift, mean, variance = (params[group * steps + i] for group in range(5, 10))
            y = convolved(y, first, 0)
            y = np.maximum(stored([y], [scale, shift, mean / factor, variance / factor]), 0)
        x = np.concatenate([x, convolved(y, kernel, 1)], 1)
    return x


def bn(settings: str, judge: Judge, *, on: str = "2 4 3 5", tops: int = 1, **params: object) -> ForkCase:
    return ForkCase(Toy("BN", [on], f"bn_param {{ {settings} }}", tops), judge, **params)


def block(settings: str, *, steps: int, narrow: bool) -> ForkCase:
    """Variances above 0."""
    rng, groups = np.random.default_rng(4), (4, 9) if narrow else (4,)
    params: dict[int, object] = {
        group * steps + i: rng.uniform(0.5, 2, (1, 8 if group == 9 else 3 + 2 * i, 1, 1))
        for group in groups
        for i in range(steps)
    }
    params[(10 if narrow else 5) * steps] = 2
    toy = Toy(
        "DenseBlock", ["2 3 4 3"], f"denseblock_param {{ numTransition: {steps} growthRate: 2 {settings} }}"
    )
    return ForkCase(toy, partial(dense, steps=steps, narrow=narrow), params=params)


CASES = [
    bn(f"{FILLERS} bn_mode: INFERENCE", scaled),
    bn(f"bn_mode: LEARN {FILLERS}", learning),
    bn(FILLERS, partial(learning, tops=2), tops=2),
    bn(FILLERS, partial(learning, tops=3), tops=3),
    bn("slope_filler { value: 1 } bias_filler { } frozen: true momentum: 0.95", stored, params=VARIANCE),
    bn("eps: 0.1", partial(stored, eps=0.1), params=VARIANCE, on="3 4"),
    bn("", stored, params=VARIANCE, on="2 4 2 3 2"),
    bn(f"{FILLERS} var_eps: 0.01", partial(stored, eps=0.01), params=VARIANCE),
    bn(f"{FILLERS} var_eps: 0.01 moving_average: false", partial(learning, eps=0.01)),
    ForkCase(Toy("BN", ["2 4 3 5"], f'variant: "caffe-windows" bn_param {{ {FILLERS} }}'), partial(stored, eps=1e-10), params=VARIANCE),
    ForkCase(Toy("GroupNorm", ["2 6 3 4"], "group_norm_param { group_num: 3 }"), partial(in_groups, groups=3)),
    ForkCase(
        Toy("GroupNorm", ["2 4 3 2 2"], "group_norm_param { group_num: 2 eps: 0.5 }"),
        partial(in_groups, groups=2, eps=0.5),
    ),
    ForkCase(Toy("LayerNorm", ["3 4 5"]), by_image),
    ForkCase(Toy("LayerNorm", ["3 7"], "layer_norm_param { elementwise_affine: false }"), by_image),
    ForkCase(Toy("L2Norm", ["3 4 2 2"]), unit_rows),
    ForkCase(Toy("L2Norm", ["3"]), unit_rows, gradient=""),
    ForkCase(Toy("Normalize", ["2 3 4 5"], 'normalize_param { normalize_type: "L2" }'), partial(unit_pixels, kind="L2")),
    ForkCase(Toy("Normalize", ["4 6"], 'softmax_param { normalize_type: "L1" }'), partial(unit_pixels, kind="L1")),
    ForkCase(Toy("Normalize", ["2 3 4 5"], "", 2), partial(unit_pixels, kind="L2", tops=2)),
    ForkCase(Toy("InnerDistance", ["3 4 2", "5 8"]), partial(distances, power=2), gradient="ab"),
    ForkCase(
        Toy("InnerDistance", ["3 4"], 'inner_distance_param { num_output: 5 distance_type: "L1" }'),
        partial(distances, power=1),
    ),
    ForkCase(
        Toy("InnerDistance", ["3 4"], "inner_distance_param { num_output: 5 bias_filler { } }"),
        partial(distances, power=2),
    ),
    ForkCase(
        Toy("InnerDistance", ["3 4"], "inner_distance_param { num_output: 5 normalize: true }"),
        partial(distances, power=2, unit=True),
    ),
    ForkCase(
        Toy("InnerDistance", ["3 4"], "trained { dim: 5 dim: 4 } trained { dim: 5 } inner_distance_param { num_output: 5 }"),
        partial(distances, power=2),
    ),
    block("", steps=3, narrow=False),
    block("use_BC: true", steps=2, narrow=True),
]  # fmt: skip
