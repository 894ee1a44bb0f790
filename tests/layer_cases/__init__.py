"""Settings of every layer type, on which the engines must agree; one module for each kind of layer.

A module has a list CASES. What a case does not say is noise: inputs and parameters are normal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pkgutil import iter_modules

import numpy as np
from geometry_toys import Toy

Values = Mapping[str, object]  # anything that np.asarray takes


@dataclass(frozen=True)
class LayerCase:
    """A one-layer net, layer `x` of `toy` on the inputs a, b, c ..; see `caffe_runs.Case`.

    `inputs` has values of some inputs, `params` of some parameters of layer x by their place. `gradient`
    says whether Caffe can go backward through it. `forced`: by force_backward, with which some layers abort;
    else input `a`, if there are several, is a parameter that learns.
    """

    toy: Toy
    inputs: Values = field(default_factory=dict)
    params: Mapping[int, object] = field(default_factory=dict)
    gradient: bool = True
    forced: bool = True
    train: bool = False

    def prototxt(self) -> str:
        text = self.toy.prototxt()
        if self.forced:
            return f"force_backward: {str(self.gradient).lower()}\n{text}"
        if len(self.toy.shapes) > 1:
            text = text.replace('"Input" top: "a" input_param', '"Parameter" top: "a" parameter_param', 1)
        return text

    def __str__(self) -> str:
        return f"{self.toy}{', TRAIN' if self.train else ''}"


def cases(
    kind: str, field_name: str, *settings: str, on: str = "2 6 9 8", tops: int = 1, **more: object
) -> list[LayerCase]:
    """Cases of one type: its defaults if no settings are given, on inputs of the shapes `on`, "2 3, 2 3"."""
    return [
        LayerCase(Toy(kind, on.split(", "), f"{field_name} {{ {s} }}" if field_name else s, tops), **more)
        for s in settings or [""]
    ]


def labels(shape: Sequence[int], count: int, seed: int = 0) -> np.ndarray:
    """Whole numbers below `count`."""
    return np.random.default_rng(seed).integers(0, count, tuple(shape)).astype(np.float32)


def positive(shape: Sequence[int], seed: int = 0) -> np.ndarray:
    """Values from 0.5 to 1.5."""
    return np.random.default_rng(seed).uniform(0.5, 1.5, tuple(shape)).astype(np.float32)


def all_cases() -> list[LayerCase]:
    """Those of every module of this folder."""
    modules = [import_module(f"{__name__}.{m.name}") for m in iter_modules(__path__)]
    return [case for module in modules for case in module.CASES]
