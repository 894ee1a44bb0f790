"""convert: weights in other files and back; NumPy, h5py, safetensors and both engines say what is in them."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import safetensors.numpy
from commands import here, refused

import caffe_viz as cv
from caffe_viz.netdef import (
    NetParameter,
    make_blob,
    parse_net,
    read_net,
    read_weights,
    write_weights,
)
from caffe_viz.netdef.embedded_net import embedded_net

NET = """
name: "toy"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer { name: "a/conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc" inner_product_param { num_output: 5 } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""
SHAPES = {"a/conv": [(4, 3, 3, 3), (4,)], "fc": [(5, 144), (5,)]}
SUFFIXES = {
    "npz": "npz",
    "hdf5": "h5",
    "safetensors": "safetensors",
    "json": "json",
    "caffemodel": "caffemodel",
}
Values = dict[str, np.ndarray]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A caffemodel with its net inside, as Caffe saves it."""
    net, rng = parse_net(NET), np.random.default_rng(0)
    for layer in net.layer:
        layer.blobs.extend(make_blob(rng.normal(size=shape)) for shape in SHAPES.get(layer.name, []))
    write_weights(net, tmp_path / "toy.caffemodel")
    return tmp_path / "toy.caffemodel"


def values(path: Path) -> Values:
    """Of a caffemodel, by LAYER/NUMBER."""
    found = read_weights(path)
    return {
        f"{layer.name}/{k}": np.array(blob.data, np.float32).reshape(blob.shape.dim)
        for layer in found.layer
        for k, blob in enumerate(layer.blobs)
    }


def by_others(path: Path) -> Values:
    """What NumPy, h5py, json and safetensors find in a file."""
    match path.suffix:
        case ".npz":
            with np.load(path) as file:
                return {name: file[name] for name in file.files if name != "prototxt"}
        case ".h5":
            with h5py.File(path) as file:
                return {f"{layer}/{k}": file[f"data/{layer}/{k}"][...] for layer in SHAPES for k in "01"}
        case ".safetensors":
            return safetensors.numpy.load_file(path)
        case _:
            layers = json.loads(path.read_text())["layers"]
            return {
                f"{name}/{k}": np.array(blob["values"], np.float32).reshape(blob["shape"])
                for name, blobs in layers.items()
                for k, blob in enumerate(blobs)
            }


def same(a: Values, b: Values) -> None:
    assert sorted(a) == sorted(b)
    for name, array in a.items():
        np.testing.assert_array_equal(array, b[name])


@pytest.mark.parametrize("kind", [kind for kind in SUFFIXES if kind != "caffemodel"])
def test_other_programs_find_the_weights_by_name(kind: str, model: Path, tmp_path: Path) -> None:
    path = tmp_path / f"out/a.{SUFFIXES[kind]}"
    found = here("convert", model, "-o", path).splitlines()
    assert found[0].startswith("4 blobs of 2 layers, 837 values, ")
    assert found[1:] == ["largest difference after the way back: 0, all values are the same", str(path)]
    same(by_others(path), values(model))


@pytest.mark.parametrize("kind", SUFFIXES)
def test_the_way_back_is_complete(kind: str, model: Path, tmp_path: Path) -> None:
    path, back = tmp_path / f"a.{SUFFIXES[kind]}", tmp_path / "back.caffemodel"
    cv.convert(model, path)
    cv.convert(path, back)
    same(values(back), values(model))
    assert embedded_net(back) == embedded_net(model)
    # Nor is there what only we know of a net.
    assert not any(layer.trained for layer in NetParameter.FromString(back.read_bytes()).layer)
    assert [layer.type for layer in embedded_net(back).layer] == [
        layer.type for layer in parse_net(NET).layer
    ]
    assert path.stat().st_mode == model.stat().st_mode


@pytest.mark.parametrize("kind", ["hdf5", "caffemodel"])
def test_both_engines_load_what_is_written(kind: str, engine: str, model: Path, tmp_path: Path) -> None:
    cv.convert(model, tmp_path / "a.npz")
    cv.convert(tmp_path / "a.npz", tmp_path / "b", kind)
    net = cv.load_net(parse_net(NET), engine=engine)
    net.params["fc"][0].data[...] = 0
    if kind == "caffemodel":
        net.copy_from(str(tmp_path / "b"))
        np.testing.assert_array_equal(net.params["a/conv"][0].data, values(model)["a/conv/0"])
    else:  # real Caffe passes over layers with a slash in their name
        net.load_hdf5(str(tmp_path / "b"))
    np.testing.assert_array_equal(net.params["fc"][0].data, values(model)["fc/0"])


@pytest.mark.parametrize("kind", ["npz", "hdf5", "safetensors"])
def test_half_precision(kind: str, engine: str, model: Path, tmp_path: Path) -> None:
    path = tmp_path / f"a.{SUFFIXES[kind]}"
    said = here("convert", model, "-o", path, "--half").splitlines()[1]
    whole, halves = values(model), by_others(path)
    assert {array.dtype for array in halves.values()} == {np.dtype(np.float16)}
    lost = {name: np.abs(array.astype(np.float64) - whole[name]).max() for name, array in halves.items()}
    worst = max(lost, key=lambda name: lost[name])
    assert f"{lost[worst]:.3g}, in {worst}, whose weights go up to {np.abs(whole[worst]).max():.3g}" in said
    cv.convert(path, tmp_path / "back.caffemodel")
    same(values(tmp_path / "back.caffemodel"), {k: v.astype(np.float32) for k, v in halves.items()})
    if kind == "hdf5":  # Caffe reads it too
        net = cv.load_net(parse_net(NET), engine=engine)
        net.load_hdf5(str(path))
        np.testing.assert_array_equal(net.params["fc"][0].data, halves["fc/0"].astype(np.float32))


def test_what_half_precision_cannot_hold(model: Path, tmp_path: Path) -> None:
    net = read_weights(model)
    net.layer[1].blobs[0].data[5] = 1e5
    write_weights(net, model)
    assert "a/conv/0 has weights up to 1e+05, too large for float16" in refused(
        "convert", model, "-o", tmp_path / "a.npz", "--half"
    )
    assert not list(tmp_path.glob("*a.npz*"))  # written whole or not at all
    for name in ("a.json", "a.caffemodel"):
        assert "does not support half precision; npz, hdf5, safetensors do" in refused(
            "convert", model, "-o", tmp_path / name, "--half"
        )


@pytest.mark.parametrize("kind", SUFFIXES)
def test_nan_and_infinity_come_back(kind: str, model: Path, tmp_path: Path) -> None:
    net = read_weights(model)
    net.layer[1].blobs[0].data[:3] = [np.nan, np.inf, -np.inf]
    write_weights(net, model)
    made = cv.convert(model, tmp_path / f"a.{SUFFIXES[kind]}").made
    assert (made.difference, made.where) == (0, "")
    cv.convert(tmp_path / f"a.{SUFFIXES[kind]}", tmp_path / "back.caffemodel")
    same(values(tmp_path / "back.caffemodel"), values(model))


def test_weights_without_their_net(model: Path, tmp_path: Path) -> None:
    """A file of another program has names alone: Caffe goes by these, and a prototxt tells the rest."""
    plain = tmp_path / "plain.npz"
    np.savez(plain, **values(model))
    assert "no layers of the net: give --prototxt" in here("convert", plain, "-o", tmp_path / "a.caffemodel")
    same(values(tmp_path / "a.caffemodel"), values(model))
    (tmp_path / "net.prototxt").write_text(NET)
    here("convert", plain, "-o", tmp_path / "b.caffemodel", "--prototxt", tmp_path / "net.prototxt")
    assert embedded_net(tmp_path / "b.caffemodel") == embedded_net(model)
    other = NET.replace('"fc" type', '"x" type').replace("a/conv", "y")
    (tmp_path / "net.prototxt").write_text(other)
    assert "has none of the layers" in refused(
        "convert", plain, "-o", tmp_path / "c.npz", "--prototxt", tmp_path / "net.prototxt"
    )


def test_caffemodels_of_2014_become_those_of_today(tmp_path: Path) -> None:
    from caffe_viz.netdef.net_pb2 import V1LayerParameter

    blob = make_blob(np.arange(12, dtype=np.float32))
    blob.ClearField("shape")
    blob.num, blob.channels, blob.height, blob.width = 1, 1, 3, 4
    old = NetParameter(name="old")
    old.layers.add(name="fc", type=V1LayerParameter.INNER_PRODUCT, bottom=["x"], top=["fc"], blobs=[blob])
    (tmp_path / "old.caffemodel").write_bytes(old.SerializeToString())
    cv.convert(tmp_path / "old.caffemodel", tmp_path / "new.caffemodel")
    [layer] = [one for one in read_weights(tmp_path / "new.caffemodel").layer if one.blobs]
    assert (layer.type, list(layer.blobs[0].shape.dim)) == ("InnerProduct", [1, 1, 3, 4])


def test_the_shipped_net(networks: Path, engine: str, tmp_path: Path) -> None:
    folder = networks / "caffenet_cifar10"
    for one, two in (("caffenet_cifar10.caffemodel", "a.safetensors"), ("a.safetensors", "b.caffemodel")):
        cv.convert(folder / one if (folder / one).exists() else tmp_path / one, tmp_path / two)
    nets = [cv.load_net(folder / "deploy.prototxt", path, engine=engine)
            for path in (folder / "caffenet_cifar10.caffemodel", tmp_path / "b.caffemodel")]  # fmt: skip
    outs = []
    for net in nets:
        net.blobs["data"].data[...] = np.random.default_rng(0).normal(size=net.blobs["data"].data.shape)
        outs.append(next(iter(net.forward().values())).copy())
    np.testing.assert_array_equal(*outs)
    assert read_net(folder / "deploy.prototxt").name == embedded_net(tmp_path / "b.caffemodel").name


# --- untrusted files ---------------------------------------------------------------


def zipped(name: str, data: bytes, compression: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as file:
        file.writestr(name, data)
    return out.getvalue()


def npy(shape: str, kind: str = "<f4") -> bytes:
    head = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode()


def pickled() -> bytes:
    out = io.BytesIO()
    np.save(out, np.array([{}, 1], object), allow_pickle=True)
    return out.getvalue()


def tensor_file(header: Any, length: int | None = None, data: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


BAD: dict[str, tuple[bytes, str]] = {
    "pickle": (zipped("a/0.npy", pickled()), "a pickle, which is not read"),
    "lying npy": (zipped("a/0.npy", npy("(99999999999999,)")), "is damaged: array"),
    "negative npy": (zipped("a/0.npy", npy("(-1,)") + b"0" * 4), "is damaged: array"),
    "packed zeros": (
        zipped("a/0.npy", npy("(30000000,)") + bytes(5_000_000), zipfile.ZIP_DEFLATED)[:4000], "damaged",
    ),
    "texts": (zipped("a/0.npy", npy("(1,)", "<U1") + b"abcd"), "no numbers"),
    "other names": (zipped("weight.npy", npy("(1,)") + b"abcd"), "is not named LAYER/NUMBER"),
    "a gap": (zipped("a/1.npy", npy("(1,)") + b"abcd"), "a/0 is missing"),
    "no npy": (zipped("a/0.npy", b"what"), "is not a .npz file, or is damaged"),
    "an empty zip": (b"PK\5\6" + bytes(18), "caffemodel"),
    "a cut zip": (zipped("a/0.npy", npy("(1,)") + b"abcd")[:-30], "is not a .npz file, or is damaged"),
    "long header": (tensor_file({}, 2**31), "not a safetensors file, or is damaged"),
    "lying tensor": (
        tensor_file({"a/0": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 4]}}, data=b"abcd"),
        "not a safetensors file, or is damaged",
    ),
    "bf16": (
        tensor_file({"a/0": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}, data=b"abcd"),
        "is BF16, a type that NumPy does not have",
    ),
    "names of torch": (
        tensor_file({"a.weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, data=b"abcd"),
        "is not named LAYER/NUMBER",
    ),
    "deep JSON": (b'{"layers": ' + b"[" * 100_000, "not a JSON file of weights|nested too deeply"),
    "JSON of something": (b'{"a": 1}', "it has no 'layers'"),
    "JSON of a list": (b'{"layers": [1]}', "not a JSON file of weights"),
    "lying JSON": (b'{"layers": {"a": [{"shape": [999999999999], "values": [1]}]}}', "has 1 values"),
    "JSON of words": (b'{"layers": {"a": [{"shape": [1], "values": ["x"]}]}}', "not a JSON file of weights"),
    "a damaged prototxt": (
        b'{"prototxt": "layer {", "layers": {"a": [{"shape": [1], "values": [1]}]}}', "prototxt",
    ),
    "nothing": (b"", "toy"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_bad_files_are_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    data, words = BAD[kind]
    (tmp_path / "toy.bin").write_bytes(data)
    said = refused("convert", tmp_path / "toy.bin", "-o", tmp_path / "a.caffemodel")
    assert said.count("\n") == 1
    assert any(one in said for one in words.split("|"))
    assert not (tmp_path / "a.caffemodel").exists()


def test_wrong_ways(model: Path, tmp_path: Path) -> None:
    assert "which format is meant? Give --to npz" in refused("convert", model, "-o", tmp_path / "a")
    assert "Did you mean 'hdf5'" in refused("convert", model, "-o", tmp_path / "a", "--to", "hdf")
    assert "is the input file" in refused("convert", model, "-o", model)
    assert "none: no such" in refused("convert", tmp_path / "none", "-o", tmp_path / "a.npz")
