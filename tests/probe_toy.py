"""A net with all that makes a partial backward hard, and the same net in plain torch."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from caffe_viz.netdef import NetParameter, make_blob, parse_net
from caffe_viz.parity import seeded_weights

# Chains in place, a residual sum, a concatenation, blobs of two and three consumers, a diff that Flatten shares,
# losses that keep things in diffs, and ends without a gradient.
TOY = """
name: "toy"
layer { name: "data" type: "Input" top: "data" top: "label" input_param { shape { dim: 2 dim: 3 dim: 9 dim: 7 } shape { dim: 2 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "a" type: "Convolution" bottom: "conv1" top: "a" convolution_param { num_output: 4 kernel_size: 1 } }
layer { name: "bn_a" type: "BatchNorm" bottom: "a" top: "a" }
layer { name: "scale_a" type: "Scale" bottom: "a" top: "a" scale_param { bias_term: true } }
layer { name: "relu_a" type: "ReLU" bottom: "a" top: "a" relu_param { negative_slope: 0.1 } }
layer { name: "pool_b" type: "Pooling" bottom: "conv1" top: "pool_b" pooling_param { kernel_size: 3 stride: 1 pad: 1 } }
layer { name: "b" type: "Convolution" bottom: "pool_b" top: "b" convolution_param { num_output: 3 kernel_size: 1 } }
layer { name: "prelu_b" type: "PReLU" bottom: "b" top: "b" }
layer { name: "sum" type: "Eltwise" bottom: "conv1" bottom: "a" top: "sum" }
layer { name: "relu_sum" type: "ReLU" bottom: "sum" top: "sum" }
layer { name: "cat" type: "Concat" bottom: "sum" bottom: "b" top: "cat" }
layer { name: "elu" type: "ELU" bottom: "cat" top: "cat" }
layer { name: "norm" type: "LRN" bottom: "cat" top: "norm" lrn_param { local_size: 3 alpha: 0.5 } }
layer { name: "conv2" type: "Convolution" bottom: "norm" top: "conv2" convolution_param { num_output: 5 kernel_size: 2 } }
layer { name: "relu2" type: "ReLU" bottom: "conv2" top: "conv2" }
layer { name: "drop" type: "Dropout" bottom: "conv2" top: "conv2" }
layer { name: "pool" type: "Pooling" bottom: "conv2" top: "pool" pooling_param { pool: AVE global_pooling: true } }
layer { name: "flat" type: "Flatten" bottom: "pool" top: "flat" }
layer { name: "fc" type: "InnerProduct" bottom: "flat" top: "fc" inner_product_param { num_output: 6 } }
layer { name: "hinge" type: "HingeLoss" bottom: "fc" bottom: "label" top: "hinge" hinge_loss_param { norm: L2 } }
layer { name: "right" type: "Accuracy" bottom: "fc" bottom: "label" top: "right" }
layer { name: "best" type: "ArgMax" bottom: "fc" top: "best" }
layer { name: "silence" type: "Silence" bottom: "best" }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""
SHAPE = (2, 3, 9, 7)


def toy() -> tuple[NetParameter, NetParameter]:
    """The net and its weights; biases as large as what they are added to, so that units are on and off."""
    return deepcopy(_made())


@cache
def _made() -> tuple[NetParameter, NetParameter]:
    message = parse_net(TOY)
    return message, seeded_weights(message, 3)


def image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=SHAPE).astype(np.float32)


class _Rectifier(torch.autograd.Function):
    """A rectifier whose backward is one of the rules: `value` and `slope` are f and f' at x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor, slope: Tensor, rule: str) -> Tensor:
        ctx.save_for_backward(slope)
        ctx.rule = rule
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (g,) = gradients
        (slope,) = ctx.saved_tensors
        if ctx.rule == "deconvnet":
            return g.clamp(min=0), None, None, None
        return slope * (g.clamp(min=0) if ctx.rule == "guided" else g), None, None, None


def in_torch(weights: NetParameter, x: Tensor, rule: str = "plain") -> Mapping[str, Tensor]:
    """Values under the names of `Probe`'s blobs; derive them by autograd."""
    w = {
        layer.name: [
            torch.tensor(np.array(b.data, np.float32).reshape(tuple(b.shape.dim))) for b in layer.blobs
        ]
        for layer in weights.layer
    }

    def rectify(v: Tensor, value: Tensor, slope: Tensor) -> Tensor:
        out: Tensor = _Rectifier.apply(v, value.detach(), slope.detach(), rule)
        return out

    def leaky(v: Tensor, slope: float | Tensor = 0.0) -> Tensor:
        return rectify(
            v,
            torch.where(v > 0, v, v * slope),
            torch.where(v > 0, torch.ones_like(v), slope * torch.ones_like(v)),
        )

    t = {"data": x}
    t["conv1_before_relu1"] = F.conv2d(x, *w["conv1"])
    t["conv1"] = leaky(t["conv1_before_relu1"])
    mean, variance, factor = w["bn_a"]
    t["a_before_bn_a"] = F.conv2d(t["conv1"], *w["a"])
    t["a_before_scale_a"] = F.batch_norm(t["a_before_bn_a"], mean / factor, variance / factor, eps=1e-5)
    t["a_before_relu_a"] = (
        t["a_before_scale_a"] * w["scale_a"][0][:, None, None] + w["scale_a"][1][:, None, None]
    )
    t["a"] = leaky(t["a_before_relu_a"], 0.1)
    t["pool_b"] = F.max_pool2d(t["conv1"], 3, 1, 1)
    t["b_before_prelu_b"] = F.conv2d(t["pool_b"], *w["b"])
    t["b"] = leaky(t["b_before_prelu_b"], w["prelu_b"][0][:, None, None])
    t["sum_before_relu_sum"] = t["conv1"] + t["a"]
    t["sum"] = leaky(t["sum_before_relu_sum"])
    t["cat_before_elu"] = torch.cat([t["sum"], t["b"]], 1)
    v = t["cat_before_elu"]
    t["cat"] = rectify(v, F.elu(v), torch.where(v > 0, torch.ones_like(v), v.exp()))
    t["norm"] = F.local_response_norm(t["cat"], 3, 0.5)
    t["conv2_before_relu2"] = F.conv2d(t["norm"], *w["conv2"])
    t["conv2_before_drop"] = leaky(t["conv2_before_relu2"])
    t["conv2"] = t["conv2_before_drop"] * 1
    t["pool"] = t["conv2"].mean((2, 3), keepdim=True)
    t["flat"] = t["pool"].flatten(1)
    t["fc"] = F.linear(t["flat"], *w["fc"])
    t["prob"] = t["fc"].softmax(1)
    return t


def small(weights: Mapping[str, list[np.ndarray]]) -> NetParameter:
    """Weights by layer as a message."""
    out = NetParameter()
    for name, arrays in weights.items():
        out.layer.add(name=name, blobs=map(make_blob, arrays))
    return out
