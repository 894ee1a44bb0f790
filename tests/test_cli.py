"""The commands as a user runs them."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
from inspect import signature
from pathlib import Path

import fork_server
import numpy as np
import pytest
import typer.main
from commands import BUILT, completed, here

from caffe_viz.cli import main
from caffe_viz.cli.app import app
from caffe_viz.cli.networks import Running, options_of
from caffe_viz.cli.parts import numbers
from caffe_viz.errors import InputError
from caffe_viz.geometry import measure
from caffe_viz.netdef import NetParameter, make_blob, read_net, write_weights

REPOSITORY = Path(__file__).resolve().parent.parent
CAT = REPOSITORY / "examples" / "cat.png"
SCRIPTS = REPOSITORY / "scripts"


run = completed


def test_shapes_equal_the_net(networks: Path) -> None:
    done = run("shapes", networks / "caffenet_cifar10" / "deploy.prototxt", "--batch", 50, "--json")
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    blobs = {row["blob"]: row["shape"] for row in made["blobs"]}
    assert list(blobs) == [
        "data",
        "conv1",
        "pool1",
        "norm1",
        "conv2",
        "pool2",
        "norm2",
        "conv3",
        "conv4",
        "conv5",
        "pool5",
        "fc6",
        "fc7",
        "fc8",
        "prob",
    ]
    assert blobs["conv1"] == "50 48 32 32"
    assert blobs["pool5"] == "50 64 4 4"
    params = {row["parameter"]: (row["weights"], row["bias"]) for row in made["parameters"]}
    assert params["conv2"] == ("64 24 5 5", "64")
    assert params["fc6"] == ("256 1024", "256")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("shapes", "nowhere.prototxt"), "nowhere.prototxt: no such prototxt"),
        (("shapes", "{net}", "--size", "32"), "--size '32'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    networks: Path, arguments: tuple[str, ...], words: str
) -> None:
    folder = networks / "caffenet_cifar10"
    names = {"net": folder / "deploy.prototxt", "weights": folder / "caffenet_cifar10.caffemodel"}
    done = run(*(a.format(**names) for a in arguments))
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_check_accepts_the_shipped_network_and_refuses_swapped_files(networks: Path) -> None:
    folder = networks / "caffenet_cifar10"
    net, weights = folder / "deploy.prototxt", folder / "caffenet_cifar10.caffemodel"
    assert run("check", net, weights).stdout.endswith("0 errors, 0 warnings\n")
    assert run("check", net, net).returncode == 2


CAFFENET_BLOBS = """
data 50 3 227 227, conv1 50 96 55 55, pool1 50 96 27 27, norm1 50 96 27 27, conv2 50 256 27 27,
pool2 50 256 13 13, norm2 50 256 13 13, conv3 50 384 13 13, conv4 50 384 13 13, conv5 50 256 13 13,
pool5 50 256 6 6, fc6 50 4096, fc7 50 4096, fc8 50 1000, prob 50 1000
"""
CAFFENET_WEIGHTS = """
conv1 96 3 11 11, conv2 256 48 5 5, conv3 384 256 3 3, conv4 384 192 3 3, conv5 256 192 3 3,
fc6 4096 9216, fc7 4096 4096, fc8 1000 4096
"""


def test_caffenet_tables_are_the_published_ones(networks: Path) -> None:
    """The two tables of the pycaffe tutorial at a batch of 50, and the published totals."""
    done = run("shapes", networks / "caffenet" / "deploy.prototxt", "--batch", 50, "--json")
    made = json.loads(done.stdout)
    expected = dict(row.split(maxsplit=1) for row in CAFFENET_BLOBS.split(","))
    assert {row["blob"]: row["shape"] for row in made["blobs"]} == {k: v.strip() for k, v in expected.items()}
    expected = dict(row.split(maxsplit=1) for row in CAFFENET_WEIGHTS.split(","))
    weights = {row["parameter"]: row["weights"] for row in made["parameters"]}
    assert weights == {k: v.strip() for k, v in expected.items()}
    assert all(row["bias"] == row["weights"].split()[0] for row in made["parameters"])
    totals = {row["total"]: row["value"] for row in made["totals"]}
    assert totals["parameters"] == 60_965_224
    assert totals["multiply-adds"] == 724_406_816


def files(networks: Path) -> tuple[Path, Path]:
    folder = networks / "caffenet_cifar10"
    return folder / "deploy.prototxt", folder / "caffenet_cifar10.caffemodel"


def test_weights_writes_a_picture_of_each_layer(networks: Path, tmp_path: Path) -> None:
    done = run(
        "weights",
        *files(networks),
        "--layer",
        "conv1",
        "--layer",
        "conv3",
        "--filters",
        "0:8",
        "-o",
        tmp_path,
    )
    assert done.stdout.split() == [str(tmp_path / f"{name}_weights.png") for name in ("conv1", "conv3")]
    assert all(Path(line).stat().st_size > 1000 for line in done.stdout.split())
    assert run("weights", *files(networks), "-o", tmp_path).stdout.split() == [
        str(tmp_path / "conv1_weights.png")
    ]


def test_activations_names_the_class_and_the_state(engine: str, networks: Path, tmp_path: Path) -> None:
    line = ("activations", *files(networks), "--image", CAT, "--engine", engine, "-o", tmp_path)
    done = run(*line, "--layer", "conv1", "--layer", "prob")
    assert done.returncode == 0, done.stderr
    assert f"activations ({engine})" in done.stdout
    assert "post-ReLU (relu1, in place)" in done.stdout
    assert "3  cat\n" in done.stdout
    assert sorted(p.name for p in tmp_path.iterdir()) == ["conv1_activations.png", "prob_activations.png"]
    made = json.loads(here(*line, "--layer", "prob", "--json"))
    assert made["top"][0]["label"] == "cat"
    assert made["engine"] == engine


def test_gradient_has_both_streams(engine: str, networks: Path, tmp_path: Path) -> None:
    done = run(
        "gradient",
        *files(networks),
        "--image",
        CAT,
        "--blob",
        "data",
        "--blob",
        "conv1",
        "--json",
        "--engine",
        engine,
        "-o",
        tmp_path,
    )
    made = json.loads(done.stdout)
    assert (made["of"], made["engine"]) == ("fc8 3 cat", engine)
    streams = {row["blob"]: row["stream"] for row in made["gradients"]}
    assert (streams["conv1"], streams["conv1[0]"]) == ("data", "parameter")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["conv1_gradient.png", "data_gradient.png"]


@pytest.mark.usefixtures("climbing_here")
def test_ascend_writes_all_it_says(engine: str, networks: Path, tmp_path: Path) -> None:
    arguments = (
        "ascend", *files(networks), "--layer", "conv2", "--filters", "6:18:6", "--steps", 8,
        "--engine", engine, "-o",
    )  # fmt: skip
    done = run(*arguments, tmp_path / "a", "--json")
    made = json.loads(done.stdout)
    assert made["engine"] == engine
    assert [row["filter"] for row in made["filters"]] == [6, 12]
    assert all(row["of the picture"] > row["objective at start"] for row in made["filters"])
    assert sorted(made["files"]) == sorted(map(str, (tmp_path / "a").iterdir()))
    assert done.stderr == ""  # no bar where there is no terminal
    lines = here(*arguments, tmp_path / "b", "--jobs", 1).splitlines()
    assert lines[0].startswith("preprocessing: BGR")
    assert lines[1] == f"conv2, natural ascent ({engine})"
    sheet = "conv2_natural_sheet.png"
    assert (tmp_path / "a" / sheet).read_bytes() == (tmp_path / "b" / sheet).read_bytes()


# Ctrl-C as the first steps arrive, or before a worker begins.
INTERRUPTED = """
import os, signal, sys
from caffe_viz.ascent import RunningAscent
from caffe_viz.cli import main
from caffe_viz.ascent.worker_pool import WorkerPool
noted = RunningAscent._progress
def late(self, event):
    progress = noted(self, event)
    os.kill(os.getpid(), signal.SIGINT)
    return progress
def early(self, batches):
    os.kill(os.getpid(), signal.SIGINT)
    yield
if sys.argv.pop(1) == "early":
    WorkerPool.run = early
else:
    RunningAscent._progress = late
main()
"""


def interrupted(networks: Path, when: str, *options: object) -> subprocess.CompletedProcess[str]:
    line = [
        "ascend",
        *files(networks),
        "--layer",
        "conv2",
        "--filters",
        "0:4",
        "--steps",
        "1000000",
        *options,
    ]
    return fork_server.run(
        [sys.executable, "-c", INTERRUPTED, when, *map(str, line)],
        capture_output=True,
        text=True,
    )


def test_ctrl_c_keeps_the_best_so_far(networks: Path, tmp_path: Path) -> None:
    done = interrupted(networks, "late", "-o", tmp_path)
    assert done.returncode == 130
    assert done.stderr == "interrupted: these are the best images so far\n"
    assert (tmp_path / "conv2_natural_sheet.png").exists()
    assert done.stdout.count(".png") == 6


def test_ctrl_c_before_the_first_step_leaves_no_picture(networks: Path, tmp_path: Path) -> None:
    done = interrupted(networks, "early", "-o", tmp_path)
    assert done.returncode == 130
    assert done.stderr == "interrupted before the first step: there are no images\n"
    assert not list(tmp_path.glob("*.png"))


@pytest.mark.usefixtures("climbing_here")
def test_every_filter_dead_is_a_failed_run(engine: str, tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(
        'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }'
        'layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 2 kernel_size: 3 } }'
    )
    weights = NetParameter()
    weights.layer.add(name="conv", blobs=[make_blob(np.zeros((2, 3, 3, 3))), make_blob(np.zeros(2))])
    write_weights(weights, tmp_path / "net.caffemodel")
    done = run(
        "ascend",
        tmp_path / "net.prototxt",
        tmp_path / "net.caffemodel",
        "--layer",
        "conv",
        "--engine",
        engine,
        "--jobs",
        1,
        "-o",
        tmp_path / "out",
    )
    assert done.returncode == 1
    assert "every chosen filter is dead" in done.stderr
    assert done.stdout.count("dead: no gradient") == 2
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["conv_natural.npz"]


def test_a_folder_that_cannot_be_written_is_said_before_the_work(networks: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run(
        "ascend", *files(networks), "--layer", "conv5", "--steps", 10**9, "-o", tmp_path / "file" / "out"
    )
    assert done.returncode == 1
    assert "is not a folder that you can write to" in done.stderr


def test_aux_writes_a_prototxt(networks: Path, tmp_path: Path) -> None:
    path = tmp_path / "aux.prototxt"
    done = run("aux", files(networks)[0], "--layer", "conv3", "--batch", 4, "--size", "40x48", "-o", path)
    assert done.returncode == 0, done.stderr
    geometry = measure(read_net(path))
    assert geometry.blob("data") == (4, 3, 40, 48)
    assert geometry.blob("selector") == (4, 96)
    assert geometry.blob("objective") == ()
    assert "net.params['image'][0].data (4, 3, 40, 48)" in done.stdout


@pytest.mark.parametrize("text", ["1:2:3:4", "a", "-3", "5:2", "0:9:0", ""])
def test_bad_filters(text: str) -> None:
    with pytest.raises(InputError, match="--filters"):
        numbers(text)


def test_filters() -> None:
    assert numbers("0:10:4,3") == [0, 4, 8, 3]
    assert numbers("7") == [7]
    assert numbers("all") is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("weights", "{net}", "{weights}", "--layer", "conv_1"), "Did you mean 'conv1'"),
        (("ascend", "{net}", "{weights}", "--layer", "conv3", "--filters", "96"), "filters 0 to 95, not 96"),
        (("ascend", "{net}", "{net}", "--layer", "conv3"), "swapped"),
        (("ascend", "{net}", "{weights}", "--layer", "fc6", "--size", "40x40"), "'fc6' (InnerProduct) has weights"),
        (("activations", "{net}", "{weights}", "--image", "{net}"), "deploy.prototxt"),
        (("gradient", "{net}", "{weights}", "--image", "{cat}", "--target", "fc9:1"), "no layer 'fc9'"),
        (("activations", "{net}", "{weights}", "--image", "{cat}", "--preprocess", "no.toml"), "no.toml"),
    ],
)  # fmt: skip
def test_bad_input_of_each_command(
    networks: Path, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    names = dict(zip(("net", "weights"), files(networks), strict=True), cat=CAT)
    done = run(*(a.format(**names) for a in arguments), "-o", tmp_path / "out")
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


WRONG = [
    (("--engine", "torch8"), "--engine torch8: give auto, caffe or torch."),
    (("--engine", "caffe", "--device", "cuda"), "device 'cuda' needs the engine torch"),
    (("--device", "gpu8"), "device 'gpu8' cannot be used"),
]
ENGINE_COMMANDS = {
    c.callback.__name__: signature(c.callback).parameters
    for c in app.registered_commands
    if "engine" in signature(c.callback).parameters
}


def test_these_commands_take_an_engine() -> None:
    assert {"activations", "gradient", "ascend", "attribute", "classify", "top"} <= set(ENGINE_COMMANDS)


@pytest.mark.parametrize("command", sorted({*ENGINE_COMMANDS} - {"segment", "detect"}))  # nets of their own
def test_wrong_engines_and_devices_are_one_line(
    command: str,
    networks: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """In this process: the engine torch is then imported once."""
    pytest.importorskip("torch", reason="the engine torch is not installed")
    monkeypatch.setattr(typer.main, "get_command", BUILT)
    options = ENGINE_COMMANDS[command]
    solver = networks / "caffenet_cifar10" / "solver.prototxt"
    line: list[object] = ["caffe-viz", command, *([solver] if "solver" in options else files(networks))]
    line += ["--image", f"data={CAT}" if command == "ascend" else CAT] if "image" in options else []
    line += ["--layer", "conv3"] if "layer" in options else []
    line += ["--blob", "fc7"] if command == "features" else []
    line += ["--time"] if "timed" in options else []  # shapes runs an engine for that alone
    line += ["-o", tmp_path / "out"] if "output" in options else []
    for wrong, words in (pair for pair in WRONG if "--device" not in pair[0] or "device" in options):
        monkeypatch.setattr(sys, "argv", [*map(str, line), *wrong])
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capfd.readouterr()
        assert end.value.code == 2, err
        assert words in err
        assert err.count("\n") == 1
        assert re.fullmatch(r"(preprocessing: .*\n)?", out)
    assert not (tmp_path / "out").exists()


def test_scripts_are_the_commands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(typer.main, "get_command", BUILT)
    for path in SCRIPTS.glob("*.py"):
        if "caffe_viz.cli" in path.read_text() and path.stem != "demo":
            monkeypatch.setattr(sys, "argv", [str(path), "--help"])
            with pytest.raises(SystemExit) as end:
                runpy.run_path(str(path), run_name="__main__")
            assert not end.value.code
            assert f"caffe-viz {path.stem}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 7")]
)
def test_too_little_memory_is_one_line(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], networks: Path
) -> None:
    from caffe_viz import geometry

    def exhausted(*given: object, **named: object) -> None:
        raise error

    monkeypatch.setattr(geometry, "measure", exhausted)
    monkeypatch.setattr(sys, "argv", ["caffe-viz", "shapes", str(networks / "lenet" / "deploy.prototxt")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert (
        capsys.readouterr().err
        == "caffe-viz: there is not enough memory: make the batch or the input smaller.\n"
    )


def test_aux_of_an_objective_writes_its_numbers_beside_it(networks: Path, tmp_path: Path) -> None:
    prototxt, weights = files(networks)
    path = tmp_path / "aux.prototxt"
    given = ("aux", prototxt, "-o", path, "--batch", 2)
    done = run(*given, "--objective", "conv3:16 + 0.5*conv3:40 - cat")
    assert done.returncode == 0, done.stderr
    blob = measure(read_net(path)).blob
    with np.load(tmp_path / "aux.npz") as saved:
        assert {name: array.shape for name, array in saved.items()} == {n: blob(n) for n in saved}
        assert blob("values") == (2,)
        of_conv3 = saved["selector" if saved["selector"].shape == (2, 96) else "selector2"]
        np.testing.assert_allclose(of_conv3[:, [16, 40]], [[1 / 64, 0.5 / 64]] * 2)
    for options, words in (
        ((), "give either --layer or --objective"),
        (("--layer", "conv3", "--objective", "conv3"), "give either"),
        (("--objective", "conv33:1"), "Did you mean 'conv3'"),
        (("--objective", "content(conv3, x.png)"), "give its weights too"),
        (("--objective", "content(conv3, x.png)", "--weights", weights), "x.png"),
    ):
        done = run(*given, *options)
        assert done.returncode == 2
        assert words in done.stderr


def test_help_shows_defaults_that_are_words() -> None:
    """As rich's markup "[default: all]" would be a style, and go."""
    assert "[default: all]" in " ".join(here("activations", "--help").replace("│", " ").split())


def test_options_of_the_network_are_the_same_in_every_command_that_runs_one() -> None:
    shared = set(options_of(Running)) - {"weights"}
    for name, taken in ENGINE_COMMANDS.items():
        if name not in ("shapes", "train"):
            assert shared <= set(taken), name
