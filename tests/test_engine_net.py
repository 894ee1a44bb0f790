"""What pycaffe's Net promises, on both engines: memory, in-place layers, phases, gradients, files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from caffe_viz import backend

DATA = (
    'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 6 dim: 5 } } }\n'
)
CONV = """
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "gaussian" std: 0.5 } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
"""
FC = """
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc"
        inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
"""
SMALL = "force_backward: true\n" + DATA + CONV + FC
LOSS = """
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 2 } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" loss_weight: 3 }
"""
Make = Callable[..., Any]


@pytest.fixture
def module(engine: str) -> Any:
    return backend.module(engine)


@pytest.fixture
def make(module: Any, tmp_path: Path) -> Make:
    """A net of a text, with noise in its parameters and inputs."""

    def made(text: str, phase: int = 1, **more: Any) -> Any:
        path = tmp_path / "net.prototxt"
        path.write_text(text)
        net = module.Net(str(path), phase, **more)
        rng = np.random.default_rng(0)
        for blobs in net.params.values():
            for blob in blobs:
                blob.data[...] = rng.normal(size=blob.data.shape)
        for name in net.inputs:
            net.blobs[name].data[...] = (
                rng.normal(size=net.blobs[name].data.shape) if name != "label" else [0, 1]
            )
        return net

    return made


def test_what_a_net_is_made_of(make: Make) -> None:
    net = make(SMALL)
    assert list(net._layer_names) == ["data", "conv", "relu", "fc"]
    assert list(net._blob_names) == ["data", "conv", "fc"]
    assert [x.type for x in net.layers] == ["Input", "Convolution", "ReLU", "InnerProduct"]
    assert list(net.layer_dict) == list(net._layer_names)
    assert (net.inputs, net.outputs) == (["data"], ["fc"])
    assert dict(net.top_names) == {"data": ["data"], "conv": ["conv"], "relu": ["conv"], "fc": ["fc"]}
    assert dict(net.bottom_names) == {"data": [], "conv": ["data"], "relu": ["conv"], "fc": ["conv"]}
    assert list(net._top_ids(3)) == [2]
    assert list(net._bottom_ids(3)) == [1]
    assert {n: len(b) for n, b in net.params.items()} == {"conv": 2, "fc": 2}
    assert net.params["conv"][0].data.shape == tuple(net.layers[1].blobs[0].shape) == (4, 3, 3, 3)
    blob = net.blobs["conv"]
    assert (blob.num, blob.channels, blob.height, blob.width, blob.count) == (2, 4, 4, 3, 96)
    assert dict(net.blob_loss_weights) == {"data": 0, "conv": 0, "fc": 0}


def test_arrays_are_the_memory_of_the_net(make: Make) -> None:
    """Held from before a forward they show what it computed; what is written into them is seen."""
    net = make(SMALL)
    data, conv, fc, weights = (
        net.blobs["data"].data, net.blobs["conv"].data, net.blobs["fc"].data, net.params["fc"][0].data,
    )  # fmt: skip
    out = net.forward()
    assert out["fc"] is not None
    np.testing.assert_array_equal(out["fc"], fc)
    assert fc.any()
    assert (conv >= 0).all()
    before = fc.copy()
    weights *= 2
    net.forward()
    np.testing.assert_allclose(
        fc - net.params["fc"][1].data, 2 * (before - net.params["fc"][1].data), rtol=1e-5
    )
    data[...] = 0
    net.forward()
    expected = np.maximum(net.params["conv"][1].data, 0)[None, :, None, None] * np.ones_like(conv)
    np.testing.assert_allclose(conv, expected, rtol=1e-6)


def test_diffs_held_are_filled_by_backward(make: Make) -> None:
    net = make(SMALL)
    net.forward()
    image, weights, seed = net.blobs["data"].diff, net.params["conv"][0].diff, net.blobs["fc"].diff
    seed[...] = 1
    net.backward()
    assert image.any()
    assert weights.any()
    np.testing.assert_array_equal(image, net.blobs["data"].diff)
    np.testing.assert_array_equal(weights, net.params["conv"][0].diff)


def test_gradients_of_parameters_add_up_until_they_are_cleared(make: Make) -> None:
    net = make(SMALL)
    net.forward()
    net.blobs["fc"].diff[...] = 1
    net.backward()
    once = [net.params[n][i].diff.copy() for n in ("conv", "fc") for i in (0, 1)]
    image = net.blobs["data"].diff.copy()
    net.backward()
    net.backward()
    np.testing.assert_array_equal(net.blobs["data"].diff, image)  # of blobs they do not
    for mine, (n, i) in zip(once, [(n, i) for n in ("conv", "fc") for i in (0, 1)], strict=True):
        np.testing.assert_allclose(net.params[n][i].diff, 3 * mine, rtol=1e-5, atol=1e-5)
    net.clear_param_diffs()
    assert not any(b.diff.any() for blobs in net.params.values() for b in blobs)
    net.backward()
    np.testing.assert_array_equal(net.params["conv"][0].diff, once[0])


def test_gradients_of_parameters_belong_to_the_values_they_were_computed_on(make: Make) -> None:
    """Read late, after the image, the weights and the seed have changed, they are the same."""
    net = make(SMALL)
    net.forward()
    net.blobs["fc"].diff[...] = 1
    net.backward()
    expected = [b.diff.copy() for blobs in net.params.values() for b in blobs]
    net.clear_param_diffs()
    net.backward()
    net.blobs["data"].data[...] = 7
    net.blobs["conv"].data[...] = 8
    net.blobs["fc"].diff[...] = 9
    net.blobs["conv"].diff[...] = 10
    net.params["fc"][0].data[...] = 11
    net.forward()
    for blob, mine in zip((b for blobs in net.params.values() for b in blobs), expected, strict=True):
        np.testing.assert_array_equal(blob.diff, mine)


def test_what_is_written_between_forward_and_backward_counts(make: Make) -> None:
    """Caffe goes backward through the data that is there."""
    net = make(
        "force_backward: true\n"
        + DATA
        + 'layer { name: "p" type: "Power" bottom: "data" top: "p" power_param { power: 2 } }'
    )
    net.forward()
    net.blobs["data"].data[...] = 5
    net.blobs["p"].data[...] = 25  # Caffe divides this one by the other
    net.blobs["p"].diff[...] = 1
    net.backward()
    np.testing.assert_allclose(net.blobs["data"].diff, 10, rtol=1e-5)


def test_part_by_part(make: Make) -> None:
    net = make(SMALL)
    pre = net.forward(end="conv")["conv"].copy()
    assert (pre < 0).any()
    net.forward(start="relu", end="relu")
    np.testing.assert_array_equal(net.blobs["conv"].data, np.maximum(pre, 0))
    rest = net.forward(blobs=["conv"], start="fc")
    assert set(rest) == {"fc", "conv"}
    whole = net.forward()["fc"].copy()
    np.testing.assert_array_equal(rest["fc"], whole)
    net.blobs["fc"].diff[...] = 1
    found = net.backward(start="fc", end="fc")
    assert list(found) == ["conv"]
    after_relu = found["conv"].copy()
    found = net.backward(diffs=["conv"], start="relu")
    assert set(found) == {"data", "conv"}
    np.testing.assert_array_equal(found["conv"], after_relu * (pre > 0))


def test_phases_levels_and_stages(module: Any, tmp_path: Path) -> None:
    text = DATA + "".join(
        f'layer {{ name: "{name}" type: "TanH" bottom: "data" top: "{name}" {rule} }}\n'
        for name, rule in {
            "always": "", "train": "include { phase: TRAIN }", "not_train": "exclude { phase: TRAIN }",
            "deep": "include { min_level: 2 }", "staged": 'include { stage: "a" not_stage: "b" }',
        }.items()
    )  # fmt: skip
    path = tmp_path / "net.prototxt"
    path.write_text(text)

    def names(*args: Any, **more: Any) -> set[str]:
        return {n for n in module.Net(str(path), *args, **more)._layer_names if "data" not in n}

    assert names(module.TRAIN) == {"always", "train"}
    assert names(module.TEST) == {"always", "not_train"}
    assert names(module.TEST, level=2, stages=["a"]) == {"always", "not_train", "deep", "staged"}
    assert names(phase=module.TEST, stages=["a", "b"]) == {"always", "not_train"}


def test_loss_weights_begin_the_gradient(make: Make) -> None:
    net = make(DATA + CONV + FC + LOSS, phase=0)
    total = net._forward(0, len(net.layers) - 1)
    assert total == pytest.approx(3 * float(net.blobs["loss"].data), rel=1e-6)
    assert net.blob_loss_weights["loss"] == 3
    net.backward()
    prob = np.exp(net.blobs["fc"].data)
    prob /= prob.sum(1, keepdims=True)
    np.testing.assert_allclose(net.blobs["fc"].diff, 3 / 2 * (prob - np.eye(2)), rtol=1e-4, atol=1e-6)
    assert not net.blobs["data"].diff.any()  # nothing before it learns, and nobody forces it
    assert net.params["conv"][0].diff.any()


def test_without_a_loss_or_force_backward_nothing_goes_back(make: Make) -> None:
    net = make(DATA + CONV + FC)
    net.forward()
    net.blobs["fc"].diff[...] = 1
    net.backward()
    assert not net.blobs["conv"].diff.any()
    assert not net.params["fc"][0].diff.any()


def test_lr_mult_0_and_propagate_down(make: Make) -> None:
    frozen = (DATA + CONV + FC + LOSS).replace(
        'top: "conv"\n', 'top: "conv" param { lr_mult: 0 } param { lr_mult: 0 }\n'
    )
    net = make(frozen, phase=0)
    net.forward()
    net.backward()
    assert not net.params["conv"][0].diff.any()
    assert not net.blobs["conv"].diff.any()
    assert net.params["fc"][0].diff.any()
    net = make((DATA + CONV + FC + LOSS).replace('top: "fc"\n', 'top: "fc" propagate_down: false\n'), phase=0)
    net.forward()
    net.backward()
    assert not net.params["conv"][0].diff.any()
    assert net.params["fc"][0].diff.any()


def test_reshape(make: Make) -> None:
    net = make(SMALL.replace("InnerProduct", "TanH"))
    net.blobs["data"].reshape(1, 3, 9, 8)
    assert net.blobs["conv"].data.shape == (2, 4, 4, 3)
    net.reshape()
    assert net.blobs["conv"].data.shape == net.blobs["conv"].diff.shape == (1, 4, 7, 6)
    net.blobs["data"].data[...] = 1
    assert net.forward()["fc"].shape == (1, 4, 7, 6)
    net.blobs["data"].reshape(3, 3, 6, 5)  # and without a call of net.reshape
    assert net.forward()["fc"].shape == (3, 4, 4, 3)


def test_inputs_by_name(make: Make) -> None:
    net = make(SMALL)
    values = np.random.default_rng(1).normal(size=(2, 3, 6, 5))
    found = net.forward(data=values)["fc"].copy()
    net.blobs["data"].data[...] = values
    np.testing.assert_array_equal(net.forward()["fc"], found)
    for wrong in ({"dat": values}, {"data": values[:1]}):
        with pytest.raises(Exception, match=r"[Ii]nput|arrays|takes"):
            net.forward(**wrong)
    seed = np.ones((2, 2))
    diff = net.backward(fc=seed)["data"].copy()
    net.blobs["fc"].diff[...] = seed
    np.testing.assert_array_equal(net.backward()["data"], diff)


def test_shared_parameters_are_one_memory(make: Make) -> None:
    layer = """layer {{ name: "{0}" type: "InnerProduct" bottom: "{1}" top: "{0}" param {{ name: "w" }} param {{ name: "b" }}
        inner_product_param {{ num_output: 5 axis: 3 }} }}\n"""
    net = make("force_backward: true\n" + DATA + layer.format("p", "data") + layer.format("q", "p"))
    net.params["p"][0].data[...] = 0.5
    assert (net.params["q"][0].data == 0.5).all()
    net.forward()
    net.blobs["q"].diff[...] = 1
    net.backward()
    np.testing.assert_array_equal(net.params["p"][0].diff, net.params["q"][0].diff)
    # Both uses add up: the gradient of a bias is its count in q, plus what comes through q's weights.
    np.testing.assert_allclose(net.params["p"][1].diff, 36 + 36 * 2.5, rtol=1e-5)


def test_share_with(make: Make) -> None:
    one, two = make(SMALL), make(SMALL)
    two.params["fc"][0].data[...] = 0
    two.share_with(one)
    np.testing.assert_array_equal(two.params["fc"][0].data, one.params["fc"][0].data)
    one.params["fc"][0].data[...] = 3
    assert (two.params["fc"][0].data == 3).all()


@pytest.mark.parametrize("form", ["caffemodel", "h5"])
def test_files_are_read_by_the_other_engine(make: Make, tmp_path: Path, form: str, engine: str) -> None:
    other = pytest.importorskip({"caffe": "torch", "torch": "caffe"}[engine]).__name__
    net = make(SMALL)
    expected = net.forward()["fc"].copy()
    path = str(tmp_path / f"weights.{form}")
    net.save(path) if form == "caffemodel" else net.save_hdf5(path)
    theirs = backend.module(other).Net(str(tmp_path / "net.prototxt"), 1)
    theirs.blobs["data"].data[...] = net.blobs["data"].data
    theirs.copy_from(path) if form == "caffemodel" else theirs.load_hdf5(path)
    np.testing.assert_allclose(theirs.forward()["fc"], expected, rtol=1e-4, atol=1e-5)
    again = backend.module(engine).Net(str(tmp_path / "net.prototxt"), path, 1)
    again.blobs["data"].data[...] = net.blobs["data"].data
    np.testing.assert_array_equal(again.forward()["fc"], expected)


@pytest.mark.parametrize("defect", ["shape", "count"])
def test_weights_that_do_not_fit_change_nothing(tmp_path: Path, defect: str) -> None:
    """The last layer of the file is wrong; the first would have fitted."""
    from caffe_viz import netdef
    from caffe_viz.errors import InputError

    pytest.importorskip("torch", reason="the engine torch is not installed")
    (tmp_path / "net.prototxt").write_text(SMALL)
    net = backend.module("torch").Net(str(tmp_path / "net.prototxt"), 1)
    before = [np.array(blob.data) for blobs in net.params.values() for blob in blobs]
    net.save(tmp_path / "a.caffemodel")
    weights = netdef.read_weights(tmp_path / "a.caffemodel")
    for layer in weights.layer:
        for blob in layer.blobs:
            blob.data[:] = [7.0] * len(blob.data)
    last = weights.layer[-1].blobs[0]
    if defect == "shape":
        last.shape.dim[0] += 1
        last.data.extend([7.0] * int(np.prod(last.shape.dim[1:])))
    else:
        del last.data[-1]
    netdef.write_weights(weights, str(tmp_path / "b.caffemodel"))
    with pytest.raises(InputError, match=r"layer 'fc', blob 0"):
        net.copy_from(tmp_path / "b.caffemodel")
    for old, blob in zip(before, (b for blobs in net.params.values() for b in blobs), strict=True):
        np.testing.assert_array_equal(blob.data, old)


def test_forward_all_fills_the_last_batch(make: Make) -> None:
    net = make(SMALL)
    values = np.random.default_rng(1).normal(size=(5, 3, 6, 5))
    found = net.forward_all(blobs=["conv"], data=values)
    assert {k: np.shape(v) for k, v in found.items()} == {"fc": (5, 2), "conv": (5, 4, 4, 3)}
    np.testing.assert_allclose(found["fc"][2:4], net.forward(data=values[2:4])["fc"], rtol=1e-5)
    data, diffs = net.forward_backward_all(blobs=["conv"], diffs=["conv"], data=values, fc=np.ones((5, 2)))
    np.testing.assert_allclose(data["fc"], found["fc"], rtol=1e-5)
    assert {k: np.shape(v) for k, v in diffs.items()} == {"data": (5, 3, 6, 5), "conv": (5, 4, 4, 3)}


def test_parameter_layers_are_one_memory_with_their_blob(make: Make) -> None:
    text = SMALL.replace('"Input" top: "data" input_param', '"Parameter" top: "data" parameter_param')
    net = make(text)
    net.forward()
    net.params["data"][0].data[...] = 4
    assert (net.blobs["data"].data == 4).all()
    net.blobs["fc"].diff[...] = 1
    for _ in range(2):
        net.backward()
    np.testing.assert_array_equal(net.params["data"][0].diff, net.blobs["data"].diff)
    assert net.blobs["data"].diff.any()


def test_seeds_repeat_fillers(module: Any, tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(SMALL)
    made = []
    for seed in (1, 1, 2):
        module.set_random_seed(seed)
        made.append(module.Net(str(path), 1).params["conv"][0].data.copy())
    np.testing.assert_array_equal(made[0], made[1])
    assert (made[0] != made[2]).any()


def test_dropout(module: Any, make: Make) -> None:
    text = (
        "force_backward: true\n"
        + DATA
        + 'layer { name: "drop" type: "Dropout" bottom: "data" top: "drop" dropout_param { dropout_ratio: 0.3 } }'
    )
    net = make(text, phase=0)
    net.blobs["data"].reshape(40, 3, 6, 5)
    net.blobs["data"].data[...] = 1
    out = net.forward()["drop"].copy()
    assert set(np.unique(out.round(4))) == {0, np.float32(1 / 0.7).round(4)}
    assert (out > 0).mean() == pytest.approx(0.7, abs=0.05)
    net.blobs["drop"].diff[...] = 1
    np.testing.assert_array_equal(net.backward()["data"], out)  # the mask of this forward
    assert (net.forward()["drop"] != out).any()
    np.testing.assert_array_equal(make(text).forward()["drop"], make(text).blobs["data"].data)


def test_layer_type_list(module: Any) -> None:
    assert {"Convolution", "LRN", "LSTM", "DetectionOutput", "ReLU6"} <= set(module.layer_type_list())
