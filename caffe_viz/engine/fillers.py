"""Fillers: the values of parameters before weights are loaded (Caffe's filler.hpp)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from caffe_viz.engine.table import Filler
from caffe_viz.errors import InputError

Shape = tuple[int, ...]
UNKNOWN_STD = 0.01


def filled(filler: Filler, shape: Shape, generator: Generator) -> Tensor:
    """Return a tensor of `shape` filled as `filler` says, with random numbers of `generator`, on the CPU.

    Fillers of forks of which only the name is known give small gaussian values, as good a start as any: the
    weights of a caffemodel replace them. `check` warns of them.

    Raises:
        InputError: A filler that cannot fill this shape.
    """
    if filler.type not in FILLERS:
        return torch.empty(shape).normal_(0, UNKNOWN_STD, generator=generator)
    if filler.sparse >= 0 and filler.type != "gaussian":
        raise InputError(f"filler {filler.type!r} takes no `sparse`; gaussian does.")
    return FILLERS[filler.type](filler, shape, generator)


def _constant(filler: Filler, shape: Shape, generator: Generator) -> Tensor:
    return torch.full(shape, filler.value)


def _uniform(filler: Filler, shape: Shape, generator: Generator) -> Tensor:
    if filler.min > filler.max:
        raise InputError(f"filler 'uniform': its min {filler.min:g} is above its max {filler.max:g}.")
    return torch.empty(shape).uniform_(filler.min, filler.max, generator=generator)


def _gaussian(filler: Filler, shape: Shape, generator: Generator) -> Tensor:
    if not filler.std > 0:
        raise InputError(f"filler 'gaussian': std {filler.std:g} must be above 0.")
    if filler.sparse >= 0 and not (shape and filler.sparse <= shape[0]):
        outputs = shape[0] if shape else 0
        raise InputError(f"filler 'gaussian': sparse {filler.sparse} is more than the {outputs} outputs.")
    values = torch.empty(shape).normal_(filler.mean, filler.std, generator=generator)
    if filler.sparse >= 0:
        values *= torch.empty(shape).bernoulli_(filler.sparse / shape[0], generator=generator)
    return values


def _positive_unitball(filler: Filler, shape: Shape, generator: Generator) -> Tensor:
    rows = torch.empty(shape).uniform_(0, 1, generator=generator).reshape(_legacy(shape)[0], -1)
    return (rows / rows.sum(1, keepdim=True)).reshape(shape)


def _xavier(filler: Filler, shape: Shape, generator: Generator) -> Tensor:
    bound = math.sqrt(3 / _fan(filler, shape))
    return torch.empty(shape).uniform_(-bound, bound, generator=generator)


def _msra(filler: Filler, shape: Shape, generator: Generator) -> Tensor:
    return torch.empty(shape).normal_(0, math.sqrt(2 / _fan(filler, shape)), generator=generator)


def _bilinear(filler: Filler, shape: Shape, generator: Generator) -> Tensor:
    if len(shape) != 4 or shape[2] != shape[3]:
        raise InputError(f"filler 'bilinear' takes square kernels (O, I, K, K), not {shape}.")
    factor = math.ceil(shape[3] / 2)
    centre = (2 * factor - 1 - factor % 2) / (2 * factor)
    line = 1 - (torch.arange(shape[3]) / factor - centre).abs()
    return (line[:, None] * line).expand(shape).contiguous()


def _fan(filler: Filler, shape: Shape) -> float:
    """The count that the scale of xavier and msra is divided by."""
    count, (num, channels) = math.prod(shape), _legacy(shape)[:2]
    fan_in, fan_out = count // num, count // channels
    means = {filler.FAN_IN: fan_in, filler.FAN_OUT: fan_out, filler.AVERAGE: (fan_in + fan_out) / 2}
    return means[filler.variance_norm]


def _legacy(shape: Shape) -> Shape:
    return (*shape, 1, 1)


FILLERS: dict[str, Callable[[Filler, Shape, Generator], Tensor]] = {
    "bilinear": _bilinear,
    "constant": _constant,
    "gaussian": _gaussian,
    "msra": _msra,
    "positive_unitball": _positive_unitball,
    "uniform": _uniform,
    "xavier": _xavier,
}
