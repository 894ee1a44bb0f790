"""A net as a `torch.nn.Module`: a pure function of its inputs, for whatever loops, batches, exports or moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, fx, nn

from caffe_viz.engine.layer import Layer
from caffe_viz.engine.net import Net
from caffe_viz.engine.python_layers import PythonLayer
from caffe_viz.engine.table import LAYERS, Call
from caffe_viz.errors import CaffeVizError, InputError, RunError, missing
from caffe_viz.geometry.stored import WITH_FILES
from caffe_viz.geometry.table import text

FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
SHAPES_KEPT = 256  # that a layer has seen and found right
Inputs = Tensor | Mapping[str, Tensor]


class LayerModule(nn.Module):
    """A layer as a function: bottoms in, top out, or a tuple of tops. Parameters have Caffe's shapes.

    One or two are called `weight` and `bias`, more `blob0`, `blob1` ..
    """

    def __init__(self, param: Any, call: Call, parameters: Sequence[nn.Parameter]) -> None:
        super().__init__()
        self.param, self.call = param, call
        self._names = ["weight", "bias"][: len(parameters)]
        if len(parameters) > len(self._names):
            self._names = [f"blob{i}" for i in range(len(parameters))]
        for name, parameter in zip(self._names, parameters, strict=True):
            self.register_parameter(name, parameter)
        self._seen: set[tuple[tuple[int, ...], ...]] = set()

    def forward(self, *bottoms: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The tops.

        Raises:
            InputError: the layer cannot take bottoms of these shapes; names the layer and the shapes.
        """
        params = [getattr(self, name) for name in self._names]
        self._check(bottoms, params)
        if bottoms and bottoms[0].device != self.call.device:
            self._move(bottoms[0].device)
        tops = self._compute(list(bottoms), params)
        return tops[0] if len(tops) == 1 else tops

    def _compute(self, bottoms: list[Tensor], params: list[Tensor]) -> tuple[Tensor, ...]:
        if self.param.type == "Parameter":
            return (params[0],)
        tops = LAYERS[self.param.type].function(self.call, bottoms, params)
        found = [tops] if isinstance(tops, Tensor) else list(tops)
        if any(top is None for top in found):
            raise RunError(f"layer {self.param.name!r} ({self.param.type}) keeps values from one pass to the next.")
        return tuple(top for top in found if top is not None)

    def _check(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> None:
        if torch.jit.is_tracing() or torch.compiler.is_compiling():
            return  # shapes are no numbers there
        shapes = tuple(tuple(b.shape) for b in bottoms)
        if shapes in self._seen:
            return
        given = f"layer {self.param.name!r} ({self.param.type}) on {', '.join(map(text, shapes))}"
        try:
            wanted = WITH_FILES[self.param.type].function(self.param, shapes).params
        except InputError as error:
            raise InputError(f"{given}: {error}") from None
        for i, (values, shape) in enumerate(zip(params, wanted, strict=True)):
            if values.numel() != torch.Size(shape).numel():
                raise InputError(f"{given}: parameter {i} is {text(values.shape)}, not {text(shape)}.")
        if len(self._seen) < SHAPES_KEPT:
            self._seen.add(shapes)

    def _move(self, device: torch.device) -> None:
        self.call.device = device
        self.call.generator = torch.Generator(device).manual_seed(self.call.generator.initial_seed())
        self.call.state.clear()

    def extra_repr(self) -> str:
        return str(self.param.type)

    def __getstate__(self) -> dict[str, Any]:
        """Without the generator, of which no copy can be made; the copy gets one with the same seed."""
        call = self.call
        rest = (call.param, call.train, call.tops, str(call.device), call.generator.initial_seed())
        return {**self.__dict__, "call": rest}

    def __setstate__(self, state: dict[str, Any]) -> None:
        param, train, tops, device, seed = state["call"]
        generator = torch.Generator(device).manual_seed(seed)
        call = Call(param, train, tops, torch.device(device), generator)
        super().__setstate__({**state, "call": call})  # type: ignore[no-untyped-call]


class NetModule(nn.Module):
    """A net as a function: `module(x)` gives its output, `module(x, blobs=["conv3"])` any blobs by name.

    `x` is the first input, (N, C, H, W) in Caffe's order, or a mapping of all inputs by name. A net with
    several outputs gives a dict. Each layer is a submodule of its name, a dot in it replaced by "_", and
    `state_dict` is named after them. Only layers that the asked blobs need run. Layers that work in place in
    Caffe do not here; the blob is what the last of them makes.
    Parameters are frozen: `requires_grad_(True)` makes them learn.
    """

    def __init__(self, net: Net, memory_format: str = "contiguous") -> None:
        super().__init__()
        if memory_format not in FORMATS:
            raise InputError(f"memory format {memory_format!r} is unknown: choose from {', '.join(FORMATS)}.")
        wiring = net._wiring
        self.net_name, self.memory_format = net.name, memory_format
        self.input_names, self.output_names = tuple(net.inputs), tuple(net.outputs)
        self.input_shapes = {name: tuple(net.blobs[name].shape) for name in net.inputs}
        self._blob_names = tuple(wiring.names)
        self._left_out = dict(net._left_out)
        self._wires: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = []
        made: dict[int, nn.Parameter] = {}  # by memory: layers may share a parameter
        for layer, bottoms, tops in zip(wiring.layers, wiring.bottoms, wiring.tops, strict=True):
            if layer.type in ("Input", "Silence"):
                continue
            name = self._free(layer.name)
            self.add_module(name, self._of(layer, made))
            self._wires.append((name, tuple(bottoms), tuple(tops)))
        self._plan = lru_cache(maxsize=64)(self._planned)

    def forward(self, x: Inputs, blobs: Sequence[str] | None = None) -> Tensor | dict[str, Tensor]:
        """The output, or `blobs` by name.

        Raises:
            InputError: no such blob or input, or a layer cannot take an input of this shape.
        """
        wanted = None if isinstance(blobs, fx.Proxy) else blobs  # torch.fx fills in every argument
        names = self.output_names if wanted is None else tuple(wanted)
        values = self._inputs(x)
        for layer, bottoms, tops in self._plan(names):
            found = getattr(self, layer)(*[values[i] for i in bottoms])
            found = (found,) if len(tops) == 1 else found
            values.update(zip(tops, found, strict=False))
        if wanted is None and len(names) == 1:
            return values[self._place(names[0])]
        return {name: values[self._place(name)] for name in names}

    def _inputs(self, x: Inputs) -> dict[int, Any]:
        given = x if isinstance(x, Mapping) else {self.input_names[0]: x}
        for name in given:
            if name not in self.input_names:
                raise missing(f"net {self.net_name!r}", "input", name, self.input_names, {})
        if self.memory_format == "channels_last":
            given = {n: v.contiguous(memory_format=torch.channels_last) if _is_4d(v) else v for n, v in given.items()}
        return {self._place(name): value for name, value in given.items()}

    def _place(self, name: str) -> int:
        """Of several blobs with a name the last, as in `Net.blobs`."""
        if name not in self._blob_names or f"blob {name}" in self._left_out:
            raise missing(f"net {self.net_name!r}", "blob", name, self._blob_names, self._left_out)
        return len(self._blob_names) - 1 - self._blob_names[::-1].index(name)

    def _planned(self, names: tuple[str, ...]) -> tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]:
        """The layers that make the blobs `names`, in order."""
        needed, kept = {self._place(name) for name in names}, []
        for wire in reversed(self._wires):
            _, bottoms, tops = wire
            if needed.isdisjoint(tops):
                continue
            needed = (needed - set(tops)) | set(bottoms)
            kept.append(wire)
        return tuple(reversed(kept))

    def _free(self, name: str) -> str:
        name = name.replace(".", "_") or "_"
        while hasattr(self, name):
            name += "_"
        return name

    def _of(self, layer: Layer, made: dict[int, nn.Parameter]) -> nn.Module:
        params = []
        for blob in layer.blobs:
            values = blob.tensor()
            if _is_4d(values) and self.memory_format == "channels_last":
                values = values.contiguous(memory_format=torch.channels_last)
            params.append(made.setdefault(id(blob.memories[0]), nn.Parameter(values, requires_grad=False)))
        if isinstance(layer, PythonLayer):
            return PythonModule(layer, params)
        call = layer.call
        return LayerModule(layer.param, Call(call.param, call.train, call.tops, call.device, call.generator), params)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_plan"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._plan = lru_cache(maxsize=64)(self._planned)


class PythonModule(LayerModule):
    """A layer whose work a user's class does on blobs: they are filled, and read again."""

    def __init__(self, layer: PythonLayer, parameters: Sequence[nn.Parameter]) -> None:
        super().__init__(layer.param, layer.call, parameters)
        self.layer = layer

    def _check(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> None:
        """The class checks its bottoms itself."""

    def _compute(self, bottoms: list[Tensor], params: list[Tensor]) -> tuple[Tensor, ...]:
        return tuple(_OnBlobs.apply(self.layer, *bottoms))


class _OnBlobs(torch.autograd.Function):
    """A layer that works on its blobs, as a function of tensors."""

    @staticmethod
    def forward(ctx: Any, layer: Layer, *bottoms: Tensor) -> tuple[Tensor, ...]:
        ctx.layer = layer
        ctx.save_for_backward(*bottoms)
        return tuple(top.tensor().clone() for top in _ran(layer, bottoms).tops)

    @staticmethod
    def backward(ctx: Any, *seeds: Tensor) -> tuple[Tensor | None, ...]:
        layer = _ran(ctx.layer, ctx.saved_tensors)
        layer.backs, layer.down = True, list(ctx.needs_input_grad[1:])
        for top, seed in zip(layer.tops, seeds, strict=True):
            top.take_gradient(seed.contiguous())
        layer.backward()
        pairs = zip(layer.bottoms, layer.down, strict=True)
        return None, *(bottom.gradient().clone() if down else None for bottom, down in pairs)


def _ran(layer: Layer, bottoms: Sequence[Tensor]) -> Layer:
    for blob, values in zip(layer.bottoms, bottoms, strict=True):
        blob.take(values.detach().contiguous().clone())
    layer.forward()
    return layer


def _is_4d(values: Any) -> bool:
    return isinstance(values, Tensor) and values.ndim == 4
