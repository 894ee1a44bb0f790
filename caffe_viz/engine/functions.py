"""A net as a function of arrays, forward and backward, for streams of images and for attribution."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from caffe_viz.engine.layer_module import LayerModule
from caffe_viz.engine.module import NetModule
from caffe_viz.engine.net import Net
from caffe_viz.errors import RunError

Array = NDArray[np.float32]


class NetFunction:
    """What `net` computes, with its current parameters, and its current values for inputs that are not given.

    The net itself is not run. This is faster than the net's own passes, and keeps only what is needed.
    """

    def __init__(self, net: Net) -> None:
        self._net = net
        self._module = NetModule(net, "channels_last")

    def forward(self, inputs: Mapping[str, Array], blobs: Iterable[str]) -> dict[str, Array]:
        """Return `blobs` for `inputs`, by name.

        Raises:
            InputError: No such blob, or a layer cannot take inputs of these shapes.
        """
        with torch.no_grad():
            found = self._values(self._inputs(inputs), blobs)
        return {name: _array(values) for name, values in found.items()}

    def pull(
        self,
        inputs: Mapping[str, Array],
        blob: str,
        seed: Array,
        wrt: Sequence[str],
        change: Callable[[Any, Any], Any] | None = None,
        changed: Collection[str] = (),
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """Return values of the blobs `wrt`, and gradients of sum(seed * blob) with respect to them.

        In layers of the types `changed`, the gradient at the bottom becomes what `change` makes of the
        gradient at the top and of the layer's own result.

        Raises:
            InputError: As `forward`.
            RunError: No gradient of `blob` reaches one of `wrt`.
        """
        given = self._inputs(inputs)
        leaves = {name: given[name].requires_grad_() for name in inputs}
        with torch.enable_grad(), self._changing(change, changed):
            values = self._values(given, [blob, *wrt])
            below = [leaves.get(name, values[name]) for name in wrt]
            found = _gradients(values[blob], below, self._tensor(seed))
        pulled = {}
        for name, gradient in zip(wrt, found, strict=True):
            if gradient is None:
                raise RunError(f"no gradient of {blob!r} reaches {name!r}.")
            pulled[name] = _array(gradient)
        return {name: _array(values[name].detach()) for name in wrt}, pulled

    @property
    def remembering(self) -> RememberingFunction:
        """Return a function that remembers its results, for nets whose parameters do not change."""
        return RememberingFunction(self._net)

    def _values(self, given: Mapping[str, Tensor], blobs: Iterable[str]) -> dict[str, Tensor]:
        found = self._module(given, blobs=list(dict.fromkeys(blobs)))
        assert isinstance(found, dict)
        return found

    def _inputs(self, given: Mapping[str, Array]) -> dict[str, Tensor]:
        names = self._module.input_names
        return {n: self._tensor(given[n] if n in given else self._net.blobs[n].data) for n in names}

    def _tensor(self, values: Array) -> Tensor:
        return torch.tensor(np.asarray(values, np.float32), device=self._net.device)

    @contextmanager
    def _changing(self, change: Callable[[Any, Any], Any] | None, types: Collection[str]) -> Iterator[None]:
        """A context in which gradients are changed by `change`."""

        def hook(layer: Any, below: tuple[Tensor, ...], above: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            assert change is not None
            return (change(above[0], below[0]), *below[1:])

        layers = [x for x in self._module.children() if isinstance(x, LayerModule) and x.param.type in types]
        hooks = [layer.register_full_backward_hook(hook) for layer in layers] if change else []
        try:
            yield
        finally:
            for one in hooks:
                one.remove()


class RememberingFunction(NetFunction):
    """Remembers what it has computed for the last inputs of one row, such as one image."""

    def __init__(self, net: Net) -> None:
        super().__init__(net)
        self._given: Mapping[str, Array] = {}
        self._kept: dict[str, Array] = {}

    def forward(self, inputs: Mapping[str, Array], blobs: Iterable[str]) -> dict[str, Array]:
        """As `NetFunction.forward`."""
        names = list(blobs)
        if any(len(values) != 1 for values in inputs.values() if np.ndim(values)):
            return super().forward(inputs, names)
        if not _same(inputs, self._given):
            self._given, self._kept = {name: np.array(values) for name, values in inputs.items()}, {}
        if missing := [name for name in names if name not in self._kept]:
            self._kept |= super().forward(inputs, missing)
        return {name: np.array(self._kept[name]) for name in names}


def _same(given: Mapping[str, Array], others: Mapping[str, Array]) -> bool:
    return given.keys() == others.keys() and all(np.array_equal(given[name], others[name]) for name in given)


def _gradients(top: Tensor, below: Sequence[Tensor], seed: Tensor) -> Sequence[Tensor | None]:
    if not top.requires_grad:
        return [None] * len(below)
    return torch.autograd.grad(top, below, seed.reshape(top.shape), allow_unused=True)


def _array(values: Tensor) -> Array:
    return values.cpu().contiguous().numpy()
