"""Layers of type Python: pycaffe's protocol on the embedded engine, and what runs only with permission."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import here

import caffe_viz as cv
from caffe_viz.errors import CaffeVizError, CaffeVizWarning, InputError, RunError
from caffe_viz.netdef import read_net, write_net
from caffe_viz.network import Network

pytest.importorskip("torch", reason="the engine torch is not installed")

# Every method says in a file beside it that it ran.
USER = '''
import os
import caffe
import numpy as np
from caffe import layers as L
from caffe.proto import caffe_pb2

with open(os.path.join(os.path.dirname(__file__), "ran"), "a") as file:
    file.write("imported ")


class Scaled(caffe.Layer):
    """top = k x, and x as it is."""

    def setup(self, bottom, top):
        if len(bottom) != 1:
            raise Exception("one bottom")
        self.k = float(self.param_str)
        print("set up in phase", self.phase)

    def reshape(self, bottom, top):
        assert bottom[0].shape == bottom[0].data.shape
        for one in top:
            one.reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        top[0].data[...] = self.k * bottom[0].data
        if len(top) > 1:
            top[1].data[...] = bottom[0].data

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            bottom[0].diff[...] = self.k * top[0].diff
            if len(top) > 1:
                bottom[0].diff[...] += top[1].diff


class Learned(caffe.Layer):
    """top = w x for each column."""

    def setup(self, bottom, top):
        self.blobs.add_blob(bottom[0].channels)
        self.blobs[0].data[...] = 2

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        top[0].data[...] = self.blobs[0].data * bottom[0].data

    def backward(self, top, propagate_down, bottom):
        self.blobs[0].diff[...] += (top[0].diff * bottom[0].data).sum(0)
        bottom[0].diff[...] = self.blobs[0].data * top[0].diff


class Positive(caffe.Layer):
    """The rows whose first value is positive: how many there are depends on the data."""

    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        self.kept = bottom[0].data[:, 0] > 0
        top[0].reshape(int(self.kept.sum()), bottom[0].data.shape[1])

    def forward(self, bottom, top):
        top[0].data[...] = bottom[0].data[self.kept]


class Late(Positive):
    """The same, but shaped in forward."""

    def reshape(self, bottom, top):
        top[0].reshape(1, 3)

    def forward(self, bottom, top):
        rows = bottom[0].data[bottom[0].data[:, 0] > 0]
        top[0].reshape(*rows.shape)
        top[0].data[...] = rows


class Broken(Scaled):
    def forward(self, bottom, top):
        return 1 / 0  # the line that is named


class Deep(Scaled):
    def forward(self, bottom, top):
        np.zeros(2) + np.zeros(3)  # the line that is named, not NumPy's


class Gone(Scaled):
    def setup(self, bottom, top):
        raise SystemExit(3)


class Blind(Scaled):
    def backward(self, top, propagate_down, bottom):
        pass


class Strange:
    pass
'''
HEAD = """
name: "toy" force_backward: true
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }
"""


def layer(kind: str, tops: str = 'top: "t"', param: str = "2.5", module: str = "mine") -> str:
    code = f'module: "{module}" layer: "{kind}" param_str: "{param}"'
    return f'layer {{ name: "user" type: "Python" bottom: "data" {tops} python_param {{ {code} }} }}'


@pytest.fixture
def file(tmp_path: Path) -> Any:
    """Writes a net beside the module `mine`, and gives its path."""
    (tmp_path / "mine.py").write_text(USER)

    def made(layers: str, name: str = "deploy.prototxt") -> Path:
        path = tmp_path / name
        path.write_text(HEAD + layers)
        return path

    return made


def load(path: Path, **given: Any) -> Any:
    return cv.load_net(path, engine="torch", allow_code=True, **given)


X = np.array([[1, -2, 3], [-4, 5, 0.5]], np.float32)


def line_of(text: str, source: str = USER) -> int:
    return next(i for i, line in enumerate(source.splitlines(), 1) if text in line)


def test_forward_and_backward_with_two_tops_and_param_str(file: Any) -> None:
    net = load(file(layer("Scaled", 'top: "t" top: "u"')))
    assert net.blobs["t"].data.shape == net.blobs["u"].data.shape == (2, 3)
    net.forward(data=X)
    np.testing.assert_array_equal(net.blobs["t"].data, 2.5 * X)
    np.testing.assert_array_equal(net.blobs["u"].data, X)
    found = net.backward(t=np.full((2, 3), 10), u=X)["data"]
    np.testing.assert_allclose(found, 25 + X)


def test_gradient_goes_through_to_the_layers_before(file: Any) -> None:
    """data -> tanh -> user -> exp: d/dx exp(k tanh x) = k (1 - tanh^2 x) exp(k tanh x)."""
    before = 'layer { name: "tanh" type: "TanH" bottom: "data" top: "h" }'
    after = 'layer { name: "exp" type: "Exp" bottom: "t" top: "e" }'
    net = load(file(before + layer("Scaled").replace('bottom: "data"', 'bottom: "h"') + after))
    found = net.forward(data=X)["e"]
    np.testing.assert_allclose(found, np.exp(2.5 * np.tanh(X)), rtol=1e-5)
    wanted = 2.5 * (1 - np.tanh(X) ** 2) * np.exp(2.5 * np.tanh(X))
    np.testing.assert_allclose(net.backward(e=np.ones_like(X))["data"], wanted, rtol=1e-4, atol=1e-7)


def test_in_place(file: Any) -> None:
    net = load(file(layer("Scaled", 'top: "data"')))
    assert list(net.blobs) == ["data"]
    np.testing.assert_array_equal(net.forward(data=X)["data"], 2.5 * X)
    net.blobs["data"].diff[...] = X
    net._backward(1, 0)
    np.testing.assert_array_equal(net.blobs["data"].diff, 2.5 * X)


def test_parameters_are_filled_trained_and_saved(file: Any, tmp_path: Path) -> None:
    path = file(layer("Learned"))
    net = load(path)
    np.testing.assert_array_equal(net.forward(data=X)["t"], 2 * X)
    net.backward(t=np.ones_like(X))
    np.testing.assert_array_equal(net.params["user"][0].diff, X.sum(0))
    net.params["user"][0].data[...] = [1, 10, 100]
    net.save(str(tmp_path / "net.caffemodel"))
    again = load(path, weights=tmp_path / "net.caffemodel")
    np.testing.assert_array_equal(again.forward(data=X)["t"], X * [1, 10, 100])


@pytest.mark.parametrize("kind", ["Positive", "Late"])
def test_shapes_that_depend_on_data(file: Any, kind: str) -> None:
    after = 'layer { name: "relu" type: "ReLU" bottom: "t" top: "r" }'
    net = load(file(layer(kind) + after))
    net.forward(data=X)
    np.testing.assert_array_equal(net.blobs["r"].data, [[1, 0, 3]])
    net.forward(data=np.abs(X))
    np.testing.assert_array_equal(net.blobs["r"].data, np.abs(X))


def test_without_backward_there_is_no_gradient(file: Any) -> None:
    net = load(file(layer("Positive")))
    net.forward(data=X)
    with pytest.raises(NotImplementedError, match=r"'user'.*mine\.Positive.*no method backward"):
        net.backward()


def need_refused(net: Any, folder: Path) -> None:
    """The layer is left out with its top, and nothing of its module has run."""
    (folder / "ran").unlink(missing_ok=True)
    line = r"layer 'user' \(Python\).*'Scaled'.*'mine'.*--allow-code"
    with pytest.warns(CaffeVizWarning, match=line):
        made = cv.load_net(net, engine="torch")
    assert list(made.forward(data=X)) == ["data"]
    assert "t" not in made.blobs
    with pytest.raises(InputError, match=line):
        cv.measure(made.prototxt).blob("t")
    assert not (folder / "ran").exists()


def test_gradient_that_is_not_written_is_zero(file: Any) -> None:
    net = load(file(layer("Blind")))
    net.forward(data=X)
    net.blobs["data"].diff[...] = 5
    assert not net.backward(t=X)["data"].any()


def test_nothing_runs_without_permission(file: Any, tmp_path: Path) -> None:
    need_refused(file(layer("Scaled")), tmp_path)


def test_permission_is_of_one_net(file: Any, tmp_path: Path) -> None:
    path = file(layer("Scaled"))
    net = load(path)
    assert cv.measure(net.prototxt).blobs["t"] == (2, 3)
    write_net(net.prototxt, tmp_path / "out.prototxt")
    assert "permit" not in (tmp_path / "out.prototxt").read_text()
    for other in (path, tmp_path / "out.prototxt"):
        need_refused(other, tmp_path)
        assert "t" not in Network(other).geometry.blobs


def test_a_file_cannot_give_itself_permission(file: Any, tmp_path: Path) -> None:
    load(file(layer("Scaled")))
    need_refused(read_net(file(layer("Scaled").replace("module:", 'permit: "x" module:'))), tmp_path)


def test_modules_of_one_name_in_two_folders(tmp_path: Path) -> None:
    nets = []
    for k in (3, 5):
        folder = tmp_path / str(k)
        folder.mkdir()
        (folder / "helper.py").write_text(f"K = {k}")
        (folder / "mine.py").write_text(USER + "import helper\nclass Own(Scaled):\n  pass\n" + LAZY)
        (folder / "net.prototxt").write_text(HEAD + layer("Own"))
        nets.append(load(folder / "net.prototxt"))
    for net, k in zip(nets, (3, 5), strict=True):
        np.testing.assert_array_equal(net.forward(data=X)["t"], k * X)
    assert not {"mine", "helper"} & set(sys.modules)


LAZY = """
  def forward(self, bottom, top):
    from helper import K  # when it runs
    top[0].data[...] = K * bottom[0].data
"""


def test_real_caffe_stays_what_it_is(file: Any) -> None:
    caffe = pytest.importorskip("caffe", reason="real Caffe is not installed: make caffe")
    load(file(layer("Scaled"))).forward()
    assert sys.modules["caffe"] is caffe
    assert sys.modules["caffe.io"] is caffe.io


def test_module_on_a_path_given(file: Any, tmp_path: Path) -> None:
    path = file(layer("Scaled", module="package.inner.mine"))
    inner = tmp_path / "elsewhere" / "package" / "inner"
    inner.mkdir(parents=True)
    (inner / "__init__.py").write_text("")
    (inner / "mine.py").write_text(USER.replace("self.k *", "7 *"))
    with pytest.raises(InputError, match=r"import package.inner.mine.*No module named 'package'"):
        load(path)
    net = load(path, python_path=tmp_path / "elsewhere")
    np.testing.assert_array_equal(net.forward(data=X)["t"], 7 * X)
    with pytest.raises(InputError, match=r"nowhere: no such folder; --python-path"):
        load(path, python_path="nowhere")


@pytest.mark.parametrize(
    ("kind", "module", "wanted"),
    [
        ("Scaled", "absent", r"layer 'user' \(Python, absent.Scaled\).*ModuleNotFoundError: No module named"),
        ("Absent", "mine", r"'Absent' of .*mine.py is not there"),
        ("Strange", "mine", r"'Strange' of .*mine.py is no caffe.Layer"),
        ("Gone", "mine", rf"setup raised SystemExit: 3 \(.*mine.py, line {line_of('SystemExit')}\)"),
    ],
)
def test_code_that_cannot_be_set_up(file: Any, kind: str, module: str, wanted: str) -> None:
    with pytest.raises(InputError, match=wanted) as error:
        load(file(layer(kind, module=module)))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("kind", "mark"), [("Broken", "1 / 0"), ("Deep", "np.zeros(2)")])
def test_code_that_raises(file: Any, kind: str, mark: str) -> None:
    net = load(file(layer(kind)))
    place = rf"\(.*mine.py, line {line_of(mark)}\)"
    with pytest.raises(RunError, match=rf"layer 'user' \(Python, mine.{kind}\): forward raised .*{place}"):
        net.forward(data=X)


def test_code_of_python_2(file: Any, tmp_path: Path) -> None:
    path = file(layer("Scaled", module="old"))
    (tmp_path / "old.py").write_text('import caffe\nprint "loaded"\n')
    with pytest.raises(InputError, match=r"is no Python 3: Missing parentheses.*old.py, line 2"):
        load(path)


def test_real_caffe_says_why_not(file: Any) -> None:
    pytest.importorskip("caffe", reason="real Caffe is not installed: make caffe")
    with pytest.raises(CaffeVizError, match=r"layer 'user' \(Python\).*without layers in Python.*torch"):
        cv.load_net(file(layer("Scaled")), engine="caffe", allow_code=True)


def test_check_of_a_net_with_code(file: Any) -> None:
    report = cv.check(file(layer("Scaled")), allow_code=True, engine="torch")
    assert report.ok
    (finding,) = cv.check(file(layer("Broken").replace("2.5", "x")), allow_code=True, engine="torch").errors
    assert "could not convert string to float: 'x'" in str(finding)


CONVOLUTION = """
name: "maps"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param {
  num_output: 2 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "user" type: "Python" bottom: "conv" top: "user"
  python_param { module: "mine" layer: "Scaled" param_str: "2" } }
layer { name: "pool" type: "Pooling" bottom: "user" top: "pool" pooling_param { pool: AVE kernel_size: 6 } }
"""


def test_commands(file: Any, tmp_path: Path) -> None:
    """With a worker process: `ascend`; what the code prints does not get into JSON."""
    path = file("")
    path.write_text(CONVOLUTION)
    net = load(path)
    weights, image = tmp_path / "net.caffemodel", tmp_path / "image.npy"
    net.save(str(weights))
    np.save(image, np.random.default_rng(0).normal(size=(3, 8, 8)).astype(np.float32))
    code = ("--allow-code",)
    assert "1 2 6 6" in here("shapes", path, *code)
    assert (tmp_path / "ran").exists()
    here("draw", path, *code, "--output", tmp_path)
    run = (path, weights, *code, "--engine", "torch", "--output", tmp_path, "--json")
    found = json.loads(here("activations", *run, "--image", image))
    assert found["engine"] == "torch"
    json.loads(here("gradient", *run, "--image", image, "--target", "pool:1"))
    made = json.loads(here("ascend", *run, "--layer", "user", "--filters", "0", "--steps", 3, "--jobs", 1))
    assert made["filters"]


SOLVER = """
net: "{net}" base_lr: 0.5 lr_policy: "fixed" max_iter: 2 test_iter: 1 test_interval: 1 snapshot_after_train: false
"""
TRAINED = """
name: "trained"
layer {{ name: "in" type: "DummyData" top: "data" dummy_data_param {{
  shape {{ dim: 2 dim: 3 }} data_filler {{ type: "constant" value: 1 }} }} }}
{user}
layer {{ name: "loss" type: "EuclideanLoss" bottom: "t" bottom: "data" top: "loss" }}
"""


def test_training(file: Any, tmp_path: Path) -> None:
    """loss = sum (w - 1)^2 / 2 over three columns of two equal rows, over two: d/dw = w - 1."""
    net = file("")
    net.write_text(TRAINED.format(user=layer("Learned")))
    solver = tmp_path / "solver.prototxt"
    solver.write_text(SOLVER.format(net=net))
    with pytest.raises(InputError, match="allow-code"):
        cv.load_solver(solver, engine="torch")
    made = cv.load_solver(solver, engine="torch", allow_code=True)
    made.step(1)
    np.testing.assert_allclose(made.net.params["user"][0].data, 2 - 0.5 * (2 - 1), rtol=1e-6)
    here("train", solver, "--allow-code", "--engine", "torch", "--output", tmp_path)
