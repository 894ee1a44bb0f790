"""A small net that ends in global average pooling and a linear layer, and the same net as a torch module."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from caffe_viz.netdef import NetParameter, parse_net
from caffe_viz.parity import seeded_weights

POOLED = """
name: "pooled"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 31 dim: 27 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" convolution_param { num_output: 8 kernel_size: 5 stride: 2 } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "conv2" type: "Convolution" bottom: "pool1" top: "conv2" convolution_param { num_output: 12 kernel_size: 3 } }
layer { name: "relu2" type: "ReLU" bottom: "conv2" top: "conv2" }
layer { name: "pool2" type: "Pooling" bottom: "conv2" top: "pool2" pooling_param { pool: AVE global_pooling: true } }
layer { name: "drop" type: "Dropout" bottom: "pool2" top: "pool2" }
layer { name: "fc" type: "InnerProduct" bottom: "pool2" top: "fc" inner_product_param { num_output: 6 } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""
SHAPE = (3, 31, 27)


def pooled() -> tuple[NetParameter, NetParameter]:
    """The net and its weights."""
    message = parse_net(POOLED)
    return message, seeded_weights(message, 5)


def images(count: int = 3) -> np.ndarray:
    return np.random.default_rng(2).normal(size=(count, *SHAPE)).astype(np.float32)


class Pooled(nn.Module):
    """The same, from the image to fc."""

    def __init__(self, weights: NetParameter) -> None:
        super().__init__()
        self.conv1, self.relu1, self.pool1 = nn.Conv2d(3, 8, 5, 2), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)
        self.conv2, self.relu2, self.fc = nn.Conv2d(8, 12, 3), nn.ReLU(), nn.Linear(12, 6)
        for layer in weights.layer:
            module = getattr(self, layer.name)
            for parameter, blob in zip((module.weight, module.bias), layer.blobs, strict=True):
                values = torch.tensor(np.array(blob.data, np.float32)).view(parameter.shape)
                parameter.data = values

    def maps(self, x: Tensor) -> Tensor:
        out: Tensor = self.relu2(self.conv2(self.pool1(self.relu1(self.conv1(x)))))
        return out

    def top(self, maps: Tensor) -> Tensor:
        out: Tensor = self.fc(maps.mean((2, 3)))
        return out

    def forward(self, x: Tensor) -> Tensor:
        return self.top(self.maps(x))
