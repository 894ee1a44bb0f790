"""One-stage detectors: what told apart by, receptive fields, shapes that are refused; values see fork_cases."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from geometry_toys import Toy

from caffe_viz.errors import CaffeVizWarning
from caffe_viz.geometry import measure
from caffe_viz.netdef import parse_net


def head(boxes: int, settings: str, each: int = 4, classes: int = 3, more: str = "") -> str:
    """A detector of one scale, 2 x 3 units, with convolutions for so many boxes at each."""
    return f"""
    input: "data" input_shape {{ dim: 1 dim: 3 dim: 20 dim: 30 }}
    layer {{ name: "f" type: "Pooling" bottom: "data" top: "f" pooling_param {{ kernel_size: 10 stride: 10 }} }}
    layer {{ name: "loc" type: "Convolution" bottom: "f" top: "loc"
      convolution_param {{ num_output: {boxes * each} kernel_size: 1 }} }}
    layer {{ name: "conf" type: "Convolution" bottom: "f" top: "conf"
      convolution_param {{ num_output: {boxes * classes} kernel_size: 1 }} }}
    layer {{ name: "flat_loc" type: "Flatten" bottom: "loc" top: "flat_loc" }}
    layer {{ name: "flat_conf" type: "Flatten" bottom: "conf" top: "flat_conf" }}
    layer {{ name: "prior" type: "PriorBox" bottom: "f" bottom: "data" top: "prior" prior_box_param {{ {settings} }} }}
    layer {{ name: "out" type: "DetectionOutput" bottom: "flat_loc" bottom: "flat_conf" bottom: "prior" top: "out"
      detection_output_param {{ num_classes: {classes} {more} }} }}"""


@pytest.mark.parametrize(
    ("boxes", "settings", "variant"),
    [
        (3, "min_size: 8 aspect_ratio: 2", ""),
        (6, "min_size: 8 aspect_ratio: 2", "TextBoxes"),
        (21, "min_size: 32 min_size: 64 min_size: 128", "FaceBoxes"),
        (5, "min_size: 8 aspect_ratio: 2 aspect_ratio: 0.5", "SSTD"),
    ],
)
def test_which_prior_boxes_are_meant_stands_in_the_convolutions_beside(
    boxes: int, settings: str, variant: str
) -> None:
    net = parse_net(head(boxes, settings))
    assert [layer.variant for layer in net.layer if layer.type == "PriorBox"] == [variant]
    assert measure(net).blobs["prior"] == (1, 2, 2 * 3 * boxes * 4)


def test_confidences_of_two_classes_are_no_codes() -> None:
    """TextBoxes: 12 boxes have 24 confidences, as many as SSD's 6 boxes have codes."""
    settings = " ".join(f"aspect_ratio: {r}" for r in (2, 3, 5, 7, 10))
    text = head(12, f"min_size: 30 {settings} flip: false", classes=2)
    assert measure(parse_net(text)).blobs["prior"] == (1, 2, 2 * 3 * 12 * 4)


def test_all_prior_boxes_of_a_net_are_one_forks() -> None:
    """FaceBoxes makes one box of 256 pixels as SSD does, only of another size."""
    text = head(21, "min_size: 32 min_size: 64 min_size: 128")
    text += """
    layer { name: "loc2" type: "Convolution" bottom: "loc" top: "loc2" convolution_param { num_output: 4 kernel_size: 1 } }
    layer { name: "conf2" type: "Convolution" bottom: "loc" top: "conf2" convolution_param { num_output: 3 kernel_size: 1 } }
    layer { name: "prior2" type: "PriorBox" bottom: "loc" bottom: "data" top: "prior2" prior_box_param { min_size: 256 } }"""
    variants = [layer.variant for layer in parse_net(text).layer if layer.type == "PriorBox"]
    assert variants == ["FaceBoxes", "FaceBoxes"]


def test_polygons_tell_no_variant() -> None:
    net = parse_net(
        head(6, "min_size: 8 aspect_ratio: 2 denser_prior_boxes: true", 12, more="use_polygon: true")
    )
    assert [layer.variant for layer in net.layer if layer.type == "PriorBox"] == [""]
    assert measure(net).blobs["out"] == (1, 1, 1, 15)


def field(toy: Toy) -> object:
    return measure(parse_net(toy.prototxt())).layers[-1].field


def test_receptive_fields_of_reorg() -> None:
    down = field(Toy("Reorg", ["1 4 6 6"], "reorg_param { stride: 2 up_down: DOWN }"))
    assert (down.size, down.stride, down.offset) == ((2, 2), (2, 2), (0, 0))
    up = field(Toy("Reorg", ["1 4 6 6"], "reorg_param { stride: 2 reverse: true }"))
    assert (up.size, up.stride) == ((1, 1), (0.5, 0.5))
    # Darknet's order takes a channel's units from anywhere.
    assert field(Toy("Reorg", ["1 4 6 6"], "reorg_param { stride: 2 }")) is None
    assert field(Toy("Region", ["1 8 6 6"], "region_param { classes: 3 num: 1 }")) is None


def test_shapes_of_losses_and_evaluations() -> None:
    loss = Toy("RegionLoss", ["2 8 4 4", "2 1 30 5"])
    assert measure(parse_net(loss.prototxt())).blobs["t0"] == ()
    judged = Toy(
        "EvalDetection", ["2 1470", "2 343"], "eval_detection_param { side: 7 num_class: 20 num_object: 2 }"
    )
    assert measure(parse_net(judged.prototxt())).blobs["t0"] == (2, 20 + 7 * 7 * 2 * 4)


def test_darknets_reorg_as_a_python_layer_needs_no_code() -> None:
    pytest.importorskip("torch")
    from caffe_viz import load_net

    head = 'input: "a" input_shape { dim: 2 dim: 8 dim: 4 dim: 6 } layer { name: "r" bottom: "a" top: "r" '
    texts = (
        'type: "Reorg" reorg_param { stride: 2 } }',
        "type: 'Python' python_param { module: 'yolov2' layer: 'darknet_reorg' } }",
    )
    image = np.random.default_rng(0).normal(size=(2, 8, 4, 6))
    tops = []
    for text in texts:
        net = load_net(parse_net(head + text), engine="torch")
        tops.append(net.forward(a=image)["r"].copy())
    assert tops[0].shape == (2, 32, 2, 3)
    assert np.array_equal(*tops)


@pytest.mark.parametrize(
    "text",
    [
        head(6, "min_size: 8 aspect_ratio: 2"),
        Toy("SmoothL1Loss", ["2 8"] * 4).prototxt(),
        Toy(
            "DetectionOutput",
            ["1 16", "1 12", "1 2 16", "1 8", "1 16"],
            "detection_output_param { num_classes: 3 }",
        ).prototxt(),
    ],
    ids=["TextBoxes", "weights", "RefineDet"],
)
def test_what_real_caffe_would_refuse_runs_on_the_embedded_engine(caffe: Any, text: str) -> None:
    pytest.importorskip("torch")
    from caffe_viz import load_net
    from caffe_viz.engine import Net

    with pytest.warns(CaffeVizWarning, match="embedded engine"):
        net = load_net(parse_net(text))
    assert isinstance(net, Net)
    net.forward()
