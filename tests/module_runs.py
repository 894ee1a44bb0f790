"""A one-layer case as a net of the embedded engine, and what the net and its module make of it."""

from __future__ import annotations

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


def same_draws(net: Net, module: NetModule) -> None:
    """Layers that draw numbers draw the same in both."""
    for layer in net.layers:
        layer.call.generator.manual_seed(7)
    for child in module.children():
        child.call.generator.manual_seed(7)


def run_both(net: Net, memory_format: str, gradient: bool = True) -> Both:
    """Every blob, the gradient of each input and of each parameter that Caffe gives one, for random seeds."""
    module = NetModule(net, memory_format).requires_grad_(gradient)
    given, xs = inputs_of(net), inputs_of(net)
    stored = {name: value.clone() for name, value in module.state_dict().items()}
    names = list(net.blobs)
    for x in xs.values():
        x.requires_grad_(gradient)
    same_draws(net, module)
    tops = module(xs, blobs=names)
    with torch.no_grad():  # a BatchNorm in training takes the batch in, and shares its memory with the net
        for name, value in module.state_dict().items():
            if not torch.equal(value, stored[name]):
                value.copy_(stored[name])
    assert all(torch.equal(xs[name], given[name]) for name in given), "an input was changed"
    same_draws(net, module)
    net.forward()
    found = Both(
        {n: np.array(net.blobs[n].data) for n in names}, {n: tops[n].detach().numpy() for n in names}
    )
    if gradient:
        _add_gradients(net, module, xs, tops, found)
    return found


def _add_gradients(net: Net, module: NetModule, xs: Any, tops: Any, found: Both) -> None:
    net.clear_param_diffs()
    rng = np.random.default_rng(2)
    total = torch.zeros(())
    for name in dict.fromkeys((*net.outputs, *(n for n, weight in net.blob_loss_weights.items() if weight))):
        blob = net.blobs[name]
        if net.blob_loss_weights[name] == 0:
            blob.diff[...] = rng.normal(size=blob.diff.shape)
        total = total + (tops[name] * torch.from_numpy(np.array(blob.diff))).sum()
    net.backward()
    if total.requires_grad:
        total.backward()
    takers = [(net.bottom_names[layer.name], layer.down) for layer in net.layers]
    wanted = {name for names, down in takers for name, asked in zip(names, down, strict=True) if asked}
    for name, x in xs.items():
        if name in wanted:
            found.net[f"diff {name}"] = np.array(net.blobs[name].diff)
            found.module[f"diff {name}"] = _gradient(x)
    for (name, blobs), child in zip(
        net.params.items(), (c for c in module.children() if c._names), strict=True
    ):
        for i, (blob, parameter) in enumerate(zip(blobs, child._names, strict=True)):
            if net.layer_dict[name].learns[i]:
                found.net[f"diff {name} {i}"] = np.array(blob.diff)
                found.module[f"diff {name} {i}"] = _gradient(getattr(child, parameter))


def _gradient(x: torch.Tensor) -> Any:
    return (torch.zeros_like(x.detach()) if x.grad is None else x.grad).numpy()
