"""What layers of object detection do beyond the cases of layer_cases/detection.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from caffe_runs import CaffeRuns, Case, run
from geometry_toys import Toy
from layer_cases.detection import ROWS, found, outputs

pytest.importorskip("torch", reason="the engine torch is not installed")

from google.protobuf import text_format

from caffe_viz.engine import Net
from caffe_viz.errors import InputError
from caffe_viz.netdef import NetParameter
from caffe_viz.parity import LIMIT, apart


class Engine:
    """What `run` takes for a caffe module."""

    Net = Net


def net_of(toy: Toy, head: str = "") -> Net:
    return Net(text_format.Parse(head + toy.prototxt(), NetParameter()), 1)


# Real Caffe has no CPU code for PSROIPooling. The regions: inside, over the border, outside, one pixel, halves.
REGIONS = np.array(
    [
        [0, 10, 20, 60, 85],
        [1, -30, -5, 200, 47],
        [1, 300, 300, 400, 400],
        [0, 33, 33, 33, 33],
        [0, 2.5, -2.5, 70.5, 71],
    ],
    np.float32,
)
POOL = Toy(
    "PSROIPooling",
    ["2 18 9 11", "5 5"],
    "psroi_pooling_param { spatial_scale: 0.125 output_dim: 2 group_size: 3 }",
)


def bins(size: int, scale: float) -> Any:
    """(region, row of bins, column of bins, image, rows, columns) by the definition of R-FCN, one bin after the other."""
    for r, (image, *corners) in enumerate(REGIONS.tolist()):
        x1, y1, x2, y2 = (np.sign(c) * np.floor(abs(c) + 0.5) for c in corners)
        width, height = (max((b + 1 - a) * scale, 0.1) / size for a, b in ((x1, x2), (y1, y2)))
        for i in range(size):
            for j in range(size):
                rows = range(
                    max(0, int(np.floor(i * height + y1 * scale))),
                    min(9, int(np.ceil((i + 1) * height + y1 * scale))),
                )
                columns = range(
                    max(0, int(np.floor(j * width + x1 * scale))),
                    min(11, int(np.ceil((j + 1) * width + x1 * scale))),
                )
                yield r, i, j, int(image), rows, columns


def test_psroi_pooling_is_the_mean_over_each_bin() -> None:
    rng, net = np.random.default_rng(0), net_of(POOL, "force_backward: true ")
    x, seeds = rng.normal(size=(2, 18, 9, 11)), rng.normal(size=(5, 2, 3, 3))
    net.blobs["a"].data[...], net.blobs["b"].data[...] = x, REGIONS
    top = net.forward()["t0"].copy()
    net.backward(t0=seeds)
    expected, gradient, empty = np.zeros_like(top), np.zeros_like(x), 0
    for r, i, j, image, rows, columns in bins(3, 0.125):
        empty += not (rows and columns)
        for output in range(2):
            channel = (output * 3 + i) * 3 + j
            for y in rows:
                for column in columns:
                    expected[r, output, i, j] += x[image, channel, y, column] / len(rows) / len(columns)
                    gradient[image, channel, y, column] += seeds[r, output, i, j] / len(rows) / len(columns)
    assert 0 < empty < 45
    assert apart(expected, top) <= LIMIT
    assert apart(gradient, net.blobs["a"].diff) <= LIMIT
    assert not net.blobs["b"].diff.any()


@pytest.mark.caffe
def test_detections_are_judged_in_pixels_of_each_image(caffe: Any, tmp_path: Path) -> None:
    """The file's lines go on from forward to forward, image by image."""
    (tmp_path / "sizes").write_text("a 300 200\nb 40 90\nc 500 31\nd 8 9\ne 100 100\n")
    settings = f'num_classes: 5 overlap_threshold: 0.55 name_size_file: "{tmp_path / "sizes"}"'
    toy = Toy(
        "DetectionEvaluate",
        ["1 1 60 7", f"1 1 {ROWS.shape[2]} 8"],
        f"detection_evaluate_param {{ {settings} }}",
    )
    runs = CaffeRuns()
    for rounds in (1, 2, 3):
        case = Case(toy.prototxt(), {"a": found(60, 7), "b": ROWS}, gradient=False, rounds=rounds)
        theirs, mine = runs.run(case), run(Engine, case)
        assert theirs is not None
        assert np.array_equal(theirs["data t0"], mine["data t0"])
        assert (mine["data t0"][0, 0, :, 3] == 1).any()
    runs.close()


def test_a_file_of_sizes_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "sizes").write_text("a 300 wide\n")
    for path in (tmp_path / "sizes", tmp_path / "absent"):
        settings = f'detection_evaluate_param {{ num_classes: 3 name_size_file: "{path}" }}'
        net = net_of(Toy("DetectionEvaluate", ["1 1 1 7", "1 1 1 8"], settings))
        net.blobs["a"].data[..., 1] = net.blobs["b"].data[..., 1] = 1
        with pytest.raises(InputError, match=f"'x'.*{path}.*name height width"):
            net.forward()


def test_the_folder_of_results_is_left_alone(tmp_path: Path) -> None:
    """Real Caffe deletes what is in it."""
    (tmp_path / "precious").write_text("")
    save = f'save_output_param {{ output_directory: "{tmp_path}" output_name_prefix: "x" output_format: "VOC" label_map_file: "absent" name_size_file: "absent" }}'
    case = outputs(f"code_type: CENTER_SIZE nms_param {{ nms_threshold: 0.3 }} {save}")
    net = net_of(case.toy)
    for name, values in case.inputs.items():
        net.blobs[name].data[...] = values
    assert net.forward()["t0"].shape[2] > 10
    assert [p.name for p in tmp_path.iterdir()] == ["precious"]


# Layer, inputs that are not zero, what must be said. Real Caffe aborts, or reads and writes beside its arrays.
WRONG: list[tuple[Toy, dict[str, Any], str]] = [
    (
        Toy("MultiBoxLoss", ["1 8", "1 6", "1 2 8", "1 1 1 8"], "multibox_loss_param { num_classes: 3 }"),
        {"c": [[[0, 0, 1, 1, 0, 0, 1, 1], [1] * 8]], "d": [0, label, 0, 0, 0, 1, 1, 0]},
        f"'x'.*label {label}; labels from 0 to 2 without the background's, 0",
    )
    for label in (0, 3, -1)
]
WRONG += [
    (
        Toy("DetectionEvaluate", ["1 1 1 7", "1 1 1 8"], "detection_evaluate_param { num_classes: 3 }"),
        {"a": [0, a, 1, 0, 0, 1, 1], "b": [0, b, 0, 0, 0, 1, 1, 0]},
        "'x'.*background's label, 0",
    )
    for a, b in ((1, 0), (0, 1))
]
WRONG += [
    (
        Toy(
            "Proposal",
            ["1 4 3 3", "1 8 3 3", "1 3"],
            "proposal_param { ratio: 1 ratio: 2 ratio: 3 scale: 8 }",
        ),
        {},
        "'x'.*3 anchors.*need 6 and 12 channels, not 4 and 8",
    ),
    (
        Toy("MaxUnPool", ["1 1 2 2", "1 1 2 2"], "max_unpool_param { dst_h: 3 dst_w: 3 }"),
        {"b": [0, 1, 2, 9]},
        "'x'.*places from 0 to 8; a place is 9",
    ),
    (
        Toy("Pad", ["1 1 3 4"], "pad_param { pad_type: REFLECT pad_u: 3 }"),
        {},
        "'x'.*below the height 3 and the width 4",
    ),
]


@pytest.mark.parametrize(("toy", "inputs", "words"), WRONG, ids=str)
def test_wrong_values_are_said(toy: Toy, inputs: dict[str, Any], words: str) -> None:
    net = net_of(toy)
    for name, values in inputs.items():
        net.blobs[name].data[...] = np.reshape(values, net.blobs[name].data.shape)
    with pytest.raises(InputError, match=words):
        net.forward()
