"""Nets of thousands of layers: what is done grows with the number of layers, not with its square.

Counted are the lines that our own Python runs at n and at 2 n layers, so that no clock plays a part.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import caffe_viz
from caffe_viz.geometry import measure
from caffe_viz.netdef import NetParameter, parse_net
from caffe_viz.structure import lay_out, read_graph, svg
from caffe_viz.tables import Shapes

LAYERS, MOST = 120, 2.02  # twice the layers may cost so much more
OURS = str(Path(caffe_viz.__file__).parent)
HEAD = 'name: "large" input: "data" input_shape { dim: 1 dim: 2 dim: 4 dim: 4 }\n'
CONV = 'layer {{ name: "{0}" type: "Convolution" bottom: "{1}" top: "{0}" convolution_param {{ num_output: 2 kernel_size: 1 }} }}\n'
RELU = 'layer {{ name: "{0}_relu" type: "ReLU" bottom: "{0}" top: "{0}" }}\n'
SUM = 'layer {{ name: "{0}" type: "Eltwise" bottom: "{0}a" bottom: "{0}b" top: "{0}" }}\n'


def branches(count: int) -> str:
    tops = ["data", *(f"s{i}" for i in range(count // 4))]
    pairs = zip(tops[1:], tops, strict=False)
    rows = (
        CONV.format(f"{top}a", bottom)
        + RELU.format(f"{top}a")
        + CONV.format(f"{top}b", bottom)
        + SUM.format(top)
        for top, bottom in pairs
    )
    return HEAD + "".join(rows)


def outputs(count: int) -> str:
    """All layers on the input, none on another."""
    return HEAD + "".join(CONV.format(f"c{i}", "data") for i in range(count))


def shown(net: NetParameter) -> None:
    str(Shapes(measure(net)))


def drawn(net: NetParameter) -> None:
    svg.standalone(lay_out(read_graph(net)))


def loaded(net: NetParameter) -> None:
    from caffe_viz.engine import Net

    names = Net(net, 1)._layer_names
    assert len(names) == len(set(names))


def steps(work: Callable[[], Any]) -> int:
    """How many lines of caffe_viz `work` runs, a loop on one line as often as it goes round."""
    count, before = 0, sys.gettrace()

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal count
        if not frame.f_code.co_filename.startswith(OURS):
            return None
        count += event == "line"
        return trace

    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def grows(work: Callable[[str], Callable[[], Any]], text: Callable[[int], str]) -> float:
    """What twice the layers cost, over what they cost once; what is done only once is done before."""
    work(text(4))()
    single, double = (steps(work(text(count))) for count in (LAYERS, 2 * LAYERS))
    return double / single


def test_reading() -> None:
    assert grows(lambda text: lambda: parse_net(text), branches) < MOST


@pytest.mark.parametrize(
    ("work", "net"), [(shown, branches), (shown, outputs), (drawn, branches), (loaded, branches)]
)
def test_work(work: Callable[[NetParameter], None], net: Callable[[int], str]) -> None:
    if work is loaded:
        pytest.importorskip("torch")

    def prepared(text: str) -> Callable[[], None]:
        message = parse_net(text)
        return lambda: work(message)

    assert grows(prepared, net) < MOST
