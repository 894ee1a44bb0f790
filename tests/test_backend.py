"""Loading on real Caffe: same numbers whichever way the weights come, and never an abort."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_nets import BAD_NETS, DATA, GOOD, layer

from caffe_viz import backend
from caffe_viz.errors import InputError, RunError
from caffe_viz.netdef import NetParameter, make_blob, parse_net, read_net, read_weights, write_weights


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


def test_paths_and_messages_give_the_same_net(files: tuple[Path, Path], caffe: Any) -> None:
    prototxt, weights = files
    expected = output(caffe.Net(str(prototxt), caffe.TEST, weights=str(weights)))
    for net_source in (prototxt, str(prototxt), read_net(prototxt)):
        for source in (weights, str(weights), read_weights(weights)):
            np.testing.assert_array_equal(output(backend.load_net(net_source, source)), expected)
    assert np.ptp(expected) > 0


def test_relative_paths(files: tuple[Path, Path], caffe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(files[0].parent)
    assert backend.load_net("net.prototxt", "net.caffemodel").inputs == ["data"]


def test_weights_too_long_for_the_reader_of_caffe(
    files: tuple[Path, Path], caffe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = output(backend.load_net(*files))
    monkeypatch.setattr(backend, "CAFFE_READS_BYTES", 100)
    np.testing.assert_array_equal(output(backend.load_net(*files)), expected)


def test_legacy_blobs_are_filled_in(caffe: Any) -> None:
    weights = random_weights()
    values = np.array(weights.layer[2].blobs[0].data, np.float32).reshape(2, 144)
    blob = weights.layer[2].blobs[0]
    blob.ClearField("shape")
    blob.num, blob.channels, blob.height, blob.width = 1, 1, 2, 144
    net = backend.load_net(parse_net(GOOD), weights)
    np.testing.assert_array_equal(net.params["fc"][0].data, values)


def test_an_image_parameter_is_not_confused_with_an_input_of_the_weights(caffe: Any) -> None:
    """A caffemodel lists its input layer, without blobs; Caffe itself would abort on that."""
    image = layer(
        "data", "Parameter", "", "data", "parameter_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } }"
    )
    net = backend.load_net(parse_net(GOOD.replace(DATA, image)), random_weights(), checked=False)
    assert net.params["data"][0].data.shape == (1, 3, 8, 8)
    assert net.params["conv"][0].data.any()


def test_weights_of_another_shape_raise_even_unchecked(caffe: Any) -> None:
    weights = random_weights()
    weights.layer[1].blobs[0].CopyFrom(make_blob(np.zeros((4, 3, 5, 5))))
    with pytest.raises(InputError, match=r"'conv', blob 0: shape \(4, 3, 5, 5\), the net has \(4, 3, 3, 3\)"):
        backend.load_net(parse_net(GOOD), weights, checked=False)
    del weights.layer[1].blobs[0]
    with pytest.raises(InputError, match="'conv': 1 blobs"):
        backend.load_net(parse_net(GOOD), weights, checked=False)


def test_phase(caffe: Any) -> None:
    net = parse_net(GOOD + layer("drop", "Dropout", "fc", "drop", "include { phase: TRAIN }"))
    assert "drop" in backend.load_net(net, phase="TRAIN")._layer_names
    assert "drop" not in backend.load_net(net)._layer_names


@pytest.mark.parametrize("name", BAD_NETS)
def test_the_process_survives_every_bad_net(
    name: str, tmp_path: Path, caffe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from caffe_viz.checking import sizes

    monkeypatch.setattr(sizes, "machine_memory", lambda: 4_000_000_000)
    path = tmp_path / "bad.prototxt"
    path.write_text(BAD_NETS[name].text)
    with pytest.raises(InputError, match=r"bad\.prototxt"):
        backend.load_net(path)


def test_the_process_survives_bad_weights(files: tuple[Path, Path], caffe: Any) -> None:
    prototxt, weights = files
    weights.write_bytes(weights.read_bytes()[:-9])
    for source in (prototxt, read_net(prototxt)):
        with pytest.raises(InputError, match="cut short"):
            backend.load_net(source, weights)
    other = random_weights()
    other.layer[1].blobs[0].CopyFrom(make_blob(np.zeros((4, 3, 5, 5))))
    write_weights(other, weights)
    for source in (prototxt, read_net(prototxt)):
        with pytest.raises(InputError, match="'conv'"):
            backend.load_net(source, weights)


def test_messages_are_probed_too(caffe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "check_messages", lambda *a, **k: ())
    with pytest.raises(InputError, match=r"Caffe aborts .*unknown engine"):
        backend.load_net(parse_net(BAD_NETS["engine"].text))


def test_missing_files_and_options(files: tuple[Path, Path], caffe: Any) -> None:
    with pytest.raises(InputError, match=r"no such prototxt.*net\.prototxt"):
        backend.load_net(files[0].with_name("nett.prototxt"))
    with pytest.raises(InputError, match="no such caffemodel"):
        backend.load_net(files[0], files[1].with_name("nothing.caffemodel"))
    with pytest.raises(InputError, match=r"engine 'cafe' is unknown.*'caffe'"):
        backend.load_net(files[0], engine="cafe")
    with pytest.raises(InputError, match=r"phase 'test' is unknown.*'TEST'"):
        backend.load_net(files[0], phase="test")


def test_without_caffe_it_says_how_to_get_it(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "caffe", None)
    with pytest.raises(RunError, match="make caffe"):
        backend.load_net(files[0], checked=False)


def test_engine_name(files: tuple[Path, Path], caffe: Any) -> None:
    assert backend.engine_name(backend.load_net(files[0])) == "caffe"


def test_nothing_is_printed_even_for_old_files(shared: Path, caffe: Any, tmp_path: Path) -> None:
    """A fresh process, as the log level counts only before the first import."""
    folder = shared / "models" / "cifar10_quick_v1"
    code = "import sys; from caffe_viz.backend import load_net; load_net(*sys.argv[1:]).forward()"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GLOG")}
    environment["PYTHONPATH"] = str(Path(backend.__file__).parent.parent)
    command = [
        sys.executable,
        "-c",
        code,
        str(folder / "deploy.prototxt"),
        str(next(folder.glob("*.caffemodel"))),
    ]
    done = subprocess.run(command, env=environment, capture_output=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert list(tmp_path.iterdir()) == []
