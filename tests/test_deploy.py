"""From train_val files to nets that are used: what becomes of each layer, and that answers stay the same."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest
from commands import here, ran, refused

import caffe_viz as cv
from caffe_viz.deploying import preprocess_near
from caffe_viz.errors import InputError
from caffe_viz.images import Preprocess
from caffe_viz.netdef import State, as_text, make_blob, parse_net, read_net

MEMORY = """
layer { name: "data" type: "MemoryData" top: "data" top: "label" transform_param { scale: 0.5 mean_value: 3 }
        memory_data_param { batch_size: 4 channels: 1 height: 8 width: 8 } }
"""
BODY = """
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" param { lr_mult: 1 } param { lr_mult: 2 }
        convolution_param { num_output: 3 kernel_size: 3 weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "drop" type: "Dropout" bottom: "conv" top: "conv" }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc"
        inner_product_param { num_output: 5 weight_filler { type: "gaussian" std: 0.1 } } }
"""


def loss(kind: str, *bottoms: str, name: str = "loss", more: str = "") -> str:
    below = " ".join(f'bottom: "{one}"' for one in bottoms)
    return f'layer {{ name: "{name}" type: "{kind}" {below} top: "{name}" {more} }}'


def fc(name: str, bottom: str = "conv", outputs: int = 5) -> str:
    return f'layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{name}" inner_product_param {{ num_output: {outputs} weight_filler {{ type: "gaussian" std: 0.1 }} }} }}'


ACCURACY = loss("Accuracy", "fc", "label", name="acc", more="include { phase: TEST }")
SLICED = """
layer { name: "cut" type: "Slice" bottom: "label" top: "one" top: "two" slice_param { axis: 0 slice_point: 2 } }
layer { name: "cut_conv" type: "Slice" bottom: "fc" top: "fc_one" top: "fc_two" slice_param { axis: 0 slice_point: 2 } }
"""
# Text of the body and its end -> the outputs of the deployed net, and the types of its last layers.
NETS: dict[str, tuple[str, list[str], list[str]]] = {
    "softmax": (BODY + ACCURACY + loss("SoftmaxWithLoss", "fc", "label"), ["prob"], ["Softmax"]),
    "sigmoid": (BODY + fc("dim", outputs=1) + loss("SigmoidCrossEntropyLoss", "dim", "label"), ["fc", "prob"], ["Sigmoid"]),
    "regression": (BODY + fc("y", "fc", 1) + loss("EuclideanLoss", "label", "y"), ["y"], ["InnerProduct"]),
    "hinge": (BODY + loss("HingeLoss", "fc", "label"), ["fc"], ["InnerProduct"]),
    "two heads": (
        BODY + fc("other") + loss("SoftmaxWithLoss", "fc", "label") + loss("SoftmaxWithLoss", "other", "label", name="l2"),
        ["prob_fc", "prob_other"], ["Softmax", "Softmax"],
    ),
    "auxiliary head": (
        BODY + fc("other") + loss("SoftmaxWithLoss", "other", "label", name="l2", more="loss_weight: 0.3") + loss("SoftmaxWithLoss", "fc", "label"),
        ["prob"], ["Softmax"],
    ),
    "a softmax is there": (
        BODY + 'layer { name: "out" type: "Softmax" bottom: "fc" top: "out" }' + loss("SoftmaxWithLoss", "fc", "label"),
        ["out"], ["Softmax"],
    ),
    "loss of TRAIN": (BODY + ACCURACY + loss("SoftmaxWithLoss", "fc", "label", more="include { phase: TRAIN }"), ["prob"], ["Softmax"]),
    "measure alone": (BODY + ACCURACY, ["fc"], ["InnerProduct"]),
    "no end": (BODY, ["fc"], ["InnerProduct"]),
    "labels cut": (BODY + SLICED + loss("SoftmaxWithLoss", "fc_one", "one"), ["fc_two", "prob"], ["Softmax"]),
    "masked by labels": (
        BODY + 'layer { name: "as_fc" type: "Tile" bottom: "label" top: "mask" tile_param { axis: 0 tiles: 5 } }'
        'layer { name: "shape" type: "Reshape" bottom: "mask" top: "shape" reshape_param { shape { dim: -1 dim: 5 } } }'
        'layer { name: "times" type: "Eltwise" bottom: "fc" bottom: "shape" top: "times" eltwise_param { operation: PROD } }'
        + loss("EuclideanLoss", "times", "shape"),
        ["fc"], ["InnerProduct"],
    ),
    "beside a label": (
        BODY + fc("y", "fc", 1) + 'layer { name: "shape" type: "Reshape" bottom: "label" top: "shape" reshape_param { shape { dim: -1 dim: 1 } } }'
        'layer { name: "off" type: "Eltwise" bottom: "y" bottom: "shape" top: "off" }' + loss("HingeLoss", "fc", "label"),
        ["fc"], ["InnerProduct"],
    ),
    "silence": (BODY + 'layer { name: "s" type: "Silence" bottom: "label" }' + loss("SoftmaxWithLoss", "fc", "label"), ["prob"], ["Softmax"]),
}  # fmt: skip


@pytest.mark.parametrize(("body", "outputs", "types"), NETS.values(), ids=NETS)
def test_answers_are_those_of_the_net_in_test(
    engine: str, body: str, outputs: list[str], types: list[str]
) -> None:
    train = parse_net('name: "toy"' + MEMORY + body)
    made = cv.deploy(train, batch=4)
    text = parse_net(as_text(made.message))  # as a file has it
    net = cv.load_net(text, engine=engine)
    theirs = cv.load_net(train, engine=engine, checked=False)
    assert sorted(net.outputs) == outputs
    assert [layer.type for layer in made.message.layer][-len(types) :] == types
    assert list(net.inputs) == ["data"]
    rng = np.random.default_rng(1)
    for name, blobs in net.params.items():
        for mine, other in zip(blobs, theirs.params[name], strict=True):
            mine.data[...] = other.data[...] = rng.uniform(0.1, 0.5, mine.data.shape)
    images = np.random.default_rng(2).normal(size=(4, 1, 8, 8)).astype(np.float32)
    theirs.set_input_arrays(images, np.zeros(4, np.float32))
    theirs.forward()
    # MemoryData has transformed nothing: its arrays are blobs.
    net.blobs["data"].data[...] = images
    net.forward()
    shared = set(net.blobs) & set(theirs.blobs) - {"data"}
    assert shared & {"fc", "conv"}
    for name in shared:
        np.testing.assert_allclose(net.blobs[name].data, theirs.blobs[name].data, rtol=1e-5, atol=1e-6)


def test_one_image_where_the_net_takes_one() -> None:
    made = cv.deploy(parse_net(MEMORY + NETS["softmax"][0]))
    assert cv.measure(made.message).blobs["data"] == (1, 1, 8, 8)
    assert made.notes == ()
    cut = cv.deploy(parse_net(MEMORY + NETS["labels cut"][0]))
    assert cv.measure(cut.message).blobs["data"] == (4, 1, 8, 8)
    assert "takes its own number of images only, 4" in cut.notes[0]


def test_only_what_a_training_reads_is_gone() -> None:
    made = cv.deploy(parse_net(MEMORY + NETS["softmax"][0])).message
    names = [layer.name for layer in made.layer]
    assert names == ["data", "conv", "bn", "relu", "drop", "fc", "prob"]
    assert not any(layer.param or layer.include for layer in made.layer)
    weighed = BODY.replace('name: "fc"', 'name: "fc" loss_weight: 0 propagate_down: true')
    assert "loss_weight" not in as_text(cv.deploy(parse_net(MEMORY + weighed)).message)
    shared = BODY.replace("param { lr_mult: 1 }", 'param { name: "w" lr_mult: 1 }')
    kept = cv.deploy(parse_net(MEMORY + shared)).message.layer[1].param
    assert [(spec.name, spec.HasField("lr_mult")) for spec in kept] == [("w", False), ("", False)]


def test_the_softmax_goes_along_the_axis_of_the_loss() -> None:
    more = "softmax_param { axis: 2 }"
    made = cv.deploy(parse_net(MEMORY + BODY + loss("SoftmaxWithLoss", "conv", "label", more=more))).message
    assert made.layer[-1].softmax_param.axis == 2


def test_what_is_written_to_a_file_is_an_answer() -> None:
    file = 'layer { name: "file" type: "HDF5Output" bottom: "fc" bottom: "label" hdf5_output_param { file_name: "x.h5" } }'
    assert [layer.name for layer in cv.deploy(parse_net(MEMORY + BODY + file)).message.layer][-1] == "fc"


def test_layers_that_only_a_training_has() -> None:
    trained = BODY.replace('name: "fc"', 'name: "fc" include { phase: TRAIN }')
    made = cv.deploy(parse_net(MEMORY + trained + loss("SoftmaxWithLoss", "fc", "label")))
    assert [layer.name for layer in made.message.layer][-2:] == ["fc", "prob"]
    assert "phase TRAIN" in made.notes[0]


def test_notes_on_heads_that_go() -> None:
    assert "'l2'" in cv.deploy(parse_net(MEMORY + NETS["auxiliary head"][0])).notes[0]


# --- which layers ----------------------------------------------------------------------------

DATA = 'layer { name: "%s" type: "Data" top: "data" top: "label" include { %s } transform_param { %s } data_param { batch_size: 4 } }'
END = BODY + loss("SoftmaxWithLoss", "fc", "label")


def test_the_data_layer_of_test_and_else_that_of_train() -> None:
    train, test = (DATA % ("d", f"phase: {p}", f"crop_size: {n}") for p, n in (("TRAIN", 8), ("TEST", 9)))
    for text, size in ((train + test, 9), (train, 8)):
        assert cv.measure(cv.deploy(parse_net(text + END)).message).blobs["data"] == (1, 3, size, size)


def test_the_stage_deploy_and_stages_that_are_needed() -> None:
    own = 'layer { name: "in" type: "Input" top: "data" include { stage: "deploy" } input_param { shape { dim: 1 dim: 3 dim: 7 dim: 7 } } }'
    data = DATA % ("d", 'stage: "train"', "crop_size: 9 mean_value: 5")
    made = cv.deploy(parse_net(data + own + END))
    assert cv.measure(made.message).blobs["data"] == (1, 3, 7, 7)
    assert "stage 'deploy'" in made.notes[0]
    assert made.preprocess is not None
    assert made.preprocess.mean.average == (5,)
    staged = BODY.replace('name: "fc"', 'name: "fc" include { stage: "s" }')
    made = cv.deploy(
        parse_net(DATA % ("d", "phase: TEST", "crop_size: 9") + staged + loss("HingeLoss", "fc", "label"))
    )
    assert [layer.name for layer in made.message.layer][-1] == "fc"
    assert "stage 's'" in made.notes[0]


def test_an_asked_state_counts() -> None:
    train, test = (DATA % ("d", f"phase: {p}", f"crop_size: {n}") for p, n in (("TRAIN", 8), ("TEST", 9)))
    made = cv.deploy(parse_net(train + test + END), state=State("TRAIN"))
    assert cv.measure(made.message).blobs["data"] == (1, 3, 8, 8)
    assert not made.message.HasField("state")


def test_shapes_that_no_file_tells() -> None:
    net = parse_net(DATA % ("d", "", "") + END)
    with pytest.raises(InputError, match=r"shape of 'data' of layer 'd' \(Data\).*--input data="):
        cv.deploy(net)
    made = cv.deploy(net, input_shapes={"data": (2, 1, 8, 8)})
    assert cv.measure(made.message).blobs["prob"] == (2, 5)


def test_memory_data_without_channels_is_not_taken_for_colour() -> None:
    net = parse_net(MEMORY.replace("channels: 1 ", "") + BODY + loss("SoftmaxWithLoss", "fc", "label"))
    with pytest.raises(InputError, match=r"shape of 'data' of layer 'data' \(MemoryData\)"):
        cv.deploy(net)
    made = cv.deploy(net, input_shapes={"data": (4, 1, 8, 8)})
    assert tuple(made.message.layer[0].input_param.shape[0].dim) == (4, 1, 8, 8)


def test_nothing_to_answer_with() -> None:
    with pytest.raises(InputError, match="has no answer"):
        cv.deploy(parse_net(DATA % ("d", "", "crop_size: 8")))


# --- how images get in -----------------------------------------------------------------------

IMAGES = 'layer { name: "d" type: "ImageData" top: "data" top: "label" transform_param { %s } image_data_param { batch_size: 4 %s } }'
PIXELS = {
    "means": ("mean_value: 104 mean_value: 117 mean_value: 123 scale: 0.017", "new_height: 8 new_width: 8", Preprocess("BGR", (104, 117, 123), 0.017, None)),
    "cropped": ("mean_value: 127.5 crop_size: 8", "new_height: 10 new_width: 10", Preprocess("BGR", (127.5,), 1, 10)),
    "grey": ("scale: 0.00390625", "new_height: 8 new_width: 8 is_color: false", Preprocess("GRAY", (0,), 0.00390625, None)),
    "imagenet": ('mean_file: "/x/imagenet_mean.binaryproto" crop_size: 8', "new_height: 10 new_width: 10", Preprocess(resize=10)),
}  # fmt: skip


@pytest.mark.parametrize(("transform", "images", "wanted"), PIXELS.values(), ids=PIXELS)
def test_transform_param_becomes_preprocess(
    transform: str, images: str, wanted: Preprocess, tmp_path: Path
) -> None:
    made = cv.deploy(parse_net(IMAGES % (transform, images) + END))
    assert made.preprocess == wanted
    made.save(tmp_path / "deploy.prototxt")
    assert preprocess_near(tmp_path / "deploy.prototxt") == wanted


def test_a_mean_file_beside_the_net_and_none_elsewhere(tmp_path: Path) -> None:
    mean = np.random.default_rng(0).uniform(0, 255, (3, 12, 12)).astype(np.float32)
    (tmp_path / "mean.binaryproto").write_bytes(make_blob(mean[None]).SerializeToString())
    text = DATA % ("d", "", 'mean_file: "../elsewhere/mean.binaryproto" crop_size: 8') + END
    (tmp_path / "train.prototxt").write_text(text)
    made = cv.deploy(tmp_path / "train.prototxt")
    assert made.preprocess == Preprocess("BGR", mean, 1, 12)
    _, toml = made.save(tmp_path / "use" / "deploy.prototxt")
    assert 'mean = "../mean.binaryproto"' in toml.read_text()
    assert Preprocess.from_toml(toml) == made.preprocess
    (tmp_path / "train.prototxt").write_text(text.replace("crop_size: 8", ""))
    assert cv.measure(cv.deploy(tmp_path / "train.prototxt").message).blobs["data"] == (1, 3, 12, 12)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "train.prototxt").write_text(text.replace("../elsewhere", ".."))
    far = cv.deploy(tmp_path / "sub" / "train.prototxt")
    assert far.preprocess is not None
    assert far.preprocess.mean.average == (0,)
    assert "mean.binaryproto is not beside the net" in far.notes[0]


def test_data_that_is_no_image_has_no_preprocess(tmp_path: Path) -> None:
    text = (
        'layer { name: "d" type: "HDF5Data" top: "data" top: "label" hdf5_data_param { batch_size: 2 } }'
        + END
    )
    made = cv.deploy(parse_net(text), input_shapes={"data": (1, 3, 9, 9)})
    assert made.preprocess is None
    assert made.save(tmp_path / "deploy.prototxt") == [tmp_path / "deploy.prototxt"]


# --- the command -----------------------------------------------------------------------------


def test_command(tmp_path: Path) -> None:
    train, out = tmp_path / "train_val.prototxt", tmp_path / "use" / "deploy.prototxt"
    train.write_text(IMAGES % PIXELS["means"][:2] + END)
    assert here("deploy", train, "-o", out).split() == [str(out), str(out.parent / "preprocess.toml")]
    assert "0 errors" in here("check", out)
    assert read_net(out).layer[0].type == "Input"
    (out.parent / "preprocess.toml").write_text("mean = 1\n")
    _, printed, said = ran("deploy", train, "-o", out, "--batch", "3")
    assert printed.split() == [str(out)]
    assert "is there already" in said
    assert (out.parent / "preprocess.toml").read_text() == "mean = 1\n"
    assert cv.measure(read_net(out)).blobs["data"] == (3, 3, 8, 8)
    assert "is the input file" in refused("deploy", train, "-o", train)
    assert "--input data=" in refused("deploy", write_untold(tmp_path), "-o", out)
    assert here("deploy", write_untold(tmp_path), "-o", out, "--input", "data=1x1x9x9").split() == [str(out)]


def write_untold(folder: Path) -> Path:
    path = folder / "untold.prototxt"
    path.write_text(DATA % ("d", "", "") + END)
    return path


def test_notes_stand_in_preprocess_toml(tmp_path: Path) -> None:
    made = cv.deploy(parse_net(DATA % ("d", "", 'mean_file: "m.binaryproto" crop_size: 8') + END))
    _, toml = made.save(tmp_path / "deploy.prototxt")
    assert toml.read_text().startswith("# m.binaryproto is not beside the net")


@pytest.mark.parametrize("name", ["caffenet_cifar10"])
def test_shipped_train_val(engine: str, networks: Path, name: str) -> None:
    """The net that is shipped as a deploy file too gives the same."""
    made = cv.deploy(networks / name / "train_val.prototxt")
    theirs = read_net(networks / name / "deploy.prototxt")
    ours, own = (
        cv.load_net(net, networks / name / f"{name}.caffemodel", engine=engine)
        for net in (made.message, theirs)
    )
    image = np.random.default_rng(3).normal(size=own.blobs["data"].data.shape)
    for net in (ours, own):
        net.blobs["data"].reshape(*image.shape)
        net.blobs["data"].data[...] = image
        net.forward()
    np.testing.assert_allclose(ours.blobs["prob"].data, own.blobs["prob"].data, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["forresti__SqueezeNet__SqueezeNet_v1.0-train_val.prototxt"])
def test_public_train_net(engine: str, shared: Path, name: str) -> None:
    """With the same random weights the net of TEST, its data layer an input, has the same in every blob."""
    with tarfile.open(shared / "zoo" / "nets.tar.xz") as archive:
        file = archive.extractfile(next(one for one in archive if one.name.endswith(name)))
        assert file is not None
        train = parse_net(file.read().decode())
    ours = cv.load_net(cv.deploy(train).message, engine=engine)
    theirs = cv.load_net(train, input_shapes={"data": (1, 3, 227, 227)}, engine=engine, checked=False)
    rng = np.random.default_rng(5)
    for layer, blobs in ours.params.items():
        for mine, other in zip(blobs, theirs.params[layer], strict=True):
            mine.data[...] = other.data[...] = 0.1 * rng.normal(size=mine.data.shape)
    image = rng.normal(size=(1, 3, 227, 227))
    for net in (ours, theirs):
        net.blobs["data"].data[...] = image
        net.forward()
    names = set(ours.blobs) & set(theirs.blobs)
    assert len(names) == len(ours.blobs) - 1  # all but the answer
    for blob in names:
        np.testing.assert_array_equal(ours.blobs[blob].data, theirs.blobs[blob].data)
    assert ours.blobs["prob"].data.sum() == pytest.approx(1, abs=1e-5)
