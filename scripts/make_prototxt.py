#!/usr/bin/env python3
"""Write prototxt/NAME/deploy.prototxt of every published network that the project knows.

    python scripts/make_prototxt.py [FOLDER]      FOLDER: instead of prototxt/

Layers and blobs carry the names of the published weights, so that those load by name. A second run
changes nothing. prototxt/caffenet_cifar10 is the project's own and is written by hand.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

PROTOTXT = Path(__file__).resolve().parent.parent / "prototxt"
Value = int | float | str | None

# Type of a layer -> the block of its settings.
BLOCKS = {
    "Convolution": "convolution_param",
    "Pooling": "pooling_param",
    "LRN": "lrn_param",
    "InnerProduct": "inner_product_param",
    "Dropout": "dropout_param",
    "BatchNorm": "batch_norm_param",
    "Scale": "scale_param",
}


class Net:
    """The text of one network. A layer takes the blob `top`, the last one made, unless told otherwise."""

    def __init__(self, name: str, comment: str, shape: Sequence[int]) -> None:
        lines = [f"# {line}\n" for line in comment.splitlines()]
        dims = " ".join(f"dim: {n}" for n in shape)
        self.text = "".join([*lines, f'name: "{name}"\n'])
        self.text += 'layer {\n  name: "data"\n  type: "Input"\n  top: "data"\n'
        self.text += f"  input_param {{\n    shape {{ {dims} }}\n  }}\n}}\n"
        self.top = "data"

    def layer(self, name: str, kind: str, *bottoms: str, in_place: bool = False, **fields: Value) -> str:
        """Append a layer and return its top; fields that are None are left out."""
        bottoms = bottoms or (self.top,)
        self.top = bottoms[0] if in_place else name
        rows = [
            f'name: "{name}"',
            f'type: "{kind}"',
            *(f'bottom: "{b}"' for b in bottoms),
            f'top: "{self.top}"',
        ]
        settings = [f"  {key}: {value}" for key, value in fields.items() if value is not None]
        if settings:
            rows += [f"{BLOCKS[kind]} {{", *settings, "}"]
        self.text += "layer {\n" + "".join(f"  {row}\n" for row in rows) + "}\n"
        return self.top

    def conv(self, name: str, outputs: int, kernel: int, *bottoms: str, **fields: Value) -> str:
        return self.layer(name, "Convolution", *bottoms, num_output=outputs, kernel_size=kernel, **fields)

    def relu(self, name: str) -> str:
        return self.layer(name, "ReLU", in_place=True)

    def conv_relu(
        self, name: str, relu: str, outputs: int, kernel: int, *bottoms: str, **fields: Value
    ) -> str:
        self.conv(name, outputs, kernel, *bottoms, **fields)
        return self.relu(relu)

    def pool(
        self, name: str, kernel: int, stride: int, *bottoms: str, kind: str = "MAX", pad: int | None = None
    ) -> str:
        return self.layer(name, "Pooling", *bottoms, pool=kind, kernel_size=kernel, stride=stride, pad=pad)

    def global_average(self, name: str) -> str:
        return self.layer(name, "Pooling", pool="AVE", global_pooling="true")

    def norm(self, name: str) -> str:
        return self.layer(name, "LRN", local_size=5, alpha=0.0001, beta=0.75)

    def fc(self, name: str, outputs: int) -> str:
        return self.layer(name, "InnerProduct", num_output=outputs)

    def dropout(self, name: str, ratio: float) -> str:
        return self.layer(name, "Dropout", in_place=True, dropout_ratio=ratio)

    def two_hidden(self) -> None:
        """fc6, fc7 and the classifier fc8, as AlexNet, CaffeNet and VGG have them."""
        for number in (6, 7):
            self.fc(f"fc{number}", 4096)
            self.relu(f"relu{number}")
            self.dropout(f"drop{number}", 0.5)
        self.fc("fc8", 1000)


# Filters, kernel, and settings of AlexNet's convolutions.
ALEXNET: tuple[tuple[int, int, dict[str, int]], ...] = (
    (96, 11, {"stride": 4}),
    (256, 5, {"pad": 2, "group": 2}),
    (384, 3, {"pad": 1}),
    (384, 3, {"pad": 1, "group": 2}),
    (256, 3, {"pad": 1, "group": 2}),
)


def alexnet_layout(net: Net, pool_first: bool) -> None:
    for number, (outputs, kernel, fields) in enumerate(ALEXNET, 1):
        net.conv_relu(f"conv{number}", f"relu{number}", outputs, kernel, **fields)
        if number in (1, 2) and not pool_first:
            net.norm(f"norm{number}")
        if number in (1, 2, 5):
            net.pool(f"pool{number}", 3, 2)
        if number in (1, 2) and pool_first:
            net.norm(f"norm{number}")
    net.two_hidden()


def caffenet(net: Net) -> None:
    alexnet_layout(net, pool_first=True)


def alexnet(net: Net) -> None:
    alexnet_layout(net, pool_first=False)


# Filters of 1x1, 3x3_reduce, 3x3, 5x5_reduce, 5x5, pool_proj; None: a pooling of 3x3 / 2 between the stages.
INCEPTIONS: tuple[tuple[str, tuple[int, int, int, int, int, int] | None], ...] = (
    ("inception_3a", (64, 96, 128, 16, 32, 32)),
    ("inception_3b", (128, 128, 192, 32, 96, 64)),
    ("pool3/3x3_s2", None),
    ("inception_4a", (192, 96, 208, 16, 48, 64)),
    ("inception_4b", (160, 112, 224, 24, 64, 64)),
    ("inception_4c", (128, 128, 256, 24, 64, 64)),
    ("inception_4d", (112, 144, 288, 32, 64, 64)),
    ("inception_4e", (256, 160, 320, 32, 128, 128)),
    ("pool4/3x3_s2", None),
    ("inception_5a", (256, 160, 320, 32, 128, 128)),
    ("inception_5b", (384, 192, 384, 48, 128, 128)),
)


def inception(net: Net, name: str, filters: tuple[int, int, int, int, int, int]) -> None:
    source = net.top

    def conv(part: str, outputs: int, kernel: int, bottom: str, pad: int | None = None) -> str:
        return net.conv_relu(f"{name}/{part}", f"{name}/relu_{part}", outputs, kernel, bottom, pad=pad)

    ones, reduce3, threes, reduce5, fives, projected = filters
    parts = [
        conv("1x1", ones, 1, source),
        conv("3x3", threes, 3, conv("3x3_reduce", reduce3, 1, source), 1),
        conv("5x5", fives, 5, conv("5x5_reduce", reduce5, 1, source), 2),
        conv("pool_proj", projected, 1, net.pool(f"{name}/pool", 3, 1, source, pad=1)),
    ]
    net.layer(f"{name}/output", "Concat", *parts)


def googlenet(net: Net) -> None:
    net.conv_relu("conv1/7x7_s2", "conv1/relu_7x7", 64, 7, pad=3, stride=2)
    net.pool("pool1/3x3_s2", 3, 2)
    net.norm("pool1/norm1")
    net.conv_relu("conv2/3x3_reduce", "conv2/relu_3x3_reduce", 64, 1)
    net.conv_relu("conv2/3x3", "conv2/relu_3x3", 192, 3, pad=1)
    net.norm("conv2/norm2")
    net.pool("pool2/3x3_s2", 3, 2)
    for name, filters in INCEPTIONS:
        if filters:
            inception(net, name, filters)
        else:
            net.pool(name, 3, 2)
    net.pool("pool5/7x7_s1", 7, 1, kind="AVE")
    net.dropout("pool5/drop_7x7_s1", 0.4)
    net.fc("loss3/classifier", 1000)


def vgg16(net: Net) -> None:
    for stage, (layers, outputs) in enumerate(((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)), 1):
        for number in range(1, layers + 1):
            net.conv_relu(f"conv{stage}_{number}", f"relu{stage}_{number}", outputs, 3, pad=1)
        net.pool(f"pool{stage}", 2, 2)
    net.two_hidden()


def normed(net: Net, conv: str, part: str, outputs: int, kernel: int, **fields: Value) -> str:
    """A convolution with BatchNorm and Scale in place; `part` ends the names of those two."""
    net.conv(conv, outputs, kernel, **fields)
    net.layer(f"bn{part}", "BatchNorm", in_place=True, use_global_stats="true")
    return net.layer(f"scale{part}", "Scale", in_place=True, bias_term="true")


def bottleneck(net: Net, block: str, width: int, stride: int | None, first: bool) -> None:
    """`width` filters inside, 4 * width outside; the 1x1 convolutions on the input have the stride."""
    source, shortcut, name = net.top, net.top, f"res{block}"

    def part(branch: str, outputs: int, kernel: int, **fields: Value) -> str:
        return normed(
            net, f"{name}_{branch}", f"{block}_{branch}", outputs, kernel, bias_term="false", **fields
        )

    if first:
        shortcut = part("branch1", 4 * width, 1, stride=stride)
    net.top = source
    part("branch2a", width, 1, stride=stride)
    net.relu(f"{name}_branch2a_relu")
    part("branch2b", width, 3, pad=1)
    net.relu(f"{name}_branch2b_relu")
    net.layer(name, "Eltwise", shortcut, part("branch2c", 4 * width, 1))
    net.relu(f"{name}_relu")


def resnet50(net: Net) -> None:
    # The one convolution with a bias: the published weights of ResNet-50 have it.
    normed(net, "conv1", "_conv1", 64, 7, pad=3, stride=2)
    net.relu("conv1_relu")
    net.pool("pool1", 3, 2)
    for stage, (blocks, width) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512)), 2):
        for letter in "abcdef"[:blocks]:
            stride = 2 if letter == "a" and stage > 2 else None
            bottleneck(net, f"{stage}{letter}", width, stride, first=letter == "a")
    net.pool("pool5", 7, 1, kind="AVE")
    net.fc("fc1000", 1000)


def squeezenet(
    net: Net, filters: int, kernel: int, pools: tuple[int, ...], last_pad: int | None = None
) -> None:
    """`pools`: the stages that a pooling of 3x3 / 2 follows. Fire squeezes to 16 k, expands to 2 * 64 k."""
    net.conv_relu("conv1", "relu_conv1", filters, kernel, stride=2)
    for stage, size in enumerate((0, 1, 1, 2, 2, 3, 3, 4, 4), 1):
        if size:
            fire(net, f"fire{stage}", 16 * size, 64 * size)
        if stage in pools:
            net.pool(f"pool{stage}", 3, 2)
    net.dropout("drop9", 0.5)
    net.conv_relu("conv10", "relu_conv10", 1000, 1, pad=last_pad)
    net.global_average("pool10")


def fire(net: Net, name: str, squeezed: int, expanded: int) -> None:
    def conv(part: str, outputs: int, kernel: int, bottom: str, pad: int | None = None) -> str:
        return net.conv_relu(f"{name}/{part}", f"{name}/relu_{part}", outputs, kernel, bottom, pad=pad)

    source = conv("squeeze1x1", squeezed, 1, net.top)
    parts = conv("expand1x1", expanded, 1, source), conv("expand3x3", expanded, 3, source, 1)
    net.layer(f"{name}/concat", "Concat", *parts)


def squeezenet_v1_0(net: Net) -> None:
    # The published conv10 has a border of zeros too: 15 x 15 places are averaged, not 13 x 13.
    squeezenet(net, 96, 7, (1, 4, 8), last_pad=1)


def squeezenet_v1_1(net: Net) -> None:
    squeezenet(net, 64, 3, (1, 3, 5))


def lenet(net: Net) -> None:
    for number, outputs in ((1, 20), (2, 50)):
        net.conv(f"conv{number}", outputs, 5)
        net.pool(f"pool{number}", 2, 2)
    net.fc("ip1", 500)
    net.relu("relu1")
    net.fc("ip2", 10)


BVLC = "Layer and blob names are those of {}.caffemodel."
# Folder -> name of the net, comment, shape of its input (N, C, H, W), the layers between data and prob.
NETWORKS: dict[str, tuple[str, str, tuple[int, int, int, int], Callable[[Net], None]]] = {
    "caffenet": (
        "CaffeNet",
        "CaffeNet (BVLC reference): AlexNet's layout with pooling before normalisation.\n"
        + BVLC.format("bvlc_reference_caffenet"),
        (10, 3, 227, 227),
        caffenet,
    ),
    "alexnet": (
        "AlexNet",
        "AlexNet (BVLC): normalisation before pooling.\n" + BVLC.format("bvlc_alexnet"),
        (10, 3, 227, 227),
        alexnet,
    ),
    "googlenet": (
        "GoogLeNet",
        "GoogLeNet (BVLC), without the two auxiliary classifiers of its training.\n"
        + BVLC.format("bvlc_googlenet"),
        (10, 3, 224, 224),
        googlenet,
    ),
    "vgg16": (
        "VGG16",
        "VGG with 16 layers (configuration D).\n" + BVLC.format("VGG_ILSVRC_16_layers"),
        (10, 3, 224, 224),
        vgg16,
    ),
    "resnet50": (
        "ResNet-50",
        "ResNet-50 (Kaiming He and others, 2015).\n" + BVLC.format("ResNet-50-model"),
        (1, 3, 224, 224),
        resnet50,
    ),
    "squeezenet_v1.0": (
        "SqueezeNet_v1.0",
        "SqueezeNet v1.0.\n" + BVLC.format("squeezenet_v1.0"),
        (10, 3, 227, 227),
        squeezenet_v1_0,
    ),
    "squeezenet_v1.1": (
        "SqueezeNet_v1.1",
        "SqueezeNet v1.1: the same accuracy at less than half the multiply-adds.\n"
        + BVLC.format("squeezenet_v1.1"),
        (10, 3, 227, 227),
        squeezenet_v1_1,
    ),
    "lenet": (
        "LeNet",
        "LeNet as in Caffe's MNIST example.\n" + BVLC.format("lenet_iter_10000"),
        (64, 1, 28, 28),
        lenet,
    ),
}


def prototxt(folder: str) -> str:
    """The text of NETWORKS[folder]."""
    name, comment, shape, layers = NETWORKS[folder]
    net = Net(name, comment, shape)
    layers(net)
    net.layer("prob", "Softmax")
    return net.text


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else PROTOTXT
    for folder in NETWORKS:
        path = target / folder / "deploy.prototxt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(prototxt(folder), encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
