"""Forward and partial backward against what pycaffe returns; the snippets of the pycaffe documents."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import fork_server
import numpy as np
import pytest

import caffe_viz as cv
from caffe_viz.errors import InputError, RunError
from caffe_viz.netdef import NetParameter, make_blob, parse_net
from caffe_viz.network import Network
from caffe_viz.parity import apart
from caffe_viz.probe import RULES, Probe, RememberingProbe, last_writer, need_maxima

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
def net(engine: str) -> Any:
    message = parse_net(SPLIT)
    rng, weights = np.random.default_rng(0), NetParameter()
    for layer in cv.measure(message).layers:
        if layer.param_shapes:
            weights.layer.add(
                name=layer.name, blobs=[make_blob(rng.normal(size=s)) for s in layer.param_shapes]
            )
    net = cv.load_net(message, weights, engine=engine)
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


def test_layers_of_one_name_are_told_apart(engine: str) -> None:
    text = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 1 dim: 2 dim: 3 } } }
layer { name: "x" type: "Power" bottom: "data" top: "double" power_param { scale: 2 } }
layer { name: "r" type: "ReLU" bottom: "double" top: "up" }
layer { name: "x" type: "Power" bottom: "data" top: "triple" power_param { scale: 3 } }
layer { name: "r" type: "ReLU" bottom: "triple" top: "down" }
force_backward: true
"""
    net = cv.load_net(parse_net(text), engine=engine)
    net.blobs["data"].data[...] = 1
    net.forward()
    assert [last_writer(net, name) for name in ("double", "up", "triple")] == [2, 3, 4]
    for name, slope in (("up", 2), ("down", 3)):
        found = cv.gradient(net, name, -np.ones((1, 1, 2, 3), np.float32), ["data"])
        assert (found.blobs["data"] == -slope).all()


def test_no_gradient_is_an_error_not_zeros(engine: str) -> None:
    message = parse_net(SPLIT.replace("force_backward: true", ""))
    net = cv.load_net(message, engine=engine)
    net.forward()
    with pytest.raises(RunError, match="no gradient of 'sum' reaches 'data'"):
        cv.gradient(net, "sum", np.ones((2, 2, 4, 3), np.float32), ["data"])


def test_a_branch_without_gradient_is_an_error_not_the_rest(engine: str) -> None:
    """propagate_down: false ends one of two ways to conv1: what comes by the other is not the gradient."""
    cut = SPLIT.replace("""layer { name: "b" """, """layer { name: "b" propagate_down: false """)
    message = parse_net(cut)
    message.force_backward = False
    message.layer[-1].loss_weight.append(1)
    net = cv.load_net(message, engine=engine)
    net.forward()
    with pytest.raises(RunError, match="no gradient of 'sum' reaches 'conv1' by way of"):
        cv.gradient(net, "sum", np.ones((2, 2, 4, 3), np.float32), ["conv1"])


def test_gradient_of_one_branch_alone(net: Any) -> None:
    """What an earlier pass left in the diff of the other branch must not be added."""
    seed = np.ones(net.blobs["sum"].data.shape, np.float32)
    both = cv.gradient(net, "sum", seed, ["conv1"]).blobs["conv1"]
    for blob in net.blobs.values():
        blob.diff[...] = 7
    a, b = (cv.gradient(net, name, seed, ["conv1"]).blobs["conv1"] for name in ("a", "b"))
    np.testing.assert_allclose(a + b, both, atol=1e-5)
    weights = net.params["a"][0].data[:, :, 0, 0].sum(0)
    np.testing.assert_allclose(a, weights[None, :, None, None] * (net.blobs["conv1"].data > 0), atol=1e-6)


@pytest.mark.parametrize("params", [False, True])
def test_the_net_is_left_as_found(net: Any, params: bool) -> None:
    rng = np.random.default_rng(3)
    every = [*net.blobs.values(), *(b for some in net.params.values() for b in some)]
    for blob in every:
        blob.diff[...] = rng.normal(size=blob.diff.shape)
    before = [(np.array(b.data), np.array(b.diff)) for b in every]
    cv.gradient(net, "sum", np.ones(net.blobs["sum"].data.shape, np.float32), ["data", "a"], params=params)
    for blob, (data, diff) in zip(every, before, strict=True):
        np.testing.assert_array_equal(blob.data, data)
        np.testing.assert_array_equal(blob.diff, diff)


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


@pytest.fixture(scope="module")
def toy() -> Any:
    return pytest.importorskip("probe_toy", reason="torch is the judge here")


@pytest.fixture(scope="module")
def probe(engine: str, toy: Any) -> Probe:
    return Probe(Network(*toy.toy(), engine=engine))


BLOBS = ["fc", "prob", "conv2", "cat", "a", "b", "sum_before_relu_sum", "conv1_before_relu1"]
WRT = ["data", "conv1_before_relu1", "conv1", "a_before_bn_a", "pool_b", "sum"]


def test_values_before_and_after_layers_in_place(probe: Probe, toy: Any) -> None:
    import torch

    expected = toy.in_torch(toy.toy()[1], torch.tensor(toy.image()))
    found = probe.forward(toy.image(), expected)
    for name, values in expected.items():
        assert apart(values.numpy(), found[name]) < 1e-6, name
    assert (found["conv1_before_relu1"] < 0).any()
    assert (found["conv1"] >= 0).all()


@pytest.mark.parametrize("blob", BLOBS)
@pytest.mark.parametrize("rule", RULES)
def test_gradients_equal_the_same_rule_in_plain_torch(probe: Probe, toy: Any, blob: str, rule: str) -> None:
    """From any blob to any blob; one probe runs them all, so that what one leaves would be in the next."""
    import torch

    image = toy.image()
    tops = toy.in_torch(toy.toy()[1], torch.tensor(image, requires_grad=True), rule)
    seed = np.random.default_rng(1).normal(size=tops[blob].shape).astype(np.float32)
    score = (tops[blob] * torch.tensor(seed)).sum()
    for wrt in WRT:
        try:
            expected = torch.autograd.grad(score, tops[wrt], retain_graph=True)[0].numpy()
        except RuntimeError:  # wrt is not before blob
            with pytest.raises(RunError, match="does not depend"):
                probe.pull(image, blob, seed, [wrt], rule)
            continue
        values, found = probe.pull(image, blob, seed, [wrt], rule)
        assert apart(expected, found[wrt]) < 1e-5, wrt
        np.testing.assert_allclose(values[wrt], probe.forward(image, [wrt])[wrt], rtol=1e-5, atol=1e-6)


def test_the_rules_differ_where_they_should(probe: Probe, toy: Any) -> None:
    seed, before = np.eye(6, dtype=np.float32)[[2, 4]], "conv1_before_relu1"
    maps = {rule: probe.pull(toy.image(), "fc", seed, [before], rule)[1][before] for rule in RULES}
    off = probe.forward(toy.image(), [before])[before] <= 0
    assert (maps["plain"][off] == 0).all()
    assert (maps["guided"][off] == 0).all()
    assert (maps["deconvnet"][off] > 0).any()
    assert (maps["plain"] < 0).any()
    assert (maps["guided"] >= 0).all()
    assert (maps["deconvnet"] >= 0).all()


def test_gradient_of_a_loss_that_keeps_things_in_a_diff(probe: Probe, toy: Any) -> None:
    """HingeLoss, L2: for label l, the squares of 1 - x_l and 1 + x_others where above 0."""
    image = toy.image()[:1]
    probe.net.blobs["label"].data[...] = 1
    x = probe.forward(image, ["fc", "hinge"])["fc"]
    sign = np.ones((1, 6), np.float32)
    sign[0, 1] = -1
    expected = 2 * sign * np.maximum(1 + sign * x, 0)
    _, found = probe.pull(image, "hinge", np.array([3], np.float32), ["fc"])
    np.testing.assert_allclose(found["fc"], 3 * expected, atol=1e-6)


# y = 5 (r + s) with r = max(2 x + 1, 0) in place and s = max(-r + 4, 0) in place; r has two consumers.
FORMULA = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 1 dim: 1 dim: 4 } } }
layer { name: "r" type: "Power" bottom: "x" top: "r" power_param { scale: 2 shift: 1 } }
layer { name: "relu_r" type: "ReLU" bottom: "r" top: "r" }
layer { name: "s" type: "Power" bottom: "r" top: "s" power_param { scale: -1 shift: 4 } }
layer { name: "relu_s" type: "ReLU" bottom: "s" top: "s" }
layer { name: "y" type: "Eltwise" bottom: "r" bottom: "s" top: "y" eltwise_param { coeff: 5 coeff: 5 } }
"""


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        # x = -1: r off. x = 0: r = 1, s = 3. x = 1: r = 3, s = 1. x = 2: r = 5, s off.
        ("plain", [0, 0, 0, 10]),  # dy/dr = 5 - 5 [s on]
        ("guided", [0, 0, 0, 10]),
        ("deconvnet", [0, 0, 0, 0]),  # 5 - 5 everywhere, as s passes its gradient on whatever it was
    ],
)
def test_a_residual_by_formula(engine: str, rule: str, expected: list[float]) -> None:
    probe = Probe(Network(parse_net(FORMULA), engine=engine))
    image, ones = np.float32([-1, 0, 1, 2]).reshape(1, 1, 1, 4), np.ones((1, 1, 1, 4), np.float32)

    def gradient(blob: str, seed: np.ndarray, rule: str) -> list[float]:
        return probe.pull(image, blob, seed, ["x"], rule)[1]["x"].ravel().tolist()

    assert gradient("y", ones, rule) == expected
    assert gradient("s", -ones, "guided") == [0, 0, 0, 0]
    assert gradient("s", -ones, "plain") == [0, 2, 2, 0]


def test_any_number_of_images(probe: Probe, toy: Any) -> None:
    images = np.concatenate([toy.image(k) for k in range(4)])
    ones = np.ones((8, 6), np.float32)
    values = probe.forward(images, ["fc"])["fc"]
    _, grads = probe.pull(images, "fc", ones, ["data"])
    for k in (1, 3):
        np.testing.assert_allclose(probe.forward(images[:k], ["fc"])["fc"], values[:k], rtol=1e-4, atol=1e-6)
        _, some = probe.pull(images[:k], "fc", ones[:k], ["data"])
        np.testing.assert_allclose(some["data"], grads["data"][:k], rtol=1e-4, atol=1e-6)


def test_what_is_remembered_changes_no_number(engine: str, toy: Any) -> None:
    network = Network(*toy.toy(), engine=engine)
    plain, remembering = Probe(network), RememberingProbe(network)
    images = np.concatenate([toy.image(k) for k in range(3)])
    rng = np.random.default_rng(0)
    for _ in range(80):
        some = images if rng.random() < 0.1 else images[(k := rng.integers(2)) : k + 1]
        blob, wrt = rng.choice(BLOBS), rng.choice(["data", "conv1_before_relu1"])
        expected = plain.forward(some, [blob])
        np.testing.assert_array_equal(remembering.forward(some, [blob])[blob], expected[blob])
        if rng.random() < 0.5 and blob != wrt:
            seed, rule = np.ones_like(expected[blob]), str(rng.choice(list(RULES)))
            for one, other in zip(
                plain.pull(some, blob, seed, [wrt], rule),
                remembering.pull(some, blob, seed, [wrt], rule),
                strict=True,
            ):
                np.testing.assert_array_equal(one[wrt], other[wrt], err_msg=f"{blob} {wrt} {rule}")


def test_a_probe_shares_the_parameters_of_a_net(engine: str, toy: Any) -> None:
    net = cv.load_net(*toy.toy(), engine=engine)
    net.blobs["data"].data[...] = toy.image()
    net.forward()
    before = np.array(net.blobs["fc"].data)
    probe = Probe(net)
    np.testing.assert_allclose(probe.forward(toy.image(), ["fc"])["fc"], before, rtol=1e-5)
    net.params["fc"][1].data[...] += 1
    np.testing.assert_allclose(probe.forward(toy.image(), ["fc"])["fc"], before + 1, rtol=1e-5)
    probe.forward(toy.image(5), ["fc"])
    np.testing.assert_array_equal(net.blobs["fc"].data, before)  # the net itself has not run


def test_what_a_probe_does_not_take(probe: Probe, toy: Any) -> None:
    with pytest.raises(InputError, match=r"takes \(3, 9, 7\), not \(3, 8, 7\)"):
        probe.forward(np.zeros((2, 3, 8, 7), np.float32), ["fc"])
    with pytest.raises(InputError, match="Did you mean 'conv1'"):
        probe.output("conv_1")
    with pytest.raises(InputError, match="Did you mean 'guided'"):
        probe.pull(toy.image(), "fc", np.ones((2, 6), np.float32), ["data"], "guide")
    with pytest.raises(RunError, match="does not depend"):  # ArgMax: going on would abort the process
        probe.pull(toy.image(), "best", np.ones((2, 1, 1), np.float32), ["data"])
    fixed = parse_net(FORMULA)
    fixed.layer.add(name="z", type="Reshape", bottom=["y"], top=["z"]).reshape_param.shape.dim.extend([1, 4])
    fixed = Probe(Network(fixed, engine=probe.engine))
    images = np.random.default_rng(0).normal(size=(3, 1, 1, 4)).astype(np.float32)
    found = fixed.forward(images, ["y", "z"])  # one by one: Caffe would abort
    np.testing.assert_array_equal(found["z"], found["y"].reshape(3, 4))


POOLED = """
force_backward: true
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 40 dim: 40 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "fc" type: "InnerProduct" bottom: "pool1" top: "fc" inner_product_param { num_output: 5 } }
"""


def with_a_nan() -> tuple[NetParameter, NetParameter]:
    """A net and its weights, of which one of the first filter is NaN; those of fc are too small to overflow."""
    net, weights, rng = parse_net(POOLED), NetParameter(), np.random.default_rng(0)
    for layer in cv.measure(net).layers:
        if layer.param_shapes:
            arrays = [rng.normal(size=s) * (1e-12 if layer.name == "fc" else 1) for s in layer.param_shapes]
            arrays[0].flat[0] = np.nan if layer.name == "conv1" else 1e-12
            weights.layer.add(name=layer.name, blobs=map(make_blob, arrays))
    return net, weights


def backward_of_nan(engine: str, way: str) -> None:
    """Run in a child: what it leaves in the memory ends the process later."""
    network, image = Network(*with_a_nan(), engine=engine), np.ones((1, 3, 40, 40), np.float32)
    seed = np.ones((1, 5), np.float32)
    try:
        if way == "gradient":
            net = network.load()
            cv.forward(net, {"data": image}, ["fc"])
            cv.gradient(net, "fc", seed, ["data"])
        elif way == "show_gradients":
            cv.show_gradients(network, image[0], "fc:1")
        else:
            Probe(network).pull(image, "fc", seed, ["data"])
    except RunError as error:
        sys.stdout.write(str(error))


CHILD = """
import sys
sys.path[:0] = sys.argv[2:]
import test_probe
for way in ("gradient", "show_gradients", "Probe"):
    test_probe.backward_of_nan(sys.argv[1], way)
    print(flush=True)
"""


def test_a_nan_before_max_pooling_does_not_end_the_process(engine: str) -> None:
    """Real Caffe would write in front of the diff; the embedded engine goes on with NaN."""
    done = fork_server.run(
        [sys.executable, "-c", CHILD, engine, *sys.path], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    words = "layer 'pool1' (Pooling): a window of its bottom 'conv1' holds only NaN or -inf"
    said = done.stdout.splitlines()
    assert len(said) == 3
    for line in said:
        assert line.startswith(words) if engine == "caffe" else not line


def pooled(caffe_layers: str, values: np.ndarray) -> Any:
    """A net of real Caffe on a (1, 1, 4, 4) input, after a forward."""
    head = 'layer { name: "a" type: "Input" top: "a" input_param { shape { dim: 1 dim: 1 dim: 4 dim: 4 } } }'
    net = cv.load_net(parse_net(head + caffe_layers), engine="caffe")
    net.blobs["a"].data[...] = values
    net.forward()
    return net


MAX = 'layer { name: "p" type: "Pooling" bottom: "a" top: "p" pooling_param { kernel_size: 2 stride: 2 } }'
SPP = 'layer { name: "p" type: "SPP" bottom: "a" top: "p" spp_param { pyramid_height: 2 } }'


@pytest.mark.parametrize(
    ("layers", "refused"),
    [
        (MAX, True),
        (MAX.replace('top: "p"', 'top: "p" top: "mask"'), True),
        (MAX + 'layer { name: "r" type: "ReLU" bottom: "p" top: "p" }', True),
        (MAX.replace("pooling_param {", "pooling_param { pool: AVE"), False),
        (SPP, True),
    ],
)
@pytest.mark.parametrize("bad", [np.nan, -np.inf, np.finfo(np.float32).min])
def test_only_windows_of_nothing_but_nan_are_refused(
    caffe: Any, layers: str, refused: bool, bad: float
) -> None:
    values = np.random.default_rng(0).normal(size=(1, 1, 4, 4)).astype(np.float32)
    values[0, 0, 2:, 3] = bad
    need_maxima(pooled(layers, values), [1])
    values[0, 0, 2:, 2:] = bad
    net = pooled(layers, values)
    before = {name: np.array(blob.data) for name, blob in net.blobs.items()}
    if refused:
        with pytest.raises(RunError, match=r"'p' .* of its bottom 'a' holds only NaN"):
            need_maxima(net, [1])
    else:
        need_maxima(net, [1])
    for name, values in before.items():
        np.testing.assert_array_equal(net.blobs[name].data, values)
    need_maxima(net, [0])  # on another way
