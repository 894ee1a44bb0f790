"""The networks in prototxt/: names, sizes and costs as published, and what each engine makes of them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from reduced import NETWORKS, reduced

from caffe_viz import load_net, measure, read_net, read_weights
from caffe_viz.checking import check_messages
from caffe_viz.images import Preprocess, load_image
from caffe_viz.netdef import NetParameter

ROOT = Path(__file__).resolve().parent.parent
# 25,557,032 is the usual count of what ResNet-50 learns. In Caffe's: conv1 has a bias as well, and each
# BatchNorm stores a mean and a variance for each channel and one factor.
RESNET50 = 25_557_032 + 64 + 2 * 26_560 + 53
PARAMETERS = {
    "alexnet": 60_965_224,
    "caffenet": 60_965_224,
    "caffenet_cifar10": 466_826,
    "googlenet": 6_998_552,
    "lenet": 431_080,
    "resnet50": RESNET50,
    "squeezenet_v1.0": 1_248_424,
    "squeezenet_v1.1": 1_235_496,
    "vgg16": 138_357_544,
}
MULTIPLY_ADDS = {"caffenet": 724_406_816, "squeezenet_v1.0": 861_339_936}
# Shapes of some weights under the names of the published files.
WEIGHTS = {
    "alexnet": {"conv2": (256, 48, 5, 5), "fc6": (4096, 9216), "fc8": (1000, 4096)},
    "googlenet": {
        "conv1/7x7_s2": (64, 3, 7, 7),
        "inception_3a/1x1": (64, 192, 1, 1),
        "inception_4e/5x5_reduce": (32, 528, 1, 1),
        "inception_5b/pool_proj": (128, 832, 1, 1),
        "loss3/classifier": (1000, 1024),
    },
    "lenet": {"conv2": (50, 20, 5, 5), "ip1": (500, 800), "ip2": (10, 500)},
    "resnet50": {
        "conv1": (64, 3, 7, 7),
        "bn_conv1": (64,),
        "scale_conv1": (64,),
        "res2a_branch1": (256, 64, 1, 1),
        "bn3d_branch2b": (128,),
        "res4f_branch2c": (1024, 256, 1, 1),
        "scale5c_branch2c": (2048,),
        "fc1000": (1000, 2048),
    },
    "squeezenet_v1.0": {
        "conv1": (96, 3, 7, 7),
        "fire2/squeeze1x1": (16, 96, 1, 1),
        "fire9/expand3x3": (256, 64, 3, 3),
        "conv10": (1000, 512, 1, 1),
    },
    "squeezenet_v1.1": {"conv1": (64, 3, 3, 3), "fire5/expand1x1": (128, 32, 1, 1)},
    "vgg16": {"conv1_1": (64, 3, 3, 3), "conv5_3": (512, 512, 3, 3), "fc6": (4096, 25088)},
}
BLOBS = {
    "alexnet": {"norm1": (10, 96, 55, 55), "pool1": (10, 96, 27, 27)},
    "googlenet": {
        "pool1/3x3_s2": (10, 64, 56, 56),
        "pool1/norm1": (10, 64, 56, 56),
        "inception_3b/output": (10, 480, 28, 28),
        "pool5/7x7_s1": (10, 1024, 1, 1),
        "prob": (10, 1000),
    },
    "lenet": {"pool2": (64, 50, 4, 4), "prob": (64, 10)},
    "resnet50": {"pool1": (1, 64, 56, 56), "res3a": (1, 512, 28, 28), "pool5": (1, 2048, 1, 1)},
    "squeezenet_v1.0": {"fire8/concat": (10, 512, 27, 27), "conv10": (10, 1000, 15, 15)},
    "squeezenet_v1.1": {"fire3/concat": (10, 128, 56, 56), "conv10": (10, 1000, 14, 14)},
    "vgg16": {"conv3_1": (10, 256, 56, 56), "pool5": (10, 512, 7, 7)},
}
# Layers of SqueezeNet v1.0 in its first release -> as published later.
FIRST_RELEASE = {
    "conv1x1_1": "squeeze1x1",
    "conv1x1_2": "expand1x1",
    "conv3x3_2": "expand3x3",
    "conv_final": "conv10",
}


def network(name: str) -> NetParameter:
    return read_net(ROOT / "prototxt" / name / "deploy.prototxt")


def test_generator_writes_what_is_there(networks: Path, tmp_path: Path) -> None:
    for _ in range(2):
        subprocess.run(
            [sys.executable, ROOT / "scripts" / "make_prototxt.py", tmp_path], check=True, capture_output=True
        )
        made = {path.parent.name: path.read_bytes() for path in tmp_path.glob("*/deploy.prototxt")}
        assert set(made) == set(NETWORKS) - {"caffenet_cifar10"}
        for name, text in made.items():
            assert text == (networks / name / "deploy.prototxt").read_bytes(), f"{name}: run the script"


def test_every_network_is_tested() -> None:
    assert set(NETWORKS) == set(PARAMETERS)


@pytest.mark.parametrize("name", NETWORKS)
def test_sizes_and_names_are_the_published_ones(name: str) -> None:
    geometry = measure(network(name))
    assert geometry.params == PARAMETERS[name]
    assert geometry.macs == MULTIPLY_ADDS.get(name, geometry.macs)
    for layer, shape in WEIGHTS.get(name, {}).items():
        assert geometry.layer(layer).param_shapes[0] == shape
    for blob, shape in BLOBS.get(name, {}).items():
        assert geometry.blob(blob) == shape
    assert geometry.outputs == ("prob",)


@pytest.mark.parametrize("name", NETWORKS)
def test_readme_states_these_figures(networks: Path, name: str) -> None:
    geometry = measure(network(name))
    shape = " x ".join(map(str, geometry.blob("data")))
    row = f"| {name} | {shape} | {geometry.params:,} | {geometry.macs:,} |"
    assert row in (networks / "README.md").read_text(encoding="utf-8")


def test_layers_of_resnet50_that_its_count_is_made_of() -> None:
    geometry = measure(network("resnet50"))
    norms = [layer for layer in geometry.layers if layer.type == "BatchNorm"]
    assert len(norms) == 53
    assert sum(layer.param_shapes[0][0] for layer in norms) == 26_560
    biased = [x.name for x in geometry.layers if x.type == "Convolution" and len(x.param_shapes) == 2]
    assert biased == ["conv1"]


@pytest.mark.parametrize("name", NETWORKS)
def test_each_engine_runs_it(engine: str, name: str) -> None:
    """One image through weights of 0: every class is equally likely."""
    message = reduced(name)
    geometry = measure(message)
    net = load_net(message, engine=engine)
    assert {blob: tuple(data.data.shape) for blob, data in net.blobs.items()} == geometry.blobs
    assert [tuple(tuple(b.shape) for b in layer.blobs) for layer in net.layers] == [
        layer.param_shapes for layer in geometry.layers
    ]
    classes = geometry.blob("prob")[1]
    np.testing.assert_allclose(net.forward()["prob"].ravel(), 1 / classes, rtol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_preprocessing_fits_the_input(networks: Path, name: str) -> None:
    geometry = measure(network(name))
    path = networks / name / "preprocess.toml"
    preprocess = Preprocess.from_toml(path)
    _, channels, height, width = geometry.blob("data")
    assert preprocess.mean.channels == preprocess.channels == channels
    blob = preprocess.to_caffe(np.ones((300, 280, 3), np.float32), (channels, height, width))
    white = (255 - np.float32(preprocess.mean.average)) * preprocess.scale
    np.testing.assert_allclose(blob.max(axis=(1, 2)), white, rtol=1e-5)
    assert len(preprocess.labels) == geometry.blob("prob")[1]
    assert len(set(preprocess.labels)) == len(preprocess.labels)
    assert all(preprocess.labels)
    keys = re.findall(r"^(\w+) =", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert {"channel_order", "mean", "resize", "labels"} <= set(keys)


def test_labels_are_in_caffes_order(networks: Path) -> None:
    labels = Preprocess.from_toml(networks / "caffenet" / "preprocess.toml").labels
    known = {0: "tench", 281: "tabby", 290: "jaguar", 386: "African elephant", 999: "toilet tissue"}
    assert {index: labels[index] for index in known} == known


def test_lenet_takes_trained_weights(shared: Path) -> None:
    """A file of 2014, V1 with legacy shapes, loads by name and leaves no layer without weights."""
    weights = read_weights(shared / "models" / "lenet_mnist_v1" / "lenet_iter_10000.caffemodel")
    assert check_messages(network("lenet"), weights) == ()


def test_squeezenet_takes_trained_weights(engine: str, shared: Path) -> None:
    """The first release has other names; under the published ones it fits, and sees what is on the images."""
    weights = read_weights(shared / "models" / "squeezenet_v1.0" / "squeezenet_v1.0.caffemodel")
    for layer in weights.layer:
        folder, slash, part = layer.name.rpartition("/")
        layer.name = folder + slash + FIRST_RELEASE.get(part, part)
    message = network("squeezenet_v1.0")
    message.layer[0].input_param.shape[0].dim[0] = 1
    assert check_messages(message, weights) == ()

    net = load_net(message, weights, engine=engine)
    preprocess = Preprocess.from_toml(ROOT / "prototxt" / "squeezenet_v1.0" / "preprocess.toml")
    seen = {}
    for path in sorted((shared / "images").glob("ILSVRC*")):
        net.blobs["data"].data[...] = preprocess.to_caffe(load_image(path), (3, 227, 227))
        prob = net.forward()["prob"].ravel()
        seen[preprocess.labels[prob.argmax()]] = prob.max()
    assert set(seen) == {"jaguar", "ambulance", "cowboy hat"}
    assert min(seen.values()) > 0.95
