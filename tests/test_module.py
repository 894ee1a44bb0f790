"""A net as a torch module: the same numbers as the net's, on every layer type and every network."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fork_cases import all_cases as fork_cases
from layer_cases import all_cases as layer_cases
from reduced import NETWORKS, reduced

import caffe_viz as cv
from caffe_viz.errors import InputError, RunError
from caffe_viz.netdef import parse_net, read_net
from caffe_viz.parity import apart
from caffe_viz.surgery import with_batch

torch = pytest.importorskip("torch")

from module_runs import Both, Case, inputs_of, net_of, run_both, run_formats  # noqa: E402

from caffe_viz.engine import Net  # noqa: E402
from caffe_viz.engine.module import FORMATS, NetModule  # noqa: E402
from caffe_viz.engine.table import LAYERS, layer  # noqa: E402

LIMIT = 1e-5  # of a blob's largest value
ROOT = Path(__file__).resolve().parent.parent
SLOW = ("googlenet", "resnet50")
# Types of which a module has no layer, as their tops are its inputs.
NO_LAYERS = {"VideoData"}
CASES = [case for case in (*layer_cases(), *fork_cases()) if case.toy.type not in NO_LAYERS]

TOY = """
name: "toy" force_backward: true
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "gaussian" std: 1 } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "sum" type: "Eltwise" bottom: "pool" bottom: "pool" top: "sum" }
layer { name: "ip" type: "InnerProduct" bottom: "sum" top: "ip"
        inner_product_param { num_output: 5 weight_filler { type: "gaussian" std: 1 } } }
"""


def toy(text: str = TOY, phase: int = 1) -> Net:
    return Net(parse_net(text), phase)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def differing(found: Both) -> dict[str, float]:
    apart_by = {name: apart(value, found.module[name]) for name, value in found.net.items()}
    return {name: value for name, value in apart_by.items() if not value <= LIMIT}


def outputs(net: Net, x: torch.Tensor) -> np.ndarray:
    """What the net itself makes of the first input, whatever its shape."""
    net.blobs[net.inputs[0]].reshape(*x.shape)
    net.reshape()
    net.blobs[net.inputs[0]].data[...] = x.numpy()
    return np.array(net.forward()[net.outputs[0]])


# Agreement.


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_layer_agrees_with_the_net(case: Case) -> None:
    net = net_of(case)
    formats = FORMATS if any(len(blob.shape) == 4 for blob in net.blobs.values()) else ["contiguous"]
    assert [differing(found) for found in run_formats(net, formats, bool(case.gradient))] == [{}] * len(
        formats
    )


def test_the_cases_left_out_are_data_layers() -> None:
    net = toy(
        'layer { name: "x" type: "VideoData" top: "a" top: "b" image_data_param { source: "x" batch_size: 2 crop_size: 4 new_length: 3 } }'
    )
    module = NetModule(net)
    assert module.input_shapes == {"a": (2, 3, 3, 4, 4), "b": (2, 1, 1, 1, 1)}
    assert list(module.children()) == []


def network(name: str, end: str = "") -> Net:
    """One of prototxt/, reduced, without its softmax or up to a layer, noise for weights, for one image of noise."""
    message = reduced(name)
    message.force_backward = True
    if end:
        del message.layer[[x.name for x in message.layer].index(end) + 1 :]
    else:
        assert message.layer.pop().type == "Softmax"  # which noise saturates
    net = Net(message, 1)
    rng = np.random.default_rng(0)
    for blobs in net.params.values():
        for blob in blobs:
            values = rng.normal(size=blob.shape)
            # Positive, so that variances are some; and of a size that all maps keep.
            scale = (2 / (blob.count / blob.shape[0])) ** 0.5
            blob.data[...] = np.abs(values) if len(blob.shape) == 1 else values * scale
    net.blobs["data"].data[...] = rng.normal(size=net.blobs["data"].shape)
    return net


# alexnet and vgg16 have caffenet's layers, and squeezenet_v1.0 those of v1.1.
OF_ALL_KINDS = [name for name in NETWORKS if name not in ("alexnet", "vgg16", "squeezenet_v1.0")]


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in OF_ALL_KINDS]
)
def test_a_network_agrees_with_the_net(name: str) -> None:
    """To the bit, but that a gradient's sums may have another order.

    Channels last, rounding puts a few values on the other side of a rectifier or of a maximum, behind which
    gradients are others; in double precision the formats agree on all of them.
    """
    net = network(name)
    found = run_both(net, "contiguous")
    assert min(np.abs(found.net[f"diff {name}"]).max() for name in ("data", net.layers[1].name + " 0")) > 0
    assert differing(found) == {}
    names, values, gradients = list(net.blobs), [], []
    for memory_format in FORMATS:
        module = NetModule(net, memory_format).double()
        x = torch.from_numpy(np.array(net.blobs["data"].data)).double().requires_grad_()
        values.append(module(x, blobs=names))
        seed = noise(*values[-1][names[-1]].shape)
        gradients += torch.autograd.grad((values[-1][names[-1]] * seed).sum(), x)
    by_name = [{n: x.detach().numpy() for n, x in some.items()} for some in values]
    assert differing(Both(*by_name)) == {}
    assert apart(gradients[0].numpy(), gradients[1].numpy()) < LIMIT
    with torch.no_grad():
        single = NetModule(net, "channels_last")(inputs_of(net))
    assert apart(found.net[names[-1]], single.numpy()) < 10 * LIMIT


# What it is a function of.


def test_inputs_and_outputs_by_name() -> None:
    net = toy(
        'layer { name: "in" type: "Input" top: "a" top: "b" input_param { shape { dim: 2 dim: 3 } } }'
        'layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "b" top: "sum" }'
        'layer { name: "twice" type: "Power" bottom: "a" top: "twice" power_param { scale: 2 } }'
    )
    module, a, b = NetModule(net), noise(2, 3), noise(2, 3, seed=1)
    found = module({"a": a, "b": b})
    assert list(found) == net.outputs == ["sum", "twice"]
    torch.testing.assert_close(found["sum"], a + b)
    torch.testing.assert_close(found["twice"], 2 * a)
    assert list(module(a, blobs=["twice"])) == ["twice"]  # input b is not needed for it
    with pytest.raises(
        InputError, match=r"input 'b' is missing: give a mapping with a tensor for each of a, b\."
    ):
        module(a)
    with pytest.raises(InputError, match=r"has no input 'c'\. There are: a, b\."):
        module({"c": a})
    with pytest.raises(InputError, match=r"input 'a' takes a tensor \(2x3\), not ndarray\."):
        module(a.numpy())
    with pytest.raises(InputError, match=r"has no blob 'summ'\. Did you mean 'sum'"):
        module(a, blobs=["summ"])


def test_a_net_without_inputs() -> None:
    net = toy(
        'layer { name: "x" type: "DummyData" top: "a" top: "b" dummy_data_param { shape { dim: 3 } data_filler { value: 2 } data_filler { type: "uniform" } } }'
    )
    module = NetModule(net)
    first, second = module({}), module({})
    assert first["a"].tolist() == [2, 2, 2]
    assert second["a"].tolist() == [2, 2, 2]
    assert first["b"].std() > 0
    assert not torch.equal(first["b"], second["b"])  # drawn in each pass, as in Caffe


def test_data_layers_become_inputs() -> None:
    net = toy(
        'layer { name: "x" type: "MemoryData" top: "data" top: "label" memory_data_param { batch_size: 2 channels: 3 height: 1 width: 1 } }'
        'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "data" bottom: "label" top: "loss" }'
    )
    data, label = noise(2, 3, 1, 1), torch.tensor([2.0, 0.0]).reshape(2, 1, 1, 1)
    wanted = torch.nn.functional.cross_entropy(data[:, :, 0, 0], torch.tensor([2, 0]))
    torch.testing.assert_close(NetModule(net)({"data": data, "label": label}), wanted)


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (7, 3, 8, 8)])
def test_other_numbers_of_images(memory_format: str, shape: tuple[int, ...]) -> None:
    net = toy()
    x = noise(*shape)
    np.testing.assert_allclose(NetModule(net, memory_format)(x), outputs(net, x), rtol=1e-4, atol=1e-4)


def test_another_size_as_far_as_parameters_allow() -> None:
    net, x = toy(), noise(2, 3, 11, 13)
    module = NetModule(net)
    found = module(x, blobs=["sum"])["sum"]
    assert found.shape == (2, 4, 5, 6)
    with pytest.raises(
        InputError,
        match=r"layer 'ip' \(InnerProduct\) on 2x4x5x6: parameter 0 is 5x36, but such a bottom needs 5x120\.",
    ):
        module(x)
    with pytest.raises(
        InputError, match=r"layer 'conv' \(Convolution\) on 2x4x8x8: parameter 0 is 4x3x3x3, but"
    ):
        module(noise(2, 4, 8, 8))


def test_only_what_is_asked_for_runs() -> None:
    module, ran = NetModule(toy()), []
    for name, child in module.named_children():
        child.register_forward_hook(lambda *_, name=name: ran.append(name))
    module(noise(2, 3, 8, 8), blobs=["pool"])
    assert ran == ["conv", "relu", "pool"]


def test_it_changes_nothing_and_keeps_nothing() -> None:
    net, x = toy(), noise(2, 3, 8, 8)
    module = NetModule(net)
    before = {name: np.array(blob.data) for name, blob in net.blobs.items()}
    copies, given = x.clone(), module(x)
    module(noise(5, 3, 8, 8, seed=1))
    torch.testing.assert_close(module(x), given, rtol=0, atol=0)
    assert torch.equal(x, copies)
    assert all(np.array_equal(before[name], blob.data) for name, blob in net.blobs.items())


def test_a_recurrent_layer_begins_each_pass_anew() -> None:
    text = "".join(
        f'layer {{ name: "{n}" type: "Input" top: "{n}" input_param {{ shape {{ {s} }} }} }}'
        for n, s in (("a", "dim: 4 dim: 2 dim: 5"), ("c", "dim: 4 dim: 2"))
    )
    filler = 'weight_filler { type: "gaussian" std: 1 }'
    net = toy(
        text
        + f'layer {{ name: "x" type: "LSTM" bottom: "a" bottom: "c" top: "t" recurrent_param {{ num_output: 3 {filler} }} }}'
    )
    module, given = NetModule(net), {"a": noise(4, 2, 5), "c": torch.ones(4, 2)}
    torch.testing.assert_close(module(given), module(given), rtol=0, atol=0)


def test_gradients_go_where_caffe_lets_them() -> None:
    text = 'layer { name: "in" type: "Input" top: "a" input_param { shape { dim: 2 dim: 3 } } }'
    net = toy(
        text
        + 'layer { name: "x" type: "ArgMax" bottom: "a" top: "t" argmax_param { out_max_val: true axis: 1 } }'
    )
    assert not NetModule(net)(noise(2, 3).requires_grad_()).requires_grad
    text += 'layer { name: "l" type: "Input" top: "l" input_param { shape { dim: 2 } } }'
    net = toy(text + 'layer { name: "x" type: "SoftmaxWithLoss" bottom: "a" bottom: "l" top: "t" }')
    a, label = noise(2, 3).requires_grad_(), torch.zeros(2, requires_grad=True)
    NetModule(net)({"a": a, "l": label}).backward()
    assert a.grad is not None
    assert label.grad is None


def test_labels_get_no_gradient(layer_types: None) -> None:
    @layer("Weighed", labels=(-1,))
    def weighed(call: Any, bottoms: Any, params: Any) -> Any:
        return bottoms[0] * bottoms[1]

    text = 'layer { name: "in" type: "Input" top: "a" top: "b" input_param { shape { dim: 2 } } }'
    module = NetModule(toy(text + 'layer { name: "x" type: "Weighed" bottom: "a" bottom: "b" top: "t" }'))
    a, b = noise(2).requires_grad_(), noise(2).requires_grad_()
    module({"a": a, "b": b}).sum().backward()
    torch.testing.assert_close(a.grad, b.detach())
    assert b.grad is None


# Layers and parameters.


def test_layers_are_submodules_of_their_names() -> None:
    names = [
        "inception_3a/1x1",
        "a.b",
        "forward",
        "training",
        "_plan",
        "a_b",
        "",
        "weight",
        "same",
        "same",
        "input_names",
    ]
    layers = "".join(
        f'layer {{ name: "{n}" type: "Power" bottom: "data" top: "t{i}" power_param {{ shift: {i} }} }}'
        for i, n in enumerate(names)
    )
    module = NetModule(
        toy('layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 } } }' + layers)
    )
    wanted = [
        "inception_3a/1x1",
        "a_b",
        "forward_",
        "training_",
        "_plan_",
        "a_b_",
        "_",
        "weight",
        "same",
        "same_",
        "input_names_",
    ]
    assert [name for name, _ in module.named_children()] == wanted
    found = module(torch.zeros(2))
    assert [found[f"t{i}"].tolist() for i in range(len(names))] == [[i, i] for i in range(len(names))]
    found = pickle.loads(pickle.dumps(module))(torch.zeros(2))
    assert found["t4"].tolist() == [4, 4]


@pytest.mark.parametrize("memory_format", FORMATS)
def test_parameters_are_frozen_and_the_nets_own(memory_format: str) -> None:
    net = toy()
    module = NetModule(net, memory_format)
    assert [tuple(p.shape) for p in module.parameters()] == [(4, 3, 3, 3), (4,), (5, 36), (5,)]
    assert list(module.state_dict()) == ["conv.weight", "conv.bias", "ip.weight", "ip.bias"]
    assert not any(p.requires_grad for p in module.parameters())
    net.params["ip"][1].data[2] = 40
    assert module.ip.bias[2] == 40
    with torch.no_grad():
        module.conv.weight[0] = 3
    assert (net.params["conv"][0].data[0] == 3).all()
    assert repr(module.conv) == "LayerModule(Convolution)"


def test_channels_last_has_maps_channels_last() -> None:
    net = toy()
    module = NetModule(net, "channels_last")
    found = module(noise(2, 3, 8, 8), blobs=["conv", "pool", "sum"])
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in found.values())
    with pytest.raises(
        InputError, match=r"memory format 'channels' is unknown\. Did you mean 'channels_last'"
    ):
        NetModule(net, "channels")


@pytest.mark.parametrize(
    "name",
    [
        "caffenet_cifar10",
        pytest.param("googlenet", marks=pytest.mark.slow),
        pytest.param("resnet50", marks=pytest.mark.slow),
    ],
)
def test_no_layer_leaves_the_memory_format(name: str) -> None:
    """Not forward, nor back: each way between formats costs as much as a ReLU."""
    message = with_batch(reduced(name), 2)
    module, left = NetModule(Net(message, 1), "channels_last"), []

    def look(label: str, values: Any) -> None:
        # Maps of one pixel lie in both ways.
        if (
            isinstance(values, torch.Tensor)
            and values.ndim == 4
            and values.shape[2:].numel() > 1
            and not values.is_contiguous(memory_format=torch.channels_last)
        ):
            left.append(label)

    def hook(child: Any, bottoms: Any, top: Any, label: str) -> None:
        look(label, top)
        top.register_hook(
            lambda g: look(f"gradient of {label}", g) if child.param.type == "Convolution" else None
        )

    for label, child in module.named_children():
        child.register_forward_hook(lambda *given, label=label: hook(*given, label))
    module(
        noise(*[2, *message.layer[0].input_param.shape[0].dim[1:]]).requires_grad_()
    ).square().sum().backward()
    assert left == []


def test_gradients_of_means_keep_the_memory_format() -> None:
    x = noise(2, 3, 8, 8).contiguous(memory_format=torch.channels_last).requires_grad_()
    net = toy(
        TOY.replace('bottom: "conv" top: "pool"', 'bottom: "data" top: "pool"').replace(
            "kernel_size: 2 stride", "pool: AVE kernel_size: 3 stride"
        )
    )
    (gradient,) = torch.autograd.grad(
        NetModule(net, "channels_last")(x, blobs=["pool"])["pool"].square().sum(), x
    )
    assert gradient.is_contiguous(memory_format=torch.channels_last)


def shared(second: str) -> str:
    data = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 4 } } }'
    name = 'param { name: "w" } inner_product_param { num_output: 4 bias_term: false weight_filler { type: "gaussian" std: 1 } }'
    return f'force_backward: true {data} layer {{ name: "one" type: "InnerProduct" bottom: "data" top: "one" {name} }} {second}'


@pytest.mark.parametrize("many", [0, 1 << 60], ids=["by columns", "by torch"])
@pytest.mark.parametrize(("kernel", "stride", "pad"), [((7, 3), (2, 3), (0, 1)), ((3, 3), (1, 1), (1, 1))])
def test_the_gradient_of_a_convolution_over_few_channels(
    kernel: tuple[int, int], stride: tuple[int, int], pad: tuple[int, int], many: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Both ways that it goes back, for maps channels last; plain torch in double precision judges."""
    monkeypatch.setattr("caffe_viz.engine.layers.windows.MANY", many)
    text = f"""
    layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: 2 dim: 3 dim: 17 dim: 14 }} }} }}
    layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param {{ num_output: 6
      kernel_h: {kernel[0]} kernel_w: {kernel[1]} stride_h: {stride[0]} stride_w: {stride[1]}
      pad_h: {pad[0]} pad_w: {pad[1]} weight_filler {{ type: "gaussian" std: 1 }} }} }}
    """
    net = toy(text)
    x = noise(2, 3, 17, 14).requires_grad_()
    top = NetModule(net, "channels_last")(x)
    seed = noise(*top.shape, seed=1).contiguous(memory_format=torch.channels_last)
    (found,) = torch.autograd.grad(top, x, seed)
    wide, weights = x.detach().double().requires_grad_(), net.params["conv"][0].data
    judge = torch.nn.functional.conv2d(wide, torch.tensor(weights).double(), None, stride, pad)
    (expected,) = torch.autograd.grad(judge, wide, seed.double())
    assert apart(expected.numpy(), found.numpy()) < LIMIT


def test_shared_parameters_are_one() -> None:
    net = toy(
        shared(
            'layer { name: "two" type: "InnerProduct" bottom: "one" top: "two" param { name: "w" } inner_product_param { num_output: 4 bias_term: false } }'
        )
    )
    module, x = NetModule(net), noise(2, 4)
    assert module.one.weight is module.two.weight
    assert len(list(module.parameters())) == 1
    torch.testing.assert_close(module(x), x @ module.one.weight.T @ module.one.weight.T)
    again = copy.deepcopy(module)
    assert again.one.weight is again.two.weight
    assert again.one.weight is not module.one.weight
    net.blobs["data"].data[...] = x.numpy()
    assert differing(run_both(net, "contiguous")) == {}


def test_shared_parameters_of_two_shapes() -> None:
    net = toy(
        shared(
            'layer { name: "two" type: "Scale" bottom: "one" top: "two" param { name: "w" share_mode: PERMISSIVE } scale_param { axis: 0 num_axes: 2 } }'
        )
        .replace("dim: 2 dim: 4", "dim: 2 dim: 8")
        .replace("num_output: 4", "num_output: 8")
        .replace('"Scale" bottom: "one"', '"Scale" bottom: "long"')
        .replace(
            'layer { name: "two"',
            'layer { name: "tile" type: "Tile" bottom: "one" top: "tile" tile_param { tiles: 4 } } layer { name: "long" type: "Reshape" bottom: "tile" top: "long" reshape_param { shape { dim: 4 dim: 16 } } } layer { name: "two"',
        )
    )
    assert net.params["two"][0].shape == (4, 16)
    assert net.params["one"][0].shape == (8, 8)
    module = NetModule(net)
    assert module.one.weight.data_ptr() == module.two.weight.data_ptr()
    x = noise(2, 8)
    np.testing.assert_allclose(module(x), outputs(net, x), rtol=1e-5, atol=1e-5)


# Copies, files, devices.


def copies() -> list[Callable[[Any], Any]]:
    def saved(module: Any) -> Any:
        file = io.BytesIO()
        torch.save(module, file)
        file.seek(0)
        return torch.load(file, weights_only=False)

    return [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), saved]


@pytest.mark.parametrize("copied", copies(), ids=["deepcopy", "pickle", "torch.save"])
def test_a_copy_is_another_module(copied: Callable[[Any], Any]) -> None:
    module, x = NetModule(toy(), "channels_last"), noise(2, 3, 8, 8)
    module(x)
    other = copied(module)
    torch.testing.assert_close(other(x), module(x), rtol=0, atol=0)
    assert other(x, blobs=["pool"])["pool"].shape == (2, 4, 3, 3)
    with torch.no_grad():
        other.conv.weight.zero_()
    assert module.conv.weight.any()


def test_layers_that_draw_draw_the_same_in_a_copy_and_not_the_same_as_each_other() -> None:
    drop = "".join(f'layer {{ name: "d{i}" type: "Dropout" bottom: "data" top: "t{i}" }}' for i in range(2))
    module = NetModule(
        toy(
            'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 50 } } }' + drop,
            phase=0,
        )
    )
    first, again = module(torch.ones(50)), copy.deepcopy(module)(torch.ones(50))
    assert not torch.equal(first["t0"], first["t1"])
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert not torch.equal(first["t0"], module(torch.ones(50))["t0"])


def test_state_dict_goes_to_another_net() -> None:
    first, second, x = NetModule(toy()), NetModule(toy()), noise(2, 3, 8, 8)
    assert apart(first(x).numpy(), second(x).numpy()) > LIMIT
    second.load_state_dict(first.state_dict())
    torch.testing.assert_close(second(x), first(x))


def test_on_the_meta_device_it_tells_shapes() -> None:
    net = Net(read_net(ROOT / "prototxt" / "caffenet_cifar10" / "deploy.prototxt"), 1)
    module = NetModule(net).to("meta")
    names = list(net.blobs)
    found = module(torch.empty(3, 3, 32, 32, device="meta"), blobs=names)
    assert {n: tuple(x.shape) for n, x in found.items()} == {n: (3, *net.blobs[n].shape[1:]) for n in names}


def test_what_layers_make_themselves_moves_too() -> None:
    net = toy('layer { name: "x" type: "DummyData" top: "a" dummy_data_param { shape { dim: 3 } } }')
    assert NetModule(net).to("meta")({}).device.type == "meta"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no graphics card")
@pytest.mark.parametrize("memory_format", FORMATS)
def test_on_a_graphics_card(memory_format: str) -> None:
    net = Net(read_net(ROOT / "prototxt" / "caffenet_cifar10" / "deploy.prototxt"), 1)
    module, x = NetModule(net, memory_format), noise(3, 3, 32, 32).requires_grad_()
    there, y = copy.deepcopy(module).to("cuda"), x.detach().to("cuda").requires_grad_()
    scores = [m(z, blobs=["fc8"])["fc8"] for m, z in ((module, x), (there, y))]
    assert apart(scores[0].detach().numpy(), scores[1].detach().cpu().numpy()) < 1e-4
    for score in scores:
        score[:, 3].sum().backward()
    assert apart(x.grad.numpy(), y.grad.cpu().numpy()) < 1e-3


def test_double_precision() -> None:
    module, x = NetModule(toy()).double(), noise(2, 3, 8, 8).double().requires_grad_()
    assert module(x).dtype == torch.float64
    assert torch.autograd.gradcheck(module, x)


# Code of users.


def test_a_users_layer_sees_caffes_order(layer_types: None) -> None:
    @layer("Rows")
    def rows(call: Any, bottoms: Any, params: Any) -> Any:
        return bottoms[0].view(-1).cumsum(0).view(bottoms[0].shape)

    net = toy(TOY.replace('type: "ReLU"', 'type: "Rows"'))
    x = noise(2, 3, 8, 8)
    for memory_format in FORMATS:
        np.testing.assert_allclose(NetModule(net, memory_format)(x), outputs(net, x), rtol=1e-3, atol=1e-3)
    data = pickle.dumps(NetModule(net))
    del LAYERS["Rows"]
    with pytest.raises(InputError, match="layer 'relu' is of type Rows, which is not registered here"):
        pickle.loads(data)


def test_what_a_users_function_raises_is_one_line(layer_types: None, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from caffe_viz.engine import layer\n\n\n@layer('Odd')\ndef odd(call, bottoms, params):\n    return None if bottoms[0].sum() > 0 else [None]\n"
    )
    cv.layers_file.load_layers(tmp_path / "mine.py")
    module = NetModule(toy(TOY.replace('type: "ReLU"', 'type: "Odd"')))
    with torch.no_grad():
        module.conv.weight.fill_(1)
    with pytest.raises(RunError, match=r"layer 'relu' \(Odd\): raised TypeError: 'NoneType'"):
        module(torch.ones(1, 3, 8, 8))
    with pytest.raises(RunError, match=r"layer 'relu' \(Odd\): its function returned None"):
        module(-torch.ones(1, 3, 8, 8))


PYTHON = '''
import caffe
import numpy as np


class Weighted(caffe.Layer):
    """top = w x, and a count of passes."""

    def setup(self, bottom, top):
        self.blobs.add_blob(4)
        self.blobs[0].data[...] = [1, 2, 3, 4]

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        top[0].data[...] = self.blobs[0].data.reshape(-1, 1, 1) * bottom[0].data

    def backward(self, top, propagate_down, bottom):
        self.blobs[0].diff[...] += (top[0].diff * bottom[0].data).sum((0, 2, 3))
        if propagate_down[0]:
            bottom[0].diff[...] = self.blobs[0].data.reshape(-1, 1, 1) * top[0].diff


class Squared(caffe.Layer):
    """In place."""

    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        self.old = bottom[0].data.copy()
        top[0].data[...] = self.old ** 2

    def backward(self, top, propagate_down, bottom):
        bottom[0].diff[...] = 2 * self.old * top[0].diff
'''


@pytest.fixture
def python_net(tmp_path: Path) -> Any:
    """A net with layers of type Python: one with parameters, one in place."""
    (tmp_path / "mine.py").write_text(PYTHON)
    layers = "".join(
        f'layer {{ name: "{kind.lower()}" type: "Python" bottom: "{bottom}" top: "{top}" python_param {{ module: "mine" layer: "{kind}" }} }}'
        for kind, bottom, top in (("Weighted", "conv", "weighted"), ("Squared", "weighted", "weighted"))
    )
    text = TOY.replace('layer { name: "pool"', layers + 'layer { name: "pool"').replace(
        'bottom: "conv" top: "pool"', 'bottom: "weighted" top: "pool"'
    )
    (tmp_path / "net.prototxt").write_text(text)
    return cv.load_net(tmp_path / "net.prototxt", engine="torch", allow_code=True)


@pytest.mark.parametrize("memory_format", FORMATS)
def test_layers_of_type_python_agree_with_the_net(python_net: Any, memory_format: str) -> None:
    python_net.blobs["data"].data[...] = noise(2, 3, 8, 8).numpy()
    found = run_both(python_net, memory_format)
    assert {"diff data", "diff weighted 0", "diff conv 0", "weighted"} <= set(found.net)
    assert differing(found) == {}
    module = NetModule(python_net)
    assert "weighted.weight" in module.state_dict()


def test_layers_of_type_python_are_functions(python_net: Any) -> None:
    """Two passes before the gradient of the first; parameters that are changed; copies."""
    module, x = NetModule(python_net).requires_grad_(True), noise(2, 3, 8, 8).requires_grad_()
    blobs = {name: np.array(blob.data) for name, blob in python_net.blobs.items()}
    (alone,) = torch.autograd.grad(module(x).sum(), x)
    first = module(x)
    module(noise(4, 3, 8, 8, seed=1))
    torch.testing.assert_close(torch.autograd.grad(first.sum(), x)[0], alone)
    assert all(np.array_equal(blobs[name], blob.data) for name, blob in python_net.blobs.items())
    other = copy.deepcopy(module)
    with torch.no_grad():
        other.weighted.weight.zero_()
    assert other(x, blobs=["weighted"])["weighted"].count_nonzero() == 0
    torch.testing.assert_close(module(x), first)


# cv.torch_module


def test_torch_module_of_either_engine(engine: str) -> None:
    folder = ROOT / "prototxt" / "caffenet_cifar10"
    net = cv.load_net(folder / "deploy.prototxt", folder / "caffenet_cifar10.caffemodel", engine=engine)
    x = noise(*net.blobs["data"].data.shape) * 50
    net.params["fc8"][1].data[...] = np.arange(10) / 10  # what it has now, not what the file has
    module = cv.torch_module(net, memory_format="channels_last")
    net.blobs["data"].data[...] = x.numpy()
    assert apart(np.array(net.forward()["prob"]), module(x).numpy()) < LIMIT
    assert module.memory_format == "channels_last"
    before = cv.torch_module(net).fc8.bias.clone()
    net.params["fc8"][1].data[...] = 0
    shared = engine == "torch"
    assert torch.equal(cv.torch_module(net).fc8.bias, torch.zeros(10))
    assert torch.equal(module.fc8.bias, torch.zeros(10)) == shared
    assert before.any()


def test_torch_module_takes_what_load_net_gives() -> None:
    with pytest.raises(InputError, match=r"str: load the net with caffe_viz\.load_net"):
        cv.torch_module("deploy.prototxt")
    with pytest.raises(InputError, match=r"memory format 'x' is unknown"):
        cv.torch_module(toy(), memory_format="x")
