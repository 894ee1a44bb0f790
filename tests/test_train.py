"""train: batches from images and arrays, solvers looked at first, Ctrl-C and going on, on both engines."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import fork_server
import numpy as np
import pytest
from commands import completed
from PIL import Image
from recorder_toy import (
    BATCH,
    INPUT,
    LAYERS,
    MEMORY,
    SMOOTH,
    examples,
    plain,
    weights,
    write_npz,
    write_solver,
)

from caffe_viz.errors import InputError
from caffe_viz.images import Preprocess
from caffe_viz.recording import Record
from caffe_viz.training import BatchFeed, Images, InputBlobs, Training, load_solver, read_settings
from caffe_viz.training.feeds import Arrays
from caffe_viz.training.solvers import load_weights, restore

PLAIN = Preprocess(channel_order="RGB", mean=(0,), scale=1 / 255, resize=None)


def write_images(folder: Path, classes: tuple[str, ...] = ("a", "b", "c"), each: int = 6) -> Path:
    """CLASS/N.png of 8 x 8; the images of class k are of value 40 k + n."""
    for k, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for n in range(each):
            pixels = np.full((8, 8, 3), 40 * k + n, np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{n}.png")
    return folder


@pytest.fixture
def net(engine: str, tmp_path: Path) -> Any:
    return load_solver(write_solver(tmp_path), engine=engine).net


# Batches.


def test_images_get_the_number_of_their_class(net: Any, tmp_path: Path) -> None:
    found = Images.of(write_images(tmp_path / "images"), PLAIN, InputBlobs.of(net))
    assert (len(found), found.classes) == (18, ("a", "b", "c"))
    made = found.take([0, 8, 17])
    assert made["label"].tolist() == [0, 1, 2]
    np.testing.assert_allclose(made["data"][:, 0, 0, 0] * 255, [0, 42, 85], rtol=1e-5)
    named = Preprocess(channel_order="RGB", mean=(0,), resize=None, labels=("c", "b", "a", "d"))
    assert Images.of(tmp_path / "images", named, InputBlobs.of(net)).take([0, 17])["label"].tolist() == [2, 0]


def test_archives_are_read_as_folders(net: Any, tmp_path: Path) -> None:
    write_images(tmp_path / "images")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in sorted((tmp_path / "images").rglob("*.png")):
            archive.write(path, f"train/{path.relative_to(tmp_path / 'images')}")
    folder = Images.of(tmp_path / "images", PLAIN, InputBlobs.of(net)).take(range(18))
    zipped = Images.of(tmp_path / "a.zip/train", PLAIN, InputBlobs.of(net)).take(range(18))
    for name in ("data", "label"):
        np.testing.assert_array_equal(folder[name], zipped[name])


def test_a_class_in_two_folders_is_refused(net: Any, tmp_path: Path) -> None:
    """Else the test images would be trained on."""
    write_images(tmp_path / "both/train")
    write_images(tmp_path / "both/test")
    with pytest.raises(InputError, match=r"has 'a' in .*/test and in .*/train: give one of them"):
        Images.of(tmp_path / "both", PLAIN, InputBlobs.of(net))
    labelled = Preprocess(channel_order="RGB", mean=(0,), resize=None, labels=("a", "b"))
    with pytest.raises(InputError, match="folder 'c' is not a class"):
        Images.of(tmp_path / "both/test", labelled, InputBlobs.of(net))


def test_an_epoch_shows_every_example_once_in_an_order_of_its_own(net: Any, tmp_path: Path) -> None:
    slots = InputBlobs.of(net)
    arrays = Arrays({"data": np.zeros((30, 3, 8, 8)), "label": np.arange(30)}, slots)

    def orders(seed: int | None) -> list[list[float]]:
        feed = BatchFeed(net, slots, arrays, seed)
        seen: list[list[float]] = []
        for iteration in range(10):
            feed.fill(iteration)
            seen.append(net.blobs["label"].data.tolist())
        return np.array(seen).reshape(2, 30).tolist()

    first, second = orders(0)
    assert sorted(first) == sorted(second) == list(range(30))
    assert first != second
    assert orders(0) == [first, second]
    assert orders(1)[0] != first
    assert orders(None)[0] == list(range(30))
    feed = BatchFeed(net, slots, arrays, 0)
    feed.fill(7)  # as a resumed training does
    assert net.blobs["label"].data.tolist() == second[12:18]


def test_memory_data_gets_all_passes_of_an_iteration(engine: str, tmp_path: Path) -> None:
    solver = load_solver(write_solver(tmp_path, data=MEMORY, more="iter_size: 2"), engine=engine)
    slots = InputBlobs.of(solver.net)
    feed = BatchFeed(solver.net, slots, Arrays(examples(30), slots), None, 2)
    assert feed.epoch == 2
    for iteration in range(2):
        feed.fill(iteration)
        for half in range(2):
            solver.net.forward()
            start = (2 * iteration + half) * BATCH
            np.testing.assert_array_equal(
                solver.net.blobs["data"].data, examples(30)["data"][start : start + BATCH]
            )


def test_input_layers_and_iter_size_do_not_go_together(net: Any) -> None:
    slots = InputBlobs.of(net)
    with pytest.raises(InputError, match="same batch 2 times"):
        BatchFeed(net, slots, Arrays(examples(30), slots), 0, 2)
    with pytest.raises(InputError, match="5 examples do not fill the 6"):
        BatchFeed(net, slots, Arrays(examples(5), slots), 0)


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"data": np.zeros((6, 3, 8, 8))}, "has no array 'label'"),
        ({"data": np.zeros((6, 3, 8, 9)), "label": np.zeros(6)}, r"'data' is \(6, 3, 8, 9\)"),
        ({"data": np.zeros((6, 3, 8, 8)), "label": np.zeros(7)}, "must have equal lengths: data 6, label 7"),
        ({"data": np.array([{}], object), "label": np.zeros(1)}, "Object arrays cannot be loaded"),
    ],
)
def test_wrong_arrays_are_refused(arrays: dict[str, Any], reason: str, net: Any, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=reason):
        Arrays.of(tmp_path / "a.npz", InputBlobs.of(net))


# Solvers.


def test_nets_beside_the_solver_are_found(engine: str, tmp_path: Path) -> None:
    path = write_solver(tmp_path)
    path.write_text(path.read_text().replace(str(tmp_path / "net.prototxt"), "net.prototxt"))
    assert load_solver(path, engine=engine).net.blobs["data"].data.shape == (6, 3, 8, 8)


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("lr_policy", "lr_policie", r"lr_policie.*lr_policy"),
        ('"step"', '"stepp"', r"lr_policy 'stepp' is unknown.*'step'"),
        ("net.prototxt", "nett.prototxt", r"no such prototxt.*net\.prototxt"),
        ("stepsize: 4", "stepsize: 0", "needs stepsize"),
    ],
)
def test_a_wrong_solver_is_one_line(
    before: str, after: str, reason: str, engine: str, tmp_path: Path
) -> None:
    path = write_solver(tmp_path)
    path.write_text(path.read_text().replace(before, after))
    with pytest.raises(InputError, match=reason):
        load_solver(path, engine=engine)


def test_what_would_abort_caffe_is_one_line(engine: str, tmp_path: Path) -> None:
    path = write_solver(tmp_path, layers=LAYERS.replace('bottom: "fc"', 'bottom: "fcc"'))
    with pytest.raises(InputError, match="'fcc'"):
        load_solver(path, engine=engine)


def test_the_state_of_another_net_is_refused(engine: str, tmp_path: Path) -> None:
    first = load_solver(write_solver(tmp_path), engine=engine)
    plain(first, 2)
    first.snapshot()
    other = write_solver(tmp_path, layers=LAYERS.replace("num_output: 5", "num_output: 7"))
    second = load_solver(other, engine=engine)
    start = weights(second.net)
    with pytest.raises(InputError, match="state of another net"):
        restore(second, tmp_path / "toy_iter_2.solverstate")
    with pytest.raises(InputError, match="'fc'"):
        load_weights(second, tmp_path / "toy_iter_2.caffemodel")
    third = load_solver(write_solver(tmp_path), engine=engine)
    (tmp_path / "toy_iter_2.caffemodel").rename(tmp_path / "moved.caffemodel")
    with pytest.raises(InputError, match="which do not exist"):
        restore(third, tmp_path / "toy_iter_2.solverstate")
    (tmp_path / "toy_iter_2.solverstate").write_text("<html>")
    with pytest.raises(InputError, match="not a solverstate"):
        restore(third, tmp_path / "toy_iter_2.solverstate")
    for a, b in zip(start, weights(second.net), strict=True):
        np.testing.assert_array_equal(a, b)


def test_states_in_hdf5_are_looked_at_too(engine: str, tmp_path: Path) -> None:
    pytest.importorskip("h5py", reason="h5py is not installed")
    more = "snapshot_format: HDF5"
    first = load_solver(write_solver(tmp_path, more=more), engine=engine)
    plain(first, 2)
    first.snapshot()
    state = tmp_path / "toy_iter_2.solverstate.h5"
    second = load_solver(write_solver(tmp_path, more=more), engine=engine)
    restore(second, state)
    assert second.iter == 2
    for a, b in zip(weights(first.net), weights(second.net), strict=True):
        np.testing.assert_array_equal(a, b)
    third = load_solver(write_solver(tmp_path), engine=engine)
    load_weights(third, tmp_path / "toy_iter_2.caffemodel.h5")
    for a, b in zip(weights(first.net), weights(third.net), strict=True):
        np.testing.assert_array_equal(a, b)
    adam = load_solver(write_solver(tmp_path, more=f'{more} type: "Adam"'), engine=engine)
    with pytest.raises(InputError, match="another net or solver type"):
        restore(adam, state)
    state.write_bytes(b"nothing")
    with pytest.raises(InputError, match="not a solverstate"):
        restore(second, state)


def test_snapshots_have_a_place_without_a_prefix(engine: str, tmp_path: Path) -> None:
    path = write_solver(tmp_path)
    path.write_text(path.read_text().replace("snapshot_prefix", "# snapshot_prefix"))
    settings = read_settings(path, tmp_path / "made")
    assert settings.snapshot_prefix == str(tmp_path / "made" / "toy")
    solver = load_solver(settings, engine=engine)
    solver.snapshot()
    assert (tmp_path / "made/toy_iter_0.caffemodel").exists()


# Fields and types of forks.


QUIET = LAYERS.replace("kernel_size: 3", "kernel_size: 3 engine: MKLDNN")
SWISH = LAYERS.replace('type: "TanH"', 'type: "Swish"')
ELSEWHERE = """
layer { name: "other" type: "ReLU" bottom: "score" top: "other" relu_param { loud: 1 }
        include { phase: TEST stage: "deploy" } }
"""
STATES = "test_interval: 100 train_state { level: 2 } "
TESTED = 'test_iter: 1 test_iter: 2 test_state { stage: "wide" } test_state { level: 1 }'
BY_STATE = "".join(
    f'layer {{ name: "{name}" type: "Power" bottom: "score" top: "{name}" include {{ {rule} }} }}\n'
    for name, rule in (("wide", 'stage: "wide"'), ("one", "min_level: 1"), ("two", "min_level: 2"))
)


def names(net: Any) -> list[str]:
    return [str(name) for name in net._layer_names if "split" not in name]


@pytest.mark.parametrize("layers", [QUIET, "default_forward_type: FLOAT16" + QUIET, LAYERS + ELSEWHERE])
def test_fields_that_change_nothing_are_kept_from_caffe(layers: str, engine: str, tmp_path: Path) -> None:
    """Given to it as they are, they would end the process."""
    first = load_solver(write_solver(tmp_path), engine=engine)
    plain(first, 2)
    first.snapshot()
    second = load_solver(write_solver(tmp_path, layers=layers), engine=engine)
    assert names(second.net) == names(first.net)
    plain(second, 2)
    for a, b in zip(weights(first.net), weights(second.net), strict=True):
        np.testing.assert_array_equal(a, b)
    for begin, name in ((load_weights, "toy_iter_2.caffemodel"), (restore, "toy_iter_2.solverstate")):
        third = load_solver(write_solver(tmp_path, layers=layers), engine=engine)
        begin(third, tmp_path / name)
        for a, b in zip(weights(first.net), weights(third.net), strict=True):
            np.testing.assert_array_equal(a, b)


def test_nets_without_quiet_fields_are_in_the_same_states(engine: str, tmp_path: Path) -> None:
    found = []
    for layers in (LAYERS, QUIET):
        path = write_solver(tmp_path, layers=layers + BY_STATE, more=STATES + TESTED)
        solver = load_solver(path, engine=engine)
        found.append([names(net) for net in (solver.net, *solver.test_nets)])
    assert found[0] == found[1]
    added = [[name for name in one if name in ("wide", "one", "two")] for one in found[1]]
    assert added == [["one", "two"], ["wide"], ["one"]]


def test_test_nets_of_their_own_stay_in_order(engine: str, tmp_path: Path) -> None:
    """Caffe takes test_net_param, test_net, then net."""
    (tmp_path / "test.prototxt").write_text(INPUT + QUIET.replace("num_output: 5", "num_output: 7"))
    inline = "test_net_param { " + (INPUT + QUIET).replace("num_output: 5", "num_output: 6") + " }"
    more = f'test_net: "{tmp_path / "test.prototxt"}" {inline} test_iter: [1, 2, 3] test_interval: 100'
    solver = load_solver(write_solver(tmp_path, layers=QUIET, more=more), engine=engine)
    assert [net.blobs["fc"].data.shape[1] for net in solver.test_nets] == [6, 7, 5]


def test_trainings_with_quiet_fields_are_warned_of_and_tested(engine: str, tmp_path: Path) -> None:
    data = write_npz(tmp_path / "a.npz")
    path = write_solver(tmp_path, layers=QUIET + ELSEWHERE, max_iter=6)
    training = Training(path, data=data, test_data=data, engine=engine)
    assert len(training.warnings) == (engine == "caffe")  # of the gradient of TanH
    assert any(step.scores for step in training)


def test_loud_fields_are_errors_on_caffe_and_warnings_on_torch(engine: str, tmp_path: Path) -> None:
    path = write_solver(tmp_path, layers=LAYERS.replace("kernel_size: 3", "kernel_size: 3 loud: 1"))
    if engine == "caffe":
        with pytest.raises(InputError, match=r"knows no convolution_param\.loud"):
            load_solver(path, engine=engine)
    else:
        training = Training(path, data=write_npz(tmp_path / "a.npz"), engine=engine)
        assert "convolution_param.loud is not understood" in training.warnings[0]


def test_weights_of_types_of_forks_are_filled_in(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the engine torch is not installed")
    first = load_solver(write_solver(tmp_path, layers=SWISH), engine="torch")
    plain(first, 2)
    first.snapshot()
    second = load_solver(write_solver(tmp_path, layers=SWISH))
    for begin, name in ((load_weights, "toy_iter_2.caffemodel"), (restore, "toy_iter_2.solverstate")):
        begin(second, tmp_path / name)
        for a, b in zip(weights(first.net), weights(second.net), strict=True):
            np.testing.assert_array_equal(a, b)


# Whole trainings.


def test_training_learns_and_tests(engine: str, tmp_path: Path) -> None:
    path = write_solver(tmp_path, layers=SMOOTH, max_iter=40)
    path.write_text(path.read_text().replace("stepsize: 4", "stepsize: 400"))
    data, test = write_npz(tmp_path / "train.npz", 60), write_npz(tmp_path / "test.npz", 30, seed=1)
    training = Training(path, data=data, test_data=test, record=tmp_path / "a.record", engine=engine)
    steps = list(training)
    paths = training.finish()
    assert [step.iteration for step in steps] == list(range(1, 41))
    record = Record.load(tmp_path / "a.record")
    assert record.head.every == 10
    assert [p.layer for p in record.head.parameters if p.kept] == ["conv", "conv"]
    assert record.scores("accuracy")[-1] > 0.85
    assert record.scores("loss")[-1] < 0.5 < record.losses[1][:3].mean()
    assert [p.name for p in paths] == ["toy_iter_40.caffemodel", "toy_iter_40.solverstate"]
    assert all(p.exists() for p in paths)
    again = Training(path, data=data, weights=paths[0], engine=engine)
    for a, b in zip(weights(training.solver.net), weights(again.solver.net), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(InputError, match="is at iteration 40 of max_iter 40"):
        Training(path, data=data, snapshot=paths[1], engine=engine)


def test_the_test_net_changes_nothing(engine: str, tmp_path: Path) -> None:
    """Dropout draws the same numbers whether a test net was made and run or not."""
    data = write_npz(tmp_path / "train.npz")
    found: list[list[np.ndarray]] = []
    for test in (None, data):
        training = Training(write_solver(tmp_path, max_iter=15), data=data, test_data=test, engine=engine)
        list(training)
        found.append(weights(training.solver.net))
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_solver_tests_by_itself_where_its_net_has_data(engine: str, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, values in examples(30).items():
            file[name] = values.astype(np.float32)
    (tmp_path / "list.txt").write_text(str(tmp_path / "a.h5"))
    data = (
        'layer { name: "data" type: "HDF5Data" top: "data" top: "label" '
        f'hdf5_data_param {{ source: "{tmp_path}/list.txt" batch_size: 6 }} }}'
    )
    path = write_solver(tmp_path, data=data, more="test_iter: 5 test_interval: 4")
    with pytest.raises(InputError, match="allow-code"):
        Training(path, engine=engine)
    training = Training(path, engine=engine, allow_code=True)
    steps = list(training)
    assert [s.iteration for s in steps if s.scores] == [4, 8, 12, 16, 20]
    net, scores = training.solver.test_nets[0], steps[-1].scores
    right = 0
    for _ in range(5):
        net.forward()
        right += int((net.blobs["score"].data.argmax(1) == net.blobs["label"].data).sum())
    assert scores is not None
    assert scores["accuracy"] == pytest.approx(right / 30)


def test_a_net_that_waits_for_data_needs_some(engine: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a layer Input, which waits for data"):
        Training(write_solver(tmp_path), engine=engine)


run = partial(completed, "train")


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "caffe_viz.cli", "train", *map(str, arguments)]


@pytest.mark.slow
def test_ctrl_c_takes_a_snapshot_that_goes_on(engine: str, tmp_path: Path) -> None:
    path = write_solver(tmp_path, data=INPUT, layers=SMOOTH, max_iter=10**7)
    data = write_npz(tmp_path / "train.npz")
    arguments = (path, "--data", data, "--record", tmp_path / "a.record", "--engine", engine)
    process = fork_server.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    record = tmp_path / "a.record"
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and not (record.exists() and record.stat().st_size > 10**4):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "interrupted after iteration" in err
    assert "loss" in err
    assert "rate" in err
    assert "left" in err
    state = Path(next(line for line in out.splitlines() if line.endswith(".solverstate")))
    done = int(state.stem.rpartition("_")[2])
    assert state.exists()
    assert state.with_suffix(".caffemodel").exists()
    found = Record.load(record)
    assert found.losses[0].tolist() == list(range(1, done + 1))
    write_solver(tmp_path, data=INPUT, layers=SMOOTH, max_iter=done + 12)
    again = run(*arguments, "--snapshot", state)
    assert again.returncode == 0, again.stderr
    found = Record.load(record)
    assert found.losses[0].tolist() == list(range(1, done + 13))
    assert f"iteration {done + 12:,} of {done + 12:,}" in again.stderr


def test_bad_data_ends_with_a_snapshot_and_one_line(tmp_path: Path) -> None:
    images = write_images(tmp_path / "images")
    (images / "b" / "3.png").write_bytes(b"no image")
    path = write_solver(tmp_path)
    done = run(path, "--data", images, "--engine", "torch")
    assert done.returncode == 2
    assert "b/3.png" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert ".solverstate" in done.stdout


def test_gradients_that_caffe_computes_wrongly_are_warned_of(engine: str, tmp_path: Path) -> None:
    """In the toy, Dropout overwrites in place what TanH needs to go backward."""
    training = Training(write_solver(tmp_path), data=write_npz(tmp_path / "a.npz"), engine=engine)
    assert len(training.warnings) == (engine == "caffe")
    done = run(write_solver(tmp_path, max_iter=2), "--data", tmp_path / "a.npz", "--engine", engine)
    words = "warning: layer 'tanh' (TanH): its gradient is wrong in Caffe, because 'drop' overwrites its top 'tanh'"
    assert (words in done.stderr) == (engine == "caffe")
    assert done.returncode == 0, done.stderr


def test_a_training_that_diverges_ends_in_one_line(engine: str, tmp_path: Path) -> None:
    """Real Caffe would go on with NaN, write outside the memory of its MAX pooling, and abort at the end."""
    pool = (
        'layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { kernel_size: 2 } }'
    )
    head, tail = LAYERS.split('layer { name: "fc"')
    layers = head + pool + 'layer { name: "fc"' + tail.replace('bottom: "conv"', 'bottom: "pool"', 1)
    layers = layers.replace('type: "TanH"', 'type: "ReLU"')
    path = write_solver(tmp_path, layers=layers, max_iter=100)
    path.write_text(path.read_text().replace("base_lr: 0.1", "base_lr: 100"))
    done = run(path, "--data", write_npz(tmp_path / "a.npz"), "--engine", engine)
    assert done.returncode == 1, done.stderr
    last = done.stderr.splitlines()[-1]
    assert "the training has diverged (loss" in last
    assert "lower base_lr than 100" in last
    assert ".solverstate" in done.stdout


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (("--every", "week"), "give epoch, or a number of iterations"),
        (("--layer", "cnv", "--record", "a.record"), "no layer 'cnv'"),
        (("--snapshot", "no.solverstate"), "no such solverstate"),
        (("--weights", "no.caffemodel"), "no such caffemodel"),
        (("--data", "no.npz"), "no.npz"),
    ],
)
def test_wrong_arguments_are_one_line(more: tuple[str, ...], reason: str, tmp_path: Path) -> None:
    path = write_solver(tmp_path)
    data = () if "--data" in more else ("--data", write_npz(tmp_path / "a.npz"))
    done = run(path, *data, *more, "--engine", "torch")
    assert done.returncode == 2, done.stderr
    assert reason in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
