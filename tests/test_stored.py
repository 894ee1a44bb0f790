"""Weights read without a message that holds them, against the message."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from caffe_viz.errors import InputError
from caffe_viz.netdef import BlobProto, NetParameter, blob_array, make_blob, read_weights, write_weights
from caffe_viz.netdef.copying import without_blobs
from caffe_viz.netdef.stored import MessageBlob, StoredBlob, stored_layers


def weights() -> NetParameter:
    rng, out = np.random.default_rng(0), NetParameter(name="net")
    out.layer.add(name="data", type="Input")
    out.layer.add(
        name="ä/conv", type="Convolution", blobs=map(make_blob, (rng.normal(size=(4, 3, 2, 1)), np.ones(4)))
    )
    out.layer.add(name="fc", type="InnerProduct", blobs=[make_blob(rng.normal(size=(2, 40)))])
    return out


def agree(path: Path, kind: type) -> None:
    expected = read_weights(path)
    found = stored_layers(path)
    assert [x.name for x in found] == [x.name for x in expected.layer]
    for mine, theirs in zip(found, expected.layer, strict=True):
        assert len(mine.blobs) == len(theirs.blobs)
        assert mine.message == without_blobs(theirs)
        for blob, proto in zip(mine.blobs, theirs.blobs, strict=True):
            assert type(blob) is kind
            np.testing.assert_array_equal(blob.array(), blob_array(proto))
            assert blob.count == blob.values.size == blob_array(proto).size


def test_equals_the_message(tmp_path: Path) -> None:
    path = tmp_path / "w.caffemodel"
    write_weights(weights(), path)
    agree(path, StoredBlob)


@pytest.mark.parametrize("name", ["lenet_mnist_v1", "cifar10_quick_v1", "squeezenet_v1.0"])
def test_trained_models_old_and_new(shared: Path, name: str) -> None:
    agree(next((shared / "models" / name).glob("*.caffemodel")), StoredBlob)


def test_values_in_double_and_legacy_shapes(tmp_path: Path) -> None:
    path, net = tmp_path / "w.caffemodel", weights()
    net.layer[2].blobs[0].CopyFrom(BlobProto(num=1, channels=1, height=2, width=2, double_data=[1, 2, 3, 4]))
    write_weights(net, path)
    agree(path, MessageBlob)
    net.layer[2].blobs[0].CopyFrom(
        BlobProto(num=1, channels=1, height=2, width=2, data=[1, 2, 3, 4], diff=[9])
    )
    write_weights(net, path)
    agree(path, StoredBlob)


def test_values_one_by_one(tmp_path: Path) -> None:
    """Writers that do not pack repeated numbers, as the first ones did."""
    blob = b"".join(b"\x2d" + np.float32(v).tobytes() for v in (1, 2, 3)) + b"\x3a\x03\x0a\x01\x03"
    layer = b"\x0a\x01a" + b"\x3a" + bytes([len(blob)]) + blob
    path = tmp_path / "w.caffemodel"
    path.write_bytes(b"\xa2\x06" + bytes([len(layer)]) + layer)
    agree(path, MessageBlob)
    np.testing.assert_array_equal(stored_layers(path)[0].blobs[0].array(), [1, 2, 3])


@pytest.mark.parametrize("cut", [1, 5, 100, 330])
def test_damaged_files_end_in_the_same_error(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "w.caffemodel"
    write_weights(weights(), path)
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(InputError) as expected:
        read_weights(path)
    with pytest.raises(InputError) as found:
        stored_layers(path)
    assert str(found.value) == str(expected.value)


@pytest.mark.parametrize(
    "data", [b"", b"<html></html>", b"layer { name: 'x' }", b"\x89PNG\r\n\x1a\n" * 9, b"\x80" * 40]
)
def test_other_files_end_in_the_same_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "w.caffemodel"
    path.write_bytes(data)
    with pytest.raises(InputError) as expected:
        read_weights(path)
    with pytest.raises(InputError) as found:
        stored_layers(path)
    assert str(found.value) == str(expected.value)


def test_a_count_that_does_not_fit_the_shape(tmp_path: Path) -> None:
    path, net = tmp_path / "w.caffemodel", weights()
    net.layer[2].blobs[0].shape.dim[0] = 3
    write_weights(net, path)
    with pytest.raises(InputError, match="damaged"):
        stored_layers(path)[2].blobs[0].array()


def test_a_net_holds_its_weights_once(tmp_path: Path) -> None:
    """The peak of a process that loads 80 MB is near 80 MB, not twice that."""
    pytest.importorskip("torch")
    code = """
import resource, sys
import caffe_viz as cv
from caffe_viz.engine import Net
from caffe_viz.netdef import parse_net
text = 'layer { name: "a" type: "Input" top: "a" input_param { shape { dim: 1 dim: 4000 } } }' \\
    'layer { name: "fc" type: "InnerProduct" bottom: "a" top: "fc" inner_product_param { num_output: 5000 } }'
Net(parse_net(text), 1).forward()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
net = cv.load_net(parse_net(text), sys.argv[1], engine="torch")
assert net.forward()["fc"].shape == (1, 5000)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""
    path, out = tmp_path / "w.caffemodel", NetParameter()
    out.layer.add(name="fc", blobs=[make_blob(np.ones((5000, 4000))), make_blob(np.ones(5000))])
    write_weights(out, path)
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 100
