"""Forward and partial backward against what pycaffe returns; the snippets of the pycaffe documents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import caffe_viz as cv
from caffe_viz.errors import InputError, RunError
from caffe_viz.netdef import NetParameter, make_blob, parse_net
from caffe_viz.probe import last_writer

SPLIT = """
force_backward: true
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 6 dim: 5 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "a" type: "Convolution" bottom: "conv1" top: "a" convolution_param { num_output: 2 kernel_size: 1 } }
layer { name: "b" type: "Convolution" bottom: "conv1" top: "b" convolution_param { num_output: 2 kernel_size: 1 } }
layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "b" top: "sum" }
"""


@pytest.fixture
def net(caffe: Any) -> Any:
    message = parse_net(SPLIT)
    rng, weights = np.random.default_rng(0), NetParameter()
    for layer in cv.measure(message).layers:
        if layer.param_shapes:
            weights.layer.add(
                name=layer.name, blobs=[make_blob(rng.normal(size=s)) for s in layer.param_shapes]
            )
    net = cv.load_net(message, weights)
    net.blobs["data"].data[...] = rng.normal(size=(2, 3, 6, 5))
    net.forward()
    return net


def test_gradient_of_a_blob_with_two_consumers_is_the_seed(net: Any) -> None:
    """A backward from the end would overwrite conv1's diff in the hidden split layer."""
    assert "conv1_relu1_0_split" in list(net._layer_names)
    assert net._layer_names[last_writer(net, "conv1")] == "relu1"
    seed = np.random.default_rng(1).normal(size=net.blobs["conv1"].data.shape).astype(np.float32)
    found = cv.gradient(net, "conv1", seed, ["data", "conv1"], params=True)
    mask = net.blobs["conv1"].data > 0
    np.testing.assert_array_equal(found.blobs["conv1"], seed * mask)  # before the in-place ReLU
    direction = np.random.default_rng(2).normal(size=net.blobs["data"].data.shape)
    start = net.blobs["data"].data.copy()
    ends = []
    for sign in (1, -1):
        values = cv.forward(net, {"data": start + sign * 1e-3 * direction}, ["conv1"])["conv1"]
        ends.append(float(np.vdot(values, seed)))
    expected = float(np.vdot(found.blobs["data"], direction))
    assert (ends[0] - ends[1]) / 2e-3 == pytest.approx(expected, rel=0.02)
    assert [array.shape for array in found.params["conv1"]] == [(4, 3, 3, 3), (4,)]
    np.testing.assert_allclose(found.params["conv1"][1], (seed * mask).sum(axis=(0, 2, 3)), rtol=1e-4)


def test_parameter_gradients_do_not_add_up(net: Any) -> None:
    seed = np.ones(net.blobs["sum"].data.shape, np.float32)
    first = cv.gradient(net, "sum", seed, ["data"], params=True)
    again = cv.gradient(net, "sum", seed, ["data"], params=True)
    np.testing.assert_array_equal(first.params["a"][0], again.params["a"][0])


def test_results_are_copies(net: Any) -> None:
    before = cv.forward(net, {}, ["sum"])["sum"].copy()
    kept = cv.forward(net, {}, ["sum"])["sum"]
    cv.forward(net, {"data": np.zeros((2, 3, 6, 5))}, ["sum"])
    np.testing.assert_array_equal(kept, before)


def test_no_gradient_is_an_error_not_zeros(caffe: Any) -> None:
    message = parse_net(SPLIT.replace("force_backward: true", ""))
    net = cv.load_net(message)
    net.forward()
    with pytest.raises(RunError, match="no gradient of 'sum' reaches 'data'"):
        cv.gradient(net, "sum", np.ones((2, 2, 4, 3), np.float32), ["data"])


def test_bad_names_and_shapes(net: Any) -> None:
    with pytest.raises(InputError, match="Did you mean 'conv1'"):
        cv.forward(net, {}, ["conv_1"])
    with pytest.raises(InputError, match=r"takes \(2, 3, 6, 5\), not \(3, 3\)"):
        cv.forward(net, {"data": np.zeros((3, 3))}, ["sum"])
    with pytest.raises(InputError, match="the seed"):
        cv.gradient(net, "sum", np.ones(3, np.float32), ["data"])


def test_snippets_of_the_pycaffe_documents(caffe: Any, networks: Path) -> None:
    """Both streams, index -> layer, backward(diffs=...), on a net of load_net."""
    folder = networks / "caffenet_cifar10"
    message = cv.read_net(folder / "deploy.prototxt")
    message.force_backward = True
    net = cv.load_net(message, folder / "caffenet_cifar10.caffemodel")
    for name, blob in net.blobs.items():
        assert blob.data.shape == blob.diff.shape == cv.measure(message).blob(name)
    for name, params in net.params.items():
        index = list(net._layer_names).index(name)
        for mine, theirs in zip(net.layers[index].blobs, params, strict=True):
            np.testing.assert_array_equal(mine.data, theirs.data)
    net.forward(data=np.random.default_rng(0).normal(size=net.blobs["data"].data.shape))
    seed = np.zeros_like(net.blobs["prob"].data)
    seed[:, 3] = 1
    diffs = net.backward(diffs=["data", "conv1"], prob=seed)
    for name in ("data", "conv1"):
        np.testing.assert_array_equal(diffs[name], net.blobs[name].diff)
        assert np.abs(diffs[name]).max() > 0


def test_the_loop_by_hand_on_the_auxiliary_net(caffe: Any, networks: Path) -> None:
    """input = input + rate * net.blobs['data'].diff, as the answer to the pycaffe question has it."""
    folder = networks / "caffenet_cifar10"
    aux = cv.auxiliary_net(cv.read_net(folder / "deploy.prototxt"), "conv4")
    net = cv.load_net(aux.message, cv.read_weights(folder / "caffenet_cifar10.caffemodel"))
    net.blobs["selector"].data[...] = aux.select([16])
    net.forward()  # from here on the blob 'data' is the parameter
    net.blobs["data"].data[...] = np.random.default_rng(0).normal(size=aux.image_shape) * 0.1
    values = []
    for _ in range(20):
        values.append(float(net.forward()["objective"]))
        net.backward()
        g = net.blobs["data"].diff
        net.blobs["data"].data[...] += 0.06 * g / np.sqrt((g**2).mean())
    assert values[-1] > values[0] + 0.2
    assert np.argmax(values) > 15
