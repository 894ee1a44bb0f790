"""Sequence layers of forks beyond their values: what they see, what they keep, what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from geometry_toys import Toy

from caffe_viz import measure
from caffe_viz.geometry import ReceptiveField
from caffe_viz.netdef import parse_net

CTPN = """
input: "data" input_shape { dim: 1 dim: 3 dim: 32 dim: 48 }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 5 kernel_size: 4 stride: 4 } }
layer { name: "im2col" type: "Im2col" bottom: "conv" top: "im2col" convolution_param { pad: 1 kernel_size: 3 } }
layer { name: "turn" type: "Transpose" bottom: "im2col" top: "turn"
        transpose_param { dim: 3 dim: 2 dim: 0 dim: 1 } }
layer { name: "rows" type: "Reshape" bottom: "turn" top: "rows"
        reshape_param { shape { dim: -1 } axis: 1 num_axes: 2 } }
layer { name: "lstm" type: "Lstm" bottom: "rows" top: "lstm" lstm_param { num_output: 7 } }
layer { name: "back" type: "Reverse" bottom: "lstm" top: "back" reverse_param { axis: 0 } }
"""


def shapes(toy: Toy) -> list[tuple[int, ...]]:
    return list(measure(parse_net(toy.prototxt())).layer("x").top_shapes)


def test_the_text_detector_runs_rows_as_streams() -> None:
    geometry = measure(parse_net(CTPN))
    assert geometry.blob("im2col") == (1, 45, 8, 12)
    assert geometry.blob("turn") == (12, 8, 1, 45)
    assert geometry.blob("rows") == (12, 8, 45)
    lstm = geometry.layer("lstm")
    assert lstm.top_shapes == ((12, 8, 7),)
    assert lstm.param_shapes == ((28, 45), (28, 7), (28,))
    assert lstm.macs == 12 * 8 * 28 * (45 + 7)
    assert geometry.layer("im2col").field == ReceptiveField((12, 12), (4, 4), (-4, -4))
    assert geometry.layer("turn").field is lstm.field is geometry.layer("back").field is None


@pytest.mark.parametrize(("axis", "seen"), [(1, True), (-3, True), (2, False), (3, False)])
def test_reversed_channels_see_what_they_saw(axis: int, seen: bool) -> None:
    toy = Toy("Reverse", ["2 3 4 5"], f"reverse_param {{ axis: {axis} }}")
    field = measure(parse_net(toy.prototxt())).layer("x").field
    assert field == (ReceptiveField((1, 1), (1, 1), (0, 0)) if seen else None)


@pytest.mark.parametrize(
    ("toy", "top"),
    [
        (Toy("Lstm", ["6 2 3"], "lstm_param { num_output: 4 }"), (6, 2, 4)),
        (Toy("Lstm", ["6 2 3"], 'lstm_param { num_output: 4 } variant: "caffe-lstm"'), (6, 4)),
        (Toy("Lstm", ["6 2 3"], "lstm_param { num_output: 4 batch_size: 3 }"), (6, 4)),
        (Toy("Lstm", ["6 2 3"], "lstm_param { num_output: 4 } trained { dim: 16 dim: 6 }"), (6, 4)),
        (Toy("Lstm", ["6 2 3 5"], "lstm_param { num_output: 4 }"), (6, 4)),
        (Toy("Lstm", ["6 2 3 5"], 'lstm_param { num_output: 4 } variant: "CTPN"'), (6, 2, 4)),
        (Toy("Lstm", ["6 2 3 5"], "lstm_param { num_output: 4 } trained { dim: 16 dim: 15 }"), (6, 2, 4)),
        (Toy("CTCGreedyDecoder", ["9 2 5"]), (2, 9, 1, 1)),
        (Toy("CTCGreedyDecoder", ["9 2 5", "2 4"]), (1, 2, 1, 1)),
        (Toy("CTCGreedyDecoder", ["9 2 5", "9 2"]), (2, 9, 1, 1)),
        (Toy("WarpCTCLoss", ["9 2 5", "2 4"]), ()),
    ],
    ids=str,
)
def test_which_meaning(toy: Toy, top: tuple[int, ...]) -> None:
    assert shapes(toy) == [top]


def test_only_a_marked_lstm_goes_on_where_it_ended() -> None:
    pytest.importorskip("torch")
    from caffe_viz.engine import Net

    def run(inputs: str, marks: float | None) -> tuple[np.ndarray, np.ndarray]:
        toy = Toy("Lstm", inputs.split(", "), 'lstm_param { num_output: 3 weight_filler { type: "xavier" } }')
        net = Net(parse_net(toy.prototxt()), 1)
        net.blobs["a"].data[...] = np.random.default_rng(1).normal(size=(4, 2, 5))
        if marks is not None:
            net.blobs["b"].data[...] = 1
            net.blobs["b"].data[0] = marks
        first = net.forward()["t0"].copy()
        return first, net.forward()["t0"].copy()

    for inputs, marks, goes_on in (("4 2 5", None, False), ("4 2 5, 4 2", 0, False), ("4 2 5, 4 2", 1, True)):
        first, second = run(inputs, marks)
        assert np.array_equal(first, second) != goes_on
