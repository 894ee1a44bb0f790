"""Both engines on whole nets: those of the project, trained ones, and one with a planted difference."""

from __future__ import annotations

import sys
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reduced import full, reduced

from caffe_viz import parity
from caffe_viz.cli import main
from caffe_viz.deploying import preprocess_near
from caffe_viz.errors import InputError, RunError
from caffe_viz.netdef import NetParameter, parse_net, read_net, read_weights
from caffe_viz.surgery import with_batch

pytest.importorskip("torch", reason="the engine torch is not installed")

ROOT = Path(__file__).resolve().parent.parent
FULL = ["caffenet_cifar10", "lenet", "squeezenet_v1.1"]
# With fewer numbers; squeezenet_v1.0 is among the trained models.
REDUCED = ["alexnet", "caffenet", "googlenet", "resnet50", "vgg16"]


def compare(folder: Path, net: NetParameter | None = None) -> parity.Parity:
    weights = next(folder.glob("*.caffemodel"), None)
    return parity.compare(
        net or with_batch(read_net(folder / "deploy.prototxt"), 1),
        None if weights is None else read_weights(weights),
        amplitude=64 * preprocess_near(folder / "deploy.prototxt").scale,
    )


def agree(found: parity.Parity) -> None:
    assert found.first is None
    assert found.forward <= found.limit
    assert found.gradient is not None
    assert found.gradient <= found.limit


@pytest.mark.parametrize("name", [*FULL, *REDUCED])
def test_networks_agree(caffe: Any, name: str) -> None:
    agree(compare(ROOT / "prototxt" / name, reduced(name) if name in REDUCED else full(name)))


@pytest.mark.parametrize("name", ["cifar10_quick_v1", "lenet_mnist_v1", "squeezenet_v1.0"])
def test_trained_models_agree(caffe: Any, shared: Path, name: str) -> None:
    agree(compare(shared / "models" / name))


def test_the_first_layer_that_differs_is_named(caffe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from caffe_viz.engine.table import LAYERS, Kind

    real = LAYERS["LRN"]

    def wrong(call: Any, bottoms: Any, params: Any) -> Any:
        return real.function(call, bottoms, params) * 1.001

    monkeypatch.setitem(LAYERS, "LRN", Kind(wrong, True, (), lambda param: ()))
    found = compare(ROOT / "prototxt" / "caffenet_cifar10")
    assert found.first is not None
    assert found.first.layer == "norm1"
    assert found.first.forward == pytest.approx(1e-3, rel=0.05)


def test_nets_without_a_gradient_are_compared_forward(caffe: Any) -> None:
    text = """
    layer { name: "a" type: "Input" top: "a" input_param { shape { dim: 2 dim: 3 dim: 4 dim: 4 } } }
    layer { name: "u" type: "Upsample" bottom: "a" top: "u" upsample_param { scale: 2 } }
    layer { name: "m" type: "ArgMax" bottom: "u" top: "m" }"""
    found = parity.compare(parse_net(text))
    assert (found.forward, found.gradient, found.scattered) == (0, None, None)


def test_gradients_that_differ_by_layers_in_place_are_told(
    caffe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = """
    layer { name: "a" type: "Input" top: "a" input_param { shape { dim: 2 dim: 3 dim: 4 dim: 4 } } }
    layer { name: "c" type: "Convolution" bottom: "a" top: "c" convolution_param { num_output: 2 kernel_size: 1 } }
    layer { name: "half" type: "Power" bottom: "c" top: "c" power_param { scale: 0.5 } }"""
    (tmp_path / "net.prototxt").write_text(text)
    found = parity.compare(parse_net(text))
    words = (
        "layer 'half' (Power): in place its gradient is wrong in Caffe: give its top another name than 'c'."
    )
    assert found.warnings == (words,)
    assert words in unescape(found._repr_html_())
    assert found.forward < 1e-6
    assert found.gradient is not None
    assert found.gradient > 0.1
    monkeypatch.setattr(sys, "argv", ["caffe-viz", "parity", str(tmp_path / "net.prototxt")])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"warning: {words}"
    assert "the engines differ from layer 'half'" in lines[-1]
    apart = text.replace('top: "c" power', 'top: "d" power')
    assert parity.compare(parse_net(apart)).warnings == ()


@pytest.mark.parametrize("top", ['top: "loss"', ""])
def test_a_net_that_ends_in_one_number(caffe: Any, top: str) -> None:
    text = f"""
    input: "data" input_shape {{ dim: 1 dim: 2 }} input: "label" input_shape {{ dim: 1 dim: 2 }}
    layer {{ name: "loss" type: "EuclideanLoss" bottom: "data" bottom: "label" {top} }}"""
    found = parity.compare(parse_net(text))
    assert found.first is None
    assert found.forward < 1e-6
    assert found.gradient is not None
    assert found.gradient < 1e-6


@pytest.mark.parametrize("engine", ["caffe", "torch"])
def test_backward_starts_from_one_number(caffe: Any, engine: str) -> None:
    from caffe_viz import load_net

    text = """
    input: "a" input_shape { dim: 1 dim: 2 } input: "b" input_shape { dim: 1 dim: 2 } force_backward: true
    layer { name: "loss" type: "EuclideanLoss" bottom: "a" bottom: "b" top: "loss" }"""
    net = load_net(parse_net(text), engine=engine)
    net.blobs["a"].data[...], net.blobs["b"].data[...] = [[3, 1]], [[1, 2]]
    net.forward()
    parity._seed(net, {"loss": np.float32(-2)})
    net.backward()
    assert net.blobs["a"].diff.tolist() == [[-4, 2]]


DETECTOR = """
input: "loc" input_shape { dim: 2 dim: 24 } input: "conf" input_shape { dim: 2 dim: 18 }
input: "prior" input_shape { dim: 1 dim: 2 dim: 24 }
layer { name: "d" type: "DetectionOutput" bottom: "loc" bottom: "conf" bottom: "prior" top: "d"
  detection_output_param { num_classes: 3 keep_top_k: %d nms_param { nms_threshold: 0.9 } } }"""


def detections(engine: str, keep: int) -> Any:
    """Rows of 6 priors apart from each other, all of the same confidence but for the first, in two images."""
    from caffe_viz import load_net

    net = load_net(parse_net(DETECTOR % keep), engine=engine)
    boxes = np.array([[i / 10, 0.1, i / 10 + 0.1, 0.3] for i in range(6)], np.float32)
    net.blobs["prior"].data[...] = np.stack([boxes, np.full_like(boxes, 0.1)]).reshape(1, 2, -1)
    net.blobs["loc"].data[...] = 0
    net.blobs["conf"].data[...] = np.where(np.arange(18) == 1, 0.9, 0.5)
    net.forward()
    return net.blobs["d"].data.copy()


@pytest.mark.parametrize(("keep", "count"), [(-1, 24), (5, 10)])
def test_rows_of_equal_confidence_come_in_any_order(caffe: Any, keep: int, count: int) -> None:
    """And where the last of keep_top_k are equal, either engine may keep another of them."""
    theirs, mine = (detections(engine, keep) for engine in ("caffe", "torch"))
    assert theirs.shape == mine.shape == (1, 1, count, 7)
    assert parity.detections_apart(theirs, mine, keep) == 0
    for seed in range(3):
        shuffled = np.random.default_rng(seed).permutation(theirs, axis=2)
        assert parity.detections_apart(theirs, shuffled, keep) == 0
        shuffled[0, 0, 3, 2] += 0.01
        assert parity.detections_apart(theirs, shuffled, keep) > 1e-3


def test_detections_apart() -> None:
    rows = np.array([[0, 1, 0.9, 0, 0, 1, 1], [0, 1, 0.5, 0, 0, 1, 2], [0, 2, 0.5, 0, 0, 2, 2]], np.float32)[
        None, None
    ]
    other = rows.copy()
    other[0, 0, 2, 1:] = 1, 0.5, 0, 1, 0, 1
    assert parity.detections_apart(rows, rows[:, :, ::-1]) == 0
    assert parity.detections_apart(rows, other) == 1  # 2, of largest value 2
    assert parity.detections_apart(rows, other, 4) == 1  # keep_top_k left nothing out
    assert parity.detections_apart(rows, other, 3) == 0
    other[0, 0, 0, 3] = 0.5
    assert parity.detections_apart(rows, other, 3) == 0.5
    assert parity.detections_apart(rows, rows[:, :, :2]) == np.inf
    other[0, 0, 0, 3] = np.nan
    assert parity.detections_apart(rows, other) == np.inf


def test_weights_with_nan_before_max_pooling_do_not_end_the_process(caffe: Any) -> None:
    folder = ROOT / "prototxt" / "lenet"
    net = with_batch(read_net(folder / "deploy.prototxt"), 1)
    weights = parity.seeded_weights(net)
    weights.layer[0].blobs[1].data[0] = np.nan
    with pytest.raises(RunError, match="a window of its bottom 'conv1' holds only NaN"):
        parity.compare(net, weights)


def test_apart() -> None:
    a = np.array([1, -4, 2], np.float32)
    assert parity.apart(a, a) == 0
    assert parity.apart(a, np.array([1, -4, 4], np.float32)) == 0.5
    assert parity.apart(a, a[:2]) == np.inf
    nan = np.array([np.nan, 1], np.float32)
    assert parity.apart(nan, nan) == 0
    assert parity.apart(nan, np.array([1, 1], np.float32)) == np.inf
    assert parity.apart(np.zeros(2, np.float32), np.zeros(2, np.float32)) == 0


def test_seeded_weights_keep_values_in_range() -> None:
    """From layer to layer they neither vanish nor grow, or a difference could not be seen."""
    from caffe_viz import load_net

    message = reduced("googlenet")
    net = load_net(message, parity.seeded_weights(message), engine="torch")
    out = net.forward(
        data=np.random.default_rng(0).normal(0, 64, net.blobs["data"].shape), blobs=list(net.blobs)
    )
    for name in ("conv1/7x7_s2", "inception_3a/output", "inception_5b/output", "loss3/classifier"):
        assert 0.5 < np.abs(out[name]).max() < 2000


def test_what_would_abort_is_said(caffe: Any) -> None:
    data = "memory_data_param { batch_size: 1 channels: 1 height: 2 width: 2 }"
    net = parse_net(f'layer {{ name: "d" type: "MemoryData" top: "data" top: "label" {data} }}')
    with pytest.raises(InputError, match=r"'d'.*set_input_arrays"):
        parity.compare(net)
