"""The embedded engine alone: errors instead of aborts, layers of one's own, work on the device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import caffe_viz as cv
from caffe_viz.errors import InputError
from caffe_viz.geometry.table import TABLE
from caffe_viz.netdef import parse_net

torch = pytest.importorskip("torch", reason="the engine torch is not installed")

from caffe_viz.engine import Net, layer, pycaffe  # noqa: E402
from caffe_viz.engine.table import LAYERS, LEFT_OUT  # noqa: E402

DATA = (
    'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 6 dim: 5 } } }\n'
)
CONV = """
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "gaussian" std: 0.5 } } }
"""
NET = parse_net("force_backward: true\n" + DATA + CONV)
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def test_every_type_of_caffe_is_there_or_left_out_with_a_reason() -> None:
    """Types that geometry knows: real Caffe's, which test_geometry_caffe.py compares."""
    assert set(TABLE) <= set(LAYERS) | set(LEFT_OUT)


def test_names_are_corrected() -> None:
    net = Net(NET, 1)
    for call in (
        lambda: net.forward(end="con"),
        lambda: net.backward(start="con"),
        lambda: net.forward(["con"]),
    ):
        with pytest.raises(InputError, match="Did you mean 'conv'"):
            call()
    with pytest.raises(InputError, match=r"given were dat\."):
        net.forward(dat=np.ones((2, 3, 6, 5)))
    with pytest.raises(InputError, match=r"takes \(2, 3, 6, 5\), not \(2, 3, 6, 6\)"):
        net.forward(data=np.ones((2, 3, 6, 6)))
    with pytest.raises(InputError, match="give the phase"):
        Net(NET)
    with pytest.raises(InputError, match="device 'cud'"):
        Net(NET, 1, device="cud")


def test_what_pycaffe_calls_its_arguments(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    cv.write_net(NET, path)
    assert Net(network_file=str(path), phase=1).outputs == ["conv"]
    assert Net(str(path), 1, 0, ["stage"]).outputs == ["conv"]
    Net(str(path), 1).save(tmp_path / "w.caffemodel")
    assert Net(str(path), str(tmp_path / "w.caffemodel"), 1).outputs == ["conv"]


def test_a_reshape_that_weights_do_not_fit() -> None:
    text = (
        DATA
        + 'layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param { num_output: 2 } }'
    )
    net = Net(parse_net(text), 1)
    net.blobs["data"].reshape(2, 3, 7, 7)
    with pytest.raises(InputError, match=r"layer 'fc' \(InnerProduct\): parameter 0 is 2x90"):
        net.forward()


def test_labels_have_no_gradient() -> None:
    """Real Caffe aborts."""
    text = (
        DATA
        + CONV
        + """
    layer { name: "l" type: "Reduction" bottom: "conv" top: "l" reduction_param { axis: 1 } }
    layer { name: "e" type: "Reduction" bottom: "conv" top: "e" reduction_param { axis: 1 } }
    layer { name: "two" type: "Reshape" bottom: "l" top: "two" reshape_param { shape { dim: 2 dim: 1 } } }
    layer { name: "loss" type: "HingeLoss" bottom: "two" bottom: "e" top: "loss" }"""
    )
    net = Net(parse_net(text), 0)
    net.params["conv"][0].data[...] = net.params["conv"][1].data[...] = 0
    net.forward()
    with pytest.raises(NotImplementedError, match="no gradient for its bottom 'e"):
        net.backward()


def test_a_layer_of_ones_own(layer_types: None) -> None:
    """As in the README: its shape is its bottom's, its gradient autograd's."""

    @layer("OwnSwish")
    def swish(call: Any, bottoms: Any, params: Any) -> Any:
        return bottoms[0] * bottoms[0].sigmoid()

    text = "force_backward: true\n" + DATA + 'layer { name: "s" type: "OwnSwish" bottom: "data" top: "s" }'
    net = cv.load_net(parse_net(text), engine="torch")
    x = np.linspace(-3, 3, 180).reshape(2, 3, 6, 5)
    sigmoid = 1 / (1 + np.exp(-x))
    np.testing.assert_allclose(net.forward(data=x)["s"], x * sigmoid, rtol=1e-5, atol=1e-6)
    found = net.backward(s=np.ones_like(x))["data"]
    np.testing.assert_allclose(found, sigmoid * (1 + x * (1 - sigmoid)), rtol=1e-4, atol=1e-6)


def test_left_out_types_say_what_to_do() -> None:
    text = 'layer { name: "d" type: "Data" top: "d" data_param { source: "x" batch_size: 1 } transform_param { crop_size: 3 force_color: true } }'
    with pytest.raises(NotImplementedError, match=r"layer 'd'.*(Input|deploy|arrays)"):
        Net(parse_net(text), 1)


def test_names_that_only_real_caffe_has() -> None:
    with pytest.raises(NotImplementedError, match=r"caffe\.NCCL"):
        pycaffe.NCCL  # noqa: B018
    with pytest.raises(AttributeError):
        pycaffe.nothing  # noqa: B018


@pytest.mark.parametrize("device", DEVICES)
def test_an_ascent_that_stays_on_the_device(device: str) -> None:
    """In tensors, with no array made, it climbs as it does in arrays."""
    aux = cv.auxiliary_net(parse_net(DATA + CONV), "conv", batch=2)
    start = np.random.default_rng(0).normal(size=aux.image_shape).astype(np.float32)
    nets = [cv.load_net(aux.message, engine="torch", device=device) for _ in range(2)]
    for name in ("conv",):
        for mine, theirs in zip(nets[0].params[name], nets[1].params[name], strict=True):
            mine.data[...] = theirs.data[...] = np.random.default_rng(1).normal(size=mine.shape)
    images = []
    for net in nets:
        net.blobs[aux.selector].data[...] = aux.select([1, 2])
        images.append(net.params[aux.image_layer][0])
        images[-1].data[...] = start
    for _ in range(3):
        for net in nets:
            net._forward(0, len(net.layers) - 1)
            net._backward(len(net.layers) - 1, 0)
        images[0].data[...] += images[0].diff / np.sqrt((images[0].diff ** 2).mean())
        gradient = images[1].gradient()
        images[1].take(images[1].tensor() + gradient / gradient.square().mean().sqrt())
    assert images[1].tensor().device.type == device
    np.testing.assert_allclose(images[1].data, images[0].data, rtol=1e-5, atol=1e-5)
    assert np.abs(images[1].data - start).max() > 1


@pytest.mark.parametrize("device", DEVICES)
def test_devices_agree_with_the_cpu(device: str, networks: Path) -> None:
    folder = networks / "caffenet_cifar10"
    message = cv.read_net(folder / "deploy.prototxt")
    message.force_backward = True
    found = []
    for place in ("cpu", device):
        net = cv.load_net(message, folder / "caffenet_cifar10.caffemodel", engine="torch", device=place)
        out = net.forward(data=np.random.default_rng(0).normal(0, 50, net.blobs["data"].shape))["prob"].copy()
        back = net.backward(prob=np.eye(10)[: len(out)] if len(out) <= 10 else np.ones((len(out), 10)))[
            "data"
        ]
        found.append((out, back.copy(), net.params["conv1"][0].diff.copy()))
    for mine, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-4 * np.abs(theirs).max())


@pytest.mark.parametrize("device", DEVICES)
def test_statistics_are_kept_while_somebody_holds_their_arrays(device: str) -> None:
    message = parse_net(DATA + 'layer { name: "b" type: "BatchNorm" bottom: "data" top: "b" }')
    found = []
    for hold in (False, True):
        net = Net(message, 0, device=device)
        net.blobs["data"].data[...] = np.random.default_rng(0).normal(3, 2, net.blobs["data"].shape)
        held = [blob.data for blob in net.params["b"]] if hold else []
        for _ in range(3):
            net.forward()
        found.append([np.array(blob.data) for blob in net.params["b"]])
        del held
    assert found[0][2] == pytest.approx(1 + 0.999 + 0.999**2)
    for alone, watched in zip(*found, strict=True):
        np.testing.assert_array_equal(watched, alone)


def test_no_gpu_is_one_clear_line() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(InputError, match="no GPU"):
        pycaffe.set_mode_gpu()
    with pytest.raises(InputError, match=r"device 'cuda' cannot be used"):
        Net(NET, 1, device="cuda")
