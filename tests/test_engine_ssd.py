"""A small SSD as a whole, written as published deploy and training nets are: both engines find the same."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format

torch = pytest.importorskip("torch", reason="the engine torch is not installed")

from caffe_viz.backend import load_net  # noqa: E402
from caffe_viz.engine import Net  # noqa: E402
from caffe_viz.netdef import NetParameter, State  # noqa: E402
from caffe_viz.parity import LIMIT, apart, seeded_weights  # noqa: E402

CLASSES, IMAGES = 5, 2
MULTIBOX = """
  loc_loss_type: SMOOTH_L1 conf_loss_type: SOFTMAX loc_weight: 1 num_classes: 5 share_location: true
  match_type: PER_PREDICTION overlap_threshold: 0.5 use_prior_for_matching: true background_label_id: 0
  use_difficult_gt: true neg_pos_ratio: 3 neg_overlap: 0.5 code_type: CENTER_SIZE
  ignore_cross_boundary_bbox: false mining_type: MAX_NEGATIVE
"""
DETECTION = """
  num_classes: 5 share_location: true background_label_id: 0 code_type: CENTER_SIZE keep_top_k: 50
  confidence_threshold: 0.2 nms_param { nms_threshold: 0.45 top_k: 100 }
"""
# Source blob, its size in priors, settings of its priors.
HEADS = {
    "conv2_norm": (6, "min_size: 10 max_size: 22 aspect_ratio: 2 aspect_ratio: 3 step: 4"),
    "conv3": (4, "min_size: 22 max_size: 40 aspect_ratio: 2 step: 8"),
}


def layer(name: str, kind: str, bottoms: str, settings: str = "", top: str = "") -> str:
    ends = "".join(f'bottom: "{b}" ' for b in bottoms.split()) + f'top: "{top or name}"'
    return f'layer {{ name: "{name}" type: "{kind}" {ends} {settings} }}\n'


def conv(name: str, bottom: str, outputs: int, stride: int = 1) -> str:
    settings = f"num_output: {outputs} kernel_size: 3 pad: 1 stride: {stride}"
    return layer(name, "Convolution", bottom, f"convolution_param {{ {settings} }}")


def backbone() -> str:
    text = 'name: "ssd" ' + _input("data", f"{IMAGES} 3 48 40")
    for name, bottom, outputs, stride in (
        ("conv1", "data", 8, 2),
        ("conv2", "conv1", 12, 2),
        ("conv3", "conv2", 16, 2),
    ):
        text += conv(name, bottom, outputs, stride) + layer(f"relu_{name}", "ReLU", name, top=name)
    return text + layer(
        "conv2_norm",
        "Normalize",
        "conv2",
        "norm_param { across_spatial: false channel_shared: false scale_filler { type: 'constant' value: 20 } }",
    )


def _input(name: str, shape: str) -> str:
    dims = " ".join(f"dim: {d}" for d in shape.split())
    return f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {dims} }} }} }}\n'


def heads() -> str:
    text = ""
    for source, (priors, settings) in HEADS.items():
        for kind, values in (("loc", 4), ("conf", CLASSES)):
            name = f"{source}_mbox_{kind}"
            text += conv(name, source, priors * values)
            text += layer(
                f"{name}_perm", "Permute", name, "permute_param { order: 0 order: 2 order: 3 order: 1 }"
            )
            text += layer(f"{name}_flat", "Flatten", f"{name}_perm", "flatten_param { axis: 1 }")
        settings += (
            " flip: true clip: false variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2 offset: 0.5"
        )
        text += layer(
            f"{source}_mbox_priorbox", "PriorBox", f"{source} data", f"prior_box_param {{ {settings} }}"
        )
    for kind, end, axis in (("loc", "_flat", 1), ("conf", "_flat", 1), ("priorbox", "", 2)):
        bottoms = " ".join(f"{source}_mbox_{kind}{end}" for source in HEADS)
        text += layer(f"mbox_{kind}", "Concat", bottoms, f"concat_param {{ axis: {axis} }}")
    return text


def scores() -> str:
    text = layer(
        "mbox_conf_reshape",
        "Reshape",
        "mbox_conf",
        f"reshape_param {{ shape {{ dim: 0 dim: -1 dim: {CLASSES} }} }}",
    )
    text += layer("mbox_conf_softmax", "Softmax", "mbox_conf_reshape", "softmax_param { axis: 2 }")
    return text + layer("mbox_conf_flatten", "Flatten", "mbox_conf_softmax", "flatten_param { axis: 1 }")


def deploy() -> str:
    return (
        backbone()
        + heads()
        + scores()
        + layer(
            "detection_out",
            "DetectionOutput",
            "mbox_loc mbox_conf_flatten mbox_priorbox",
            f"detection_output_param {{ {DETECTION} }}",
        )
    )


def training() -> str:
    down = "propagate_down: true propagate_down: true propagate_down: false propagate_down: false"
    settings = f"loss_param {{ normalization: VALID }} multibox_loss_param {{ {MULTIBOX} }} {down}"
    loss = layer("mbox_loss", "MultiBoxLoss", "mbox_loc mbox_conf mbox_priorbox label", settings)
    return backbone() + _input("label", "1 1 4 8") + heads() + loss


def made(text: str, engine: str, phase: str = "TEST") -> Any:
    """The net with seeded weights, and seeded noise as image."""
    message = text_format.Parse(text, NetParameter())
    net = load_net(message, seeded_weights(message), state=State(phase), engine=engine)
    net.blobs["data"].data[...] = np.random.default_rng(1).normal(0, 1, net.blobs["data"].data.shape)
    return net


def both(text: str, phase: str = "TEST") -> list[Any]:
    return [made(text, engine, phase) for engine in ("caffe", "torch")]


@pytest.mark.caffe
def test_the_engines_find_the_same(caffe: Any) -> None:
    real, ours = both(deploy())
    theirs, mine = (net.forward()["detection_out"].copy() for net in (real, ours))
    for name in real.blobs:
        assert apart(real.blobs[name].data, ours.blobs[name].data) <= LIMIT, name
    assert theirs.shape[2] > 20
    assert np.array_equal(theirs[..., :2], mine[..., :2])
    assert set(mine[0, 0, :, 0]) == {0, 1}
    assert len(set(mine[0, 0, :, 1])) > 1


@pytest.mark.caffe
def test_nothing_found(caffe: Any) -> None:
    nets = both(deploy().replace("confidence_threshold: 0.2", "confidence_threshold: 1"))
    theirs, mine = (net.forward()["detection_out"] for net in nets)
    assert np.array_equal(mine, theirs)
    assert mine.tolist() == [[[[i, -1, -1, -1, -1, -1, -1] for i in range(IMAGES)]]]


@pytest.mark.caffe
def test_the_gradient_of_a_class_passes_priors_by(caffe: Any) -> None:
    nets = both("force_backward: true " + backbone() + heads() + scores())
    for net in nets:
        net.forward()
        for name in net.outputs:
            net.blobs[name].diff[...] = 0
        net.blobs["mbox_conf_flatten"].diff[:, 1::CLASSES] = 1
        net.backward()
    theirs, mine = (net.blobs["data"].diff for net in nets)
    assert np.abs(mine).max() > 0
    assert apart(theirs, mine) <= LIMIT


@pytest.mark.caffe
def test_training_has_the_same_gradients(caffe: Any) -> None:
    nets = both(training(), "TRAIN")
    rows = [
        [0, 1, 0, 0.1, 0.1, 0.35, 0.4, 0],
        [0, 3, 0, 0.5, 0.4, 0.95, 0.9, 0],
        [1, 4, 0, 0.2, 0.6, 0.4, 0.8, 0],
        [-1] * 8,
    ]
    for net in nets:
        net.blobs["label"].data[...] = rows
        net.forward()
        net.backward()
    real, ours = nets
    assert real.blobs["mbox_loss"].data > 1
    assert apart(real.blobs["mbox_loss"].data, ours.blobs["mbox_loss"].data) <= LIMIT
    for name, blobs in real.params.items():
        for theirs, mine in zip(blobs, ours.params[name], strict=True):
            assert np.abs(theirs.diff).max() > 0, name
            assert apart(theirs.diff, mine.diff) <= LIMIT, name


def test_detections_of_ssd300_take_less_than_a_second() -> None:
    """8732 priors of 21 classes, every fourth confidence above the threshold."""
    priors, classes = 8732, 21
    text = (
        _input("loc", f"1 {priors * 4}")
        + _input("conf", f"1 {priors * classes}")
        + _input("prior", f"1 2 {priors * 4}")
    )
    settings = (
        DETECTION.replace("num_classes: 5", f"num_classes: {classes}")
        .replace("50", "200")
        .replace("0.2", "0.01")
        .replace("100", "400")
    )
    text += layer("out", "DetectionOutput", "loc conf prior", f"detection_output_param {{ {settings} }}")
    net, rng = Net(text_format.Parse(text, NetParameter()), 1), np.random.default_rng(0)
    net.blobs["loc"].data[...] = rng.normal(size=(1, priors * 4))
    net.blobs["conf"].data[...] = rng.dirichlet([0.05] * classes, priors).reshape(1, -1)
    centres, sides = rng.random((priors, 2)), rng.uniform(0.05, 0.5, (priors, 2))
    boxes = np.concatenate([centres - sides / 2, centres + sides / 2], 1).reshape(-1)
    net.blobs["prior"].data[...] = [boxes, np.tile([0.1, 0.1, 0.2, 0.2], priors)]
    times = []
    for _ in range(3):
        start = time.perf_counter()
        found = net.forward()["out"]
        times.append(time.perf_counter() - start)
    assert found.shape == (1, 1, 200, 7)
    assert min(times) < 1
