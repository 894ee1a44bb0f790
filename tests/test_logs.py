"""evolution of Caffe's own logs: what is read of their lines, and what is made of it."""

from __future__ import annotations

import csv
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import here, ran, refused
from recorder_toy import write_solver

import caffe_viz as cv
from caffe_viz.errors import InputError
from caffe_viz.figures.logs import log_curves
from caffe_viz.recording.logs import is_log, read_logs

# Lines of Caffe 1.0 among others; NaN; a test net that has an output of three values.
LOG = """\
I0101 12:00:00.000001  1234 solver.cpp:45] Initializing solver from parameters:
base_lr: 0.01
I0101 12:00:01.000001  1234 solver.cpp:289] Solving toy
I0101 12:00:01.100001  1234 solver.cpp:347] Iteration 0, Testing net (#0)
I0101 12:00:01.200001  1234 solver.cpp:414]     Test net output #0: accuracy = 0.1
I0101 12:00:01.200001  1234 solver.cpp:414]     Test net output #1: class = 0.2
I0101 12:00:01.200001  1234 solver.cpp:414]     Test net output #2: class = 0.3
I0101 12:00:01.200001  1234 solver.cpp:414]     Test net output #3: loss = 2.5 (* 0.5 = 1.25 loss)
I0101 12:00:01.250001  1234 solver.cpp:347] Iteration 0, Testing net (#1)
I0101 12:00:01.260001  1234 solver.cpp:414]     Test net output #0: accuracy = 0.15
I0101 12:00:01.300001  1234 solver.cpp:239] Iteration 0 (-1.4e-43 iter/s, 0.1s/20 iters), loss = 2.4
I0101 12:00:01.300001  1234 solver.cpp:258]     Train net output #0: loss/aux = 2.41 (* 0.3 = 0.723 loss)
I0101 12:00:01.300001  1234 sgd_solver.cpp:112] Iteration 0, lr = 0.01
W0101 12:00:01.900001  1234 data_reader.cpp:7] Waiting for data
I0101 12:00:02.300001  1234 solver.cpp:239] Iteration 20 (12.5 iter/s, 1.6s/20 iters), loss = nan
I0101 12:00:02.300001  1234 solver.cpp:258]     Train net output #0: loss/aux = -nan (* 0.3 = -nan loss)
I0101 12:00:02.300001  1234 sgd_solver.cpp:112] Iteration 20, lr = 1e-05
I0101 12:00:03.300001  1234 solver.cpp:327] Iteration 40, loss = 1.5e-2
I0101 12:00:03.400001  1234 solver.cpp:332] Optimization Done.
"""


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def curves(path: Path, number: int = 0) -> dict[str, dict[int, float]]:
    run = read_logs([path])[number]
    return {
        name: dict(zip(c.iterations.tolist(), c.values.tolist(), strict=True))
        for name, c in run.curves.items()
    }


EXPECTED = {
    "loss": {0: 2.4, 20: np.nan, 40: 0.015},
    "learning rate": {0: 0.01, 20: 1e-5},
    "train loss/aux": {0: 2.41, 20: np.nan},
    "test accuracy": {0: 0.1},
    "test class [0]": {0: 0.2},
    "test class [1]": {0: 0.3},
    "test loss": {0: 2.5},
    "test 1 accuracy": {0: 0.15},
}


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.encode(),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: gzip.compress(text.encode()),
        lambda text: (
            text + "I0101 12:00:04 1 solver.cpp:239] Iteration 60, loss = 0.0"
        ).encode(),  # unfinished
        lambda text: b"\xff\xfe\xfa\n" + b"x" * 9999 + b"\n" + text.encode(),
        lambda text: "".join("[gpu 0] " + line for line in text.splitlines(True)).encode(),
        lambda text: "".join(2 * line for line in text.splitlines(True)).encode(),  # of two GPUs
    ],
)
def test_lines_of_caffe(change: object, tmp_path: Path) -> None:
    found = curves(write(tmp_path / "a.log", change(LOG)))
    assert list(found) == list(EXPECTED)
    for name, values in EXPECTED.items():
        assert found[name] == pytest.approx(values, nan_ok=True), name


VARIANTS = {
    "NVIDIA": (
        "I1 solver.cpp:352] Iteration 20 (2.4 iter/s, 8.3s/20 iter), 0.1/64.2ep, loss = 6.9\n"
        "I1 sgd_solver.cpp:172] Iteration 20, lr = 0.02, m = 0.9, wd = 0.0005, gs = 1\n",
        {"loss": {20: 6.9}, "learning rate": {20: 0.02}},
    ),
    "2014": ("I1 solver.cpp:160] Iteration 100, loss = 0.5\n", {"loss": {100: 0.5}}),
    "2013": (
        "I1 solver.cpp:60] Iteration 500, Testing net\nI1 solver.cpp:90] Test score #0: 0.75\n",
        {"test score 0": {500: 0.75}},
    ),
    "Windows": ("I1 solver.cpp:239] Iteration 5, loss = -1.#IND\n", {"loss": {5: np.nan}}),
    "compute_loss": (
        "I1 solver.cpp:347] Iteration 5, Testing net (#0)\nI1 solver.cpp:401] Test loss: 0.25\n",
        {"test total loss": {5: 0.25}},
    ),
    "own": (
        "iteration 1,500 of 10,000  loss 0.5  test accuracy 0.6  test loss 1.2  rate 0.001  1:03 left\n",
        {"loss": {1500: 0.5}, "learning rate": {1500: 0.001}, "test accuracy": {1500: 0.6}, "test loss": {1500: 1.2}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", VARIANTS)
def test_lines_of_other_programs(kind: str, tmp_path: Path) -> None:
    text, expected = VARIANTS[kind]
    found = curves(write(tmp_path / "a.log", text))
    assert list(found) == list(expected)
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, nan_ok=True)


def losses(*pairs: tuple[int, float]) -> str:
    return "".join(f"I1 solver.cpp:239] Iteration {n}, loss = {x}\n" for n, x in pairs)


def test_a_resumed_run_replaces_what_came_after_its_snapshot(tmp_path: Path) -> None:
    log = write(tmp_path / "a.log", losses((0, 9), (50, 8), (100, 7), (150, 6), (100, 5), (120, 4)))
    assert curves(log) == {"loss": {0: 9, 50: 8, 100: 5, 120: 4}}


def test_a_run_that_begins_anew_is_another(tmp_path: Path) -> None:
    log = write(tmp_path / "a.log", losses((0, 9), (50, 8), (0, 7), (50, 6)))
    assert [run.name for run in read_logs([log])] == ["a, run 1", "a, run 2"]
    assert [curves(log, k)["loss"] for k in (0, 1)] == [{0: 9, 50: 8}, {0: 7, 50: 6}]


def test_a_cut_archive_keeps_what_can_be_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    whole = gzip.compress(losses(*enumerate(rng.random(5000))).encode())
    log = write(tmp_path / "a.log.gz", whole[: len(whole) // 2])
    [run] = read_logs([log])
    assert 1000 < len(run.curves["loss"].values) < 4000
    code, _, said = ran("evolution", log, "-o", tmp_path / "out")
    assert (code, said.count("\n")) == (0, 1)
    assert "damaged, its end is missing" in said


def test_what_is_no_log(tmp_path: Path) -> None:
    for text in (
        "",
        "base_lr: 0.1\n",
        "Iteration: 1 forward-backward time: 7 ms\n",
        "Batch 0, accuracy = 1\n",
    ):
        path = write(tmp_path / "a.log", text)
        assert is_log(path)
        assert "nor the log of a training: no line says" in refused("evolution", path)
    assert not is_log(write(tmp_path / "b", b"\0\1\2"))
    with pytest.raises(InputError, match="cannot be read"):
        read_logs([tmp_path / "nowhere.log"])
    here_, there = write(tmp_path / "c.log", losses((0, 1))), tmp_path / "net.caffemodel"
    assert refused("evolution", here_, there).count("\n") == 1


def test_command(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a.log", LOG), write(tmp_path / "b.log", losses((0, 3), (10, 2.5)))
    out = here("evolution", a, b, "-o", tmp_path / "out")
    assert out.splitlines()[-2:] == [str(tmp_path / f"out/evolution_log.{end}") for end in ("png", "csv")]
    with (tmp_path / "out/evolution_log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["run"], row["iteration"], row["loss"]) for row in rows] == [
        ("a", "0", "2.4"), ("a", "20", "nan"), ("a", "40", "0.015"), ("b", "0", "3.0"), ("b", "10", "2.5"),
    ]  # fmt: skip
    assert rows[4]["test accuracy"] == ""
    found = json.loads(here("evolution", a, "--json", "-o", tmp_path / "out"))
    assert found["values"][1]["loss"] is None
    assert found["curves"][0] == {
        "run": "a", "curve": "loss", "values": 3, "until": 40, "last": 0.015, "lowest": 0.015, "lowest at": 40,
        "highest": 2.4, "highest at": 0,
    }  # fmt: skip
    same = write(tmp_path / "x.log", LOG), tmp_path / "d"
    same[1].mkdir()
    names = [
        run.name for run in read_logs([same[0], write(same[1] / "x.log.gz", gzip.compress(LOG.encode()))])
    ]
    assert names == [str(tmp_path / "x.log"), str(tmp_path / "d/x.log.gz")]


def test_the_picture_has_a_panel_for_what_there_is() -> None:
    x = np.arange(300)
    loss, rate = (x, 2.0 + np.sin(x)), (x, np.full(300, 0.1))
    heights = [
        log_curves([("a", shown)]).shape[0]
        for shown in ({"loss": loss}, {"loss": loss, "learning rate": rate},
                      {"loss": loss, "learning rate": rate, "test accuracy": (x[:3], x[:3] / 4)})
    ]  # fmt: skip
    assert np.diff(heights).tolist() == [290, 290]
    alone = log_curves([("a", {"loss": loss})]).rgb
    twice = log_curves([("a", {"loss": loss, "train loss": loss})]).rgb
    np.testing.assert_array_equal(alone, twice)  # the displayed loss once more
    with pytest.raises(InputError, match="nothing to draw"):
        log_curves([("a", {"loss": (x, np.full(300, np.nan))})])


RUN = """
import json, sys, caffe
solver = caffe.get_solver(sys.argv[1])
losses = []
for _ in range(12):
    solver.step(1)
    losses.append(float(solver.net.blobs["loss"].data))
print(json.dumps(losses))
"""


def test_a_log_of_real_caffe(tmp_path: Path) -> None:
    """Its losses are those that the net had, its rates those of the policy."""
    pytest.importorskip("caffe", reason="real Caffe is not installed: make caffe")
    data = (
        'layer { name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param { shape { dim: 6 dim: 3 dim: 8 dim: 8 } '
        'shape { dim: 6 } data_filler { type: "gaussian" } data_filler { type: "constant" value: 1 } } }\n'
    )
    path = write_solver(
        tmp_path, data=data, more="display: 3 test_iter: 2 test_interval: 4 snapshot_after_train: false"
    )
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(path)], capture_output=True, text=True, check=True,
        env={**os.environ, "GLOG_logtostderr": "1", "GLOG_minloglevel": "0"},
    )  # fmt: skip
    told = json.loads(done.stdout.splitlines()[-1])
    found = curves(write(tmp_path / "caffe.log", done.stderr))
    assert set(found) == {"loss", "learning rate", "train loss", "test accuracy", "test loss"}
    assert found["train loss"] == pytest.approx({n: told[n] for n in (0, 3, 6, 9)}, rel=1e-4)
    assert found["learning rate"] == pytest.approx({0: 0.1, 3: 0.1, 6: 0.05, 9: 0.025})
    assert list(found["test loss"]) == [0, 4, 8]
    assert cv.show_log(tmp_path / "caffe.log").curves.shape[0] > 800
