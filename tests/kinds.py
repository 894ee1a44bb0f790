"""Small nets of every kind, as files with seeded weights and an input: not only one image to one answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from caffe_viz.netdef import parse_net, write_net, write_weights
from caffe_viz.parity import seeded_weights


def data(*shape: int, name: str = "data") -> str:
    """An Input layer."""
    dims = " ".join(f"dim: {n}" for n in shape)
    return layer(name, "Input", "", name, f"input_param {{ shape {{ {dims} }} }}")


def layer(name: str, kind: str, bottoms: str, tops: str = "", more: str = "") -> str:
    """A layer; its top is by default called as it is."""
    blobs = " ".join(f'bottom: "{b}"' for b in bottoms.split())
    blobs += " " + " ".join(f'top: "{t}"' for t in (tops or name).split())
    return f'layer {{ name: "{name}" type: "{kind}" {blobs} {more} }}\n'


def conv(name: str, bottom: str, outputs: int, size: str, more: str = "") -> str:
    """A convolution and a ReLU in place."""
    given = f"convolution_param {{ num_output: {outputs} {size} }} {more}"
    return layer(name, "Convolution", bottom, more=given) + layer(f"relu_{name}", "ReLU", name, name)


def fc(name: str, bottom: str, outputs: int, more: str = "") -> str:
    """A fully connected layer."""
    return layer(name, "InnerProduct", bottom, more=f"inner_product_param {{ num_output: {outputs} {more} }}")


def softmax(bottom: str, name: str = "prob", more: str = "") -> str:
    """A softmax."""
    return layer(name, "Softmax", bottom, more=more)


def both(first: str, second: str, outputs: int) -> str:
    """One branch of a siamese pair: the weights are the other's too."""
    shared = f'param {{ name: "{first}_w" }} param {{ name: "{first}_b" }}'
    return conv(second, "data" if first == second else "data_p", outputs, "kernel_size: 5 stride: 2", shared)


@dataclass(frozen=True)
class Kind:
    """A net; `layer` is one whose filters are looked at, `image` the shape of what goes in, without the batch.

    `images`: which inputs get it, as "data="; "" where there is but one that could be an image. `refused`: commands that this net cannot have, with words of the reason.
    """

    text: str
    image: tuple[int, ...]
    layer: str
    images: tuple[str, ...] = ("",)
    refused: Mapping[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        """deploy.prototxt, net.caffemodel and image.npy in `folder`."""
        net = parse_net(self.text)
        folder.mkdir(parents=True, exist_ok=True)
        write_net(net, folder / "deploy.prototxt")
        write_weights(seeded_weights(net, 1), folder / "net.caffemodel")
        image = np.random.default_rng(1).normal(0, 1, self.image)
        np.save(folder / "image.npy", image.astype(np.float32))
        return folder


NO_IMAGE = {"top": "an image .* is needed", "evaluate": "an image .* is needed"}
LSTM = 'recurrent_param { num_output: 6 weight_filler { type: "xavier" } }'

KINDS: Mapping[str, Kind] = {
    "signal": Kind(  # of the first of the five documents: 8 x 8 x 7 x 96, kernels of 1 x 5
        data(8, 8, 7, 96) + conv("conv1", "data", 11, "kernel_h: 1 kernel_w: 5") + fc("fc", "conv1", 4)
        + softmax("fc"),
        (8, 7, 96), "conv1",
    ),
    "eeg": Kind(  # 62 electrodes
        data(1, 1, 62, 375) + conv("conv1", "data", 4, "kernel_h: 1 kernel_w: 25")
        + conv("conv2", "conv1", 6, "kernel_h: 62 kernel_w: 1")
        + layer("pool", "Pooling", "conv2",
                more="pooling_param { pool: AVE kernel_h: 1 kernel_w: 15 stride_h: 1 stride_w: 7 }")
        + fc("fc", "pool", 2) + softmax("fc"),
        (1, 62, 375), "conv2",
    ),
    "c3d": Kind(  # frames of a film
        data(1, 3, 8, 32, 32) + conv("conv1", "data", 4, "kernel_size: 3 stride: 2 pad: 1")
        + conv("conv2", "conv1", 5, "kernel_size: 3 stride: 2 pad: 1") + fc("fc", "conv2", 3) + softmax("fc"),
        (3, 8, 32, 32), "conv2", refused=NO_IMAGE,
    ),
    "siamese": Kind(
        data(1, 1, 16, 16) + data(1, 1, 16, 16, name="data_p") + both("conv", "conv", 4)
        + both("conv", "conv_p", 4) + layer("pair", "Concat", "conv conv_p") + fc("fc", "pair", 2)
        + softmax("fc"),
        (1, 16, 16), "conv", ("data=", "data_p="),
    ),
    "captioner": Kind(
        data(4, 1, name="cont") + data(4, 1, name="words") + data(1, 8, name="features")
        + layer("embed", "Embed", "words", more="embed_param { num_output: 5 input_dim: 9 bias_term: false }")
        + layer("lstm", "LSTM", "embed cont features", more=LSTM) + fc("predict", "lstm", 9, "axis: 2")
        + softmax("predict", more="softmax_param { axis: 2 }"),
        (8,), "predict",
        refused=NO_IMAGE | {"classify": "not one value for each class", "export": "'embed' .* cannot be"},
    ),
    "side": Kind(
        data(1, 3, 20, 20) + data(1, 5, name="meta") + conv("conv", "data", 4, "kernel_size: 5 stride: 2")
        + layer("flat", "Flatten", "conv") + layer("all", "Concat", "flat meta") + fc("fc", "all", 3)
        + softmax("fc"),
        (3, 20, 20), "conv",
    ),
    "heads": Kind(
        data(1, 3, 20, 20) + conv("conv", "data", 4, "kernel_size: 5 stride: 2") + fc("fc", "conv", 3)
        + softmax("fc") + fc("age", "conv", 1)
        + layer("mask", "Convolution", "conv", more="convolution_param { num_output: 1 kernel_size: 1 }"),
        (3, 20, 20), "conv",
    ),
    "number": Kind(
        data(1, 3, 20, 20) + conv("conv", "data", 4, "kernel_size: 5 stride: 2") + fc("fc", "conv", 3)
        + layer("loss", "Reduction", "fc", more="reduction_param { operation: SUMSQ }"),
        (3, 20, 20), "conv", refused={"classify": "not one value for each class"},
    ),
    "mlp": Kind(
        data(1, 12) + fc("fc1", "data", 8) + layer("relu", "ReLU", "fc1", "fc1") + fc("fc2", "fc1", 3)
        + softmax("fc2"),
        (12,), "fc1", refused=NO_IMAGE,
    ),
    "lines": Kind(
        data(1, 4, 30) + conv("conv", "data", 5, "kernel_size: 7") + fc("fc", "conv", 3) + softmax("fc"),
        (4, 30), "conv", refused=NO_IMAGE,
    ),
}  # fmt: skip


FILM = Kind(  # C3D's own frames
    data(1, 3, 16, 112, 112) + conv("conv1", "data", 4, "kernel_size: 3 stride: 2 pad: 1")
    + conv("conv2", "conv1", 4, "kernel_size: 3 stride: 4 pad: 1") + fc("fc", "conv2", 3) + softmax("fc"),
    (3, 16, 112, 112), "conv2", refused=NO_IMAGE,
)  # fmt: skip
