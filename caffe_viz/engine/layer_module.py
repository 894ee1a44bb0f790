"""A layer as a `torch.nn.Module`: the table's function on tensors, without blobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from caffe_viz.engine.blobs import Blob
from caffe_viz.engine.layer import checked_tops
from caffe_viz.engine.python_layers import PythonLayer
from caffe_viz.engine.table import LAYERS, Call
from caffe_viz.errors import InputError, RunError
from caffe_viz.geometry.python_layers import permitted
from caffe_viz.geometry.stored import WITH_FILES
from caffe_viz.geometry.table import text
from caffe_viz.netdef import LayerParameter

SHAPES_KEPT = 256  # that a layer has seen and found right
OWN = "caffe_viz.engine."  # modules of functions that take tensors of any memory format


class LayerModule(nn.Module):
    """A layer as a function: bottoms in, top out, or a tuple of tops. Parameters have Caffe's shapes.

    One or two parameters are called `weight` and `bias`, more `blob0`, `blob1`, .. Gradients flow where Caffe
    lets them: not through types without one, nor to labels. The layer works as in the phase of its net,
    whatever `train()` and `eval()` say, and keeps nothing from one pass to the next.
    """

    def __init__(self, param: LayerParameter, call: Call, parameters: Sequence[nn.Parameter]) -> None:
        super().__init__()
        self.param, self.call = param, call
        count = len(parameters)
        self._names = ["weight", "bias"][:count] if count < 3 else [f"blob{i}" for i in range(count)]
        for name, parameter in zip(self._names, parameters, strict=True):
            self.register_parameter(name, parameter)
        self._seen: set[tuple[tuple[int, ...], ...]] = set()

    def forward(self, *bottoms: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Return the top, or a tuple of tops.

        Raises:
            InputError: The layer cannot take bottoms of these shapes; names the layer and the shapes.
            RunError: It is a source that hands out stored data, or a user's function failed.
        """
        params = [getattr(self, name) for name in self._names]
        self._check(bottoms, params)
        tops = self._compute(self._cut(bottoms), params)
        if not LAYERS[self.param.type].gradient:
            tops = tuple(top.detach() for top in tops)
        return tops[0] if len(tops) == 1 else tops

    def _cut(self, bottoms: Sequence[Tensor]) -> list[Tensor]:
        """The bottoms, labels without their gradient."""
        count = len(bottoms)
        labels = {i % count for i in LAYERS[self.param.type].labels if -count <= i < count}
        return [b.detach() if i in labels and b.requires_grad else b for i, b in enumerate(bottoms)]

    def _compute(self, bottoms: list[Tensor], params: list[Tensor]) -> tuple[Tensor, ...]:
        if self.param.type == "Parameter":
            return (params[0],)
        kind = LAYERS[self.param.type]
        if not kind.function.__module__.startswith(OWN):  # it may count on Caffe's order in memory
            bottoms, params = ([x.contiguous() for x in some] for some in (bottoms, params))
        self.call.state.clear()  # what Caffe keeps from the pass before; recurrent layers begin anew
        tops = checked_tops(kind, self.call, bottoms, params)
        if any(top is None for top in tops):  # what is filled only once, or in every pass but the first
            more = checked_tops(kind, self.call, bottoms, params)
            tops = [second if first is None else first for first, second in zip(tops, more, strict=True)]
        found = tuple(top for top in tops if top is not None)
        if len(found) != len(tops):
            raise RunError(
                f"layer {self.param.name!r} ({self.param.type}): its function returned None: return a tensor "
                f"for each top."
            )
        return found

    def _check(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> None:
        if torch._C._get_tracing_state() is not None or torch.compiler.is_compiling():
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
                raise InputError(
                    f"{given}: parameter {i} is {text(values.shape)}, but such a bottom needs {text(shape)}."
                )
        if len(self._seen) < SHAPES_KEPT:
            self._seen.add(shapes)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> LayerModule:
        """Move what the function itself creates together with the parameters."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._move(fn(torch.empty(0, device=self.call.device)).device)
        return self

    def _move(self, device: torch.device) -> None:
        if device != self.call.device:
            self.call.device = device
            self.call.generator = _generator(device, self.call.generator.initial_seed())

    def extra_repr(self) -> str:
        """Caffe's type."""
        return str(self.param.type)

    def __getstate__(self) -> dict[str, Any]:
        """Without the generator, of which no copy can be made; the copy gets one with the same seed."""
        call = self.call
        rest = (call.param, call.train, call.tops, str(call.device), call.generator.initial_seed())
        return {**self.__dict__, "call": rest}

    def __setstate__(self, state: dict[str, Any]) -> None:
        param, train, tops, device, seed = state["call"]
        if param.type not in LAYERS:
            raise InputError(
                f"layer {param.name!r} is of type {param.type}, which is not registered here: run "
                f"caffe_viz.layers_file.load_layers on the file that registers it, then load the module."
            )
        where = torch.device(device)
        call = Call(param, train, tops, where, _generator(where, seed))
        super().__setstate__({**state, "call": call})  # type: ignore[no-untyped-call]


def _generator(device: torch.device, seed: int) -> torch.Generator:
    return torch.Generator("cpu" if device.type == "meta" else device).manual_seed(seed)


class PythonModule(LayerModule):
    """A layer of a user's class, which works on blobs: they are filled, and read again.

    The object of the class belongs to this module and is set up at the first pass. It may keep something from
    one pass to the next.
    """

    def __init__(self, param: LayerParameter, call: Call, parameters: Sequence[nn.Parameter]) -> None:
        super().__init__(param, call, parameters)
        self._made: PythonLayer | None = None
        self.runs = 0

    def _check(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> None:
        """The class checks its bottoms itself."""

    def _compute(self, bottoms: list[Tensor], params: list[Tensor]) -> tuple[Tensor, ...]:
        return tuple(_OnBlobs.apply(self, *bottoms, *params))  # type: ignore[no-untyped-call]

    def run(self, tensors: Sequence[Tensor]) -> PythonLayer:
        """The layer after a forward on these bottoms and parameters."""
        layer, count = self._layer(), len(self.param.bottom)
        for blob, values in zip(layer.bottoms, tensors[:count], strict=True):
            blob.take(_owned(values))
        layer.measure()  # sets it up, where that has not been done
        for blob, values in zip(layer.given, tensors[count:], strict=True):
            blob.take(_owned(values))
        layer.forward()
        self.runs += 1
        return layer

    def _layer(self) -> PythonLayer:
        if self._made is None:
            call = self.call
            below = {name: Blob((), call.device) for name in self.param.bottom}
            above = [below.get(name) or Blob((), call.device) for name in self.param.top]
            self._made = PythonLayer(self.param, call, [below[n] for n in self.param.bottom], above)
            self._made.backs = True
        return self._made

    def _move(self, device: torch.device) -> None:
        if device != self.call.device:
            self._made = None
        super()._move(device)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_made": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if not permitted(self.param):
            raise InputError(
                f"layer {self.param.name!r} (Python) runs code, which only the process that made this module "
                f"may: call caffe_viz.torch_module here instead."
            )


class _OnBlobs(torch.autograd.Function):
    """A layer that works on its blobs, as a function of its bottoms and parameters."""

    @staticmethod
    def forward(ctx: Any, module: PythonModule, *tensors: Tensor) -> tuple[Tensor, ...]:
        layer = module.run(tensors)
        ctx.module, ctx.run = module, module.runs
        ctx.save_for_backward(*tensors)
        return tuple(top.tensor().clone() for top in layer.tops)

    @staticmethod
    def backward(ctx: Any, *seeds: Tensor) -> tuple[Tensor | None, ...]:
        module: PythonModule = ctx.module
        # Another pass since then has put other values into the blobs.
        layer = module._layer() if module.runs == ctx.run else module.run(ctx.saved_tensors)
        wanted = ctx.needs_input_grad[1:]
        layer.down, layer.learns = list(wanted[: len(layer.bottoms)]), list(wanted[len(layer.bottoms) :])
        for top, seed in zip(layer.tops, seeds, strict=True):
            top.take_gradient(_owned(seed))
        for blob in layer.given:
            blob.take_gradient(torch.zeros(blob.shape, device=module.call.device))
        layer.backward()
        blobs = zip((*layer.bottoms, *layer.given), wanted, strict=True)
        return None, *(blob.gradient().clone() if asked else None for blob, asked in blobs)


def _owned(values: Tensor) -> Tensor:
    """A copy in Caffe's order."""
    return values.detach().clone(memory_format=torch.contiguous_format)
