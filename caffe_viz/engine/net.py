"""pycaffe's `Net` on PyTorch."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch

from caffe_viz import netdef
from caffe_viz.engine import batches, modes, weights
from caffe_viz.engine.blobs import Array, Blob
from caffe_viz.engine.layer import Layer
from caffe_viz.engine.wiring import wire
from caffe_viz.errors import InputError, missing
from caffe_viz.netdef import NetParameter

PHASES = ("TRAIN", "TEST")
Path = str | os.PathLike[str]
Weights = Path | NetParameter


class Net:
    """A net with the interface of `caffe.Net`: `Net(prototxt, phase)` or `Net(prototxt, weights, phase)`.

    `network_file` and `weights` are paths or messages. `device` is a torch device, by default the one chosen
    by `set_mode_cpu` and `set_mode_gpu`. `start` and `end` of its methods are names of layers, both included.

    Raises:
        InputError: A file cannot be read, or the net would abort Caffe.
        NotImplementedError: The net has a layer type that this engine does not have.
    """

    engine = "torch"

    def __init__(
        self,
        network_file: Path | NetParameter,
        *given: Any,
        phase: int | None = None,
        level: int = 0,
        stages: Sequence[str] | None = None,
        weights: Weights | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        phase, level, stages, weights = _arguments(given, phase, level, stages, weights)
        given_net = network_file
        message = given_net if isinstance(given_net, NetParameter) else netdef.read_net(os.fspath(given_net))
        self.device = modes.device(device)
        state = netdef.State(PHASES[phase], stages or (), level)
        self._wiring = wire(netdef.for_phase(message, state), phase == 0, self.device)
        self.name = message.name
        if weights is not None:
            self.copy_from(weights)

    # What the net is made of.

    @property
    def layers(self) -> list[Layer]:
        """The layers, including hidden Split layers."""
        return self._wiring.layers

    @cached_property
    def blobs(self) -> OrderedDict[str, Blob]:
        """The blobs by name, in the order of the net."""
        return OrderedDict(zip(self._wiring.names, self._wiring.blobs, strict=True))

    @cached_property
    def params(self) -> OrderedDict[str, list[Blob]]:
        """The parameters of all layers that have any."""
        return OrderedDict((x.name, x.blobs) for x in self.layers if x.blobs)

    @cached_property
    def layer_dict(self) -> OrderedDict[str, Layer]:
        """The layers by name."""
        return OrderedDict((x.name, x) for x in self.layers)

    @cached_property
    def blob_loss_weights(self) -> OrderedDict[str, float]:
        """The loss weight of each blob."""
        return OrderedDict(zip(self._wiring.names, self._wiring.loss_weights, strict=True))

    @cached_property
    def inputs(self) -> list[str]:
        """The tops of Input layers."""
        pairs = zip(self.layers, self._wiring.tops, strict=True)
        return [self._wiring.names[i] for layer, tops in pairs if layer.type == "Input" for i in tops]

    @property
    def outputs(self) -> list[str]:
        """The blobs that no layer reads, by name."""
        return self._wiring.outputs

    @cached_property
    def top_names(self) -> OrderedDict[str, list[str]]:
        """The tops of each layer."""
        return self._named(self._wiring.tops)

    @cached_property
    def bottom_names(self) -> OrderedDict[str, list[str]]:
        """The bottoms of each layer."""
        return self._named(self._wiring.bottoms)

    @cached_property
    def _layer_names(self) -> list[str]:
        return [x.name for x in self.layers]

    @cached_property
    def _places(self) -> dict[str, int]:
        """The index of each layer; if several share a name, of the first, as in Caffe."""
        return {name: i for i, name in reversed(list(enumerate(self._layer_names)))}

    @property
    def _left_out(self) -> dict[str, str]:
        return netdef.left_out(self._wiring.message)

    @property
    def _blob_names(self) -> list[str]:
        return self._wiring.names

    def _top_ids(self, layer: int) -> list[int]:
        return self._wiring.tops[layer]

    def _bottom_ids(self, layer: int) -> list[int]:
        return self._wiring.bottoms[layer]

    # Running it.

    def forward(
        self,
        blobs: Sequence[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        **inputs: Array,
    ) -> dict[str, Array]:
        """Run from layer `start` to layer `end`, and return the outputs, or the tops of `end`.

        Keyword arrays are copied into the blobs of all inputs; `blobs` names further blobs to return.

        Raises:
            InputError: No such layer or input, or an array of another shape.
        """
        first = 0 if start is None else self._index(start)
        last = len(self.layers) - 1 if end is None else self._index(end)
        names = self.outputs if end is None else self.top_names[end]
        if inputs:
            self._put(inputs, self.inputs, "data", "inputs")
        self._forward(first, last)
        return {name: self._blob(name).data for name in dict.fromkeys((*names, *(blobs or ())))}

    def backward(
        self,
        diffs: Sequence[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        **tops: Array,
    ) -> dict[str, Array]:
        """Run back from layer `start` to layer `end`, and return diffs of inputs, or of the bottoms of `end`.

        Keyword arrays are copied into the diffs of all outputs; `diffs` names further blobs whose diffs to
        return.

        Raises:
            InputError: No such layer or output, or an array of another shape.
            NotImplementedError: A layer has no gradient.
        """
        first = len(self.layers) - 1 if start is None else self._index(start)
        last = 0 if end is None else self._index(end)
        names = self.inputs if end is None else self.bottom_names[end]
        if tops:
            self._put(tops, self.outputs, "diff", "outputs")
        self._backward(first, last)
        return {name: self._blob(name).diff for name in dict.fromkeys((*names, *(diffs or ())))}

    def forward_all(self, blobs: Sequence[str] | None = None, **inputs: Array) -> dict[str, Array]:
        """Run `forward` in batches over any number of inputs; the last batch is padded with zeros."""
        return batches.forward_all(self, blobs, inputs)

    def forward_backward_all(
        self, blobs: Sequence[str] | None = None, diffs: Sequence[str] | None = None, **arrays: Array
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """Run `forward` and `backward` in batches; keyword arrays are inputs and, as diffs, outputs."""
        return batches.forward_backward_all(self, blobs, diffs, arrays)

    def reshape(self) -> None:
        """Reshape all blobs to match the inputs."""
        for layer in self.layers:
            layer.reshape()

    def set_input_arrays(self, data: Array, labels: Array) -> None:
        """Set what the MemoryData layer returns: (N, C, H, W) and (N) or (N, 1, 1, 1).

        Raises:
            InputError: There is no such layer, or the arrays do not fit it.
        """
        batches.set_input_arrays(self, data, labels)

    def _forward(self, first: int, last: int) -> float:
        """Run layers by index, as pycaffe's; returns their loss."""
        loss, wiring = 0.0, self._wiring
        for layer in self.layers[first : last + 1]:
            layer.drop()
        for place in range(first, last + 1):
            self.layers[place].forward()
            for i in wiring.tops[place]:
                if wiring.loss_weights[i]:
                    loss += wiring.loss_weights[i] * float(wiring.blobs[i].tensor().sum())
        return loss

    def _backward(self, first: int, last: int) -> None:
        for layer in reversed(self.layers[last : first + 1]):
            layer.backward()

    # Weights.

    def copy_from(self, source: Weights) -> None:
        """Copy trained weights by layer name; layers without weights there keep what they have.

        Raises:
            InputError: The file cannot be read, or a shape differs.
        """
        weights.copy_from(self, self._wiring.message, source)

    def share_with(self, other: Net) -> None:
        """Share the parameters of the layers of `other` with the same names, in the same memory.

        Raises:
            InputError: A shape differs.
        """
        weights.share(self, other)

    def save(self, path: Path, write_diff: bool = False) -> None:
        """Write a caffemodel, whole or not at all."""
        weights.save(self, self._wiring.message, path, write_diff)

    def save_hdf5(self, path: Path, write_diff: bool = False) -> None:
        """Write parameters as HDF5: group `data`, a group per layer, a dataset per blob."""
        weights.save_hdf5(self, path, write_diff)

    def load_hdf5(self, path: Path) -> None:
        """Read parameters that `save_hdf5` has written, here or in Caffe, as `copy_from`."""
        self.copy_from(path)

    def clear_param_diffs(self) -> None:
        """Set the gradients of all parameters to zero; backward adds to them."""
        for layer in self.layers:
            layer.forget()
            for blob in layer.blobs:
                blob.memories[1].renew()

    # Helpers.

    def _named(self, ids: list[list[int]]) -> OrderedDict[str, list[str]]:
        pairs = zip(self.layers, ids, strict=True)
        return OrderedDict((layer.name, [self._wiring.names[i] for i in some]) for layer, some in pairs)

    def _index(self, name: str) -> int:
        if name not in self._places:
            raise missing(f"net {self.name!r}", "layer", name, self._layer_names, self._left_out)
        return self._places[name]

    def _blob(self, name: str) -> Blob:
        if name not in self.blobs:
            raise missing(f"net {self.name!r}", "blob", name, self.blobs, self._left_out)
        return self.blobs[name]

    def _put(self, arrays: Mapping[str, Array], wanted: Sequence[str], side: str, what: str) -> None:
        """Copy arrays into the data or diffs of `wanted`, none of which may be missing."""
        if set(arrays) != set(wanted):
            raise InputError(
                f"arrays are needed for all {what} ({', '.join(wanted)}), given were {', '.join(arrays)}."
            )
        for name, values in arrays.items():
            target = getattr(self.blobs[name], side)
            whole = not target.ndim or np.shape(values)[:1] == target.shape[:1]
            try:
                if not whole:
                    raise ValueError
                target[...] = values
            except ValueError:
                raise InputError(f"blob {name!r} takes {target.shape}, not {np.shape(values)}.") from None


def _arguments(
    given: tuple[Any, ...],
    phase: int | None,
    level: int,
    stages: Sequence[str] | None,
    weights: Weights | None,
) -> tuple[int, int, Sequence[str] | None, Weights | None]:
    """Accept pycaffe's two orders: (phase, level, stages, weights) and (weights, phase)."""
    if given and not isinstance(given[0], int):
        weights, phase = given[0], given[1] if len(given) > 1 else phase
    else:
        both: list[Any] = [*given, *(phase, level, stages, weights)[len(given) :]]
        phase, level, stages, weights = both
    if phase not in (0, 1):
        raise InputError("give the phase: caffe.Net(prototxt, caffe.TEST).")
    return phase, level, stages, weights
