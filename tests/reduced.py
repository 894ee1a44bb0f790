"""The networks of prototxt/ with fewer numbers: the same layers, of the same settings, on smaller images."""

from __future__ import annotations

from pathlib import Path

from caffe_viz.geometry import measure
from caffe_viz.netdef import NetParameter, read_net
from caffe_viz.surgery import with_batch

ROOT = Path(__file__).resolve().parent.parent
NETWORKS = sorted(path.parent.name for path in (ROOT / "prototxt").glob("*/deploy.prototxt"))
# Sizes that each window fits as it fits the published one: no pooling gets a border that it has not there.
SIDES = {"alexnet": 99, "caffenet": 99, "googlenet": 96, "resnet50": 96, "squeezenet_v1.0": 99, "squeezenet_v1.1": 99, "vgg16": 64}  # fmt: skip
WIDE, NARROW = 4096, 256  # outputs of fully connected layers, which have nine in ten of all weights


def full(name: str) -> NetParameter:
    """A network as it is, for one image."""
    return with_batch(read_net(ROOT / "prototxt" / name / "deploy.prototxt"), 1)


def reduced(name: str) -> NetParameter:
    """The same for a small image, with few fully connected units; a pooling of whole maps is one still."""
    net = full(name)
    if name not in SIDES:
        return net
    whole = [x.name for x in net.layer if x.type == "Pooling" and measure(net).blob(x.top[0])[2:] == (1, 1)]
    net.layer[0].input_param.shape[0].dim[2:] = [SIDES[name]] * 2
    for layer in net.layer:
        if layer.name in whole and not layer.pooling_param.global_pooling:
            layer.pooling_param.kernel_size = SIDES[name] // 32
        if layer.type == "InnerProduct" and layer.inner_product_param.num_output == WIDE:
            layer.inner_product_param.num_output = NARROW
    return net
