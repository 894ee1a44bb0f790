"""Layer types of one's own, entered by a Python file: `layers=` and --layers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from commands import here

import caffe_viz as cv
from caffe_viz import layers_file
from caffe_viz.cli import main
from caffe_viz.errors import InputError, RunError
from caffe_viz.geometry.custom import custom_types
from caffe_viz.geometry.table import TABLE
from caffe_viz.layers_file import load_layers
from caffe_viz.netdef import parse_net

pytest.importorskip("torch", reason="the engine torch is not installed")

from caffe_viz.engine.table import LAYERS

FILE = '''
import torch
from beside import FACTOR

from caffe_viz.engine import layer
from caffe_viz.geometry.receptive_fields import LayoutEffect, window
from caffe_viz.geometry.table import Out, need


def pooled(param, bottoms):
    n, c, h, w = bottoms[0]
    need(h > 1, "needs two rows")
    return Out(((n, c, h // 2, w),), views=(window((2, 1), (2, 1), (0, 0)),))


@layer("PairsOfRows", shapes=pooled)
def pairs(call, bottoms, params):
    x = bottoms[0]
    return x[:, :, : x.shape[2] // 2 * 2].unflatten(2, (-1, 2)).sum(3)


def weighted(param, bottoms):
    return Out(bottoms[:1] * 2, params=((bottoms[0][1],),), views=(LayoutEffect.WHOLE,))


@layer("WeightedAndPlain", shapes=weighted)
def both(call, bottoms, params):
    return bottoms[0] * (FACTOR + params[0]).reshape(-1, 1, 1), bottoms[0].square()


@layer("TanH")
def softsign(call, bottoms, params):
    """Instead of Caffe's."""
    return bottoms[0] / (1 + bottoms[0].abs())


@layer("Wrong", "Short", "Backwards")
def wrong(call, bottoms, params):
    if call.param.type == "Short":
        return []
    if call.param.type == "Backwards":
        return Failing.apply(bottoms[0])
    return bottoms[0] @ torch.zeros(77, 78)  # not so


class Failing(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        raise ValueError("no way back")  # there


@layer("BadRule", shapes=lambda param, bottoms: bottoms[7])  # too far
def bad(call, bottoms, params):
    return bottoms[0]
'''
HEAD = """
name: "toy" force_backward: true
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 5 dim: 4 } } }
"""
X = np.random.default_rng(3).normal(size=(1, 3, 5, 4)).astype(np.float32)


def net_of(*layers: tuple[str, str]) -> str:
    lines = [f'layer {{ name: "{kind.lower()}" type: "{kind}" {wires} }}' for kind, wires in layers]
    return HEAD + "\n".join(lines)


pytestmark = pytest.mark.usefixtures("layer_types")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "beside.py").write_text("FACTOR = 3")
    path = tmp_path / "own.py"
    path.write_text(FILE)
    return path


def test_types_of_a_file(own: Path) -> None:
    text = net_of(
        ("PairsOfRows", 'bottom: "data" top: "p"'), ("WeightedAndPlain", 'bottom: "p" top: "w" top: "s"')
    )
    net = cv.load_net(parse_net(text), engine="torch", layers=own)
    found = net.forward(data=X)
    pairs = X[:, :, 0:4:2] + X[:, :, 1:4:2]
    np.testing.assert_allclose(found["w"], 3 * pairs, rtol=1e-5)
    np.testing.assert_allclose(found["s"], pairs**2, rtol=1e-5)
    ones = np.ones_like(pairs)
    below = net.backward(w=ones, s=ones)["data"]
    np.testing.assert_allclose(below[:, :, :4], np.repeat(3 + 2 * pairs, 2, 2), rtol=1e-5)
    assert not below[:, :, 4].any()
    np.testing.assert_allclose(net.params["weightedandplain"][0].diff, pairs.sum((0, 2, 3)), rtol=1e-4)


def test_receptive_field_is_the_rules(own: Path) -> None:
    load_layers(own)
    text = net_of(
        ("PairsOfRows", 'bottom: "data" top: "p"'), ("WeightedAndPlain", 'bottom: "p" top: "w" top: "s"')
    )
    measured = cv.measure(parse_net(text))
    pairs, both = measured.layers[1].field, measured.layers[2].field
    assert pairs is not None
    assert both is not None
    assert (pairs.size, pairs.stride) == ((2, 1), (2, 1))
    assert (both.size, both.stride) == ((5, 4), (0, 0)) or both.size == (4, 4)


def test_known_type_is_replaced_and_keeps_its_rule(own: Path) -> None:
    text = net_of(("TanH", 'bottom: "data" top: "t"'))
    plain = cv.load_net(parse_net(text), engine="torch")
    np.testing.assert_allclose(plain.forward(data=X)["t"], np.tanh(X), rtol=1e-4, atol=1e-6)
    net = cv.load_net(parse_net(text), engine="auto", layers=[own])
    assert net.engine == "torch"
    np.testing.assert_allclose(net.forward(data=X)["t"], X / (1 + np.abs(X)), rtol=1e-5)


def test_real_caffe_is_refused(own: Path) -> None:
    pytest.importorskip("caffe", reason="real Caffe is not installed: make caffe")
    with pytest.raises(InputError, match=r"layer 'tanh' \(TanH\): its type is registered by .*own.py.*torch"):
        cv.load_net(parse_net(net_of(("TanH", 'bottom: "data" top: "t"'))), engine="caffe", layers=own)


def test_same_file_twice_runs_once_until_it_changes(own: Path, tmp_path: Path) -> None:
    own.write_text(FILE + f"\nwith open({str(tmp_path / 'runs')!r}, 'a') as file:\n    file.write('x')\n")
    for _ in range(2):
        load_layers(own)
    assert (tmp_path / "runs").read_text() == "x"
    assert "TanH" in custom_types()
    assert "ReLU" not in custom_types()
    own.write_text(own.read_text() + "# changed\n")
    load_layers([own])
    assert (tmp_path / "runs").read_text() == "xx"
    assert layers_file.loaded_files() == (own.resolve(),)


def test_check_that_failed_is_looked_at_again(own: Path, tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(net_of(("PairsOfRows", 'bottom: "data" top: "p"')))
    before = cv.check(path, engine="torch").findings
    assert any("PairsOfRows" in str(finding) for finding in before)
    load_layers(own)
    assert cv.check(path, engine="torch").findings == ()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("x = 1\n", r"own.py registers no layer type: use @layer"),
        ("x = 1\ny = = 2\n", r"own.py is no Python 3: invalid syntax \(.*own.py, line 2\)"),
        ("x = 1\n\nraise OSError('so')\n", r"own.py raised OSError: so \(.*own.py, line 3\)"),
        ("import sys\nsys.exit(0)\n", r"own.py raised SystemExit: 0 \(.*own.py, line 2\)"),
        ("from caffe_viz.engine import layer\n@layer('X')\ndef f(c, b, p): ...\n1 / 0\n", "line 4"),
        ("import nosuchthing\n", r"own.py raised ModuleNotFoundError: .*nosuchthing.*line 1"),
    ],
)
def test_file_that_is_none(own: Path, text: str, wanted: str) -> None:
    own.write_text(text)
    with pytest.raises(InputError, match=wanted) as error:
        load_layers(own)
    assert "\n" not in str(error.value)
    assert not custom_types()
    assert "X" not in LAYERS
    assert "X" not in TABLE


def test_file_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "gone.py", tmp_path):
        with pytest.raises(InputError, match=r"no such file; --layers takes a Python file"):
            load_layers(path)


@pytest.mark.parametrize(
    ("kind", "error", "wanted"),
    [
        ("Wrong", RunError, r"layer 'wrong' \(Wrong\): raised RuntimeError: .*own.py, line {not so}\)"),
        ("Short", RunError, r"layer 'short' \(Short\): its function returned \[\] for 1 tops"),
        ("Backwards", RunError, r"layer 'backwards' \(Backwards\), backward: raised ValueError: no way back"),
        (
            "BadRule",
            InputError,
            r"layer 'badrule' \(BadRule\).*: its shape rule raised IndexError: .*{too far}",
        ),
        ("PairsOfRows", InputError, r"layer 'pairsofrows' \(PairsOfRows\) on data 1x3x1x1: needs two rows"),
    ],
)
def test_function_that_fails(own: Path, kind: str, error: type[Exception], wanted: str) -> None:
    for mark in ("not so", "too far"):
        number = next(i for i, line in enumerate(FILE.splitlines(), 1) if f"# {mark}" in line)
        wanted = wanted.replace(f"{{{mark}}}", str(number))
    text = net_of((kind, 'bottom: "data" top: "t"'))
    if kind == "PairsOfRows":
        text = text.replace("dim: 5 dim: 4", "dim: 1 dim: 1")

    def run() -> None:
        net = cv.load_net(parse_net(text), engine="torch", layers=own)
        net.forward(data=X)
        net.backward(t=X)

    with pytest.raises(error, match=wanted) as found:
        run()
    assert "\n" not in str(found.value)


NET = """
name: "maps"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 9 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param {
  num_output: 2 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "rows" type: "PairsOfRows" bottom: "conv" top: "rows" }
layer { name: "pool" type: "Pooling" bottom: "rows" top: "pool" pooling_param { pool: AVE global_pooling: true } }
"""


@pytest.fixture
def files(own: Path, tmp_path: Path) -> tuple[Path, Path, Path]:
    """Prototxt, weights and image of a net with a type of the file's."""
    path, weights, image = (tmp_path / name for name in ("net.prototxt", "net.caffemodel", "image.npy"))
    path.write_text(NET)
    cv.load_net(path, engine="torch", layers=own).save(str(weights))
    np.save(image, np.random.default_rng(0).normal(size=(3, 9, 8)).astype(np.float32))
    return path, weights, image


COMMANDS: dict[str, Callable[[Path, Path, Path], tuple[object, ...]]] = {
    "shapes": lambda net, weights, image: (net,),
    "draw": lambda net, weights, image: (net, "--output", net.parent),
    "aux": lambda net, weights, image: (net, "--layer", "rows", "--output", net.parent / "aux.prototxt"),
    "activations": lambda net, weights, image: (net, weights, "--image", image, "--output", net.parent),
    "gradient": lambda net, weights, image: (
        net, weights, "--image", image, "--target", "rows:0", "--output", net.parent,
    ),
    "ascend": lambda net, weights, image: (
        net, weights, "--layer", "rows", "--filters", "0,1", "--steps", 3, "--jobs", 2, "--json",
        "--output", net.parent,
    ),
    "top": lambda net, weights, image: (
        net, weights, "--layer", "rows", "--image", image, "--output", net.parent
    ),
    "attribute": lambda net, weights, image: (
        net, weights, "--image", image, "--target", "pool:0", "--method", "gradient", "--output", net.parent
    ),
    "report": lambda net, weights, image: (net, weights, "--image", image, "--budget", 1, "--output", net.parent),
}  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_commands(command: str, own: Path, files: tuple[Path, Path, Path]) -> None:
    """The engine is chosen by the types; `ascend` has workers, which need them too."""
    found = here(command, *COMMANDS[command](*files), "--layers", own)
    if command == "shapes":
        assert "1 2 3 6" in found
    if command == "ascend":
        assert len(json.loads(found)["filters"]) == 2


def test_check_keeps_the_engines_apart(
    own: Path,
    files: tuple[Path, Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["caffe-viz", "check", *map(str, files[:2]), "--layers", str(own)])
    with pytest.raises(SystemExit):
        main()
    real, _, embedded = capsys.readouterr().out.partition("the embedded engine:")
    assert f"(PairsOfRows): its type is registered by {own}" in real
    assert "0 errors" in embedded
