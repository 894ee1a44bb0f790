"""How long layers take: what is timed, what is not and why, and sums; never how fast this machine is."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import here, refused

import caffe_viz as cv
from caffe_viz import timing
from caffe_viz.cli import main
from caffe_viz.errors import InputError
from caffe_viz.geometry import measure, own_layers
from caffe_viz.netdef import NetParameter, for_phase, make_blob, parse_net, read_net
from caffe_viz.network import Network
from caffe_viz.tables import Shapes, time_table
from caffe_viz.timing import Timing, passes, time_layers

INPUT = (
    'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }'
)
CONV = """layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 } }"""
# `relu` works in place, and `conv` has two consumers: Caffe inserts one hidden Split.
FORK = f"""{INPUT} {CONV}
layer {{ name: "relu" type: "ReLU" bottom: "conv" top: "conv" }}
layer {{ name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param {{ kernel_size: 2 stride: 2 }} }}
layer {{ name: "fc" type: "InnerProduct" bottom: "pool" top: "fc" inner_product_param {{ num_output: 5 }} }}
layer {{ name: "beside" type: "Sigmoid" bottom: "conv" top: "beside" }}
"""
LOSS = f"""{INPUT}
layer {{ name: "label" type: "Input" top: "label" input_param {{ shape {{ dim: 2 }} }} }}
layer {{ name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param {{ num_output: 5 }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }}
layer {{ name: "accuracy" type: "Accuracy" bottom: "fc" bottom: "label" top: "accuracy" }}
"""


@pytest.fixture(autouse=True)
def _small_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "SIDE", 16)


class Clock:
    """A clock that shows 0, 1, 2 .. seconds: whatever lies between two looks takes one, times `step`."""

    def __init__(self, step: Callable[[int], float] = lambda look: 1.0) -> None:
        self.step, self.looks, self.now = step, 0, 0.0

    def __call__(self) -> float:
        self.looks, self.now = self.looks + 1, self.now + self.step(self.looks)
        return self.now


def timed(text: str, engine: str, **more: Any) -> Timing:
    return time_layers(Network(parse_net(text), engine=engine), **{"passes": 2, **more})


def _sound(found: Timing) -> None:
    """Each layer has a time, or a reason; totals are sums."""
    for one in found.layers:
        assert one.forward is not None or one.note
        assert one.backward is not None or one.note
        for value in (one.forward, one.backward):
            assert value is None or (math.isfinite(value) and value > 0)
    for side, splits in zip(("forward", "backward"), found.splits, strict=True):
        known = [getattr(one, side) or 0 for one in found.layers]
        assert getattr(found, side) == pytest.approx(sum(known) + splits)
    assert found.sgemm > 0


@pytest.mark.parametrize("name", ["caffenet_cifar10", "lenet", "squeezenet_v1.1"])
def test_every_layer_of_a_network_is_timed(networks: Path, engine: str, name: str) -> None:
    net = read_net(networks / name / "deploy.prototxt")
    found = time_layers(Network(net, engine=engine), batch=1, passes=1)
    _sound(found)
    measured = own_layers(for_phase(net), measure(net, batch=1))
    assert [one.layer for one in found.layers] == measured
    assert {one.layer.name: one.note for one in found.layers if one.note} == {"data": "has no bottom"}
    assert found.macs == measure(net).macs
    assert (found.engine, found.device, found.batch, found.passes) == (engine, "cpu", 1, 1)


def test_a_counting_clock_gives_exact_numbers(engine: str) -> None:
    found = timed(FORK, engine, passes=3, seconds=math.inf, clock=Clock())
    assert [(one.layer.name, one.forward, one.backward) for one in found.layers] == [
        ("data", 1000, None),
        *((name, 1000, 1000) for name in ("conv", "relu", "pool", "fc", "beside")),
    ]
    assert (found.splits, found.hidden) == ((1000, 1000), 1)
    assert (found.forward, found.backward) == (7000, 6000)
    assert (found.passes, found.sgemm) == (3, 16**3)
    # 4 filters of 3x3x3 on 6x6 places, 5 rows of 36: for 2 images in 7 seconds.
    macs = 4 * 27 * 36 + 5 * 36
    assert found.macs == macs
    assert found.share(found.macs, found.forward) == pytest.approx(2 * macs / 7 / 16**3)


def test_medians_leave_out_the_warm_up_and_a_slow_pass(engine: str) -> None:
    # A pass: product 2 looks, 7 layers forward 2 each, 6 backward 2 each, and one look at its end.
    looks = 2 + 2 * 7 + 2 * 6 + 1
    slow = [100.0, 1.0, 3.0, 50.0]

    def step(look: int) -> float:
        return slow[(look - 2) // looks]  # the first look is that at the begin

    found = timed(FORK, engine, passes=3, seconds=math.inf, clock=Clock(lambda n: step(n) if n > 1 else 0))
    assert {one.forward for one in found.layers} == {3000}
    assert {one.backward for one in found.layers[1:]} == {3000}
    assert found.sgemm == 16**3 / 3


def test_the_time_is_bounded_but_for_one_pass(engine: str) -> None:
    pass_seconds = 2 + 2 * 7 + 2 * 6 + 1
    assert timed(FORK, engine, passes=9, seconds=1, clock=Clock()).passes == 1
    assert timed(FORK, engine, passes=9, seconds=4.5 * pass_seconds, clock=Clock()).passes == 3
    with pytest.raises(InputError, match="passes must be at least 1"):
        timed(FORK, engine, passes=0)


def test_layers_without_a_gradient_have_a_dash(engine: str) -> None:
    found = timed(LOSS, engine)
    _sound(found)
    notes = {one.layer.name: one.note for one in found.layers if one.note}
    assert notes == dict.fromkeys(("data", "label"), "has no bottom") | {"accuracy": "has no gradient"}


CAFFE_ABORTS = {
    "BatchReindex": """layer { name: "x" type: "BatchReindex" bottom: "data" bottom: "b" top: "x" }
        layer { name: "b" type: "Input" top: "b" input_param { shape { dim: 7 } } }""",
    "Upsample": 'layer { name: "x" type: "Upsample" bottom: "data" top: "x" upsample_param { scale: 2 } }',
    "InfogainLoss": """layer { name: "x" type: "InfogainLoss" bottom: "p" bottom: "b" bottom: "h" top: "x" }
        layer { name: "p" type: "Input" top: "p" input_param { shape { dim: 3 dim: 6 } } }
        layer { name: "b" type: "Input" top: "b" input_param { shape { dim: 3 dim: 1 } } }
        layer { name: "h" type: "Input" top: "h" input_param { shape { dim: 1 dim: 1 dim: 6 dim: 6 } } }""",
    "learned labels": f"""{CONV}
        layer {{ name: "few" type: "Reduction" bottom: "conv" top: "few" reduction_param {{ axis: 1 }} }}
        layer {{ name: "x" type: "HingeLoss" bottom: "data" bottom: "few" top: "x" }}""",
}


@pytest.mark.parametrize("text", CAFFE_ABORTS.values(), ids=CAFFE_ABORTS)
def test_what_would_abort_real_caffe_is_not_asked(caffe: Any, text: str) -> None:
    net = parse_net(INPUT + text)
    net.layer.sort(key=lambda layer: bool(layer.bottom))  # inputs first
    found = time_layers(Network(net, engine="caffe"), passes=1)
    _sound(found)
    (x,) = (one for one in found.layers if one.layer.name == "x")
    assert (x.backward, x.note) == (None, "real Caffe has no backward for it")


def test_pooling_of_nan_is_not_asked_for_a_gradient(caffe: Any) -> None:
    pool = (
        'layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { kernel_size: 2 } }'
    )
    weights = NetParameter()
    nan = np.full((4, 3, 3, 3), np.nan)
    weights.layer.add(name="conv", blobs=[make_blob(nan), make_blob(np.zeros(4))])
    found = time_layers(Network(parse_net(f"{INPUT} {CONV} {pool}"), weights, engine="caffe"), passes=1)
    assert found.layers[2].backward is None
    assert "holds only NaN" in found.layers[2].note
    assert found.layers[1].backward is not None


def test_a_layer_that_is_left_out_has_no_time(engine: str) -> None:
    mystery = 'layer { name: "m" type: "Mystery" bottom: "data" top: "m" }'
    after = 'layer { name: "after" type: "ReLU" bottom: "m" top: "after" }'
    with pytest.warns(cv.CaffeVizWarning, match="left out"):
        found = timed(f"{INPUT} {mystery} {after} {CONV}", engine)
    _sound(found)
    assert [one.layer.name for one in found.layers] == ["data", "m", "after", "conv"]
    assert [one.forward is None for one in found.layers] == [False, True, True, False]
    assert all("left out" in found.layers[i].note for i in (1, 2))
    assert [row[4] for row in time_table(found).rows[1:3]] == [None, None]


def test_another_batch_and_size(engine: str) -> None:
    found = timed(f"{INPUT} {CONV}", engine, batch=5, size=(12, 10))
    assert [one.layer.top_shapes for one in found.layers] == [((5, 3, 12, 10),), ((5, 4, 10, 8),)]
    assert found.batch == 5


def test_a_net_that_is_loaded_stays_as_it_is(engine: str) -> None:
    net = cv.load_net(parse_net(FORK), engine=engine)
    net.blobs["data"].data[...] = 7
    kernels = np.array(net.params["conv"][0].data)
    found = cv.shapes(net, time=True)
    assert found.timing is not None
    assert found.timing.engine == engine
    assert (net.blobs["data"].data == 7).all()
    assert np.array_equal(net.params["conv"][0].data, kernels)


def test_gradients_of_parameters_are_waited_for() -> None:
    """The embedded engine computes them when somebody looks: they belong into the time of their layer."""
    pytest.importorskip("torch")
    runs: list[Any] = []
    original = timing.timed.repeat

    def keep(given: Any, *more: Any) -> int:
        runs.append(given)
        return original(given, *more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing.timed, "repeat", keep)
        timed(FORK, "torch", passes=1)
    layers = runs[0].net.layer_dict
    assert all(layers[name]._pending is None for name in ("conv", "fc"))
    assert layers["fc"].blobs[0].memories[1]._tensor is not None


def test_a_device_beside_the_cpu_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    from caffe_viz.engine.waiting import synchronize

    asked: list[Any] = []
    monkeypatch.setattr(torch.cuda, "synchronize", asked.append)
    monkeypatch.setattr(torch.mps, "synchronize", lambda: asked.append("mps"))
    for name in ("cpu", "cuda:1", "mps"):
        synchronize(torch.device(name))
    assert asked == [torch.device("cuda:1"), "mps"]


def test_tables_show_the_numbers() -> None:
    found = timed(FORK, "auto", seconds=math.inf, clock=Clock())
    shapes = Shapes(measure(parse_net(FORK)), found)
    lines = [line.split() for line in str(shapes.tables[3]).splitlines()]
    assert lines[2] == ["data", "Input", "0", "1x1", "1,000.000", "-", "-", "has", "no", "bottom"]
    assert lines[3] == ["conv", "Convolution", "3,888", "3x3", "1,000.000", "1,000.000", "190"]
    assert lines[-2] == ["(hidden", "Splits)", "Split", "0", "1,000.000", "1,000.000", "-", "1", "layer"]
    assert lines[-1] == ["total", "4,068", "7,000.000", "6,000.000", "28"]
    rows = shapes.to_json()["time"]
    assert rows[0]["backward ms"] is None
    for side in ("forward ms", "backward ms"):
        assert rows[-1][side] == sum(row[side] or 0 for row in rows[:-1])
    assert [row["multiply-adds"] for row in rows[:-2]] == [x.macs for x in own_layers(parse_net(FORK), measure(parse_net(FORK)))]  # fmt: skip
    totals = {row["total"]: row["value"] for row in shapes.to_json()["totals"]}
    assert (totals["forward"], totals["backward"], totals["sgemm"]) == (7000, 6000, 4096)
    assert [table.title for table in Shapes(measure(parse_net(FORK))).tables][3] == "totals"


def test_the_command_prints_the_table_and_json(networks: Path, engine: str) -> None:
    net = networks / "lenet" / "deploy.prototxt"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time_layers, "__kwdefaults__", {**time_layers.__kwdefaults__, "passes": 1})
        text = here("shapes", net, "--time", "--batch", 2, "--engine", engine)
        made = json.loads(here("shapes", net, "--time", "--batch", 2, "--engine", engine, "--json"))
    assert f"ms, 2 images ({engine}, cpu)" in text
    table = text[text.index("\ntime\n") :].split("\n\n")[0].strip().splitlines()
    assert [line.split()[0] for line in table[2:]] == [row["layer"] for row in made["time"]]
    assert set(made) == {"blobs", "parameters", "layers", "time", "totals"}
    total = made["time"][-1]
    assert total["forward ms"] == pytest.approx(sum(row["forward ms"] for row in made["time"][:-1]))
    assert total["forward ms"] == next(x["value"] for x in made["totals"] if x["total"] == "forward")


def test_an_engine_without_time_is_refused(networks: Path) -> None:
    said = refused("shapes", networks / "lenet" / "deploy.prototxt", "--engine", "torch")
    assert "only --time runs an engine" in said


def test_ctrl_c_leaves_one_line(
    networks: Path, engine: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*given: Any) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(timing.timed, "repeat", interrupted)
    net = str(networks / "lenet" / "deploy.prototxt")
    monkeypatch.setattr(sys, "argv", ["caffe-viz", "shapes", net, "--time", "--engine", engine])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 130
    assert capsys.readouterr().err == "interrupted: no layer was timed\n"
