"""The net that a caffemodel holds: as it was written, and in the place of the prototxt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from commands import here, ran, refused

import caffe_viz as cv
from caffe_viz import backend
from caffe_viz.errors import InputError
from caffe_viz.netdef import (
    NetParameter,
    State,
    as_text,
    for_phase,
    make_blob,
    parse_net,
    read_net,
    write_net,
    write_weights,
)

SOLVED = """
    name: "branches" state { phase: TRAIN }
    layer { name: "data" type: "DummyData" top: "data" top: "label" include { phase: TRAIN } dummy_data_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } shape { dim: 2 } } }
    layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" param { lr_mult: 2 } convolution_param { num_output: 4 kernel_size: 3 } }
    layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
    layer { name: "a/1x1" type: "Convolution" bottom: "conv" top: "a/1x1" convolution_param { num_output: 4 kernel_size: 1 } }
    layer { name: "b" type: "Convolution" bottom: "conv" top: "b" convolution_param { num_output: 4 kernel_size: 1 } }
    layer { name: "sum" type: "Eltwise" bottom: "a/1x1" bottom: "b" bottom: "conv" top: "sum" }
    layer { name: "drop" type: "Dropout" bottom: "sum" top: "sum" exclude { phase: TEST } }
    layer { name: "fc" type: "InnerProduct" bottom: "sum" top: "fc" inner_product_param { num_output: 5 } }
    layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" loss_weight: 0.5 }
    layer { name: "twice" type: "Power" bottom: "loss" top: "twice" power_param { scale: 2 } }
    layer { name: "half" type: "Power" bottom: "fc" top: "half" loss_weight: 1 power_param { scale: 0.5 } }
    layer { name: "again" type: "Power" bottom: "half" top: "again" }
    layer { name: "own" type: "Split" bottom: "fc" top: "c" top: "d" }
    layer { name: "quiet" type: "Silence" bottom: "c" bottom: "d" bottom: "again" bottom: "twice" }
"""
DEPLOY = """
    name: "small"
    layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 12 dim: 12 } } }
    layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "gaussian" std: 0.1 } } }
    layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
    layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { kernel_size: 2 stride: 2 } }
    layer { name: "fc" type: "InnerProduct" bottom: "pool" top: "fc" inner_product_param { num_output: 5 weight_filler { type: "gaussian" std: 0.1 } } }
    layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""


def saved(engine: str, folder: Path, text: str, phase: int) -> Path:
    """A caffemodel as the engine saves it."""
    (folder / "net.prototxt").write_text(text)
    path = folder / "net.caffemodel"
    backend.module(engine).Net(str(folder / "net.prototxt"), phase).save(str(path))
    return path


def plain(net: NetParameter) -> str:
    """The text of a net's layers, without what Caffe has added."""
    out = NetParameter()
    out.CopyFrom(net)
    for layer in out.layer:
        if layer.type == "Power":
            layer.power_param.SetInParent()
    return as_text(out)


def test_is_the_net_that_was_written(engine: str, tmp_path: Path) -> None:
    """Splits gone, theirs alone; loss weights back; one phase for all."""
    path = saved(engine, tmp_path, SOLVED, 0)
    assert b"conv_relu_0_split" in path.read_bytes()
    expected = parse_net(SOLVED)
    if engine == "torch":  # stores no rules that were met
        expected.ClearField("state")
        for layer in expected.layer:
            layer.ClearField("include")
            layer.ClearField("exclude")
    assert plain(read_net(path)) == plain(expected)
    out = tmp_path / "out" / "net.prototxt"
    assert here("extract", path, "-o", out).strip() == str(out)
    assert plain(read_net(out)) == plain(expected)
    backend.module(engine).Net(str(out), 0)


def test_of_the_phase_test(engine: str, tmp_path: Path) -> None:
    path = saved(engine, tmp_path, DEPLOY, 1)
    assert as_text(read_net(path)) == as_text(parse_net(DEPLOY))


def test_stages_and_levels_are_those_that_its_rules_need(tmp_path: Path) -> None:
    rules = (
        'include { stage: "fit" stage: "big" } include { phase: TEST }',
        "include { min_level: 2 phase: TRAIN }",
    )
    text = DEPLOY.replace('name: "relu"', f'name: "relu" {rules[0]}').replace(
        'name: "pool"', f'name: "pool" {rules[1]}'
    )
    whole = for_phase(parse_net(text), State("TRAIN", ["fit", "big", "more"], 3))
    net = parse_net(text)
    for layer in net.layer:
        layer.phase = 0
        layer.blobs.add().data.append(1)
    write_weights(net, tmp_path / "w.caffemodel")
    found = read_net(tmp_path / "w.caffemodel")
    assert (found.state.phase, list(found.state.stage), found.state.level) == (0, ["fit", "big"], 2)
    assert [x.name for x in for_phase(found).layer] == [x.name for x in whole.layer]


def test_old_layers_and_inputs_without_a_shape(tmp_path: Path) -> None:
    """As caffemodels of 2014: V1 layers, legacy shapes, and of inputs the names."""
    net, path = NetParameter(name="old", input=["data"]), tmp_path / "old.caffemodel"
    split = "data_input_0_split"
    net.layers.add(name=split, type=22, bottom=["data"], top=[f"{split}_0", f"{split}_1"])
    conv = net.layers.add(name="conv", type=4, bottom=[f"{split}_0"], top=["conv"], blobs_lr=[1, 2])
    conv.convolution_param.num_output = 6
    conv.convolution_param.kernel_size.append(3)
    fc = net.layers.add(name="fc", type=14, bottom=["conv"], top=["fc"])
    fc.inner_product_param.num_output = 2
    net.layers.add(name="power", type=26, bottom=[f"{split}_1"], top=["power"])
    for layer, shapes in ((conv, [(6, 1, 3, 3), (1, 1, 1, 6)]), (fc, [(1, 1, 2, 96), (1, 1, 1, 2)])):
        for n, c, h, w in shapes:
            layer.blobs.add(num=n, channels=c, height=h, width=w, data=np.ones(n * c * h * w))
    write_weights(net, path)
    found = read_net(path)
    assert [(x.type, list(x.bottom)) for x in found.layer] == [
        ("Input", []), ("Convolution", ["data"]), ("InnerProduct", ["conv"]), ("Power", ["data"]),
    ]  # fmt: skip
    assert [x.lr_mult for x in found.layer[1].param] == [1, 2]
    code, out, said = ran("shapes", path)
    assert code == 0
    assert [line.split("  ")[-2:] for line in out.splitlines() if "6 1 3 3" in line or "2 96" in line][:2]
    assert "parameters         254" in " ".join(out.split(" ")) or "254" in out
    code, out, said = ran("extract", path, "-o", tmp_path / "x.prototxt")
    assert code == 0
    assert "input data without a shape" in said
    for given in (path, tmp_path / "x.prototxt"):
        out = here("shapes", given, "--input", "data=1x1x6x6")
        assert "1 6 4 4" in out
        assert "?" not in out
    assert "data (Input)" not in refused("activations", path, "--image", tmp_path / "x.png")
    assert "no shape" in ran("check", path)[1]


def test_train_net_to_the_net_that_is_used(tmp_path: Path, engine: str) -> None:
    text = SOLVED.replace("DummyData", "Data").replace(
        "dummy_data_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } shape { dim: 2 } }",
        'data_param { source: "x" batch_size: 2 } transform_param { crop_size: 8 }',
    )
    net, path, out = parse_net(text), tmp_path / "w.caffemodel", tmp_path / "deploy.prototxt"
    trained = saved(engine, tmp_path, SOLVED, 0)
    for layer, other in zip(
        net.layer,
        (x for x in cv.read_weights(trained).layer if x.type != "Split" or x.name == "own"),
        strict=True,
    ):
        layer.blobs.extend(other.blobs)
    write_weights(net, path)
    _, _, said = ran("extract", path, "-o", tmp_path / "x.prototxt")
    assert f"data layer data: `caffe-viz deploy {tmp_path / 'x.prototxt'}`" in said
    for given in (path, tmp_path / "x.prototxt"):
        here("deploy", given, "-o", out, "--input", "data=1x3x8x8")
        made = cv.load_net(out, path, engine=engine)
        assert made.inputs == ["data"]


def test_fields_of_a_fork_are_said(tmp_path: Path) -> None:
    path, net = tmp_path / "w.caffemodel", parse_net(DEPLOY)
    net.layer[1].blobs.append(make_blob(np.ones((4, 3, 3, 3))))
    data = net.SerializeToString()
    layer = net.layer[1]
    inner = layer.convolution_param.SerializeToString() + b"\xc0\x3e\x01"  # field 1000
    layer.ClearField("convolution_param")
    mine = (
        layer.SerializeToString() + b"\xd2\x06" + bytes([len(inner)]) + inner + b"\x98\x7d\x07"
    )  # field 2003
    size = len(mine)
    path.write_bytes(data + b"\xa2\x06" + bytes([size & 127 | 128, size >> 7]) + mine)
    found = read_net(path).layer[-1]
    assert [(x.path, x.name) for x in found.unknown] == [
        ("convolution_param", "field 1000"),
        ("", "field 2003"),
    ]
    assert found.convolution_param.num_output == 4
    _, _, said = ran("extract", path, "-o", tmp_path / "x.prototxt")
    assert "conv (field 1000), conv (field 2003) of a fork" in said
    assert "# field 2003" in (tmp_path / "x.prototxt").read_text()
    read_net(tmp_path / "x.prototxt")


def test_what_a_file_says_of_permissions_is_not_believed(tmp_path: Path) -> None:
    """Our own fields in a caffemodel of somebody else's."""
    path, net = tmp_path / "w.caffemodel", parse_net(DEPLOY)
    net.layer[1].blobs.append(make_blob(np.ones((4, 3, 3, 3))))
    net.layer[2].type = "Python"
    net.layer[2].python_param.permit = "x"
    net.layer[2].variant = "y"
    net.layer[2].unknown.add(path="nowhere", name="a", text="a: 1")
    net.layer[2].unknown.add(path="", name="a", text="} layer { a: 1")
    net.layer[2].unknown.add(path="python_param", name="a", text="a: 1")
    write_weights(net, path)
    found = read_net(path).layer[2]
    assert (found.python_param.permit, found.variant) == ("", "")
    assert [x.path for x in found.unknown] == ["python_param"]


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ("gbk", "not UTF-8 text"), ("names", "weights by the names of layers, and no net"), ("state", "a solver's state"), ("noise", "another format"),
        ("cut", "cut short"), ("hdf5", "holds weights and no net"), ("text", "is a prototxt"), ("none", "no such prototxt"),
    ],
)  # fmt: skip
def test_other_files_end_in_one_line(tmp_path: Path, made: str, words: str) -> None:
    path, net = tmp_path / "w.caffemodel", parse_net(DEPLOY)
    net.layer[1].blobs.append(make_blob(np.ones((4, 3, 3, 3))))
    if made == "names":
        for layer in net.layer:
            layer.ClearField("type")
        write_weights(net, path)
    elif made == "gbk":
        path.write_bytes(net.SerializeToString().replace(b"relu", b"re\xb2\xe3"))
    elif made == "cut":
        path.write_bytes(net.SerializeToString()[:-20])
    elif made == "text":
        write_net(net, path)
    elif made != "none":
        data = {
            "state": b"\x08\x05\x12\x0ea_1.caffemodel",
            "noise": bytes(range(200)) * 9,
            "hdf5": b"\x89HDF\r\n\x1a\n...",
        }
        path.write_bytes(data[made])
    said = refused("extract", path, "-o", tmp_path / "x.prototxt")
    assert words in said
    assert said.count("\n") == 1
    assert not (tmp_path / "x.prototxt").exists()
    if made == "gbk":
        with pytest.raises(InputError, match=words):
            cv.read_weights(path)


def test_in_the_place_of_the_prototxt(engine: str, tmp_path: Path) -> None:
    path, out = saved(engine, tmp_path, DEPLOY, 1), tmp_path / "out"
    net = tmp_path / "net.prototxt"
    np.save(tmp_path / "image.npy", np.random.default_rng(0).normal(size=(3, 12, 12)).astype(np.float32))
    image = ("--image", tmp_path / "image.npy", "--engine", engine)
    assert here("shapes", path) == here("shapes", net)
    assert "conv_weights.png" in here("weights", path, "-o", out)
    assert "small: " in here("draw", path, "--format", "dot", "-o", out)
    assert "the same: all 2 layers" in here("diff", path, path, "--prototxt", path, "-o", out)
    assert "0 errors" in here("check", path)
    assert here("classify", path, *image) == here("classify", net, path, *image)
    loaded = cv.load_net(path, engine=engine)
    expected = cv.load_net(net, path, engine=engine)
    assert (loaded.params["fc"][0].data == expected.params["fc"][0].data).all()
    assert (cv.show_weights(path, "conv").rgb == cv.show_weights(expected, "conv").rgb).all()


def test_swapped_or_missing_files_are_said(engine: str, tmp_path: Path) -> None:
    path = saved(engine, tmp_path, DEPLOY, 1)
    net = tmp_path / "net.prototxt"
    for command in ("check", "weights", "classify"):
        more = ("--image", path) if command == "classify" else ()
        assert "swapped" in "".join(ran(command, path, net, *more)[1:])
    assert "give the caffemodel too" in refused("weights", net)
    assert "give the file of its weights too" in refused("classify", net, "--image", path)


def test_only_the_layers_of_a_large_file_are_read(tmp_path: Path) -> None:
    """40 MB of values: neither read nor copied."""
    import tracemalloc

    path, net = tmp_path / "w.caffemodel", parse_net(DEPLOY)
    net.layer[4].blobs.append(make_blob(np.ones((1000, 10000))))
    write_weights(net, path)
    tracemalloc.start()
    found = read_net(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert tuple(found.layer[4].trained[0].dim) == (1000, 10000)
    assert peak < 1e6
