"""Settings of the layer types of forks, which real Caffe as built here does not have; a module for each kind.

A module has a list CASES. What a layer must compute is written out in the module as loops over NumPy arrays, or is
asked of OpenCV.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from geometry_toys import Toy
from numpy.typing import NDArray

Array = NDArray[Any]
# (bottoms, params) in float64 -> the tops
Judge = Callable[[Sequence[Array], Sequence[Array]], Array | Sequence[Array]]


@dataclass(frozen=True)
class ForkCase:
    """A one-layer net, layer `x` of `toy` on the inputs a, b, c .., and the `judge` of its tops.

    `inputs` has values of some inputs, `params` of some parameters by their place; the rest is normal noise.
    `gradient` names the bottoms whose gradient is compared with central differences; parameters' always are
    where it is not empty.
    """

    toy: Toy
    judge: Judge
    inputs: Mapping[str, object] = field(default_factory=dict)
    params: Mapping[int, object] = field(default_factory=dict)
    gradient: str = "a"

    def __str__(self) -> str:
        return str(self.toy)


def all_cases() -> list[ForkCase]:
    """Those of every module of this folder."""
    modules = [import_module(f"{__name__}.{m.name}") for m in iter_modules(__path__)]
    return [case for module in modules for case in module.CASES]
