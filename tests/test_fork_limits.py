"""Values just at a threshold, and a gradient that is not the derivative: as the sources have it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from geometry_toys import Toy
from toy_runs import run


@pytest.mark.parametrize(("height", "right"), [(0.5, [1, 0]), (0.49, [0, 1])])
def test_a_detection_that_overlaps_by_just_the_threshold_is_right(
    engine: str, tmp_path: Path, height: float, right: list[int]
) -> None:
    toy = Toy("DetectionEvaluate", ["1 1 1 7", "1 1 1 8"], "detection_evaluate_param { num_classes: 2 }")
    found, truth = [0, 1, 0.9, 0, 0, 1, height], [0, 1, 1, 0, 0, 1, 1, 0]
    net = run(tmp_path, toy, {"a": [[[found]]], "b": [[[truth]]]}, engine=engine)
    assert net.blobs["t0"].data[0, 0, -1, 3:].tolist() == right


@pytest.mark.parametrize(("threshold", "count"), [(0.5, 4), (0.51, 0)])
def test_a_region_just_as_sure_as_the_threshold_stays(tmp_path: Path, threshold: float, count: int) -> None:
    """gklz1982/caffe-yolov2: objectness is sigmoid(0), the only class has 1."""
    settings = f"num_box: 1 num_classes: 1 biases: 0.1 biases: 0.1 confidence_threshold: {threshold}"
    toy = Toy("DetectionOutput", ["1 6 2 2"], f"detection_output_param {{ {settings} nms_threshold: 0.5 }}")
    rows = run(tmp_path, toy, {"a": 0}).blobs["t0"].data[0, 0]
    assert (rows[:, 2] == 0.5).sum() == count


@pytest.mark.parametrize(("threshold", "count"), [(0.25, 0), (0.24, 4)])
def test_a_box_of_yolo_3_must_be_surer_than_the_threshold(
    tmp_path: Path, threshold: float, count: int
) -> None:
    """eric612/MobileNet-YOLO: sigmoid(0) of the box times that of the class."""
    settings = f"num_box: 1 num_classes: 1 biases: 3 biases: 3 mask: 0 mask_group_num: 1 confidence_threshold: {threshold}"
    toy = Toy(
        "Yolov3DetectionOutput",
        ["1 6 2 2"],
        f"yolov3_detection_output_param {{ {settings} anchors_scale: 32 }}",
    )
    rows = run(tmp_path, toy, {"a": 0}).blobs["t0"].data[0, 0]
    assert (rows[:, 2] == 0.25).sum() == count


def test_the_gradient_of_dice_is_that_of_probabilities(tmp_path: Path) -> None:
    """faustomilletari/VNet: pyLayer.py, backward."""
    settings = "python_param { module: 'pyLayer' layer: 'DiceLoss' } loss_weight: 3"
    rng = np.random.default_rng(0)
    chances, labels = rng.uniform(size=(3, 2, 20)), rng.integers(0, 2, (3, 1, 20))
    net = run(tmp_path, Toy("Python", ["3 2 20", "3 1 20"], settings), {"a": chances, "b": labels})
    net.backward()
    expected = np.zeros((3, 2, 20))
    for n in range(3):
        found = {v for v in range(20) if chances[n, 1, v] > chances[n, 0, v]}
        wanted = {v for v in range(20) if labels[n, 0, v]}
        both, either = len(found & wanted), len(found) + len(wanted)
        for v in range(20):
            slope = 2 * ((v in wanted) * either / either**2 - 2 * chances[n, 1, v] * both / either**2)
            expected[n, :, v] = 3 * slope, -3 * slope
    np.testing.assert_allclose(net.blobs["a"].diff, expected, rtol=1e-5, atol=1e-6)
