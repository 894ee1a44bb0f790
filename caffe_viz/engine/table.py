"""The table of layer types: what each computes, as a function of tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from caffe_viz.geometry.table import TABLE, Out, Shapes, rule
from caffe_viz.netdef import LayerParameter, net_pb2

Filler = net_pb2.FillerParameter


@dataclass
class Call:
    """What a layer's function gets besides its bottoms and parameters.

    `state` is the layer's own and lasts from one forward to the next; `generator` is for randomness; `tops`
    counts also tops without a name. The function may fill `replaces`, the indices of parameters whose diff
    its gradient replaces where Caffe does not add to it, and `changes`, the parameters that it has changed in
    place.
    """

    param: LayerParameter
    train: bool
    tops: int
    device: torch.device
    generator: torch.Generator
    state: dict[str, Any] = field(default_factory=dict)
    replaces: frozenset[int] = frozenset()
    changes: frozenset[int] = frozenset()


# Bottoms and parameters in Caffe's order and shapes -> tops. Autograd differentiates what it computes.
# A top that stays as it is, is None.
Function = Callable[[Call, list[Tensor], list[Tensor]], Tensor | Sequence[Tensor | None]]
F = TypeVar("F", bound=Function)
Fillers = Callable[[LayerParameter], Sequence[Filler]]


@dataclass(frozen=True)
class Kind:
    """A layer type: its function, whether it has a gradient, the bottoms that never get one, its fillers.

    `starts` means that it runs once when the net is created; `always`, that it computes all its gradients
    whenever it goes backward, wanted or not. `folder` is that of the user's file that registered it.
    """

    function: Function
    gradient: bool
    labels: tuple[int, ...]
    fillers: Fillers
    starts: bool = False
    always: bool = False
    folder: Path | None = None


LAYERS: dict[str, Kind] = {}
# Types that are left out on purpose, and what to do instead.
LEFT_OUT: dict[str, str] = {}


def constant(value: float = 0) -> Filler:
    """A filler with one value."""
    return Filler(type="constant", value=value)


def layer(
    *types: str,
    gradient: bool = True,
    labels: tuple[int, ...] = (),
    fillers: Fillers = lambda param: (),
    shapes: Callable[[LayerParameter, Shapes], Out] | None = None,
    starts: bool = False,
    always: bool = False,
) -> Callable[[F], F]:
    """Register a function as the computation of layers of `types`.

    `labels` are the bottoms that `force_backward` leaves out (Caffe's AllowForceBackward), from the end if
    negative. `fillers` has a filler for each parameter; others are filled with 0. `shapes` is the shape rule
    of a type that geometry does not know; by default the top has the shape of the first bottom. `starts`
    means that the function also runs once when the net is created; `always`, that all gradients are computed
    whenever the layer goes backward, where Caffe's does not ask which are wanted.
    """

    def enter(function: F) -> F:
        for name in types:
            LAYERS[name] = Kind(function, gradient, labels, fillers, starts, always)
            if shapes or name not in TABLE:
                rule(name, bottoms=(0, None), tops=(0, None))(shapes or _like_first)
        return function

    return enter


def _like_first(param: LayerParameter, bottoms: Shapes) -> Out:
    return Out(bottoms[:1] * len(param.top))
