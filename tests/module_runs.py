"""A one-layer case as a net of the embedded engine, and what the net and its module make of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from fork_cases import ForkCase
from layer_cases import LayerCase

from caffe_viz.engine import Net
from caffe_viz.engine.module import NetModule
from caffe_viz.netdef import NetParameter, parse_net

Case = LayerCase | ForkCase
Arrays = dict[str, Any]


@dataclass
class Both:
    """The same things of a net and of its module, by name."""

    net: Arrays
    module: Arrays


@cache
def _parsed(text: str) -> NetParameter:
    return parse_net(text)


def net_of(case: Case) -> Net:
    """The net with its values in inputs and parameters; gradients go wherever Caffe lets them."""
    forced = f"force_backward: {str(bool(case.gradient)).lower()}\n"
    net = Net(_parsed(forced + case.toy.prototxt()), int(not getattr(case, "train", False)))
    rng = np.random.default_rng(1)
    for name in net.inputs:
        noise = rng.normal(size=net.blobs[name].data.shape)
        net.blobs[name].data[...] = case.inputs.get(name, noise)
    for i, blob in enumerate(net.layer_dict["x"].blobs):
        blob.data[...] = case.params.get(i, rng.normal(size=blob.data.shape))
    return net


def inputs_of(net: Net) -> dict[str, torch.Tensor]:
    """Copies of what is in the inputs."""
    return {name: torch.from_numpy(np.array(net.blobs[name].data)) for name in net.inputs}


def same_draws(of: Net | NetModule) -> None:
    """Layers that draw numbers draw the same in a net and in its modules."""
    for layer in of.layers if isinstance(of, Net) else of.children():
        layer.call.generator.manual_seed(7)


def run_both(net: Net, memory_format: str, gradient: bool = True) -> Both:
    """Every blob, the gradient of each input and of each parameter that Caffe gives one, for random seeds."""
    (found,) = run_formats(net, [memory_format], gradient)
    return found


def run_formats(net: Net, formats: Sequence[str], gradient: bool = True) -> list[Both]:
    """The same of a module in each memory format, beside one run of the net."""
    passes = [_pass(net, memory_format, gradient) for memory_format in formats]
    same_draws(net)
    net.forward()
    values = {name: np.array(blob.data) for name, blob in net.blobs.items()}
    found = [Both(dict(values), {n: x.detach().numpy() for n, x in one.tops.items()}) for one in passes]
    if gradient:
        _add_gradients(net, passes, found)
    return found


@dataclass
class _Pass:
    module: NetModule
    inputs: dict[str, torch.Tensor]
    tops: dict[str, torch.Tensor]


def _pass(net: Net, memory_format: str, gradient: bool) -> _Pass:
    module = NetModule(net, memory_format).requires_grad_(gradient)
    given, xs = inputs_of(net), inputs_of(net)
    stored = {name: value.clone() for name, value in module.state_dict().items()}
    for x in xs.values():
        x.requires_grad_(gradient)
    same_draws(module)
    tops = module(xs, blobs=list(net.blobs))
    with torch.no_grad():  # a BatchNorm in training takes the batch in, and shares its memory with the net
        for name, value in module.state_dict().items():
            if not torch.equal(value, stored[name]):
                value.copy_(stored[name])
    assert all(torch.equal(xs[name], given[name]) for name in given), "an input was changed"
    return _Pass(module, xs, tops)


def _add_gradients(net: Net, passes: Sequence[_Pass], found: Sequence[Both]) -> None:
    net.clear_param_diffs()
    rng = np.random.default_rng(2)
    totals = [torch.zeros(()) for _ in passes]
    for name in dict.fromkeys((*net.outputs, *(n for n, weight in net.blob_loss_weights.items() if weight))):
        blob = net.blobs[name]
        if net.blob_loss_weights[name] == 0:
            blob.diff[...] = rng.normal(size=blob.diff.shape)
        seed = torch.from_numpy(np.array(blob.diff))
        totals = [total + (one.tops[name] * seed).sum() for total, one in zip(totals, passes, strict=True)]
    net.backward()
    takers = [(net.bottom_names[layer.name], layer.down) for layer in net.layers]
    wanted = {name for names, down in takers for name, asked in zip(names, down, strict=True) if asked}
    diffs = {f"diff {name}": np.array(net.blobs[name].diff) for name in net.inputs if name in wanted}
    for name, blobs in net.params.items():
        for i, blob in enumerate(blobs):
            if net.layer_dict[name].learns[i]:
                diffs[f"diff {name} {i}"] = np.array(blob.diff)
    for total, one, both in zip(totals, passes, found, strict=True):
        if total.requires_grad:
            total.backward()
        both.net.update(diffs)
        both.module.update({name: x for name, x in _gradients(net, one) if name in diffs})


def _gradients(net: Net, one: _Pass) -> Iterator[tuple[str, Any]]:
    for name, x in one.inputs.items():
        yield f"diff {name}", _gradient(x)
    children = (child for child in one.module.children() if child._names)
    for name, child in zip(net.params, children, strict=True):
        for i, parameter in enumerate(child._names):
            yield f"diff {name} {i}", _gradient(getattr(child, parameter))


def _gradient(x: torch.Tensor) -> Any:
    return (torch.zeros_like(x.detach()) if x.grad is None else x.grad).numpy()
