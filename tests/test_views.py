"""What a user sees in IPython: values that show themselves, on a net of load_net and on the two files."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import ran

import caffe_viz as cv
from caffe_viz.ascent import BATCH
from caffe_viz.ascent.worker import Batch, BatchProgress
from caffe_viz.errors import InputError, RunError
from caffe_viz.images import save_png
from caffe_viz.netdef import NetParameter, make_blob, parse_net
from caffe_viz.network import Network
from caffe_viz.probe import relu_state
from caffe_viz.tasks import InProcess

PNG = b"\x89PNG"
REPOSITORY = Path(__file__).resolve().parent.parent
CAT = REPOSITORY / "examples" / "cat.png"


@pytest.fixture(scope="module")
def cifar(networks: Path, engine: str) -> Any:
    folder = networks / "caffenet_cifar10"
    return cv.load_net(folder / "deploy.prototxt", folder / "caffenet_cifar10.caffemodel", engine=engine)


@pytest.fixture(scope="module")
def both(networks: Path, caffe: Any) -> tuple[Any, Any]:
    """The shipped net on real Caffe and on the embedded engine."""
    pytest.importorskip("torch", reason="the engine torch is not installed")
    folder = networks / "caffenet_cifar10"
    paths = folder / "deploy.prototxt", folder / "caffenet_cifar10.caffemodel"
    return cv.load_net(*paths, engine="caffe"), cv.load_net(*paths, engine="torch")


def test_both_engines_show_the_same(both: tuple[Any, Any]) -> None:
    a, b = (cv.show_activations(net, CAT) for net in both)
    for name, array in a.arrays.items():
        np.testing.assert_allclose(b.arrays[name], array, rtol=0, atol=1e-4 * np.abs(array).max())
    a, b = (cv.show_gradients(net, CAT, blobs=["data", "conv1", "pool2"]) for net in both)
    pairs = [(a.blobs[name], b.blobs[name]) for name in a.blobs]
    for name, arrays in a.params.items():
        pairs += zip(arrays, b.params[name], strict=True)
    assert len(pairs) == 3 + 2 * 8
    for real, ours in pairs:
        np.testing.assert_allclose(ours, real, rtol=0, atol=1e-4 * np.abs(real).max())


def test_the_cat_is_a_cat(cifar: Any, engine: str) -> None:
    found = cv.show_activations(cifar, CAT)
    assert found.engine == engine
    assert found.table.title == f"activations ({engine})"
    assert found.top(1)[0][:2] == (3, "cat")
    assert found.states["conv1"] == "post-ReLU (relu1, in place)"
    assert "post-ReLU (relu1, in place)" in repr(found)
    assert found.arrays["conv1"].shape == (48, 32, 32)
    assert (found.arrays["conv1"] >= 0).all()
    for blob in ("conv1", "fc6", "prob"):
        assert found.picture(blob)._repr_png_().startswith(PNG)
    with pytest.raises(InputError, match="Did you mean 'conv1'"):
        found.picture("conv_1")
    assert "<table>" in found._repr_html_()


def test_a_net_and_its_two_files_give_the_same(cifar: Any, engine: str, networks: Path) -> None:
    folder = networks / "caffenet_cifar10"
    files = Network(
        folder / "deploy.prototxt", folder / "caffenet_cifar10.caffemodel",
        cv.preprocess_near(folder / "deploy.prototxt"), engine,
    )  # fmt: skip
    a, b = (cv.show_activations(net, CAT, ["fc8"]).arrays["fc8"] for net in (cifar, files))
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(cv.show_weights(cifar, "conv1").rgb, cv.show_weights(files, "conv1").rgb)


def test_changed_parameters_are_seen(networks: Path, engine: str) -> None:
    folder = networks / "caffenet_cifar10"
    net = cv.load_net(folder / "deploy.prototxt", folder / "caffenet_cifar10.caffemodel", engine=engine)
    before = cv.show_weights(net, "conv1", [0]).rgb
    net.params["conv1"][0].data[0] *= np.random.default_rng(0).normal(size=(3, 7, 7))
    assert not np.array_equal(cv.show_weights(net, "conv1", [0]).rgb, before)


def test_shapes_of_net_path_and_message(cifar: Any, networks: Path) -> None:
    path = networks / "caffenet_cifar10" / "deploy.prototxt"
    assert str(cv.shapes(cifar)) == str(cv.shapes(path)) == str(cv.shapes(cv.read_net(path)))
    assert "50 48 32 32" in repr(cv.shapes(path, batch=50))
    assert cv.shapes(path)._repr_html_().count("<table>") == 4


def test_a_layer_and_an_index(networks: Path, engine: str) -> None:
    """As of version 0.1.0: what the layer itself computes, here the softmax, as a backward by hand has it."""
    folder = networks / "caffenet_cifar10"
    net = cv.load_net(
        folder / "deploy.prototxt", folder / "caffenet_cifar10.caffemodel", engine=engine, force_backward=True
    )
    pixels = Network.of(net).pixels(CAT)
    net.blobs["data"].reshape(1, *pixels.shape)
    net.blobs["data"].data[...] = pixels
    net.forward()
    expected = net.backward(diffs=["data"], prob=np.eye(10, dtype=np.float32)[[3]])["data"][0]
    found = cv.show_gradients(net, CAT, "prob", 3, ["data"]).blobs["data"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert cv.show_gradients(net, CAT, index=3).target == "fc8 3 cat"


def test_gradient_of_a_class_is_that_of_force_backward(cifar: Any, engine: str, networks: Path) -> None:
    found = cv.show_gradients(cifar, CAT, "fc8:3", blobs=["data", "conv2"])
    folder = networks / "caffenet_cifar10"
    message = cv.read_net(folder / "deploy.prototxt")
    message.force_backward = True
    del message.layer[-1]  # the softmax
    net = cv.load_net(message, cv.read_weights(folder / "caffenet_cifar10.caffemodel"), engine=engine)
    net.blobs["data"].data[...] = Network.of(cifar).pixels(CAT)
    net.forward()
    net.blobs["fc8"].diff[...] = 0
    net.blobs["fc8"].diff[0, 3] = 1
    net._backward(len(net.layers) - 1, 0)
    for name in ("data", "conv2"):
        np.testing.assert_allclose(found.blobs[name], net.blobs[name].diff[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.params["conv3"][0], net.params["conv3"][0].diff, rtol=1e-3, atol=1e-4)
    assert "image" not in found.params
    assert found.target == "fc8 3 cat"
    assert found.table.title == f"gradient of fc8 3 cat ({engine})"
    assert found.picture("data")._repr_png_().startswith(PNG)


def test_gradient_of_the_strongest_class_by_default(cifar: Any) -> None:
    assert cv.show_gradients(cifar, CAT).target == "fc8 3 cat"
    with pytest.raises(InputError, match="has classes 0 to 9"):
        cv.show_gradients(cifar, CAT, 10)


@pytest.mark.usefixtures("climbing_here")
def test_maximized_shows_and_saves(cifar: Any, engine: str, tmp_path: Path) -> None:
    found = cv.maximize(cifar, "conv2", [3, 40], steps=6, save_every=3, jobs=1)
    assert list(found.pictures) == [3, 40]
    assert found._repr_png_().startswith(PNG)
    names = sorted(path.name for path in found.save(tmp_path))
    assert names == [
        "conv2_natural.gif", "conv2_natural.npz", "conv2_natural_0003.png", "conv2_natural_0040.png",
        "conv2_natural_objective.png", "conv2_natural_sheet.png",
    ]  # fmt: skip
    assert sorted(p.name for p in tmp_path.iterdir()) == names
    assert f"conv2, natural ascent ({engine})" in repr(found)
    assert cv.Ascent.load(tmp_path / "conv2_natural.npz").engine == engine


@pytest.mark.usefixtures("climbing_here")
def test_classes_are_titled_by_their_labels(cifar: Any) -> None:
    assert cv.maximize(cifar, "fc8", [3], steps=1, jobs=1).titles == ["fc8 3 cat"]
    assert cv.maximize(cifar, "conv1", [3], steps=1, jobs=1).titles == ["conv1 3"]


@pytest.mark.usefixtures("climbing_here")
def test_maximize_from_a_photograph(cifar: Any) -> None:
    found = cv.maximize(cifar, "conv3", [0], steps=1, start=CAT, rate=1e-3, jobs=1)
    assert np.corrcoef(found.ascent.images.ravel(), Network.of(cifar).pixels(CAT).ravel())[0, 1] > 0.999


def test_an_interrupt_in_maximize_keeps_what_there_is(cifar: Any) -> None:
    def stop(progress: Any) -> None:
        raise KeyboardInterrupt

    found = cv.maximize(cifar, "conv2", range(4), steps=1000, on_progress=stop)
    assert found.interrupted
    assert found.ascent.filters == (0, 1, 2, 3)


class GoneAfterOne(InProcess[Batch, BatchProgress]):
    """Ends as a cluster that is lost after the first batch."""

    def run(self, pieces: Iterable[Batch]) -> Iterator[BatchProgress]:
        yield from super().run([next(iter(pieces))])
        raise RunError("the connection is lost.")


@pytest.mark.usefixtures("climbing_here")
def test_a_failure_in_maximize_keeps_what_there_is(
    cifar: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = cv.maximize(cifar, "conv2", range(BATCH), steps=2, jobs=1)
    monkeypatch.setattr("caffe_viz.ascent.WorkerPool", lambda job, jobs: GoneAfterOne(job))
    with pytest.warns(
        cv.CaffeVizWarning, match=r"the connection is lost\. What was finished by then is kept"
    ):
        found = cv.maximize(cifar, "conv2", range(BATCH + 1), steps=2)
    assert (found.failure, found.ascent.filters) == ("the connection is lost.", tuple(range(BATCH)))
    np.testing.assert_array_equal(found.ascent.images, whole.ascent.images)
    code, _, said = ran("ascend", "caffenet_cifar10", "--layer", "conv2", "--steps", "2", "-o", tmp_path)
    assert code == 1
    assert said.endswith("caffe-viz: the connection is lost. What was finished by then is kept.\n")
    assert cv.Ascent.load(tmp_path / "conv2_natural.npz").filters == tuple(range(BATCH))


@pytest.mark.usefixtures("climbing_here")
def test_data_that_is_no_picture(engine: str, tmp_path: Path) -> None:
    """The asker's net: 7 channels, 96 wide, 11 filters of 1 x 5, one of them planted."""
    text = """
    layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 8 dim: 7 dim: 1 dim: 96 } } }
    layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
            convolution_param { num_output: 11 kernel_h: 1 kernel_w: 5 } }
    layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
    layer { name: "ip" type: "InnerProduct" bottom: "conv1" top: "ip" inner_product_param { num_output: 4 } }
    """
    rng, weights = np.random.default_rng(0), NetParameter()
    for name, shapes in {"conv1": [(11, 7, 1, 5), (11,)], "ip": [(4, 11 * 92), (4,)]}.items():
        weights.layer.add(name=name, blobs=[make_blob(rng.normal(size=s)) for s in shapes])
    net = cv.load_net(parse_net(text), weights, engine=engine)
    assert cv.show_weights(net, "conv1").shape[2] == 3
    found = cv.maximize(net, "conv1", [0, 10], steps=8, jobs=1)
    assert found.ascent.images.shape == (2, 7, 1, 5)
    assert found.sheet._repr_png_().startswith(PNG)
    assert cv.maximize(net, "ip", [1], steps=8, jobs=1).ascent.images.shape == (1, 7, 1, 96)
    array = rng.normal(size=(7, 1, 96)).astype(np.float32)
    np.save(tmp_path / "data.npy", array)
    a, b = (cv.show_activations(net, image).arrays["ip"] for image in (array, tmp_path / "data.npy"))
    np.testing.assert_array_equal(a, b)
    assert np.abs(cv.show_gradients(net, array, "conv1:3").blobs["data"]).max() > 0
    with pytest.raises(InputError, match="the net takes 7 channels"):
        cv.show_activations(net, CAT)
    np.save(tmp_path / "wrong.npy", array[:3])
    with pytest.raises(InputError, match=r"takes \(7, 1, 96\)"):
        cv.show_activations(net, tmp_path / "wrong.npy")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda net: cv.show_weights(net, "conv_1"), "Did you mean 'conv1'"),
        (lambda net: cv.show_weights(net, "conv1", [48]), "filters 0 to 47, not 48"),
        (lambda net: cv.show_weights(net, "fc6", [256]), "filters 0 to 255, not 256"),
        (lambda net: cv.show_activations(net, CAT, ["con1"]), "Did you mean 'conv1'"),
        (lambda net: cv.show_activations(net, "nowhere.png"), "nowhere.png"),
        (lambda net: cv.show_activations(object(), CAT), "load_net"),
    ],
)
def test_bad_input(cifar: Any, call: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        call(cifar)


def test_relu_state() -> None:
    net = parse_net("""
    layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 2 } } }
    layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 } }
    layer { name: "out" type: "ReLU" bottom: "ip" top: "out" }
    """)
    assert relu_state(net, "ip") == "pre-ReLU (before out)"
    assert relu_state(net, "out") == "post-ReLU (out)"
    assert relu_state(net, "data") == ""


def test_squeezenet_sees_what_is_there(engine: str, shared: Path) -> None:
    folder = shared / "models" / "squeezenet_v1.0"
    labels = tuple((folder / "labels.txt").read_text().splitlines())
    preprocess = cv.Preprocess(mean=(104, 117, 123), resize=None, labels=labels)
    net = Network(folder / "deploy.prototxt", folder / "squeezenet_v1.0.caffemodel", preprocess, engine)
    seen = {}
    for image in sorted((shared / "images").glob("ILSVRC*.jpg")):
        found = cv.show_activations(net, image, ["pool_final"])
        index, label, _ = found.top(1)[0]
        scores = found.arrays["pool_final"].ravel()
        seen[index] = (label, float(np.exp(scores - scores.max()).sum() ** -1))  # softmax of the largest
    assert set(seen) == {290, 407, 515}
    assert all(probability > 0.95 for _, probability in seen.values())
    words = " / ".join(label for _, (label, _) in sorted(seen.items()))
    assert re.search("jaguar.* / .*ambulance.* / .*cowboy hat", words)


def test_no_display_and_no_state_of_matplotlib_is_touched(networks: Path, tmp_path: Path) -> None:
    """Headless, in a fresh process: pyplot is not imported, the backend is the user's."""
    code = f"""
import sys, caffe_viz as cv
from caffe_viz.figures import vector_plot
vector_plot([1, 2, 3]).save({str(tmp_path / "a.png")!r})
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, env={"PATH": "/usr/bin"})
    assert (tmp_path / "a.png").read_bytes().startswith(PNG)


def test_odd_layer_names_stay_in_the_folder(engine: str, tmp_path: Path) -> None:
    text = """
    layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
    layer { name: "../x" type: "Convolution" bottom: "data" top: "../x" convolution_param { num_output: 2 kernel_size: 3 } }
    layer { name: "..-x" type: "ReLU" bottom: "../x" top: "..-x" }
    """
    save_png(tmp_path / "image.png", np.zeros((8, 8, 3)))
    net = cv.load_net(parse_net(text), engine=engine)
    made = cv.show_activations(net, np.zeros((3, 8, 8), np.float32))
    paths = made.save(tmp_path / "out")
    assert len(set(paths)) == 3
    assert {p.parent for p in paths} == {tmp_path / "out"}
    assert {p.name for p in tmp_path.iterdir()} == {"image.png", "out"}
