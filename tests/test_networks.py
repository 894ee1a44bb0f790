"""The networks of prototxt/: published counts, real Caffe's shapes, and what the generator writes."""

from __future__ import annotations

import importlib.util
import sys
from math import prod
from pathlib import Path
from typing import Any

import pytest

import caffe_viz as cv
from caffe_viz.geometry import Geometry
from caffe_viz.images import Preprocess
from caffe_viz.netdef import blob_shape, for_phase, read_net, read_weights
from caffe_viz.surgery import with_batch

REPOSITORY = Path(__file__).resolve().parent.parent
# Learned parameters, and multiply-adds where they are published.
PUBLISHED = {
    "caffenet": (60_965_224, 724_406_816),
    "alexnet": (60_965_224, 724_406_816),
    "googlenet": (6_998_552, None),
    "vgg16": (138_357_544, None),
    "resnet50": (25_557_032 + 64, None),  # the usual count of ResNet-50, and conv1's bias
    "squeezenet_v1.0": (1_248_424, 861_339_936),
    "squeezenet_v1.1": (1_235_496, None),
    "lenet": (431_080, None),
    "caffenet_cifar10": (466_826, None),
}
NAMES = {
    "caffenet": "pool1 norm1 drop7 fc8 prob",
    "alexnet": "norm1 pool1 drop7 fc8 prob",
    "googlenet": "conv1/7x7_s2 pool1/norm1 conv2/3x3_reduce inception_4c/relu_5x5 inception_5b/output loss3/classifier",
    "vgg16": "conv3_1 relu3_1 pool5 fc7",
    "resnet50": "bn_conv1 scale_conv1 conv1_relu res2a_branch1 bn2a_branch2b scale4f_branch2c res5c_relu fc1000",
    "squeezenet_v1.0": "fire2/squeeze1x1 fire9/relu_expand3x3 fire9/concat conv10 pool10",
    "squeezenet_v1.1": "fire2/squeeze1x1 pool3 pool5 conv10",
    "lenet": "conv1 ip1 ip2",
}


def learned(geometry: Geometry) -> int:
    """Parameters without the statistics of BatchNorm."""
    statistics = sum(
        prod(s) for layer in geometry.layers if layer.type == "BatchNorm" for s in layer.param_shapes
    )
    return geometry.params - statistics


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_counts_and_names(networks: Path, name: str) -> None:
    geometry = cv.measure(read_net(networks / name / "deploy.prototxt"))
    params, macs = PUBLISHED[name]
    assert learned(geometry) == params
    assert macs in (None, geometry.macs)
    for layer in NAMES.get(name, "").split():
        geometry.layer(layer)


@pytest.mark.parametrize("name", PUBLISHED)
def test_preprocess_fits_the_net(networks: Path, name: str) -> None:
    path = networks / name / "deploy.prototxt"
    geometry, preprocess = cv.measure(read_net(path)), Preprocess.from_toml(path.parent / "preprocess.toml")
    _, channels, height, width = geometry.blobs["data"]
    assert preprocess.channels == channels
    assert preprocess.resize is None or preprocess.resize >= max(height, width)
    assert len(preprocess.labels) == geometry.blobs["prob"][1]
    if len(preprocess.labels) == 1000:
        assert [preprocess.labels[i] for i in (0, 281, 386, 999)] == [
            "tench", "tabby", "African elephant", "toilet tissue",
        ]  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_real_caffe_sets_it_up_alike(caffe: Any, networks: Path, name: str) -> None:
    message = with_batch(for_phase(read_net(networks / name / "deploy.prototxt")), 1)
    geometry, net = cv.measure(message), cv.load_net(message, checked=False)
    assert {n: tuple(b.data.shape) for n, b in net.blobs.items()} == geometry.blobs
    assert list(net._layer_names) == [layer.name for layer in geometry.layers]
    for layer, real in zip(geometry.layers, net.layers, strict=True):
        assert tuple(tuple(b.shape) for b in real.blobs) == layer.param_shapes


def test_the_generator_writes_what_is_there(networks: Path, tmp_path: Path, monkeypatch: Any) -> None:
    spec = importlib.util.spec_from_file_location(
        "make_prototxt", REPOSITORY / "scripts" / "make_prototxt.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", ["make_prototxt.py", str(tmp_path)])
    module.main()
    made = sorted(p.parent.name for p in tmp_path.glob("*/deploy.prototxt"))
    assert made == sorted(set(PUBLISHED) - {"caffenet_cifar10"})
    for name in made:
        text = (tmp_path / name / "deploy.prototxt").read_text()
        assert text == (networks / name / "deploy.prototxt").read_text()


def test_every_network_is_in_the_table(networks: Path) -> None:
    table = (networks / "README.md").read_text()
    folders = {p.parent.name for p in networks.glob("*/deploy.prototxt")}
    assert folders == set(PUBLISHED)
    for name in folders:
        geometry = cv.measure(read_net(networks / name / "deploy.prototxt"))
        assert f"| {name} |" in table
        assert f"{learned(geometry):,}" in table
        assert f"{geometry.macs:,}" in table


def test_published_squeezenet_fits_in_shape(networks: Path, shared: Path) -> None:
    """The trained file's layers have other names, but in the same order the same shapes."""
    trained = read_weights(shared / "models" / "squeezenet_v1.0" / "squeezenet_v1.0.caffemodel")
    geometry = cv.measure(read_net(networks / "squeezenet_v1.0" / "deploy.prototxt"))
    theirs = sorted(blob_shape(layer.blobs[0]) for layer in trained.layer if layer.blobs)
    assert theirs == sorted(layer.param_shapes[0] for layer in geometry.layers if layer.param_shapes)
