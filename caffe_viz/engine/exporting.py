"""Export a net's module to torch's exported program, or to ONNX."""

from __future__ import annotations

import copy
import io
import keyword
import logging
import re
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from functools import partial
from inspect import Parameter, Signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from caffe_viz.engine.layer_module import LayerModule, PythonModule
from caffe_viz.engine.module import NetModule
from caffe_viz.errors import InputError, RunError

Shape = tuple[int, ...]
TRACED = 2  # images in the batch that is traced: torch takes 1 for a number that cannot change
LARGEST = 2**31 - 1  # bytes of a file of protobuf


@dataclass
class Traced:
    """A module being traced: `running` is the current layer; `tops` are name, layer and values of blobs."""

    module: NetModule
    running: str = ""
    tops: list[tuple[str, str, Tensor]] = field(default_factory=list)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """A context in which passes of the module leave their traces here."""
        handles = []
        names = _names(self.module)
        for wire in self.module._wires:
            layer = getattr(self.module, wire.layer)
            # What a layer in place in Caffe replaces has no name there.
            tops = [names.get(value, f"{wire.layer}/before") for value in wire.tops]
            handles.append(layer.register_forward_pre_hook(partial(self._enter, wire.layer)))
            handles.append(layer.register_forward_hook(partial(self._leave, wire.layer, tops)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def finish(self, found: Mapping[str, Tensor]) -> None:
        """Add those blobs of `found` whose values are another blob's, or an input's."""
        self.running = ""
        known = {name for name, _, _ in self.tops}
        self.tops += [(name, name, values) for name, values in found.items() if name not in known]

    def _enter(self, layer: str, *_: Any) -> None:
        self.running = layer

    def _leave(self, layer: str, names: Sequence[str], _: nn.Module, bottoms: Any, found: Any) -> None:
        for name, top in zip(names, found if isinstance(found, tuple) else (found,), strict=True):
            if not any(top is x for x in (*bottoms, *(values for _, _, values in self.tops))):
                self.tops.append((name, layer, top))


def to_torch(module: NetModule, blobs: Sequence[str], batch: int | None = None) -> tuple[bytes, bool]:
    """Return the bytes of `torch.export.save`, and whether the number of images may change.

    `torch.export.load(file).module()(data=x)` returns a dict of `blobs`; arguments are the net's inputs.

    Raises:
        InputError: A layer cannot be exported; names it.
    """

    def made(shapes: dict[str, Any] | None, example: dict[str, Tensor]) -> Any:
        def export(made: nn.Module, _: Traced) -> Any:
            return torch.export.export(made, (), example, dynamic_shapes=shapes, strict=False)

        return _traced(module, blobs, export)

    program, dynamic = _as_dynamic_as_can_be(module, blobs, batch, made)
    file = io.BytesIO()
    torch.export.save(program, file)
    return file.getvalue(), dynamic


def to_onnx(module: NetModule, blobs: Sequence[str], batch: int | None = None) -> tuple[bytes, bool]:
    """Return an ONNX model that computes `blobs`, and whether the number of images may change.

    Values are named like blobs, nodes like layers.

    Raises:
        InputError: A layer cannot be exported; names it.
        RunError: onnx or onnxscript is not installed, or the model is larger than ONNX allows.
    """
    _need_onnx()
    if (size := sum(4 * p.numel() for p in module.parameters())) > LARGEST:
        raise RunError(f"the parameters have {size} bytes, more than a file of ONNX holds: take --to torch.")

    def made(shapes: dict[str, Any] | None, example: dict[str, Tensor]) -> Any:
        def export(traced_module: nn.Module, traced: Traced) -> Any:
            names = module._plan(tuple(blobs)).inputs
            program = torch.onnx.export(
                traced_module, (), kwargs=example, dynamic_shapes=shapes, input_names=names, dynamo=True,
                verbose=False,
            )  # fmt: skip
            assert program is not None
            for value, sizes in zip(program.model.graph.inputs, (shapes or {}).values(), strict=False):
                if sizes and isinstance(value.shape[0], int):  # type: ignore[index]
                    raise ValueError("the number of images cannot change")  # torch does not say so itself
            _name(program.model, blobs, traced)
            return program.model_proto

        return _traced(module, blobs, export, every_top=True)

    model, dynamic = _as_dynamic_as_can_be(module, blobs, batch, made)
    return model.SerializeToString(), dynamic


def _need_onnx() -> None:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise RunError(f"ONNX needs {error.name}: pip install 'caffe-viz[onnx]'.") from None


# Tracing.


def _as_dynamic_as_can_be(
    module: NetModule, blobs: Sequence[str], batch: int | None, made: Callable[..., Any]
) -> tuple[Any, bool]:
    """For any number of images, where `batch` is None and no layer minds; else for `batch`, or the net's."""
    names = module._plan(tuple(blobs)).inputs
    shapes = {name: module.input_shapes[name] for name in names}
    first = next((shape[0] for shape in shapes.values() if shape), 1)
    per_image = [name for name, shape in shapes.items() if shape and shape[0] == first]
    if batch is None and per_image:
        example = _example(shapes, per_image, TRACED)
        sizes = {n: {0: Dim("batch", min=1)} if n in per_image else None for n in shapes}
        # What cannot be exported at all says so below.
        with suppress(InputError):
            return made(_arguments(sizes), _arguments(example)), True
    return made(None, _arguments(_example(shapes, per_image, batch or first))), False


def _example(shapes: dict[str, Shape], per_image: Sequence[str], count: int) -> dict[str, Tensor]:
    sizes = {n: (count, *shape[1:]) if n in per_image else shape for n, shape in shapes.items()}
    return {name: torch.zeros(size) for name, size in sizes.items()}


def _traced(
    module: NetModule, blobs: Sequence[str], export: Callable[..., Any], every_top: bool = False
) -> Any:
    """Call `export` for a module whose arguments are named after inputs; errors become one line."""
    for wire in module._plan(tuple(blobs)).wires:
        if isinstance(layer := getattr(module, wire.layer), PythonModule):
            raise InputError(_refused(module, layer, "its code is the user's"))
    traced = Traced(module)
    with traced.watched(), _quiet(), torch.no_grad():
        try:
            return export(_with_named_arguments(module, blobs, traced, every_top), traced)
        except Exception as error:
            raise InputError(_why(module, traced, error)) from error


def _with_named_arguments(
    module: NetModule, blobs: Sequence[str], traced: Traced, every_top: bool
) -> nn.Module:
    """A copy whose forward takes inputs by name; it returns a dict of `blobs`, or all there are in order."""
    made, names = copy.copy(module), module._plan(tuple(blobs)).inputs

    def forward(*args: Tensor, **kwargs: Tensor) -> Any:
        traced.tops.clear()
        given = dict(zip(names, signature.bind(*args, **kwargs).arguments.values(), strict=True))
        found = NetModule.forward(made, given, blobs)
        assert isinstance(found, dict)
        traced.finish(found)
        return tuple(top for _, _, top in traced.tops) if every_top else found

    parameters = [
        Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in _arguments(dict.fromkeys(names))
    ]
    signature = Signature(parameters)
    forward.__signature__ = signature  # type: ignore[attr-defined]
    made.forward = forward  # type: ignore[method-assign, assignment]
    return made


def _arguments(by_name: dict[str, Any]) -> dict[str, Any]:
    """The same under names that arguments of Python may have."""
    made: dict[str, Any] = {}
    for name, value in by_name.items():
        argument = re.sub(r"\W|^(?=\d)", "_", name)
        while argument in made or keyword.iskeyword(argument) or not argument:
            argument += "_"
        made[argument] = value
    return made


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch and its converters say to their developers."""
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _why(module: NetModule, traced: Traced, error: BaseException) -> str:
    """One line that names the layer."""
    layer = getattr(module, traced.running or _converted(error), None)
    while error.__cause__ is not None:
        error = error.__cause__
    text = re.sub(r"\x1b\[\d+m", "", str(error)).strip().partition("\n")[0].rstrip(".")
    what = f"{type(error).__name__}: {text}"
    if not isinstance(layer, LayerModule):
        return f"net {module.net_name!r} cannot be exported: {what}."
    return _refused(module, layer, f"what it does depends on values, or has no operator there ({what})")


def _converted(error: BaseException | None) -> str:
    """The layer whose operator was being converted, of which torch's message says nothing."""
    while error is not None:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            node = frame.f_locals.get("node")
            stack = node.meta.get("nn_module_stack") if isinstance(node, torch.fx.Node) else None
            if stack:
                return str(list(stack.values())[-1][0])
        error = error.__cause__
    return ""


def _refused(module: NetModule, layer: LayerModule, why: str) -> str:
    p, names = layer.param, _names(module)
    below = ", ".join(repr(names[module._blobs[name]]) for name in p.bottom)
    return (
        f"layer {p.name!r} ({p.type}) cannot be exported: {why}. "
        f"Export blobs that do not depend on it{f': {below}' if below else ''}."
    )


def _names(module: NetModule) -> dict[int, str]:
    """The names of values: their first name, not one from a hidden Split."""
    return {value: name for name, value in reversed(module._blobs.items())}


# Names in ONNX.


def _name(model: Any, names: Sequence[str], traced: Traced) -> None:
    """Give values the names of blobs, nodes those of layers, and leave only `names` as outputs."""
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    graph, made = model.graph, {}
    taken = {value.name for value in graph.inputs}
    for (name, _, _), value in zip(traced.tops, graph.outputs, strict=True):
        value.name = _free(name, taken)
        made[name] = value
    last = {
        id(value.producer()): layer for (_, layer, _), value in zip(traced.tops, graph.outputs, strict=True)
    }
    del graph.outputs[:]
    graph.outputs.extend(made[name] for name in names)
    RemoveUnusedNodesPass()(model)
    _name_nodes(graph, last)


def _name_nodes(graph: Any, last: dict[int, str]) -> None:
    taken: set[str] = set()
    for node in graph:
        layer = last.get(id(node)) or _scope(node)
        node.name = _free(layer if id(node) in last else f"{layer}/{node.op_type}", taken)


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _scope(node: Any) -> str:
    """The layer that a node is part of."""
    scopes = re.findall(r"'([^']*)'", node.metadata_props.get("pkg.torch.onnx.name_scopes", ""))
    return scopes[1] if len(scopes) > 1 else str(node.op_type)
