"""Attribution: targets, layers, many at once, results on disk, pictures, the command, and real photographs."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import completed

import caffe_viz as cv
from caffe_viz.attribution import METHODS, Attribution, Reads, Settings, attribute, centre
from caffe_viz.attribution.pooled import class_maps
from caffe_viz.attribution.targets import find_layer, find_target, likeliest_class
from caffe_viz.deploying import preprocess_near
from caffe_viz.errors import CaffeVizWarning, InputError
from caffe_viz.figures import captioned, contact_sheet, heat, heat_over, signed_colours
from caffe_viz.images import Preprocess, save_png
from caffe_viz.netdef import make_blob, parse_net, write_net, write_weights
from caffe_viz.network import Network
from caffe_viz.parity import apart, seeded_weights
from caffe_viz.probe import Probe
from caffe_viz.views import show_attribution
from caffe_viz.views.attributed import Attributed

REPOSITORY = Path(__file__).resolve().parent.parent
CAT = REPOSITORY / "examples" / "cat.png"
FEW = Settings(samples=4, steps=8)


def cifar_network(networks: Path, engine: str) -> Network:
    folder = networks / "caffenet_cifar10"
    prototxt = folder / "deploy.prototxt"
    return Network(prototxt, folder / "caffenet_cifar10.caffemodel", preprocess_near(prototxt), engine)


@pytest.fixture(scope="module")
def cifar(networks: Path, engine: str) -> Probe:
    return Probe(cifar_network(networks, engine))


@pytest.fixture(scope="module")
def cat(networks: Path) -> np.ndarray:
    return cifar_network(networks, "auto").pixels(CAT)[None]


@pytest.fixture(scope="module")
def small(engine: str) -> Probe:
    """A net of few filters, which CAM fits, that takes five images at a time."""
    toy = pytest.importorskip("attribution_toy", reason="torch is not installed")
    probe = Probe(Network(*toy.pooled(), engine=engine))
    probe.batch = 5
    return probe


# Targets and layers.


def test_targets(cifar: Probe, cat: np.ndarray) -> None:
    assert (
        str(find_target(cifar, 3))
        == str(find_target(cifar, "3"))
        == str(find_target(cifar, "CAT"))
        == "fc8 3 cat"
    )
    neuron = find_target(cifar, "conv4:16:3,5")
    assert (neuron.layer, neuron.blob, neuron.index, neuron.place) == (
        "conv4",
        "conv4_before_relu4",
        16,
        (3, 5),
    )
    seed = neuron.seed(cifar.shape(neuron.blob))
    assert seed.sum() == seed[16, 3, 5] == 1
    seed = find_target(cifar, "conv4:16").seed(cifar.shape("conv4"))
    assert seed[16].sum() == pytest.approx(1)
    assert not np.delete(seed, 16, 0).any()
    assert likeliest_class(cifar, cat[0]) == find_target(cifar, 3)
    for same in (
        "prob:3",
        "prob:cat",
        "fc8:3",
        " cat ",
    ):  # the answer's class is the score before the softmax
        assert find_target(cifar, same) == find_target(cifar, 3)
    assert find_target(cifar, "conv4:16:centre").place == tuple(n // 2 for n in cifar.shape("conv4")[1:])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (10, "target 10: 'prob' has classes 0 to 9"), ("prob:10", "'prob' has classes 0 to 9"),
        ("conv4", "target 'conv4' is a whole layer: choose a filter, such as conv4:0"), ("prob:cats", "Did you mean 'cat'"), ("cats", "no class 'cats'. Did you mean 'cat'"), ("conv44", "no layer or class 'conv44'. Did you mean 'conv4'"),
        ("conv9:3", "no layer 'conv9'. Did you mean"), ("conv4:999", "'conv4' has filters 0 to"),
        ("conv4:x", "'conv4' has filters 0 to"), ("conv4:3:1", r"the maps of layer 'conv4' are \(\d+, \d+\); give Y,X"),
        ("conv4:3:90,1", "give Y,X in them"), (-1, "has classes 0 to 9"),
    ],
)  # fmt: skip
def test_targets_that_are_none(cifar: Probe, cat: np.ndarray, given: int | str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        attribute(cifar, cat, [given])


def test_labels_that_two_classes_share() -> None:
    message = parse_net(VALUES)
    labels = ("crane, bird", "crane", "plain")
    probe = Probe(Network(message, seeded_weights(message), Preprocess(labels=labels), "torch"))
    with pytest.raises(InputError, match="label of classes 0, 1: give a number"):
        find_target(probe, "crane")
    assert find_target(probe, "bird").index == 0


@pytest.mark.parametrize(
    ("name", "expected", "pooled"),
    [
        ("caffenet_cifar10", "conv5", None), ("squeezenet_v1.1", "conv10", "conv10"), ("lenet", "conv2", None),
        ("googlenet", "inception_5b/output", "inception_5b/output"), ("resnet50", "res5c", "res5c"),
    ],
)  # fmt: skip
def test_the_layer_that_cams_read(networks: Path, name: str, expected: str, pooled: str | None) -> None:
    """The last spatial blob that no pooling made; and whether CAM has class weights for its maps."""
    pytest.importorskip("torch", reason="the engine torch is not installed")
    probe = Probe(Network(networks / name / "deploy.prototxt", engine="torch"))
    target = find_target(probe, 0)
    assert find_layer(probe, None, target) == expected
    if pooled is None:
        with pytest.raises(InputError, match=r"CAM needs global average pooling .* use grad-cam"):
            class_maps(probe, target)
    else:
        assert class_maps(probe, target) == pooled


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("global_pooling: true", "kernel_size: 2", r"'pool2' \(Pooling\) does not pool the whole"),
        ("global_pooling: true", "kernel_h: 5 kernel_w: 2", r"'pool2' \(Pooling\) does not pool the whole 5 x 4 maps"),
        ("global_pooling: true", "kernel_h: 7 kernel_w: 6 pad: 1", "does not pool the whole 5 x 4 maps"),
        ("pool: AVE global", "pool: MAX global", r"'pool2' \(Pooling\) takes no average"),
        ('"Dropout"', '"ReLU"', r"'drop' \(ReLU\) comes before it, where global average pooling should"),
        ("global_pooling: true", "kernel_h: 5 kernel_w: 4", None),
    ],
)  # fmt: skip
def test_nets_that_cam_does_not_fit(engine: str, old: str, new: str, reason: str | None) -> None:
    toy = pytest.importorskip("attribution_toy", reason="torch is not installed")
    assert old in toy.POOLED
    message = parse_net(toy.POOLED.replace(old, new))
    probe = Probe(Network(message, seeded_weights(message), engine=engine))
    if reason is None:
        assert attribute(probe, toy.images(), [2], "cam").layer == "conv2"
        return
    with pytest.raises(InputError, match=reason):
        attribute(probe, toy.images(), [2], "cam")
    with pytest.raises(InputError, match=r"ReLU.*is no linear layer"):
        attribute(probe, toy.images(), ["relu1:2"], "cam")


@pytest.mark.parametrize("kind", ["transposed", "convolution"])
def test_other_linear_layers_have_the_same_cam(engine: str, kind: str) -> None:
    toy = pytest.importorskip("attribution_toy", reason="torch is not installed")
    message, weights = toy.pooled()
    expected = attribute(Probe(Network(message, weights, engine=engine)), toy.images(), [2], "cam")
    layer, blob = (next(x for x in net.layer if x.name == "fc") for net in (message, weights))
    values = np.array(blob.blobs[0].data, np.float32).reshape(6, 12)
    if kind == "transposed":
        layer.inner_product_param.transpose = True
        blob.blobs[0].CopyFrom(make_blob(np.ascontiguousarray(values.T)))
    else:
        layer.type = "Convolution"
        layer.ClearField("inner_product_param")
        layer.convolution_param.num_output = 6
        layer.convolution_param.kernel_size.append(1)
        blob.blobs[0].CopyFrom(make_blob(values[:, :, None, None]))
    found = attribute(Probe(Network(message, weights, engine=engine)), toy.images(), [2], "cam")
    assert apart(expected.maps, found.maps) < 1e-5


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("conv_5", "no layer 'conv_5'. Did you mean"), ("fc6", "'fc6' has no maps"),
        ("prob", "'prob' has no maps"),
    ],
)  # fmt: skip
def test_layers_that_are_none(cifar: Probe, cat: np.ndarray, layer: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        attribute(cifar, cat, [3], "grad-cam", layer)


def test_layers_behind_the_target_and_unknown_methods(cifar: Probe, cat: np.ndarray) -> None:
    with pytest.raises(InputError, match="conv2 3 does not depend on 'conv5'"):
        attribute(cifar, cat, ["conv2:3"], "grad-cam", "conv5")
    with pytest.raises(InputError, match="no layer between the image and it has maps"):
        attribute(cifar, cat, ["conv1:3"], "grad-cam")
    with pytest.raises(InputError, match="Did you mean 'grad-cam"):
        attribute(cifar, cat, [3], "gradcam")
    with pytest.raises(InputError, match="finite numbers"):
        attribute(cifar, np.full_like(cat, np.nan))


def test_before_and_after_an_in_place_relu(cifar: Probe, cat: np.ndarray) -> None:
    after = attribute(cifar, cat, [3], "grad-cam", "conv5")
    before = attribute(cifar, cat, [3], "grad-cam", "conv5_before_relu5")
    assert after.state == "post-ReLU (relu5, in place)"
    assert before.state == "pre-ReLU (before relu5)"
    assert apart(after.maps, before.maps) > 0.01
    np.testing.assert_array_equal(after.maps, attribute(cifar, cat, [3], "grad-cam", "relu5").maps)


# Values.


def test_integrated_gradients_are_complete(cifar: Probe, cat: np.ndarray) -> None:
    errors = [
        float(attribute(cifar, cat, [3], "integrated-gradients", settings=Settings(steps=n)).completeness[0])
        for n in (2, 64)
    ]
    score = float(attribute(cifar, cat, [3], "gradient").scores[0])
    assert errors[1] < errors[0]
    assert errors[1] < 0.01 * score
    assert np.isnan(attribute(cifar, cat, [3], "gradient").completeness).all()


def test_a_neuron_sees_its_receptive_field_only(cifar: Probe, cat: np.ndarray) -> None:
    found = attribute(cifar, cat, ["conv2:3:4,6"], "gradient")
    field = cifar.network.geometry.layer("conv2").field
    assert field is not None
    top, left, bottom, right = (int(v) for v in field.box((4, 6), (32, 32)))
    inside = found.maps[0, top:bottom, left:right]
    assert (inside > 0).mean() > 0.5
    outside = found.maps[0].copy()
    outside[top:bottom, left:right] = 0
    assert not outside.any()


def test_deconvnet_and_guided_are_no_negative_gradients_of_the_maps(cifar: Probe, cat: np.ndarray) -> None:
    maps = {m: attribute(cifar, cat, [3], m).values for m in ("gradient", "guided-backprop", "deconvnet")}
    assert apart(maps["gradient"], maps["guided-backprop"]) > 0.1
    assert apart(maps["guided-backprop"], maps["deconvnet"]) > 0.1


# score = mean of x over rows 2..3, columns 4..6 of channel 0: a convolution by a kernel, planted.
VALUES = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 dim: 6 dim: 8 } } }
layer { name: "score" type: "InnerProduct" bottom: "x" top: "score" inner_product_param { num_output: 3 bias_term: false } }
"""


def planted(engine: str) -> Probe:
    message = parse_net(VALUES)
    weights = seeded_weights(message)
    kernel = np.zeros((3, 3, 6, 8), np.float32)
    kernel[1, 0, 2:4, 4:7] = 1 / 6
    weights.layer[0].blobs[0].data[:] = kernel.ravel().tolist()
    return Probe(Network(message, weights, engine=engine))


def test_a_planted_patch_is_found(engine: str) -> None:
    probe = planted(engine)
    image = np.ones((1, 3, 6, 8), np.float32)
    for method in ("gradient", "gradient-x-input", "integrated-gradients", "smoothgrad"):
        found = attribute(probe, image, [1], method, settings=FEW)
        expected = np.zeros((6, 8))
        expected[2:4, 4:7] = 1 / 6
        np.testing.assert_allclose(found.maps[0], expected, atol=1e-6)
        assert found.scores[0] == pytest.approx(1)
        np.testing.assert_allclose(centre(found.maps[0]), (2.5, 5))


def test_occlusion_by_hand(engine: str) -> None:
    """Squares of 2 by steps of 2, so each pixel is hidden once: the drop is the weight that is under it."""
    settings = Settings(patch=2, stride=2)
    found = attribute(planted(engine), np.ones((1, 3, 6, 8), np.float32), [1], "occlusion", settings=settings)
    expected = np.zeros((6, 8))
    expected[2:4, 4:6], expected[2:4, 6:8] = 4 / 6, 2 / 6
    np.testing.assert_allclose(found.maps[0], expected, atol=1e-6)
    # Squares of 4 by steps of 4 need a third that reaches into the border: rows 0..3 and 2..5.
    settings = Settings(patch=4, stride=4)
    found = attribute(planted(engine), np.ones((1, 3, 6, 8), np.float32), [1], "occlusion", settings=settings)
    assert (found.maps[0, :, 4:] > 0.9).all()
    np.testing.assert_allclose(found.maps[0, :, :4], 0, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_many_at_once_equal_one_by_one(small: Probe, method: str) -> None:
    """Images, targets on several layers, and batches do not touch each other; the order is image by image."""
    toy = pytest.importorskip("attribution_toy", reason="torch is not installed")
    images, layer = toy.images(), "conv2" if method == "cam" else "conv1"
    targets: list[int | str] = [5, 2 if method == "cam" else "conv2:3", "fc:1"]
    few = replace(FEW, patch=8, stride=6)
    made = attribute(small, images, targets, method, layer, names=["a", "b", "c"], settings=few)
    assert made.names == ("a", "a", "a", "b", "b", "b", "c", "c", "c")
    assert made.targets[:3] == ("fc 5", "fc 2" if method == "cam" else "conv2 3", "fc 1")
    for row in (1, 3, 8):
        one = attribute(small, images[row // 3][None], [targets[row % 3]], method, layer, settings=few)
        assert apart(one.values[0], made.values[row]) < 1e-5
        assert one.scores[0] == pytest.approx(made.scores[row], rel=1e-5)


def test_noise_comes_from_the_seed(cifar: Probe, cat: np.ndarray) -> None:
    a, b, c = (
        attribute(cifar, cat, [3], "smoothgrad", settings=Settings(samples=4, seed=seed)).values
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(a, b)
    assert apart(a, c) > 0.01


def test_progress_rises_to_one(small: Probe) -> None:
    toy = pytest.importorskip("attribution_toy", reason="torch is not installed")
    for method in ("smoothgrad", "score-cam", "occlusion", "gradient"):
        told: list[float] = []
        attribute(
            small, toy.images(1), [3, "conv2:3"], method, "conv1", settings=FEW, on_progress=told.append
        )
        assert told == sorted(told)
        assert told[-1] == 1


@pytest.mark.parametrize("name", ["samples", "steps", "patch", "stride"])
def test_settings_that_make_no_sense(name: str) -> None:
    with pytest.raises(InputError, match=f"{name} is 0: 1 or more"):
        Settings(**{name: 0})
    with pytest.raises(InputError, match="noise is -1"):
        Settings(noise=-1)


# An input (8, 7, 96), of 8 channels, with kernels of 1 x 5, and 11 filters.
SIGNAL = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 8 dim: 8 dim: 7 dim: 96 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" convolution_param { num_output: 11 kernel_h: 1 kernel_w: 5 } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool" type: "Pooling" bottom: "conv1" top: "pool" pooling_param { pool: AVE global_pooling: true } }
layer { name: "fc" type: "InnerProduct" bottom: "pool" top: "fc" inner_product_param { num_output: 4 } }
"""


def test_an_input_that_is_no_picture(engine: str) -> None:
    message = parse_net(SIGNAL)
    network = Network(message, seeded_weights(message), engine=engine)
    signal = np.random.default_rng(0).normal(size=(2, 8, 7, 96)).astype(np.float32)
    few = replace(FEW, patch=4, stride=4)
    found = show_attribution(network, signal, [0, "conv1:10:6,91"], "all", settings=few)
    assert [method for method, _ in found.refused] == [
        "cam",
        "grad-cam",
        "grad-cam++",
        "layer-cam",
        "score-cam",
        "guided-grad-cam",
    ]
    found = show_attribution(network, signal, [0, 2], "all", settings=few)
    assert not found.refused
    for a in found.attributions:
        assert a.maps.shape == (4, 7, 96)
        assert np.abs(a.maps).max() > 0
    assert found.over("grad-cam").shape[1] > found.over("grad-cam").shape[0]


def test_files_of_an_input_that_is_no_picture(tmp_path: Path) -> None:
    """For each method its results, and of each image and target three pictures of its own and a sheet of all."""
    message = parse_net(SIGNAL)
    network, methods = Network(message, seeded_weights(message)), ["gradient", "grad-cam"]
    signal = np.random.default_rng(0).normal(size=(2, 8, 7, 96)).astype(np.float32)
    found = show_attribution(network, signal, [0, 2], methods, settings=FEW)
    assert len(found.save(tmp_path)) == len(methods) * 5 + 4


def test_an_input_without_rows(engine: str) -> None:
    net = parse_net(
        """layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 5 } } }
        layer { name: "y" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 2 } }"""
    )
    found = show_attribution(
        Network(net, seeded_weights(net), engine=engine), np.ones(5), 1, "all", settings=FEW
    )
    fit = [name for name, method in METHODS.items() if method.reads is Reads.ANY]
    assert [a.method for a in found.attributions] == fit
    assert found.attributions[0].maps.shape == (1, 1, 5)


def network_of(text: str, engine: str) -> Network:
    message = parse_net(text)
    return Network(message, seeded_weights(message, 3), engine=engine)


def data(*shape: int) -> str:
    dims = " ".join(f"dim: {n}" for n in (1, *shape))
    return f'layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ {dims} }} }} }}'


def test_a_gradient_that_real_caffe_lacks(caffe: Any) -> None:
    """It runs the net, but not back through Upsample: `auto` takes the embedded engine, and says so."""
    pytest.importorskip("torch", reason="the engine torch is not installed")
    net = network_of(
        data(1, 4, 4) + """
        layer { name: "conv" type: "Convolution" bottom: "x" top: "conv" convolution_param { num_output: 2 kernel_size: 3 } }
        layer { name: "up" type: "Upsample" bottom: "conv" top: "up" upsample_param { scale: 2 } }
        layer { name: "ip" type: "InnerProduct" bottom: "up" top: "ip" inner_product_param { num_output: 3 } }""",
        "auto",
    )  # fmt: skip
    image = np.random.default_rng(1).normal(size=(1, 4, 4)).astype(np.float32)
    with pytest.warns(CaffeVizWarning, match="the embedded engine .torch. runs this net"):
        found = show_attribution(net, image, 1, ["gradient"])
    own = show_attribution(replace(net, engine="torch"), image, 1, ["gradient"])
    np.testing.assert_array_equal(found.attributions[0].maps, own.attributions[0].maps)


def test_a_target_whose_size_depends_on_the_image(engine: str) -> None:
    """As regions do; here rows of numbers above 0, of which there are two."""
    few = network_of(
        data(1, 2, 2) + """
        layer { name: "flat" type: "Flatten" bottom: "x" top: "flat" flatten_param { axis: 0 } }
        layer { name: "above" type: "Threshold" bottom: "flat" top: "above" }
        layer { name: "rows" type: "Reshape" bottom: "flat" top: "rows" reshape_param { shape { dim: 4 dim: 1 } } }
        layer { name: "some" type: "Filter" bottom: "rows" bottom: "above" top: "some" }""",
        engine,
    )  # fmt: skip
    image = np.array([[[1, -1], [-1, 1]]], np.float32)
    with pytest.raises(
        InputError, match=r"'some' is \(1, 2\) for an image and up to \(1, 4\) .* layer before it"
    ):
        show_attribution(few, image, 0, ["gradient"])


LINES = """
layer { name: "conv" type: "Convolution" bottom: "x" top: "conv" convolution_param { num_output: 6 kernel_size: 3 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc" inner_product_param { num_output: 3 } }
"""


@pytest.mark.parametrize(
    ("shape", "maps", "left_out"),
    [((4, 30), (4, 30), {"cam"}), ((3, 5, 9, 8), (5, 9, 8), {"cam", "occlusion"})],
)
def test_sequences_and_volumes(
    engine: str, tmp_path: Path, shape: tuple[int, ...], maps: tuple[int, ...], left_out: set[str]
) -> None:
    image = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    found = show_attribution(network_of(data(*shape) + LINES, engine), image, 2, "all", settings=FEW)
    assert {method for method, _ in found.refused} == left_out
    for a in found.attributions:
        channels = 1 if a.values.shape[1] == 1 else shape[0]
        assert a.values.shape == (1, channels, *shape[1:])
        assert a.maps.shape == (1, *maps) or (a.maps.shape, channels) == ((1, 1, 30), 1)
        assert (np.abs(a.maps).max() > 0) == ("0 everywhere" not in str(found.table).split(a.method)[1][:80])
    assert found.alone("gradient").shape[0] > 40
    integrated = found._of("integrated-gradients")
    assert integrated.completeness[0] < 0.2 * max(1, abs(integrated.scores[0]))
    assert all(path.stat().st_size for path in found.save(tmp_path))


def test_occlusion_of_a_sequence_finds_the_time_that_counts(engine: str) -> None:
    network = network_of(
        data(2, 30)
        + 'layer { name: "fc" type: "InnerProduct" bottom: "x" top: "fc" inner_product_param { num_output: 1 } }',
        engine,
    )
    weights = np.zeros((1, 2, 30), np.float32)
    weights[0, 1, 12:16] = 1
    network.trained.layer[0].blobs[0].CopyFrom(make_blob(weights.reshape(1, 60)))
    found = show_attribution(network, np.ones((2, 30)), None, "occlusion").attributions[0].maps[0, 0]
    assert set(np.argwhere(found > 0).ravel()) == set(range(10, 18))
    assert found[12:16].min() == found.max()


@pytest.mark.parametrize("end", ["(N, 1)", "(N,)", "()"])
def test_nets_that_end_in_one_number(engine: str, end: str) -> None:
    """Its gradient by hand, of each image alone, whatever else is in the batch."""
    axis = {"(N, 1)": "axis: 1", "(N,)": "axis: 1", "()": ""}[end]
    reduced = f'layer {{ name: "n" type: "Reduction" bottom: "fc" top: "n" reduction_param {{ operation: SUMSQ {axis} }} }}'
    last = 'layer { name: "out" type: "Reshape" bottom: "n" top: "out" reshape_param { shape { dim: 0 dim: 1 } } }'
    fc = 'layer { name: "fc" type: "InnerProduct" bottom: "x" top: "fc" inner_product_param { num_output: 3 bias_term: false } }'
    network = network_of(data(5) + fc + reduced + (last if end == "(N, 1)" else ""), engine)
    images = np.random.default_rng(0).normal(size=(2, 5)).astype(np.float32)
    found = show_attribution(network, list(images), None, "gradient").attributions[0]
    w = np.array(network.trained.layer[0].blobs[0].data).reshape(3, 5)
    np.testing.assert_allclose(found.scores, ((images @ w.T) ** 2).sum(1), rtol=1e-4)
    np.testing.assert_allclose(found.values, 2 * images @ w.T @ w, rtol=1e-3, atol=1e-5)
    for image, wanted in zip(images, found.values, strict=True):
        blobs = cv.show_gradients(network, image).blobs
        np.testing.assert_allclose(blobs["x"], wanted, rtol=1e-3, atol=1e-5)
    blob = "out" if end == "(N, 1)" else "n"
    assert found.targets == (f"{blob} 0",) * 2
    for target in (0, f"{blob}:0"):
        same = show_attribution(network, images[0], target, "gradient").attributions[0]
        np.testing.assert_allclose(same.values[0], found.values[0], rtol=1e-5)
    with pytest.raises(InputError, match="is one number, which is target 0"):
        show_attribution(network, images[0], 1, "gradient")
    with pytest.raises(InputError, match=f"'{blob}' is one number, which is target 0"):
        show_attribution(network, images[0], f"{blob}:1", "gradient")


HEADS = """
layer { name: "fc" type: "InnerProduct" bottom: "x" top: "fc" inner_product_param { num_output: 4 } }
layer { name: "age" type: "InnerProduct" bottom: "fc" top: "age" inner_product_param { num_output: 1 } }
layer { name: "sex" type: "InnerProduct" bottom: "fc" top: "sex" inner_product_param { num_output: 2 } }
layer { name: "prob" type: "Softmax" bottom: "sex" top: "prob" }
"""


def test_of_several_answers_it_is_said_which_is_explained(engine: str) -> None:
    network = network_of(data(5) + HEADS, engine)
    with pytest.warns(CaffeVizWarning, match="2 answers, age, prob: this is about prob"):
        found = show_attribution(network, np.ones(5), None, "gradient").attributions[0]
    assert found.targets[0].startswith("sex ")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert show_attribution(network, np.ones(5), "age:0", "gradient").attributions[0].targets == (
            "age 0",
        )


# Results.


def test_saved_results_draw_without_an_engine(
    networks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = show_attribution(
        cifar_network(networks, "auto"), CAT, [3, "conv4:3"], ["grad-cam", "guided-backprop"]
    )
    paths = [p for p in made.save(tmp_path) if p.suffix == ".npz"]
    expected = made.sheet(1).rgb
    for name in ("caffe", "torch", "caffe_viz.engine"):
        monkeypatch.setitem(sys.modules, name, None)
    back = Attributed.load(*paths)
    for old, new in zip(made.attributions, back.attributions, strict=True):
        np.testing.assert_array_equal(old.maps, new.maps)
        assert (old.targets, old.layer, old.state, old.settings) == (
            new.targets,
            new.layer,
            new.state,
            new.settings,
        )
    np.testing.assert_array_equal(expected, back.sheet(1).rgb)
    assert back.over("grad-cam").shape[0] > 32
    with pytest.raises(InputError, match="no attribution by 'cam'"):
        back.over("cam")


def test_files_that_are_no_results(tmp_path: Path) -> None:
    for name, write in {"a.npz": lambda p: p.write_bytes(b"no"), "b.npz": lambda p: np.savez(p, x=1)}.items():
        write(tmp_path / name)
        with pytest.raises(InputError, match="is not a saved attribution"):
            Attribution.load(tmp_path / name)
    with pytest.raises(InputError, match="is not a saved attribution"):
        Attribution.load(tmp_path / "absent.npz")


def test_heat() -> None:
    values = np.zeros((20, 30), np.float32)
    values[5, 7], values[1, 1] = 2, -3
    picture = heat(values)
    assert picture[5, 7].sum() == picture.sum(2).max()
    np.testing.assert_array_equal(picture[1, 1], picture[0, 0])
    jet = heat(values, "jet")
    assert jet[0, 0, 2] > jet[0, 0, 0]  # blue
    assert jet[5, 7, 0] > jet[5, 7, 2]  # red
    rgb = np.full((20, 30, 3), 0.5, np.float32)
    over = heat_over(rgb, values)
    assert np.abs(over - rgb)[5, 7].sum() > np.abs(over - rgb)[0, 0].sum()
    with pytest.raises(InputError, match="one size"):
        heat_over(rgb[1:], values)
    with pytest.raises(InputError, match="Did you mean 'inferno'"):
        heat(values, "infernal")
    with pytest.raises(InputError, match=r"\(H, W\) is expected"):
        heat(values[0])
    with pytest.raises(InputError, match="NaN"):
        heat(np.full((2, 2), np.nan))


def test_signed_colours_follow_the_channel_order() -> None:
    values = np.zeros((3, 4, 4), np.float32)
    values[0, 1, 1], values[2, 2, 2] = 1, -1
    bgr = signed_colours(values, "BGR")
    np.testing.assert_allclose(bgr[1, 1], [0.5, 0.5, 1])
    np.testing.assert_allclose(bgr[2, 2], [0, 0.5, 0.5])
    np.testing.assert_allclose(signed_colours(values, "RGB")[1, 1], [1, 0.5, 0.5])
    with pytest.raises(InputError, match="not an image in GRAY order"):
        signed_colours(values, "GRAY")


def test_a_caption_is_below_the_picture() -> None:
    rgb = np.full((32, 32, 3), 0.5, np.float32)
    plain, words = captioned(rgb, []), captioned(rgb, ["fc8 3 cat, score 3.6", "grad-cam"])
    assert plain.shape[1] >= 32 * 14
    assert words.shape[0] > plain.shape[0]
    assert (words.rgb[plain.shape[0] :].min(2) < 0.5).any()


# Images, and the command.


def bad_images(folder: Path) -> Iterator[tuple[Path, str]]:
    from PIL import Image

    rng = np.random.default_rng(0)
    grey = Image.fromarray(rng.integers(0, 255, (40, 30), np.uint8))
    for name, image in {
        "grey.png": grey,
        "alpha.png": grey.convert("RGBA"),
        "deep.png": Image.fromarray(rng.integers(0, 65535, (40, 30)).astype(np.uint16)),
        "dot.png": Image.new("RGB", (1, 1), "red"),
        "wide.png": Image.new("RGB", (3000, 2), "blue"),
    }.items():
        image.save(folder / name)
        yield folder / name, ""
    (folder / "broken.jpg").write_bytes(CAT.read_bytes()[:200])
    yield folder / "broken.jpg", "cannot be read"
    (folder / "text.png").write_text("no image")
    yield folder / "text.png", "not an image in a known format"
    np.save(folder / "odd.npy", np.zeros((2, 5, 5)))
    yield folder / "odd.npy", "shape"
    yield folder / "absent.png", "no such"


def test_images_of_all_kinds(networks: Path, tmp_path: Path) -> None:
    network, good = cifar_network(networks, "auto"), []
    for path, message in bad_images(tmp_path):
        if message:
            with pytest.raises(InputError, match=message) as error:
                show_attribution(network, path)
            assert len(str(error.value).splitlines()) == 1
        else:
            good.append(path)
    found = show_attribution(network, good)
    assert np.isfinite(found.attributions[0].maps).all()
    assert all(found.over("grad-cam", row).shape[0] > 32 for row in range(len(good)))


def test_a_caffe_net_and_its_two_files_give_the_same(networks: Path, engine: str) -> None:
    folder = networks / "caffenet_cifar10"
    net = cv.load_net(folder / "deploy.prototxt", folder / "caffenet_cifar10.caffemodel", engine=engine)
    a, b = (show_attribution(n, CAT, "cat") for n in (net, cifar_network(networks, engine)))
    np.testing.assert_array_equal(a.attributions[0].maps, b.attributions[0].maps)
    assert "fc8 3 cat" in repr(a)
    assert a._repr_png_().startswith(b"\x89PNG")


run = partial(completed, "attribute")


def test_the_command(networks: Path, engine: str, tmp_path: Path) -> None:
    folder = networks / "caffenet_cifar10"
    files = (folder / "deploy.prototxt", folder / "caffenet_cifar10.caffemodel")
    done = run(
        *files, "--image", CAT, "--target", "cat", "--target", "conv4:3", "--method", "integrated-gradients",
        "--method", "grad-cam++", "--steps", 8, "--engine", engine, "-o", tmp_path, "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [(r["method"], r["target"]) for r in told["attributions"]] == [
        ("integrated-gradients", "fc8 3 cat"), ("integrated-gradients", "conv4 3"),
        ("grad-cam++", "fc8 3 cat"), ("grad-cam++", "conv4 3"),
    ]  # fmt: skip
    assert told["engine"] == engine
    assert told["attributions"][0]["completeness error"] > 0
    assert told["settings"]["steps"] == 8
    assert all(Path(f).is_file() for f in told["files"])
    assert {Path(f).name for f in told["files"]} >= {
        "cat_fc8_3_sheet.png",
        "cat_conv4_3_grad-campp_map.png",
        "grad-campp.npz",
    }
    failed = run(*files, "--image", CAT, "--method", "cam", "--engine", engine, "-o", tmp_path)
    assert failed.returncode == 2
    assert failed.stderr.count("\n") == 1
    assert "CAM needs global average pooling" in failed.stderr


def test_names_of_hostile_nets_stay_in_the_folder(engine: str, tmp_path: Path) -> None:
    message = parse_net(VALUES.replace('"score"', '"../../score"'))
    write_net(message, tmp_path / "net.prototxt")
    write_weights(seeded_weights(message), tmp_path / "net.caffemodel")
    save_png(tmp_path / "x.png", np.ones((6, 8, 3)))
    network = Network(tmp_path / "net.prototxt", tmp_path / "net.caffemodel", engine=engine)
    image = np.ones((3, 6, 8), np.float32)
    paths = show_attribution(network, image, 1, "gradient").save(tmp_path / "out")
    assert all(path.resolve().parent == (tmp_path / "out").resolve() for path in paths)


# Both engines, and photographs.


def squeezenet_of(shared: Path, engine: str, side: int = 227) -> Network:
    folder = shared / "models" / "squeezenet_v1.0"
    net = parse_net((folder / "deploy.prototxt").read_text().replace("227", str(side)))
    labels = tuple((folder / "labels.txt").read_text().strip().splitlines())
    preprocess = Preprocess(mean=(104, 117, 123), resize=None, labels=labels)
    return Network(net, folder / "squeezenet_v1.0.caffemodel", preprocess, engine)


@pytest.fixture(scope="module")
def both(networks: Path, caffe: Any) -> list[Probe]:
    pytest.importorskip("torch", reason="the engine torch is not installed")
    return [Probe(cifar_network(networks, name)) for name in ("caffe", "torch")]


@pytest.mark.parametrize("method", METHODS)
def test_engines_agree_on_the_cat(both: list[Probe], cat: np.ndarray, method: str) -> None:
    if method == "cam":
        return  # this net does not fit it; the photographs do
    made = [attribute(probe, cat, [3], method, settings=replace(FEW, patch=8)) for probe in both]
    assert apart(made[0].maps, made[1].maps) < 1e-3


PHOTOGRAPHS = ["ILSVRC2012_val_00000610.jpg", "ILSVRC2012_val_00020333.jpg", "ILSVRC2012_val_00029739.jpg"]
# Of the 227 x 227 pixels that the net sees, drawn after looking: class -> top, left, bottom, right.
BOXES = {290: (20, 45, 220, 200), 407: (12, 25, 212, 212), 515: (30, 18, 148, 227)}


@pytest.fixture(scope="module")
def squeezenet(shared: Path) -> Probe:
    return Probe(squeezenet_of(shared, "auto"))


@pytest.fixture(scope="module")
def photographs(squeezenet: Probe, shared: Path) -> np.ndarray:
    return np.stack([squeezenet.network.pixels(shared / "images" / name) for name in PHOTOGRAPHS])


CAMS = ["cam", "grad-cam", "grad-cam++", "layer-cam"]


@pytest.fixture(scope="module")
def heats(squeezenet: Probe, photographs: np.ndarray) -> dict[str, Attribution]:
    return {method: attribute(squeezenet, photographs, None, method) for method in CAMS}


@pytest.mark.parametrize("method", CAMS)
def test_the_heat_is_on_the_thing(heats: dict[str, Attribution], method: str) -> None:
    """The centre of mass and the peak lie in its box, which holds more of the heat than of the area."""
    found = heats[method]
    assert [int(t.split()[1]) for t in found.targets] == sorted(BOXES)
    for values, (top, left, bottom, right) in zip(found.maps, BOXES.values(), strict=True):
        for y, x in (centre(values), np.unravel_index(values.argmax(), values.shape)):
            assert top <= y < bottom
            assert left <= x < right
        box = values[top:bottom, left:right]
        assert box.sum() / values.sum() > 1.2 * box.size / values.size


def test_another_class_is_elsewhere(squeezenet: Probe, photographs: np.ndarray) -> None:
    """The hat, and the wig below it, in the same picture: the heat follows the class."""
    found = attribute(squeezenet, photographs[2:], [515, 903])
    assert "wig" in found.targets[1]
    assert centre(found.maps[1])[0] > centre(found.maps[0])[0] + 10


def test_cam_is_grad_cam_where_the_maps_are_the_classes(heats: dict[str, Attribution]) -> None:
    """Each place counts 1 / (h w) in the score there (Selvaraju and others, appendix)."""
    a, b = heats["cam"], heats["grad-cam"]
    assert a.layer == b.layer == "conv_final"
    np.testing.assert_allclose(a.maps / 225, b.maps, rtol=1e-4, atol=1e-6)


@pytest.fixture(scope="module")
def both_small(shared: Path, caffe: Any) -> tuple[list[Probe], np.ndarray]:
    """The net for smaller images on both engines, and photographs of that size."""
    pytest.importorskip("torch", reason="the engine torch is not installed")
    probes = [Probe(squeezenet_of(shared, name, 99)) for name in ("caffe", "torch")]
    return probes, np.stack([probes[0].network.pixels(shared / "images" / name) for name in PHOTOGRAPHS])


@pytest.mark.parametrize(("layer", "count"), [("conv_final", 3), ("fire9/concat", 1)])
def test_engines_agree_on_the_photographs(
    both_small: tuple[list[Probe], np.ndarray], layer: str, count: int
) -> None:
    probes, images = both_small
    for method in CAMS:
        made = [attribute(probe, images[:count], None, method, layer).maps for probe in probes]
        for theirs, mine in zip(*made, strict=True):
            assert apart(theirs, mine) < 1e-4, method


@pytest.mark.parametrize("method", ["gradient", "guided-backprop"])
def test_engines_agree_on_pixels_as_caffe_does_with_itself(
    both_small: tuple[list[Probe], np.ndarray], method: str
) -> None:
    """The gradient jumps where rounding decides between the equal pixels of a max-pooling window, or a ReLU.

    So Caffe on an image changed by a millionth is the measure: flat skies change it by a tenth.
    """
    (real, ours), images = both_small
    for image in images:
        there, here = (attribute(probe, image[None], None, method).maps[0] for probe in (real, ours))
        spread = 0.0
        for seed in range(6):
            noise = 1 + 1e-6 * np.random.default_rng(seed).normal(size=image.shape)
            again = attribute(real, (image * noise)[None], None, method).maps[0]
            spread = max(spread, apart(there, again))
        assert apart(there, here) < max(1e-3, 2 * spread)


def test_a_sheet_of_methods(networks: Path) -> None:
    network = cifar_network(networks, "auto")
    found = show_attribution(network, CAT, "cat", "all", settings=replace(FEW, patch=8))
    assert len(found.attributions) == len(METHODS) - 1
    assert [method for method, _ in found.refused] == ["cam"]
    assert "CAM needs" in repr(found)
    tiles = contact_sheet([np.zeros((32, 32, 3))] * len(METHODS), ["x"] * len(METHODS))
    assert found.sheet().shape[0] == tiles.shape[0]
    with pytest.raises(InputError, match="no layer 'conv_9'"):
        show_attribution(network, CAT, "cat", "all", "conv_9")
