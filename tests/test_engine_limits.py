"""The embedded engine at its limits: what it refuses, in which words, and what it does nearest to that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the engine torch is not installed")

import torch

import caffe_viz as cv
from caffe_viz import engine
from caffe_viz.engine import cpu_only
from caffe_viz.engine.blobs import Blob
from caffe_viz.engine.exporting import _arguments
from caffe_viz.engine.fillers import UNKNOWN_STD, filled
from caffe_viz.engine.functions import NetFunction
from caffe_viz.engine.layers.multibox import NOTHING, _matched
from caffe_viz.engine.module import NetModule
from caffe_viz.engine.user_code import told
from caffe_viz.errors import InputError, RunError
from caffe_viz.netdef.net_pb2 import FillerParameter, MultiBoxLossParameter

DATA = 'layer { name: "d" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 5 dim: 4 } } }\n'
CONV = 'layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 2 kernel_size: 3 } }\n'
BEST = 'layer { name: "best" type: "ArgMax" bottom: "c" top: "best" }\n'
TOO_LARGE = "the top would be %s; no dimension may be below 1: is the kernel larger than the padded input?"
MEMORY = """
layer { name: "m" type: "MemoryData" top: "data" top: "label" memory_data_param { batch_size: 2 channels: 3 height: 5 width: 4 } }
"""


def made(folder: Path, text: str, name: str = "net.prototxt") -> Any:
    (folder / name).write_text(text)
    return engine.Net(folder / name, 1)


def refusal(call: Any, *arguments: Any, kind: type[Exception] = InputError, **options: Any) -> str:
    with pytest.raises(kind) as caught:
        call(*arguments, **options)
    return str(caught.value)


class TestBlobs:
    def test_shapes(self) -> None:
        blob = Blob((2, 3), torch.device("cpu"))
        assert repr(blob) == "Blob(2, 3)"
        blob.reshape(0, 3)
        assert blob.shape == (0, 3)
        assert (
            refusal(blob.reshape, 2, -1)
            == "a blob cannot have the shape (2, -1): give whole numbers from 0 on."
        )
        assert (
            refusal(blob.reshape, 1.5) == "a blob cannot have the shape (1.5,): give whole numbers from 0 on."
        )
        assert blob.shape == (0, 3)

    def test_four_axes_at_most_have_names(self) -> None:
        blob = Blob((2, 3, 4, 5), torch.device("cpu"))
        assert (blob.num, blob.channels, blob.height, blob.width) == (2, 3, 4, 5)
        five = Blob((2, 3, 4, 5, 6), torch.device("cpu"))
        with pytest.raises(InputError) as caught:
            _ = five.num
        assert str(caught.value) == "a blob of shape (2, 3, 4, 5, 6) has no num, channels, height and width."


class TestNets:
    def test_shapes_that_a_layer_cannot_take(self, tmp_path: Path) -> None:
        net = made(tmp_path, DATA + CONV)
        net.blobs["data"].reshape(1, 3, 2, 4)
        assert refusal(net.reshape) == f"layer 'c' (Convolution) on 1x3x2x4: {TOO_LARGE % '1x2x0x2'}"
        net.blobs["data"].reshape(1, 3, 3, 3)
        net.reshape()
        assert net.blobs["c"].shape == (1, 2, 1, 1)

    def test_layers_without_a_gradient(self, tmp_path: Path) -> None:
        net = made(tmp_path, "force_backward: true\n" + DATA + CONV + BEST)
        net.forward()
        said = "layer 'best' (ArgMax) has no gradient, as in Caffe: cut the net before it."
        assert refusal(net.backward, kind=NotImplementedError) == said
        net.backward(start="c")

    def test_convolutions_over_four_axes(self, tmp_path: Path) -> None:
        shape = " ".join(f"dim: {n}" for n in (1, 1, 3, 3, 3, 3))
        data = f'layer {{ name: "d" type: "Input" top: "data" input_param {{ shape {{ {shape} }} }} }}\n'
        net = made(tmp_path, data + CONV)
        said = "layer 'c': the embedded engine convolves over 1 to 3 axes, not 4."
        assert refusal(net.forward, kind=NotImplementedError) == said

    def test_parameters_of_other_shapes_are_not_shared(self, tmp_path: Path) -> None:
        net = made(tmp_path, DATA + CONV)
        other = made(tmp_path, DATA + CONV.replace("kernel_size: 3", "kernel_size: 1"), "other.prototxt")
        assert (
            refusal(net.share_with, other)
            == "layer 'c', blob 0: (2, 3, 1, 1) cannot be shared with (2, 3, 3, 3)."
        )
        more = made(
            tmp_path,
            DATA + CONV.replace("kernel_size: 3", "kernel_size: 3 bias_term: false"),
            "more.prototxt",
        )
        assert refusal(net.share_with, more) == "layer 'c': 1 parameters cannot be shared with 2."


class TestArrays:
    """Of many images, cut into batches."""

    def test_equal_lengths(self, tmp_path: Path) -> None:
        net = made(
            tmp_path,
            DATA + 'layer { name: "e" type: "Input" top: "e" input_param { shape { dim: 2 dim: 1 } } }',
        )
        images, other = np.ones((3, 3, 5, 4), np.float32), np.ones((2, 1), np.float32)
        assert (
            refusal(net.forward_all, data=images, e=other)
            == "the arrays must have equal lengths: data 3, e 2."
        )

    def test_memory_data(self, tmp_path: Path) -> None:
        net = made(tmp_path, MEMORY + CONV)
        images = np.ones((4, 3, 5, 4), np.float32)
        for labels in (np.zeros(4, np.float32), np.zeros((4, 1, 1, 1), np.float32)):
            net.set_input_arrays(images, labels)
            net.forward()
        words = "layer 'm' takes arrays (N, 3, 5, 4) and (N), not"
        assert refusal(net.set_input_arrays, images, labels[:3]) == f"{words} (4, 3, 5, 4) and (3, 1, 1, 1)."
        assert (
            refusal(net.set_input_arrays, images[:, :2], labels) == f"{words} (4, 2, 5, 4) and (4, 1, 1, 1)."
        )
        for count in (0, 3):
            said = f"{count} images do not divide by the batch size 2."
            assert refusal(net.set_input_arrays, images[:count], labels[:count]) == said

    def test_no_memory_data(self, tmp_path: Path) -> None:
        net = made(tmp_path, f'name: "n"\n{DATA}{CONV}')
        said = "net 'n' has no MemoryData layer: give the arrays to its inputs."
        assert refusal(net.set_input_arrays, np.ones((2, 3, 5, 4)), np.ones(2)) == said


class TestFunctions:
    def test_blobs_that_no_gradient_reaches(self, tmp_path: Path) -> None:
        side = 'layer { name: "side" type: "ReLU" bottom: "data" top: "side" }'
        functions = NetFunction(made(tmp_path, DATA + CONV + side))
        images, seed = np.ones((2, 3, 5, 4), np.float32), np.ones((2, 2, 3, 2), np.float32)
        _, pulled = functions.pull({"data": images}, "c", seed, ["data"])
        assert pulled["data"].shape == images.shape
        assert refusal(functions.pull, {"data": images}, "c", seed, ["side"], kind=RunError) == (
            "no gradient of 'c' reaches 'side'."
        )

    def test_blobs_without_a_gradient(self, tmp_path: Path) -> None:
        functions = NetFunction(made(tmp_path, DATA + CONV + BEST))
        images, seed = np.ones((2, 3, 5, 4), np.float32), np.ones((2, 1, 1, 1), np.float32)
        assert refusal(functions.pull, {"data": images}, "best", seed, ["data"], kind=RunError) == (
            "no gradient of 'best' reaches 'data'."
        )


class TestModules:
    def test_a_split_that_a_file_has(self, tmp_path: Path) -> None:
        split = 'layer { name: "s" type: "Split" bottom: "data" top: "a" top: "b" }'
        module = NetModule(made(tmp_path, DATA + split))
        x = torch.ones(2, 3, 5, 4)
        found = module(x, blobs=["a", "b"])
        assert torch.equal(found["a"], x)
        assert torch.equal(found["b"], x)

    def test_shapes_that_a_layer_cannot_take(self, tmp_path: Path) -> None:
        module = NetModule(made(tmp_path, DATA + CONV))
        assert module(torch.ones(1, 3, 3, 3)).shape == (1, 2, 1, 1)
        assert (
            refusal(module, torch.ones(1, 3, 2, 3))
            == f"layer 'c' (Convolution) on 1x3x2x3: {TOO_LARGE % '1x2x0x1'}"
        )

    def test_arguments_of_python(self) -> None:
        given = {"a b": 1, "a_b": 2, "class": 3, "": 4, "1x": 5, "ok": 6}
        assert _arguments(given) == {"a_b": 1, "a_b_": 2, "class_": 3, "_": 4, "_1x": 5, "ok": 6}


def test_fillers_of_forks_are_small_gaussian_values() -> None:
    values = filled(FillerParameter(type="odd"), (100, 100), torch.Generator().manual_seed(0))
    assert float(values.std()) == pytest.approx(UNKNOWN_STD, rel=0.05)
    assert float(values.mean()) == pytest.approx(0, abs=UNKNOWN_STD / 20)


def test_boxes_of_the_truth_that_overlap_nothing_have_no_match() -> None:
    boxes = torch.tensor([[0.0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]])
    truth = torch.tensor([[0.5, 0.5, 1, 0.9], [2, 2, 3, 3]])
    match, overlaps = _matched(MultiBoxLossParameter(), boxes, truth)
    assert match.tolist() == [NOTHING, 0]
    assert overlaps.tolist() == pytest.approx([0, 0.8])


def test_a_caffe_without_gpu_says_so() -> None:
    said = (
        "this Caffe is built for the CPU: use caffe.set_mode_cpu(), or caffe_viz's embedded engine, "
        "python -m caffe_viz.run script.py."
    )
    assert refusal(cpu_only.set_mode_gpu) == said
    assert refusal(cpu_only.set_device, 0) == said


class TestUserCode:
    def test_our_own_errors_keep_their_words(self) -> None:
        words = r"^forward raised: too small \(.*test_engine_limits\.py, line \d+\)\.$"
        with pytest.raises(RunError, match=words), told("forward", [Path(__file__).parent]):
            raise InputError("too small.")

    def test_ctrl_c_is_ctrl_c(self) -> None:
        with pytest.raises(KeyboardInterrupt), told("forward"):
            raise KeyboardInterrupt

    def test_a_class_without_methods(self, tmp_path: Path) -> None:
        (tmp_path / "half_a_layer.py").write_text(
            "import caffe\nclass Half(caffe.Layer):\n    forward = setup = lambda *_: None\n"
        )
        (tmp_path / "net.prototxt").write_text(
            DATA
            + 'layer { name: "p" type: "Python" bottom: "data" top: "p" python_param { module: "half_a_layer" layer: "Half" } }'
        )
        place = f"{tmp_path / 'net.prototxt'}: layer 'p' (Python) on data 2x3x5x4"
        said = f"{place}: layer 'p' (Python, half_a_layer.Half): its class has no method reshape."
        assert refusal(cv.load_net, tmp_path / "net.prototxt", engine="torch", allow_code=True) == said
