"""The auxiliary net: its objective and gradient are those of the whole net, seeded by hand, on each engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import caffe_viz as cv
from caffe_viz.backend import module
from caffe_viz.errors import InputError
from caffe_viz.netdef import NetParameter, make_blob, parse_net
from caffe_viz.surgery import auxiliary_net, with_batch
from caffe_viz.surgery.out_of_place import out_of_place_net

NON_SQUARE = """
name: "toy"
layer { name: "data" type: "Input" top: "data" top: "label" input_param { shape { dim: 2 dim: 7 dim: 5 dim: 12 } shape { dim: 2 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
        convolution_param { num_output: 11 kernel_h: 1 kernel_w: 5 } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "side" type: "Convolution" bottom: "conv1" top: "side" convolution_param { num_output: 3 kernel_size: 1 } }
layer { name: "conv2" type: "Convolution" bottom: "conv1" top: "conv2" convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "ip" type: "InnerProduct" bottom: "conv2" top: "ip" inner_product_param { num_output: 6 } }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" }
layer { name: "best" type: "ArgMax" bottom: "ip" top: "best" }
"""


@pytest.fixture
def toy() -> NetParameter:
    return parse_net(NON_SQUARE)


def random_weights(net: NetParameter, seed: int = 0) -> NetParameter:
    """Weights for every layer of `net` that has some."""
    rng = np.random.default_rng(seed)
    out = NetParameter()
    for layer in cv.measure(net).layers:
        if layer.param_shapes:
            blobs = [make_blob(rng.normal(size=shape)) for shape in layer.param_shapes]
            out.layer.add(name=layer.name, blobs=blobs)
    return out


def test_only_what_leads_to_the_layer_is_kept(toy: NetParameter) -> None:
    aux = auxiliary_net(toy, "conv2")
    names = [layer.name for layer in aux.message.layer]
    assert names == ["image", "conv1", "relu1", "conv2", "selector", "selected", "values", "objective"]
    assert [p.lr_mult for layer in aux.message.layer for p in layer.param] == [1, 0, 0, 0, 0]
    assert (aux.image_shape, aux.activation_shape, aux.selector_shape) == (
        (1, 7, 5, 12),
        (1, 4, 3, 6),
        (1, 4),
    )


def test_cut_comes_before_an_in_place_layer(toy: NetParameter) -> None:
    assert [x.name for x in auxiliary_net(toy, "conv1").message.layer][:2] == ["image", "conv1"]
    assert [x.name for x in auxiliary_net(toy, "relu1").message.layer][:3] == ["image", "conv1", "relu1"]


@pytest.mark.parametrize("layer", ["conv1", "relu1", "conv2", "ip"])
@pytest.mark.parametrize("neuron", [False, True])
def test_objective_and_gradient_are_those_by_hand(
    engine: str, toy: NetParameter, layer: str, neuron: bool
) -> None:
    """Bit for bit what the whole net gives when its diff is seeded by hand, each image its own filter."""
    weights = random_weights(toy)
    aux = auxiliary_net(toy, layer, batch=2, neuron=neuron)
    net = cv.load_net(aux.message, weights, engine=engine)
    image = np.random.default_rng(1).normal(size=aux.image_shape).astype(np.float32)
    filters = [3, 1]
    net.params[aux.image_layer][0].data[...] = image
    net.blobs[aux.selector].data[...] = aux.select(filters)
    objective = float(net.forward()[aux.objective])
    net.backward()
    del toy.layer[-2:]  # Accuracy and ArgMax abort under force_backward
    toy.force_backward = True
    whole = cv.load_net(toy, weights, engine=engine)
    whole.blobs["data"].data[...] = image
    whole.forward(end=layer)
    blob = whole.blobs[aux.activation]
    expected = 0.0
    blob.diff[...] = 0
    for n, f in enumerate(filters):
        value = blob.data[n, f]
        place = tuple(size // 2 for size in value.shape) if neuron else ()
        expected += float(value[place]) if neuron else float(value.mean())
        blob.diff[(n, f, *place)] = 1 if neuron else np.float32(1 / value.size)
    index = list(whole._layer_names).index(layer)
    whole._backward(index, 0)
    assert objective == pytest.approx(expected, rel=1e-4, abs=1e-5)
    np.testing.assert_array_equal(net.params[aux.image_layer][0].diff, whole.blobs["data"].diff)
    np.testing.assert_array_equal(net.blobs[aux.image].diff, whole.blobs["data"].diff)
    assert np.abs(whole.blobs["data"].diff).max() > 0


def test_gradient_equals_central_differences(engine: str, toy: NetParameter) -> None:
    aux = auxiliary_net(toy, "conv2")
    net = cv.load_net(aux.message, random_weights(toy), engine=engine)
    image, rng = net.params[aux.image_layer][0], np.random.default_rng(2)
    point = rng.normal(size=aux.image_shape).astype(np.float32)
    net.blobs[aux.selector].data[...] = aux.select([2])
    image.data[...] = point
    net.forward()
    net.backward()
    gradient = image.diff.copy()
    for _ in range(5):
        direction = rng.normal(size=aux.image_shape)
        ends = []
        for sign in (1, -1):
            image.data[...] = point + sign * 1e-3 * direction
            ends.append(float(net.forward()[aux.objective]))
        slope = (ends[0] - ends[1]) / 2e-3
        assert slope == pytest.approx(float(np.vdot(gradient, direction)), rel=0.03, abs=0.03)


def test_weights_have_no_gradient_unless_they_learn(engine: str, toy: NetParameter) -> None:
    for learn in (False, True):
        aux = auxiliary_net(toy, "conv2", learn=learn)
        net = cv.load_net(aux.message, random_weights(toy), engine=engine)
        net.params[aux.image_layer][0].data[...] = 1
        net.blobs[aux.selector].data[...] = aux.select([0])
        net.forward()
        net.backward()
        assert bool(np.any(net.params["conv1"][0].diff)) is learn


def test_size_changes_the_canvas_but_not_the_weights(toy: NetParameter) -> None:
    assert auxiliary_net(toy, "conv2", size=(9, 20)).activation_shape == (1, 4, 7, 14)
    with pytest.raises(InputError, match=r"'ip' \(InnerProduct\) has weights of \(6, 72\)"):
        auxiliary_net(toy, "ip", size=(9, 20))


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ("conv_2", "Did you mean 'conv2'"),
        ("data", "computes nothing"),
        ("best", r"'best' \(ArgMax\) has no gradient"),
    ],
)
def test_bad_layer(toy: NetParameter, layer: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        auxiliary_net(toy, layer)


def test_bad_selections(toy: NetParameter) -> None:
    aux = auxiliary_net(toy, "conv2", neuron=True)
    with pytest.raises(InputError, match="filters 0 to 3, not 4"):
        aux.select([4])
    with pytest.raises(InputError, match="do not fit into a batch of 1"):
        aux.select([0, 1])
    with pytest.raises(InputError, match=r"no neuron at \(0, 6\)"):
        aux.select([0], (0, 6))


def test_names_of_the_net_are_left_alone() -> None:
    text = NON_SQUARE.replace('"conv1"', '"selector"').replace('"side"', '"image"')
    aux = auxiliary_net(parse_net(text), "conv2")
    assert (aux.selector, aux.image_layer) == ("selector_", "image_")


def test_a_net_with_its_own_data_is_refused(networks: Path) -> None:
    net = parse_net(
        'layer { name: "d" type: "HDF5Data" top: "data" hdf5_data_param { source: "x" batch_size: 2 } } layer { name: "r" type: "ReLU" bottom: "data" top: "r" }'
    )
    with pytest.raises(InputError, match="deploy prototxt"):
        auxiliary_net(net, "r")


def test_caffemodel_loads_by_hand(engine: str, networks: Path, tmp_path: Path) -> None:
    """`caffe-viz aux` is for one's own pycaffe session: `caffe.Net` itself loads prototxt and caffemodel."""
    caffe = module(engine)
    folder = networks / "caffenet_cifar10"
    aux = auxiliary_net(cv.read_net(folder / "deploy.prototxt"), "conv3")
    cv.write_net(aux.message, tmp_path / "aux.prototxt")
    net = caffe.Net(
        str(tmp_path / "aux.prototxt"), caffe.TEST, weights=str(folder / "caffenet_cifar10.caffemodel")
    )
    assert np.abs(net.params["conv3"][0].data).max() > 0


def test_with_batch(toy: NetParameter) -> None:
    made = cv.measure(with_batch(toy, 5))
    assert made.blob("data") == (5, 7, 5, 12)
    assert made.blob("label") == (5,)
    assert cv.measure(toy).blob("data") == (2, 7, 5, 12)


IN_PLACE = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 2 dim: 1 dim: 3 } } }
layer { name: "scaling" type: "Power" bottom: "data" top: "data" power_param { scale: 2 } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 4 } }
layer { name: "dropout" type: "Dropout" bottom: "ip" top: "ip" }
layer { name: "relu" type: "ReLU" bottom: "ip" top: "ip" }
layer { name: "square" type: "Power" bottom: "ip" top: "ip" power_param { power: 2 } }
layer { name: "bias" type: "Bias" bottom: "ip" top: "ip" }
layer { name: "tanh" type: "TanH" bottom: "ip" top: "tanh" }
layer { name: "last" type: "Scale" bottom: "tanh" top: "tanh" }
"""


def test_layers_that_spoil_gradients_are_taken_out_of_place_and_no_others() -> None:
    net = parse_net(IN_PLACE.replace('name: "bias"', 'name: "ip_before_square"'))
    layers = {x.name: (list(x.bottom), list(x.top)) for x in auxiliary_net(net, "last").message.layer[:9]}
    assert layers == {
        "image": ([], ["data_before_scaling"]),
        "scaling": (["data_before_scaling"], ["data"]),
        "ip": (["data"], ["ip_before_square_"]),
        "dropout": (["ip_before_square_"], ["ip_before_square_"]),
        "relu": (["ip_before_square_"], ["ip_before_square_"]),
        "square": (["ip_before_square_"], ["ip"]),
        "ip_before_square": (["ip"], ["ip"]),
        "tanh": (["ip"], ["tanh_before_last"]),
        "last": (["tanh_before_last"], ["tanh"]),
    }
    aux = auxiliary_net(net, "tanh")
    assert aux.made == {"data": "data_before_scaling", "ip": "ip_before_square_", "tanh": "tanh"}
    assert (aux.image, aux.activation) == ("data_before_scaling", "tanh")


@pytest.mark.parametrize("name", ["caffenet", "googlenet", "resnet50", "squeezenet_v1.1"])
def test_usual_layers_in_place_stay_so(networks: Path, name: str) -> None:
    net = cv.read_net(networks / name / "deploy.prototxt")
    scores = [x.name for x in net.layer if x.type in ("InnerProduct", "Pooling")][-1]
    aux = auxiliary_net(net, scores)
    assert all(old == new for old, new in aux.made.items())


def test_gradients_shown_are_those_before_layers_in_place(engine: str) -> None:
    """y = relu(W 2 x)^2 + b: dy/d(W 2 x) = 2 relu(W 2 x), and 2 W times that for x; blobs have their own names."""
    net = parse_net(IN_PLACE)
    weights, image = random_weights(net), np.random.default_rng(4).normal(size=(2, 1, 3)).astype(np.float32)
    kernel, shift = (np.array(b.data, np.float32) for b in weights.layer[0].blobs)
    kernel = kernel.reshape(4, 6)
    t = kernel @ (2 * image.ravel()) + shift
    k = int(t.argmax())
    found = cv.show_gradients(
        cv.load_net(net, weights, engine=engine), image, f"bias:{k}", blobs=["data", "ip"]
    )
    assert list(found.blobs) == ["data", "ip"]
    np.testing.assert_allclose(found.blobs["ip"], 2 * t[k] * np.eye(4)[k], rtol=1e-5)
    np.testing.assert_allclose(found.blobs["data"].ravel(), 2 * kernel[k] * 2 * t[k], rtol=1e-5)
    np.testing.assert_allclose(found.params["ip"][1], 2 * t[k] * np.eye(4)[k], rtol=1e-5)
    alone = cv.show_gradients(cv.load_net(net, weights, engine=engine), image, f"bias:{k}")
    assert list(alone.blobs) == ["data"]


def test_a_forward_leaves_the_image_as_it_is(engine: str) -> None:
    """It is a parameter, and a layer in place on it would change it at each forward."""
    text = IN_PLACE.replace('type: "Power" bottom: "data"', 'type: "Bias" bottom: "data"').replace(
        "{ scale: 2 }", "{}"
    )
    text = text.replace("power_param {}", "bias_param { filler { value: 1 } }")
    aux = auxiliary_net(parse_net(text), "ip")
    net = cv.load_net(aux.message, engine=engine)
    for _ in range(2):
        net.forward()
        np.testing.assert_array_equal(net.params[aux.image_layer][0].data, 0)
        np.testing.assert_array_equal(net.blobs["data"].data, 1)


def gradient(aux: Any, weights: NetParameter, engine: str) -> Any:
    net = cv.load_net(aux.message, weights, engine=engine)
    net.params[aux.image_layer][0].data[...] = np.random.default_rng(3).normal(size=aux.image_shape)
    net.blobs[aux.selector].data[...] = aux.select([1])
    net.forward()
    net.backward()
    return net.params[aux.image_layer][0].diff.copy()


def test_the_files_own_losses_and_stops_have_no_part(engine: str, toy: NetParameter) -> None:
    weights = random_weights(toy)
    expected = gradient(auxiliary_net(toy, "conv2"), weights, engine)
    layers = {layer.name: layer for layer in toy.layer}
    layers["conv1"].propagate_down.append(False)
    layers["relu1"].loss_weight.append(3)
    np.testing.assert_array_equal(gradient(auxiliary_net(toy, "conv2"), weights, engine), expected)


def test_batch_norm_never_learns(engine: str) -> None:
    """Caffe aborts on a learning rate for its statistics."""
    net = parse_net("""
    layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 6 dim: 6 } } }
    layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 2 kernel_size: 3 } }
    layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
    layer { name: "out" type: "Convolution" bottom: "conv" top: "out" convolution_param { num_output: 2 kernel_size: 3 } }
    """)
    aux = auxiliary_net(net, "out", learn=True)
    rates = {layer.name: [p.lr_mult for p in layer.param] for layer in aux.message.layer if layer.param}
    assert rates == {"image": [1], "conv": [1, 1], "bn": [0, 0, 0], "out": [1, 1]}
    cv.load_net(aux.message, engine=engine)


def test_of_several_inputs_the_image_has_four_axes(toy: NetParameter) -> None:
    text = NON_SQUARE.replace('top: "label" input_param', 'top: "clip" input_param').replace(
        "shape { dim: 2 } }", "shape { dim: 9 dim: 4 } }"
    )
    text = text[: text.index('layer { name: "ip"')]
    text += 'layer { name: "flat" type: "Flatten" bottom: "conv2" top: "flat" } layer { name: "both" type: "Concat" bottom: "flat" bottom: "clip" top: "both" concat_param { axis: 1 } }'
    net = parse_net(text.replace("dim: 9 dim: 4", "dim: 2 dim: 4"))
    aux = auxiliary_net(net, "both", batch=3)
    assert (aux.image, aux.activation_shape) == ("data", (3, 72 + 4))
    assert cv.measure(aux.message).blob("clip") == (3, 4)
    assert cv.measure(with_batch(parse_net(text[: text.index('layer { name: "both"')]), 7)).blob("clip") == (
        9,
        4,
    )


ONE_NAME = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "conv1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "own" type: "Split" bottom: "conv1" top: "a" top: "b" }
layer { name: "conv1" type: "PReLU" bottom: "a" top: "c" }
layer { name: "r" type: "Eltwise" bottom: "b" bottom: "c" top: "r" }
layer { name: "r" type: "ReLU" bottom: "r" top: "r" }
layer { name: "ip" type: "InnerProduct" bottom: "r" top: "ip" inner_product_param { num_output: 5 } }
"""
RATES = {"Parameter": [1], "Convolution": [0, 0], "PReLU": [0], "InnerProduct": [0, 0]}


def rates(net: NetParameter) -> dict[str, list[float]]:
    """The learning rates by the type of the layer, in nets whose layers share names."""
    return {layer.type: [spec.lr_mult for spec in layer.param] for layer in net.layer if layer.param}


@pytest.mark.parametrize("layer", ["conv1", "r", "ip"])
def test_layers_of_one_name_are_told_apart_by_place(engine: str, layer: str) -> None:
    """The same image, gradient and field as in the net whose layers have names of their own."""
    shared = parse_net(ONE_NAME)
    apart = parse_net(ONE_NAME)
    for index, name in ((2, "relu1"), (4, "prelu1"), (6, "relu2")):
        apart.layer[index].name = name
    weights = random_weights(apart)
    del weights.layer[1]  # of the PReLU, which starts at 0.25 in both
    found, expected = auxiliary_net(shared, layer), auxiliary_net(apart, layer)
    assert rates(found.message) == rates(expected.message)
    assert rates(found.message).items() <= RATES.items()
    assert (found.field, found.activation_shape) == (expected.field, expected.activation_shape)
    np.testing.assert_array_equal(gradient(found, weights, engine), gradient(expected, weights, engine))


def test_weights_that_do_not_fit_are_named_by_their_own_layer() -> None:
    net = parse_net(ONE_NAME + 'layer { name: "ip" type: "ReLU" bottom: "ip" top: "ip" }')
    assert auxiliary_net(net, "r", size=(9, 7)).activation_shape == (1, 4, 7, 5)
    with pytest.raises(InputError, match=r"layer 'ip' \(InnerProduct\) has weights of \(5, 144\)"):
        auxiliary_net(net, "ip", size=(9, 7))


def test_separated_layers_of_one_name(engine: str) -> None:
    parts = out_of_place_net(parse_net(ONE_NAME))
    assert rates(parts.message) == RATES
    assert parts.outputs["conv1"] == "conv1_before_conv1"  # of the first of the name, as Caffe takes it
    cv.load_net(parts.message, engine=engine).forward()
