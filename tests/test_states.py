"""Phase, stages and level of a net, and what its data layers give, in every place that reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import here, ran, refused

import caffe_viz as cv
from caffe_viz.checking import check
from caffe_viz.errors import InputError
from caffe_viz.geometry import measure
from caffe_viz.netdef import NetParameter, State, for_phase, make_blob, parse_net, with_state, write_weights
from caffe_viz.network import Network
from caffe_viz.surgery import with_inputs

CONV = 'layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 2 kernel_size: 3 } }'
LOSS = 'layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc" inner_product_param { num_output: 5 } } layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }'


def given(shape: str, rule: str = "", name: str = "data", tops: str = 'top: "data"') -> str:
    dims = " ".join(f"dim: {n}" for n in shape.split())
    return f'layer {{ name: "{name}" type: "Input" {tops} {rule} input_param {{ shape {{ {dims} }} }} }}'


STAGES = (
    given("1 1 4 4", 'include { phase: TEST not_stage: "big" }')
    + given("2 1 6 6", 'include { phase: TEST stage: "big" }', "large")
    + given("3 1 8 8", "include { phase: TRAIN }", "train")
    + CONV
    + 'layer { name: "deep" type: "ReLU" bottom: "conv" top: "deep" include { min_level: 2 } }'
)
STATES = {
    "file": (State(), (1, 2, 2, 2)),
    "stage": (State(stages=["big"]), (2, 2, 4, 4)),
    "one stage": (State(stages="big"), (2, 2, 4, 4)),
    "phase": (State("TRAIN"), (3, 2, 6, 6)),
}


def write(folder: Path, text: str) -> Path:
    path = folder / "net.prototxt"
    path.write_text(text)
    return path


@pytest.mark.parametrize(("state", "shape"), STATES.values(), ids=STATES)
def test_everywhere_the_same_layers(
    engine: str, tmp_path: Path, state: State, shape: tuple[int, ...]
) -> None:
    path = write(tmp_path, STAGES)
    net = cv.load_net(path, state=state, engine=engine)
    assert net.blobs["conv"].data.shape == shape
    assert cv.shapes(path, state=state).geometry.blobs["conv"] == shape
    assert cv.shapes(net).geometry.blobs["conv"] == shape
    assert cv.show_structure(path, state=state).graph.batch == shape[0]
    assert Network(path, state=state, engine=engine).load().blobs["conv"].data.shape == (1, *shape[1:])
    assert check(path, state=state, engine=engine).ok


def test_the_state_of_the_file_counts_unless_another_is_asked_for(engine: str, tmp_path: Path) -> None:
    path = write(tmp_path, "state { phase: TRAIN level: 2 }" + STAGES)
    assert cv.load_net(path, engine=engine).blobs["conv"].data.shape[0] == 3
    asked = cv.load_net(path, state=State("TEST", ("big",)), engine=engine)
    assert asked.blobs["conv"].data.shape[0] == 2
    assert "deep" in asked.blobs  # the level stays the file's
    assert "deep" not in cv.load_net(path, state=State(level=0), engine=engine).blobs


def test_applied_once_a_state_stays() -> None:
    net = parse_net(STAGES)
    once = for_phase(net, State("TRAIN", level=2))
    assert for_phase(once) == once
    assert for_phase(with_state(net, State("TRAIN", level=2))) == once


def test_dropout_is_that_of_the_phase(engine: str) -> None:
    net = parse_net(given("1 1 40 40") + 'layer { name: "d" type: "Dropout" bottom: "data" top: "d" }')
    for state, changes in ((State(), False), (State("TRAIN"), True)):
        made = cv.load_net(net, state=state, engine=engine)
        made.blobs["data"].data[...] = 1
        made.forward()
        assert (made.blobs["d"].data != 1).any() == changes


RULES = {
    'include { phase: TRAIN }': "'data' would with --phase TRAIN",
    'include { phase: TRAIN stage: "a" }': "'data' would with --phase TRAIN --stage a",
    'include { stage: "a" } include { stage: "b" stage: "c" }': "'data' would with --stage a",
    "include { min_level: 2 }": "'data' would with --level 2",
    "include { max_level: -1 }": "'data' would with --level -1",
    "exclude { phase: TEST }": "'data' would with --phase TRAIN",
    'exclude { not_stage: "a" }': "'data' would with --stage a",
    "exclude { min_level: 0 }": "'data' would with --level -1",
}  # fmt: skip


@pytest.mark.parametrize(("rule", "words"), RULES.items(), ids=list(RULES))
def test_advice_says_which_option_brings_the_layer(tmp_path: Path, rule: str, words: str) -> None:
    path = write(tmp_path, given("1 1 4 4", rule) + CONV)
    for command in ("shapes", "draw", "check"):
        code, out, said = ran(command, path)
        assert code == 2
        assert f"makes its bottom 'data'; {words}." in out + said
    here("shapes", path, *words.partition("with ")[2].split())  # and it does


def test_advice_names_each_layer_once(tmp_path: Path) -> None:
    text = given("1 1 4 4", 'include { stage: "a" }') + given("1 1 4 4", 'include { stage: "b" }') + CONV
    with pytest.raises(InputError, match="; 'data' would with --stage a or with --stage b"):
        measure(parse_net(text))
    with pytest.raises(InputError, match=r"; 'data' would without the stage 'a'"):
        measure(for_phase(parse_net(given("1 1 4 4", 'exclude { stage: "a" }') + CONV), State(stages="a")))


def test_a_phase_that_there_is_not() -> None:
    with pytest.raises(InputError, match="phase 'Test' is unknown"):
        State("Test")


# --- what data layers give -------------------------------------------------------------------

DATA = 'layer { name: "d" type: "%s" top: "data" top: "label" %s }'
TOLD = {
    "Data": ("Data", "transform_param { crop_size: 9 mean_value: 1 mean_value: 2 mean_value: 3 } data_param { batch_size: 4 }", (4, 3, 9, 9), (4,), 0),
    "Data of unknown channels": ("Data", "transform_param { crop_size: 9 mean_value: 1 } data_param { batch_size: 4 }", (4, 3, 9, 9), (4,), 1),
    "Data in grey": ("Data", "transform_param { crop_size: 9 force_gray: true } data_param { batch_size: 4 }", (4, 1, 9, 9), (4,), 0),
    "Data of unknown size": ("Data", "data_param { batch_size: 4 }", None, (4,), 1),
    "Data resized as in SSD": ("AnnotatedData", "transform_param { resize_param { height: 8 width: 7 } force_color: true } data_param { batch_size: 4 }", (4, 3, 8, 7), (1, 1, 1, 8), 1),
    "ImageData": ("ImageData", "image_data_param { batch_size: 2 new_height: 6 new_width: 5 }", (2, 3, 6, 5), (2,), 0),
    "ImageData cropped": ("ImageData", "transform_param { crop_size: 4 } image_data_param { new_height: 6 new_width: 5 is_color: false }", (1, 1, 4, 4), (1,), 0),
    "WindowData": ("WindowData", "transform_param { crop_size: 4 } window_data_param { batch_size: 3 }", (3, 3, 4, 4), (3,), 0),
    "HDF5Data": ("HDF5Data", "hdf5_data_param { batch_size: 3 }", None, None, 1),
    "flow": ("VideoData", "transform_param { crop_size: 4 } video_data_param { batch_size: 2 new_length: 5 num_segments: 3 modality: FLOW }", (2, 30, 4, 4), (2,), 0),
    "clips": ("VideoData", "image_data_param { batch_size: 2 crop_size: 4 new_length: 5 }", (2, 3, 5, 4, 4), (2, 1, 1, 1, 1), 0),
    "dims": ("MemoryData", "memory_data_param { dim: 2 dim: 1 dim: 7 dim: 8 }", (2, 1, 7, 8), (2,), 0),
    "a fork's": ("OddImageData", "odd_image_data_param { batch_size: 2 # images: many\n new_height: 6 new_width: 5 } transform_param { force_color: true }", (2, 3, 6, 5), None, 1),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "fields", "image", "label", "remarks"), TOLD.values(), ids=TOLD)
def test_what_data_layers_tell(kind: str, fields: str, image: Any, label: Any, remarks: int) -> None:
    found = measure(parse_net(DATA % (kind, fields)))
    assert (found.blobs.get("data"), found.blobs.get("label")) == (image, label)
    assert len(found.remarks) == remarks
    assert {"data", "label"} - found.unknown.keys() == found.blobs.keys()


def test_old_layers_are_read_the_same() -> None:
    text = (
        'layers { name: "d" type: DATA top: "data" top: "label" data_param { batch_size: 4 crop_size: 9 } }'
    )
    assert measure(parse_net(text)).blobs == {"data": (4, 3, 9, 9), "label": (4,)}


def test_a_mean_file_is_read_where_files_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mean.binaryproto").write_bytes(make_blob(np.ones((1, 1, 12, 11))).SerializeToString())
    monkeypatch.chdir(tmp_path)
    net = parse_net(
        DATA % ("Data", 'transform_param { mean_file: "mean.binaryproto" } data_param { batch_size: 4 }')
    )
    assert "data" in measure(net).unknown
    assert measure(net, files=True).blobs["data"] == (4, 1, 12, 11)


def test_batch_and_size_are_those_of_the_images() -> None:
    found = measure(parse_net(DATA % TOLD["Data"][:2] + CONV + LOSS), batch=2, size=(8, 7))
    assert (found.blobs["data"], found.blobs["label"], found.blobs["fc"]) == ((2, 3, 8, 7), (2,), (2, 5))


def test_names_stay_where_sizes_are_not_told(tmp_path: Path) -> None:
    path = write(tmp_path, DATA % TOLD["HDF5Data"][:2] + CONV + LOSS)
    rows = json.loads(here("shapes", path, "--json"))
    assert rows["blobs"][:2] == [{"blob": "data", "shape": "?"}, {"blob": "label", "shape": "?"}]
    assert "--input data=3x3x224x224" in rows["remarks"][0]["remark"]
    _, _, said = ran("draw", path, "--format", "dot", "-o", tmp_path)
    assert "--input data=" in said


def test_inputs_by_option_and_in_python(engine: str, tmp_path: Path) -> None:
    path = write(tmp_path, DATA % TOLD["Data of unknown size"][:2] + CONV + LOSS)
    assert "cannot be used" in ran("check", path)[1]
    assert "0 errors" in here("check", path, "--input", "data=2x1x6x6")
    rows = json.loads(here("shapes", path, "--input", "data=2x1x6x6", "--json"))
    assert {"blob": "conv", "shape": "2 2 4 4"} in rows["blobs"]
    assert "remarks" not in rows
    shapes = {"data": (2, 1, 6, 6)}
    assert cv.shapes(path, input_shapes=shapes).geometry.blobs["label"] == (2,)
    assert cv.show_structure(path, input_shapes=shapes).graph.batch == 2
    net = cv.load_net(path, input_shapes=shapes, engine=engine)
    assert net.blobs["loss"].data.shape == ()
    assert list(net.inputs) == ["data", "label"]
    assert Network(path, input_shapes=shapes, engine=engine).load().blobs["data"].data.shape == (1, 1, 6, 6)


def test_other_tops_of_a_data_layer_stay_unknown() -> None:
    net = with_inputs(parse_net(DATA % TOLD["HDF5Data"][:2] + CONV), {"data": (1, 1, 5, 5)})
    found = measure(net)
    assert found.blobs["conv"] == (1, 2, 3, 3)
    assert list(found.unknown) == ["label"]


def test_inputs_that_are_none(tmp_path: Path) -> None:
    path = write(tmp_path, given("1 1 4 4") + CONV)
    assert "Did you mean 'data'" in refused("shapes", path, "--input", "dat=1x1x4x4")
    for text in ("data", "data=1x0", "=1x2", "data=axb"):
        assert f"--input {text}: give a blob and its shape" in refused("shapes", path, "--input", text)
    rows = json.loads(here("shapes", path, "--input", "data=1x1x9x9", "--json"))
    assert {"blob": "conv", "shape": "1 2 7 7"} in rows["blobs"]


def test_a_training_net_runs_by_its_input(engine: str, tmp_path: Path) -> None:
    path = write(tmp_path, DATA % TOLD["Data"][:2] + CONV + LOSS)
    net = cv.load_net(path, input_shapes={"data": (1, 3, 9, 9)}, engine=engine)
    weights = NetParameter()
    for name, blobs in net.params.items():
        weights.layer.add(name=name, blobs=[make_blob(blob.data) for blob in blobs])
    write_weights(weights, tmp_path / "net.caffemodel")
    np.save(tmp_path / "image.npy", np.ones((3, 9, 9), np.float32))
    here(
        "activations", path, tmp_path / "net.caffemodel", "--image", tmp_path / "image.npy",
        "--input", "data=1x3x9x9", "--engine", engine, "-o", tmp_path,
    )  # fmt: skip
