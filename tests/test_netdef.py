"""Any age of file gives the V2 message that real Caffe would build; bad files say what they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from caffe_viz import netdef
from caffe_viz.backend import module
from caffe_viz.errors import InputError, RunError

V2 = """
layer { name: "input" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 6 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" param { lr_mult: 1 decay_mult: 2 }
        convolution_param { num_output: 4 pad: 1 kernel_size: 3 } }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
        pooling_param { pool: AVE kernel_size: 2 stride: 2 } }
layer { name: "ip" type: "InnerProduct" bottom: "pool1" top: "ip" inner_product_param { num_output: 5 } }
"""
V1 = """
input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 6
layers { name: "conv1" type: CONVOLUTION bottom: "data" top: "conv1" blobs_lr: 1 weight_decay: 2
         convolution_param { num_output: 4 pad: 1 kernel_size: 3 } }
layers { name: "pool1" type: POOLING bottom: "conv1" top: "pool1"
         pooling_param { pool: AVE kernel_size: 2 stride: 2 } }
layers { name: "ip" type: INNER_PRODUCT bottom: "pool1" top: "ip" inner_product_param { num_output: 5 } }
"""
V0 = """
input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 6
layers { layer { name: "pad1" type: "padding" pad: 1 } bottom: "data" top: "pad1" }
layers { layer { name: "conv1" type: "conv" num_output: 4 kernelsize: 3 blobs_lr: 1 weight_decay: 2 }
         bottom: "pad1" top: "conv1" }
layers { layer { name: "pool1" type: "pool" pool: AVE kernelsize: 2 stride: 2 } bottom: "conv1" top: "pool1" }
layers { layer { name: "ip" type: "innerproduct" num_output: 5 } bottom: "pool1" top: "ip" }
"""


@pytest.mark.parametrize("text", [V1, V0], ids=["V1", "V0"])
def test_old_syntax_becomes_the_same_message(text: str) -> None:
    assert netdef.parse_net(text) == netdef.parse_net(V2)


@pytest.mark.parametrize("text", [V2, V1, V0], ids=["V2", "V1", "V0"])
def test_each_engine_reads_old_text_and_our_v2_alike(engine: str, tmp_path: Path, text: str) -> None:
    caffe = module(engine)
    old, new = tmp_path / "old.prototxt", tmp_path / "new.prototxt"
    old.write_text(text)
    netdef.write_net(netdef.read_net(old), new)
    a, b = caffe.Net(str(old), caffe.TEST), caffe.Net(str(new), caffe.TEST)
    assert list(a._layer_names) == list(b._layer_names)
    assert [one.type for one in a.layers] == [one.type for one in b.layers]
    assert {k: v.data.shape for k, v in a.blobs.items()} == {k: v.data.shape for k, v in b.blobs.items()}


@pytest.mark.parametrize("model", ["lenet_mnist_v1", "cifar10_quick_v1"])
def test_trained_v1_models(engine: str, shared: Path, tmp_path: Path, model: str) -> None:
    caffe = module(engine)
    folder = shared / "models" / model
    prototxt, weights = folder / "deploy.prototxt", next(folder.glob("*.caffemodel"))
    real = caffe.Net(str(prototxt), caffe.TEST, weights=str(weights))
    ours = {one.name: one.blobs for one in netdef.read_weights(weights).layer}
    for name, blobs in real.params.items():
        for blob, proto in zip(blobs, ours[name], strict=True):
            np.testing.assert_array_equal(blob.data.ravel(), netdef.blob_array(proto).ravel())
    netdef.write_net(netdef.read_net(prototxt), tmp_path / "net.prototxt")
    netdef.write_weights(netdef.read_weights(weights), tmp_path / "net.caffemodel")
    again = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST, weights=str(tmp_path / "net.caffemodel"))
    image = np.random.default_rng(0).normal(size=real.blobs["data"].data.shape)
    out = [net.forward(data=image)["prob"].copy() for net in (real, again)]
    np.testing.assert_array_equal(*out)


def test_blob_round_trip() -> None:
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    blob = netdef.make_blob(array)
    assert netdef.blob_shape(blob) == (2, 3, 4)
    np.testing.assert_array_equal(netdef.blob_array(blob), array)


def test_legacy_and_double_blobs() -> None:
    blob = netdef.BlobProto(num=1, channels=1, height=2, width=2, double_data=[1, 2, 3, 4])
    np.testing.assert_array_equal(netdef.blob_array(blob), [[[[1, 2], [3, 4]]]])
    blob.double_data.append(5)
    with pytest.raises(InputError, match="holds 5 values"):
        netdef.blob_array(blob)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("layer { name: 'a' \n type: ReLU }", r"net\.prototxt:2:.*'ReLU'.*'a'"),
        ("layer { name: 'a'", r"net\.prototxt:1:"),
        ("", "is empty"),
        ("net: 'x.prototxt'", "net"),
        ("layers { name: 'x' bottom: 'a' top: 'b' }", "'x' has no type"),
        ("layers { layer { name: 'x' type: 'convv' } }", "'convv'.*'conv'"),
        ("layers { name: 'x' type: RELU } layer { name: 'y' }", "mixes"),
        ("input: 'data' input_dim: 1 layer { name: 'y' }", "4 input_dim"),
    ],
)
def test_bad_prototxt(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        netdef.read_net(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"\x89HDF\r\n", "HDF5"),
        (b"PK\x03\x04....", "zip"),
        (b"name: 'CaffeNet'\nlayer { }", "swapped"),
        (
            netdef.NetParameter(layer=[{"name": "x"}]).SerializeToString(),
            "names 1 layers, but none holds weights",
        ),
        (b"\x80\x02}q\x00.", "pickle"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (b"\n\x01x", "another format"),
    ],
)
def test_bad_caffemodel(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "net.caffemodel"
    path.write_bytes(data)
    with pytest.raises(InputError, match=words):
        netdef.read_weights(path)


def test_truncated_caffemodel(networks: Path, tmp_path: Path) -> None:
    whole = (networks / "caffenet_cifar10" / "caffenet_cifar10.caffemodel").read_bytes()
    (tmp_path / "cut.caffemodel").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="cut short"):
        netdef.read_weights(tmp_path / "cut.caffemodel")


def test_missing_file_names_the_near_one(tmp_path: Path) -> None:
    (tmp_path / "deploy.prototxt").write_text(V2)
    with pytest.raises(InputError, match=r"Did you mean 'deploy\.prototxt'"):
        netdef.read_net(tmp_path / "deplyo.prototxt")


def test_phase_rules_as_caffe(engine: str, networks: Path) -> None:
    caffe = module(engine)
    path = networks / "caffenet_cifar10" / "train_val.prototxt"
    for phase in ("TRAIN", "TEST"):
        real = caffe.Net(str(path), getattr(caffe, phase))
        ours = [layer.name for layer in netdef.for_phase(netdef.read_net(path), netdef.State(phase)).layer]
        assert ours == [name for name in real._layer_names if "_split" not in name]


def test_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text("old")

    def broken(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("caffe_viz.files.os.replace", broken)
    with pytest.raises(RunError, match="disk full"):
        netdef.write_net(netdef.parse_net(V2), path)
    assert [p.name for p in tmp_path.iterdir()] == ["net.prototxt"]
    assert path.read_text() == "old"
