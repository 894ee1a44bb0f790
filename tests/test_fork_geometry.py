"""What geometry says of layers of forks beside their shapes: multiply-adds by loops, what a unit sees."""

from __future__ import annotations

import math

import pytest
from geometry_toys import Toy

from caffe_viz.geometry import measure
from caffe_viz.geometry.receptive_fields import ReceptiveField
from caffe_viz.netdef import parse_net


def windows(height: int, width: int, pad: int, kernel: int) -> int:
    """Products of a window of `kernel` at each place of a padded map, stride 1."""
    rows, columns = (size + 2 * pad - kernel + 1 for size in (height, width))
    return sum(kernel * kernel for _ in range(rows) for _ in range(columns))


@pytest.mark.parametrize(
    ("toy", "macs"),
    [
        # Each row with each row of the weights.
        (Toy("InnerDistance", ["3 4 2"], "inner_distance_param { num_output: 5 axis: 2 }"), 4 * 2 * 5),
        (Toy("InnerDistance", ["3 4 2", "5 8"]), 8 * 5),
        # Each channel of each place with its window.
        (
            Toy("AttPooling", ["2 3 5 4", "2 9 5 4"], "att_pooling_param { kernel_size: 3 pad: 1 }"),
            3 * windows(5, 4, 1, 3),
        ),
        (Toy("AttPooling", ["2 3 7 6", "2 4 6 5"], "att_pooling_param { kernel_size: 2 }"), 3 * windows(7, 6, 0, 2)),
        # Gates of the input and of the last step, for each sequence of a step.
        (Toy("Lstm", ["5 2 4"], "lstm_param { num_output: 3 }"), 2 * 4 * 3 * (4 + 3)),
    ],
    ids=str,
)  # fmt: skip
def test_multiply_adds_of_an_image(toy: Toy, macs: int) -> None:
    assert measure(parse_net(toy.prototxt())).layers[-1].macs == macs


@pytest.mark.parametrize(
    ("shape", "settings", "field"),
    [
        ("2 1 6 9 8", "squeeze_param { axis: 1 }", ReceptiveField((1, 1), (1, 1), (0, 0))),
        ("2 6 9 8 1", "squeeze_param { axis: 4 }", None),  # other axes are the last two now
        ("2 1 9 8", "", None),  # rows without channels
    ],
)
def test_what_a_unit_sees_behind_squeeze(shape: str, settings: str, field: ReceptiveField | None) -> None:
    layers = measure(parse_net(Toy("Squeeze", [shape], settings).prototxt()))
    assert math.prod(layers.blob("t0")) == math.prod(map(int, shape.split()))
    assert layers.layer("x").field == field
