"""A net as a `torch.nn.Module`: a pure function of its inputs, to batch, export or move to a device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn

from caffe_viz.engine.layer import Layer
from caffe_viz.engine.layer_module import LayerModule, PythonModule
from caffe_viz.engine.net import Net
from caffe_viz.engine.python_layers import PythonLayer
from caffe_viz.engine.table import Call
from caffe_viz.errors import InputError, missing, near
from caffe_viz.geometry.table import text

FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
# Layers that bring data in, by files or from memory: their tops are inputs here.
SOURCES = ("Input", "HDF5Data", "ImageData", "MemoryData", "VideoData")
Inputs = Tensor | Mapping[str, Tensor]


class Wire(NamedTuple):
    """A layer, by the name of its submodule, between values, by number; `last` are not used after it."""

    layer: str
    bottoms: tuple[int, ...]
    tops: tuple[int, ...]
    last: tuple[int, ...] = ()


class Plan(NamedTuple):
    """The computation of some blobs: inputs, and layers in order."""

    inputs: tuple[str, ...]
    wires: tuple[Wire, ...]


class NetModule(nn.Module):
    """A net as a function: `module(x)` returns its output, `module(x, blobs=["conv3"])` any blobs by name.

    `x` is the first input, (N, C, H, W) in Caffe's order whatever the memory format, or a mapping of inputs
    by name. A net with several outputs returns a dict, and so does `blobs`. Only the layers needed for the
    requested blobs run, in the phase of the net. Data layers are not part of the module: their tops are
    inputs.

    Each layer except Split and Silence is a submodule of its name, and `state_dict` is named after them; a
    dot is replaced by "_", and "_" is appended to a name that another layer or an attribute of modules has.
    No layer works in place; the blob is what the last of Caffe's in-place layers makes.

    Parameters are frozen: `requires_grad_(True)` makes them learn. They share the memory of those of `net`.
    """

    def __init__(self, net: Net, memory_format: str = "contiguous") -> None:
        super().__init__()
        if memory_format not in FORMATS:
            raise InputError(f"memory format {memory_format!r} is unknown.{near(memory_format, FORMATS)}")
        self.net_name, self.memory_format = net.name, memory_format
        self.output_names: tuple[str, ...] = tuple(net.outputs)
        self.input_shapes: dict[str, tuple[int, ...]] = {}
        self._left_out = dict(net._left_out)
        self._blobs: dict[str, int] = {}  # the value that a blob ends with; of several of one name the last
        self._wires: list[Wire] = []
        self._plan = lru_cache(maxsize=64)(self._planned)
        self._connect(net)

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of the inputs, in Caffe's order."""
        return tuple(self.input_shapes)

    def forward(self, x: Inputs, blobs: Sequence[str] | None = None) -> Tensor | dict[str, Tensor]:
        """Return the output, or `blobs` by name.

        Raises:
            InputError: No such blob or input, an input is missing, or a layer cannot take this shape.
        """
        wanted = None if isinstance(blobs, fx.Proxy) else blobs  # torch.fx fills in every argument
        names = self.output_names if wanted is None else tuple(wanted)
        plan = self._plan(names)
        values: dict[int, Tensor] = self._inputs(x, plan)
        for layer, bottoms, tops, last in plan.wires:
            found = getattr(self, layer)(*[values[i] for i in bottoms])
            values.update(zip(tops, (found,) if len(tops) == 1 else found, strict=True))
            for i in last:
                del values[i]
        if wanted is None and len(names) == 1:
            return values[self._value(names[0])]
        return {name: values[self._value(name)] for name in names}

    def _connect(self, net: Net) -> None:
        """Connect the layers by their values; each layer makes new ones, whether in place in Caffe or not."""
        wiring = net._wiring
        now: dict[int, int] = {}  # place of a blob in Caffe -> value
        made: dict[int, nn.Parameter] = {}  # by memory: layers may share a parameter
        count = 0
        for layer, below, above in zip(wiring.layers, wiring.bottoms, wiring.tops, strict=True):
            bottoms = tuple(now[i] for i in below)
            tops = bottoms * len(above) if layer.type == "Split" else tuple(range(count, count + len(above)))
            count += len(above)
            now.update(zip(above, tops, strict=True))
            self._blobs.update((wiring.names[i], now[i]) for i in above)
            if layer.type in SOURCES:
                self.input_shapes |= {wiring.names[i]: wiring.blobs[i].shape for i in above}
            elif layer.type not in ("Split", "Silence"):
                name = self._free(layer.name)
                self.add_module(name, self._of(layer, made, len(self._wires)))
                self._wires.append(Wire(name, bottoms, tops))

    def _inputs(self, x: Inputs, plan: Plan) -> dict[int, Any]:
        given = x if isinstance(x, Mapping) else dict(zip(self.input_names[:1], [x], strict=False))
        for name, value in given.items():
            if name not in self.input_shapes:
                raise missing(f"net {self.net_name!r}", "input", name, self.input_names, {})
            if not isinstance(value, Tensor | fx.Proxy):
                shape = text(self.input_shapes[name])
                raise InputError(f"input {name!r} takes a tensor ({shape}), not {type(value).__name__}.")
        if absent := [name for name in plan.inputs if name not in given]:
            raise InputError(
                f"net {self.net_name!r}: input {', '.join(map(repr, absent))} is missing: give a mapping "
                f"with a tensor for each of {', '.join(plan.inputs)}."
            )
        return {self._value(name): self._formatted(value) for name, value in given.items()}

    def _formatted(self, values: Tensor) -> Tensor:
        """Convert values with four axes to the memory format of the net."""
        if self.memory_format == "contiguous" or not isinstance(values, Tensor) or values.ndim != 4:
            return values
        return values.contiguous(memory_format=FORMATS[self.memory_format])

    def _value(self, blob: str) -> int:
        if blob not in self._blobs or f"blob {blob}" in self._left_out:
            raise missing(f"net {self.net_name!r}", "blob", blob, self._blobs, self._left_out)
        return self._blobs[blob]

    def _planned(self, names: tuple[str, ...]) -> Plan:
        """Return the layers that make the blobs `names`, in order."""
        needed = {self._value(name) for name in names}
        wires: list[Wire] = []
        for wire in reversed(self._wires):
            if not needed.isdisjoint(wire.tops):
                # Going back, what nobody needed so far is used here for the last time.
                last = ({*wire.bottoms} | {*wire.tops}) - needed
                needed |= {*wire.bottoms, *wire.tops}
                wires.append(wire._replace(last=tuple(sorted(last))))
        return Plan(tuple(n for n in self.input_names if self._blobs[n] in needed), tuple(reversed(wires)))

    def _free(self, name: str) -> str:
        name = name.replace(".", "_") or "_"
        while hasattr(self, name):
            name += "_"
        return name

    def _of(self, layer: Layer, made: dict[int, nn.Parameter], place: int) -> LayerModule:
        params = []
        for blob in layer.blobs:
            memory, shape = id(blob.memories[0]), tuple(blob.shape)
            values = blob.tensor()
            known = made.setdefault(memory, nn.Parameter(values, requires_grad=False))
            # Shared with another shape, which Caffe permits, it is two parameters on one memory.
            params.append(known if tuple(known.shape) == shape else nn.Parameter(values, requires_grad=False))
        call = layer.call
        # Its own generator, so that no pass depends on another net's, nor two layers draw the same.
        generator = torch.Generator(call.device).manual_seed(call.generator.initial_seed() + place)
        own = Call(call.param, call.train, call.tops, call.device, generator)
        return (PythonModule if isinstance(layer, PythonLayer) else LayerModule)(layer.param, own, params)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_plan"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._plan = lru_cache(maxsize=64)(self._planned)
