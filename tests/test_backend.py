"""Which engine runs a net, and loading on it: same numbers whichever way the weights come, and no abort."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_nets import BAD_NETS, DATA, GOOD, layer

import caffe_viz as cv
from caffe_viz import backend, checking
from caffe_viz.ascent import ascend
from caffe_viz.errors import CaffeVizWarning, InputError, RunError
from caffe_viz.netdef import (
    NetParameter,
    State,
    make_blob,
    parse_net,
    read_net,
    read_weights,
    write_weights,
)


def random_weights() -> NetParameter:
    rng = np.random.default_rng(0)
    net = NetParameter()
    net.layer.add(name="data")
    for name, shapes in {"conv": [(4, 3, 3, 3), (4,)], "fc": [(2, 144), (2,)]}.items():
        net.layer.add(name=name, blobs=[make_blob(rng.normal(size=shape)) for shape in shapes])
    return net


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    prototxt, weights = tmp_path / "net.prototxt", tmp_path / "net.caffemodel"
    prototxt.write_text(GOOD)
    write_weights(random_weights(), weights)
    return prototxt, weights


def output(net: Any) -> np.ndarray:
    net.blobs["data"].data[...] = np.linspace(-1, 1, 192).reshape(1, 3, 8, 8)
    return net.forward()["fc"].copy()


def test_paths_and_messages_give_the_same_net(files: tuple[Path, Path], engine: str) -> None:
    prototxt, weights = files
    caffe = backend.module(engine)
    expected = output(caffe.Net(str(prototxt), caffe.TEST, weights=str(weights)))
    for net_source in (prototxt, str(prototxt), read_net(prototxt)):
        for source in (weights, str(weights), read_weights(weights)):
            net = backend.load_net(net_source, source, engine=engine)
            np.testing.assert_array_equal(output(net), expected)
    assert np.ptp(expected) > 0


def test_relative_paths(files: tuple[Path, Path], engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(files[0].parent)
    assert backend.load_net("net.prototxt", "net.caffemodel", engine=engine).inputs == ["data"]


def test_weights_too_long_for_the_reader_of_caffe(
    files: tuple[Path, Path], caffe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = output(backend.load_net(*files, engine="caffe"))
    monkeypatch.setattr(checking, "CAFFE_READS_BYTES", 100)
    np.testing.assert_array_equal(output(backend.load_net(*files, engine="caffe")), expected)


def test_legacy_blobs_are_filled_in(engine: str) -> None:
    weights = random_weights()
    values = np.array(weights.layer[2].blobs[0].data, np.float32).reshape(2, 144)
    blob = weights.layer[2].blobs[0]
    blob.ClearField("shape")
    blob.num, blob.channels, blob.height, blob.width = 1, 1, 2, 144
    net = backend.load_net(parse_net(GOOD), weights, engine=engine)
    np.testing.assert_array_equal(net.params["fc"][0].data, values)


def test_an_image_parameter_is_not_confused_with_an_input_of_the_weights(engine: str) -> None:
    """A caffemodel lists its input layer, without blobs; Caffe itself would abort on that."""
    image = layer(
        "data", "Parameter", "", "data", "parameter_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } }"
    )
    message = parse_net(GOOD.replace(DATA, image))
    net = backend.load_net(message, random_weights(), engine=engine, checked=False)
    assert net.params["data"][0].data.shape == (1, 3, 8, 8)
    assert net.params["conv"][0].data.any()


def test_weights_of_another_shape_raise_even_unchecked(engine: str) -> None:
    weights = random_weights()
    weights.layer[1].blobs[0].CopyFrom(make_blob(np.zeros((4, 3, 5, 5))))
    with pytest.raises(InputError, match=r"'conv', blob 0: shape \(4, 3, 5, 5\), the net has \(4, 3, 3, 3\)"):
        backend.load_net(parse_net(GOOD), weights, engine=engine, checked=False)
    del weights.layer[1].blobs[0]
    with pytest.raises(InputError, match="'conv': the weights have 1 blobs, the net 2 parameters"):
        backend.load_net(parse_net(GOOD), weights, engine=engine, checked=False)


def test_phase(engine: str) -> None:
    net = parse_net(GOOD + layer("drop", "Dropout", "fc", "drop", "include { phase: TRAIN }"))
    assert "drop" in backend.load_net(net, state=State("TRAIN"), engine=engine)._layer_names
    assert "drop" not in backend.load_net(net, engine=engine)._layer_names


# What is wrong with these is the build of real Caffe.
ONLY_THERE = ("engine", "engine of a relu", "type of another build", "column buffer")
ONLY_THERE += ("probabilities of a loss", "convolution in place", "filler")
ONLY_THERE += ("reshape in place", "another shape in place")
# Of these the rest is loaded, and a warning says what is left out.
LEFT_OUT = ("unknown type", "no type", "python")


@pytest.mark.parametrize("name", BAD_NETS)
def test_the_process_survives_every_bad_net(
    name: str, tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from caffe_viz.checking import sizes

    monkeypatch.setattr(sizes, "machine_memory", lambda: 4_000_000_000)
    path = tmp_path / "bad.prototxt"
    path.write_text(BAD_NETS[name].text)
    if name in LEFT_OUT:
        with pytest.warns(CaffeVizWarning, match="left out: (conv|x|p)"):
            assert list(backend.load_net(path, engine=engine)._layer_names) == ["data"]
        return
    if (engine == "torch" and name in ONLY_THERE) or BAD_NETS[name].risky:
        assert len(backend.load_net(path, engine=engine).layers) > 0
        return
    with pytest.raises(InputError, match=r"bad\.prototxt"):
        backend.load_net(path, engine=engine)


def test_the_process_survives_bad_weights(files: tuple[Path, Path], engine: str) -> None:
    prototxt, weights = files
    weights.write_bytes(weights.read_bytes()[:-9])
    for source in (prototxt, read_net(prototxt)):
        with pytest.raises(InputError, match="cut short"):
            backend.load_net(source, weights, engine=engine)
    other = random_weights()
    other.layer[1].blobs[0].CopyFrom(make_blob(np.zeros((4, 3, 5, 5))))
    write_weights(other, weights)
    for source in (prototxt, read_net(prototxt)):
        with pytest.raises(InputError, match="'conv'"):
            backend.load_net(source, weights, engine=engine)


def test_messages_are_probed_too(caffe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "check_messages", lambda *a, **k: ())
    with pytest.raises(InputError, match=r"Caffe aborts .*unknown engine"):
        backend.load_net(parse_net(BAD_NETS["engine"].text), engine="caffe")


def test_missing_files_and_options(files: tuple[Path, Path], engine: str) -> None:
    with pytest.raises(InputError, match=r"no such prototxt.*net\.prototxt"):
        backend.load_net(files[0].with_name("nett.prototxt"), engine=engine)
    with pytest.raises(InputError, match="no such caffemodel"):
        backend.load_net(files[0], files[1].with_name("nothing.caffemodel"), engine=engine)
    with pytest.raises(InputError, match=r"engine 'cafe' is unknown.*'caffe'"):
        backend.load_net(files[0], engine="cafe")
    with pytest.raises(InputError, match=r"phase 'test' is unknown.*'TEST'"):
        backend.load_net(files[0], state=State("test"), engine=engine)


def test_engine_name(files: tuple[Path, Path], engine: str) -> None:
    net = backend.load_net(files[0], engine=engine)
    assert backend.engine_name(net) == engine
    assert type(net).__module__.startswith("caffe_viz.engine") is (engine == "torch")


def absent(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """As if these engines were not installed: neither found nor importable."""
    for name in names:
        monkeypatch.setitem(sys.modules, name, None)


def test_auto_is_real_caffe_where_there_is_one(
    caffe: Any, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert backend.chosen() == backend.chosen("caffe") == "caffe"
    assert backend.module() is caffe
    assert backend.engine_name(backend.load_net(*files)) == "caffe"
    absent(monkeypatch, "torch")
    assert backend.chosen() == "caffe"


def test_auto_is_the_embedded_engine_elsewhere(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch", reason="the engine torch is not installed")
    from caffe_viz.engine import pycaffe

    assert backend.chosen("torch") == "torch"
    assert backend.chosen(device="cuda") == "torch"  # there is no such build of real Caffe here
    absent(monkeypatch, "caffe")
    assert backend.chosen() == "torch"
    assert backend.module() is backend.module("torch") is pycaffe
    assert backend.engine_name(backend.load_net(*files)) == "torch"


@pytest.mark.parametrize("missing", [(), ("caffe",)])
def test_the_package_has_a_caffe(missing: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch" if missing else "caffe")
    absent(monkeypatch, *missing)
    from caffe_viz import caffe

    assert caffe is backend.module()
    assert (caffe.__name__ == "caffe") is not bool(missing)
    assert "caffe" in dir(cv)


@pytest.mark.parametrize(
    ("missing", "engine", "device", "words"),
    [
        (("caffe",), "caffe", "cpu", r"real Caffe is not installed: `make caffe` builds and installs it"),
        (("torch",), "torch", "cpu", r"engine torch is not installed: pip install 'caffe-viz\[torch\]'"),
        (("torch",), "auto", "cuda", r"engine torch is not installed: pip install 'caffe-viz\[torch\]'"),
        (
            ("caffe", "torch"),
            "auto",
            "cpu",
            r"no engine is installed: pip install 'caffe-viz\[torch\]', or `make caffe`",
        ),
    ],
)
def test_a_missing_engine_is_said_with_what_installs_it(
    files: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    missing: tuple[str, ...],
    engine: str,
    device: str,
    words: str,
) -> None:
    absent(monkeypatch, *missing)
    for checked in (True, False):
        with pytest.raises(RunError, match=words):
            backend.load_net(files[0], engine=engine, device=device, checked=checked)
    with pytest.raises(RunError, match=words):
        ascend(parse_net(GOOD), random_weights(), "conv", engine=engine, device=device)
    if device == "cpu":
        with pytest.raises(RunError, match=words):
            backend.module(engine)


def test_caffe_that_does_not_start_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "caffe").mkdir()
    (tmp_path / "caffe" / "__init__.py").write_text("raise ImportError('libboost_python is missing')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "caffe", raising=False)
    with pytest.raises(RunError, match=r"cannot be imported \(libboost_python is missing\).*make caffe"):
        backend.module("caffe")


def test_a_folder_named_caffe_is_no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "caffe").mkdir()
    monkeypatch.delitem(sys.modules, "caffe", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert not backend.caffe_is_installed()


def test_bad_devices(files: tuple[Path, Path]) -> None:
    with pytest.raises(InputError, match=r"device 'cuda' needs the engine torch"):
        backend.load_net(files[0], engine="caffe", device="cuda")
    pytest.importorskip("torch", reason="the engine torch is not installed")
    with pytest.raises(InputError, match=r"device 'gpu8' cannot be used .*: try cpu, or cuda"):
        backend.load_net(files[0], device="gpu8")


TABLES = """
import sys, caffe_viz as cv
from caffe_viz.cli import main
net, weights, out = sys.argv[1:]
for out in (out + "/installed", out + "/missing"):
    cv.shapes(net, batch=2)
    for line in (["shapes", net, weights], ["check", net, weights], ["weights", net, weights, "-o", out],
                 ["aux", net, "--layer", "conv", "-o", out + "/aux.prototxt"]):
        sys.argv[1:] = line
        try:
            main()
        except SystemExit as end:
            assert not end.code, (line, end.code)
    assert not sys.modules.get("torch"), "torch is imported"
    assert not sys.modules.get("caffe"), "caffe is imported"
    sys.modules["caffe"] = sys.modules["torch"] = None
"""


def test_tables_weights_check_and_aux_need_no_engine(files: tuple[Path, Path], tmp_path: Path) -> None:
    """They import none that is installed, and there may be none."""
    done = subprocess.run(
        [sys.executable, "-c", TABLES, *map(str, files), str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("0 errors") == 2
    for engines in ("installed", "missing"):
        assert {p.name for p in (tmp_path / engines).iterdir()} == {"conv_weights.png", "aux.prototxt"}


def test_nothing_is_printed_even_for_old_files(shared: Path, engine: str, tmp_path: Path) -> None:
    """A fresh process, as the log level counts only before the first import."""
    folder = shared / "models" / "cifar10_quick_v1"
    code = "import sys; from caffe_viz.backend import load_net; load_net(*sys.argv[2:], engine=sys.argv[1]).forward()"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GLOG")}
    environment["PYTHONPATH"] = str(Path(backend.__file__).parent.parent)
    command = [
        sys.executable,
        "-c",
        code,
        engine,
        str(folder / "deploy.prototxt"),
        str(next(folder.glob("*.caffemodel"))),
    ]
    done = subprocess.run(command, env=environment, capture_output=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert list(tmp_path.iterdir()) == []
