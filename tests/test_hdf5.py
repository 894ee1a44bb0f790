"""Weights as HDF5: read like a caffemodel everywhere, by the layout of Caffe's Net::ToHDF5."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import here

import caffe_viz as cv
from caffe_viz import backend
from caffe_viz.errors import CaffeVizError, InputError, RunError
from caffe_viz.netdef import blob_array, parse_net, read_weights, stored_layers
from caffe_viz.netdef.hdf5 import HDF5Blob

h5py = pytest.importorskip("h5py")

NET = """
    name: "small" layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }
    layer { name: "conv10" type: "Convolution" bottom: "data" top: "conv10" convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "gaussian" std: 0.5 } bias_filler { type: "uniform" } } }
    layer { name: "relu" type: "ReLU" bottom: "conv10" top: "conv10" }
    layer { name: "conv2" type: "Convolution" bottom: "conv10" top: "conv2" convolution_param { num_output: 4 kernel_size: 1 weight_filler { type: "gaussian" std: 0.5 } } }
    layer { name: "fc" type: "InnerProduct" bottom: "conv2" top: "fc" inner_product_param { num_output: 5 weight_filler { type: "gaussian" std: 0.1 } } }
"""
SHARED = """
    layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 6 } } }
    layer { name: "a" type: "InnerProduct" bottom: "data" top: "a" param { name: "w" } param { name: "b" } inner_product_param { num_output: 6 weight_filler { type: "gaussian" std: 0.3 } bias_filler { type: "uniform" } } }
    layer { name: "a_p" type: "InnerProduct" bottom: "a" top: "a_p" param { name: "w" } param { name: "b" } inner_product_param { num_output: 6 } }
    layer { name: "own_bias" type: "InnerProduct" bottom: "a_p" top: "c" param { name: "w" } inner_product_param { num_output: 6 bias_filler { type: "uniform" } } }
    layer { name: "own_weights" type: "InnerProduct" bottom: "c" top: "d" param { } param { name: "b" } inner_product_param { num_output: 6 weight_filler { type: "gaussian" std: 0.3 } } }
"""
Files = Callable[[str], tuple[Path, Path, dict[str, Any]]]


@pytest.fixture
def written(engine: str, tmp_path: Path) -> Files:
    """A prototxt, its weights as the engine saves them as HDF5 (without .h5 in the name), and what it answers."""

    def make(text: str) -> tuple[Path, Path, dict[str, Any]]:
        prototxt, path = tmp_path / "net.prototxt", tmp_path / "weights"
        prototxt.write_text(text)
        net = backend.module(engine).Net(str(prototxt), 1)
        net.blobs["data"].data[...] = (
            1 + np.arange(net.blobs["data"].data.size).reshape(net.blobs["data"].shape) % 7
        )
        net.save_hdf5(str(path))
        net.save(str(tmp_path / "same.caffemodel"))
        return prototxt, path, {name: blob.copy() for name, blob in net.forward().items()}

    return make


def forward(net: Any) -> dict[str, Any]:
    net.blobs["data"].data[...] = (
        1 + np.arange(net.blobs["data"].data.size).reshape(net.blobs["data"].shape) % 7
    )
    return dict(net.forward())


@pytest.mark.parametrize("text", [NET, SHARED], ids=["plain", "shared"])
def test_as_the_engine_itself_reads_it(written: Files, text: str, engine: str, tmp_path: Path) -> None:
    prototxt, path, expected = written(text)
    (name,) = expected
    found = cv.load_net(prototxt, path, engine=engine)
    np.testing.assert_array_equal(forward(found)[name], expected[name])
    own = tmp_path / "weights.h5"
    path.rename(own)
    itself = backend.module(engine).Net(str(prototxt), 1)
    itself.load_hdf5(str(own))
    np.testing.assert_array_equal(forward(itself)[name], expected[name])
    by_message = cv.load_net(parse_net(text), read_weights(own, parse_net(text)), engine=engine)
    np.testing.assert_array_equal(forward(by_message)[name], expected[name])


@pytest.mark.parametrize("text", [NET, SHARED], ids=["plain", "shared"])
def test_equals_the_caffemodel(written: Files, text: str, tmp_path: Path) -> None:
    _, path, _ = written(text)
    theirs = {x.name: x for x in stored_layers(tmp_path / "same.caffemodel") if x.blobs}
    mine = {x.name: x for x in stored_layers(path, parse_net(text)) if x.blobs}
    assert list(mine) == list(theirs)  # in the order of the net
    message = {x.name: x for x in read_weights(path, parse_net(text)).layer}
    for name, layer in mine.items():
        assert len(layer.blobs) == len(theirs[name].blobs) == len(message[name].blobs)
        for blob, other, proto in zip(layer.blobs, theirs[name].blobs, message[name].blobs, strict=True):
            assert type(blob) is HDF5Blob
            np.testing.assert_array_equal(blob.array(), other.array())
            np.testing.assert_array_equal(blob.values, other.values)
            np.testing.assert_array_equal(blob_array(proto), other.array())
            assert blob.count == other.count


def test_without_a_net_names_count_up(written: Files) -> None:
    _, path, _ = written(NET)
    assert [x.name for x in stored_layers(path) if x.blobs] == ["conv2", "conv10", "fc"]


def test_snapshots_are_a_series(tmp_path: Path) -> None:
    from caffe_viz.recording.series import of_snapshots

    paths = [tmp_path / f"a_iter_{n}.caffemodel.h5" for n in (10, 2)]
    for path, value in zip(paths, (3, 1), strict=True):
        with h5py.File(path, "w") as file:
            file["data/fc/0"] = np.full((2, 5), value, np.float32)
    frames = of_snapshots(paths).frames
    assert [frame.period.iteration for frame in frames] == [2, 10]
    np.testing.assert_allclose([frame.period.weights[0] for frame in frames], np.sqrt(10) * np.array([1, 3]))


def test_names_with_slashes_are_groups_in_groups(tmp_path: Path, engine: str) -> None:
    """Which real Caffe passes over without a word: they are filled in by name."""
    text = NET.replace('"conv10"', '"block/conv10"').replace('"conv2"', '"block/conv10/1x1"')
    prototxt, path = tmp_path / "net.prototxt", tmp_path / "w.h5"
    prototxt.write_text(text)
    values = {
        "block/conv10": [(4, 3, 3, 3), (4,)],
        "block/conv10/1x1": [(4, 4, 1, 1), (4,)],
        "fc": [(5, 144), (5,)],
    }
    with h5py.File(path, "w") as file:
        for name, shapes in values.items():
            for i, shape in enumerate(shapes):
                file[f"data/{name}/{i}"] = np.full(shape, len(name) + i, np.float64)
                file[f"diff/{name}/{i}"] = np.zeros(shape)
    net = cv.load_net(prototxt, path, engine=engine)
    for name, shapes in values.items():
        for i, shape in enumerate(shapes):
            assert net.params[name][i].data.shape == shape
            assert (net.params[name][i].data == len(name) + i).all()


def test_commands(written: Files, tmp_path: Path, engine: str) -> None:
    prototxt, path, _ = written(NET)
    same, out = tmp_path / "same.caffemodel", tmp_path / "out"
    assert "0 errors" in here("check", prototxt, path)
    assert "conv10_weights.png" in here("weights", prototxt, path, "-o", out)  # the net's first
    assert "the same: all 3 layers" in here("diff", path, same, "-o", out)
    here("ascend", prototxt, path, "--engine", engine, "--layer", "conv2", "--filters", "0", "--steps", "2",
        "--jobs", "1", "-o", out)  # fmt: skip


def test_a_shape_that_differs_is_named(written: Files, engine: str) -> None:
    prototxt, path, _ = written(NET)
    with h5py.File(path, "a") as file:
        del file["data/fc/0"]
        file["data/fc/0"] = np.zeros((5, 9))
    with pytest.raises(InputError, match=r"'fc'.*blob 0: shape \(5, 9\), the net has \(5, 144\)"):
        cv.load_net(prototxt, path, engine=engine)


def test_a_missing_blob_is_named(written: Files, engine: str) -> None:
    prototxt, path, _ = written(NET)
    with h5py.File(path, "a") as file:
        del file["data/fc/1"]
    with pytest.raises(InputError, match=r"'fc'.*1 blobs, the net has 2"):
        cv.load_net(prototxt, path, engine=engine)


def other(file: Any, kind: str) -> None:
    if kind == "keras":
        file.attrs["keras_version"] = "2.1"
        file["model_weights/conv/kernel:0"] = np.zeros(3)
    elif kind == "state":
        file["iter"], file["history/0"] = 3, np.zeros(3)
    elif kind == "images":
        file["data"] = np.zeros((4, 3))
    elif kind == "others":
        file["weights/a"] = np.zeros(3)
    elif kind == "empty":
        file.create_group("data/conv")
    elif kind == "text":
        file["data/conv/0"] = "hello"
    elif kind == "names":
        file["data/conv/kernel"] = np.zeros(3)
    elif kind == "loose":
        file["data/0"] = np.zeros(3)
    elif kind == "external":
        file["data/conv/0"] = h5py.ExternalLink("/etc/passwd", "/x")
    elif kind == "outside":
        file["data"] = h5py.ExternalLink("/etc/passwd", "/x")
    elif kind == "values outside":
        file.create_dataset("data/conv/0", (4,), "f4", external=[("/etc/passwd", 0, 16)])
    elif kind == "loop":
        file["data/conv/0"] = np.zeros(3)
        file["data/conv/again"] = file["data"]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("keras", "it is of Keras"), ("state", "a solver's state"), ("images", "HDF5Data"), ("others", "no group 'data', but 'weights'"),
        ("empty", "has no arrays"), ("text", "/data/conv/0 is not an array"), ("names", "/data/conv/kernel is not an array"), ("loose", "the array '0'"),
        ("external", "/data/conv/0 is a link"), ("outside", "/data is a link"), ("values outside", "in another file"), ("loop", "within itself"),
    ],
)  # fmt: skip
def test_other_files_of_this_kind_end_in_one_line(tmp_path: Path, kind: str, words: str) -> None:
    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as file:
        other(file, kind)
    for read in (read_weights, stored_layers):
        with pytest.raises(InputError, match=words) as found:
            read(path)
        assert str(path) in str(found.value)
        assert "\n" not in str(found.value)


def test_damaged_files_end_in_one_line(tmp_path: Path) -> None:
    path, rng = tmp_path / "w.h5", np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for name in ("a", "b/c"):
            file.create_dataset(f"data/{name}/0", data=rng.normal(size=(20, 5)), compression="gzip")
    whole = path.read_bytes()
    for cut in (8, 20, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(InputError, match="cannot be read as HDF5"):
            read_weights(path)
    said = list[str]()
    for place in range(100, len(whole), len(whole) // 60):
        path.write_bytes(whole[:place] + bytes(8) + whole[place + 8 :])
        try:
            read_weights(path)
        except CaffeVizError as error:
            said.append(str(error))
    assert len(said) > 5
    assert not any("\n" in line for line in said)


def test_without_the_library_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as file:
        file["data/a/0"] = np.zeros(3)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(RunError, match="pip install h5py"):
        stored_layers(path)
