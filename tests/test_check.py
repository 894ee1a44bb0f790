"""Each defect planted once: the check names it, and real Caffe does go wrong with it."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_nets import BAD_NETS, CONV, DATA, GOOD, layer

from caffe_viz.checking import check, check_messages, child, sizes
from caffe_viz.errors import InputError
from caffe_viz.netdef import NetParameter, State, make_blob, parse_net, read_net, write_weights

checker = importlib.import_module("caffe_viz.checking")  # caffe_viz.checking may be the function
RUN = """
import sys, caffe
net = caffe.Net(sys.argv[1], caffe.TEST)
net.forward()
if sys.argv[2] == "backward":
    net.backward()
"""


@pytest.fixture(autouse=True)
def nothing_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real Caffe has loaded nothing yet."""
    monkeypatch.setattr(child, "_LOADED", set())


def write(folder: Path, text: str, name: str = "net.prototxt") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def weights_of(**layers: list[tuple[int, ...]]) -> NetParameter:
    """Weights of ones: layer -> shapes of its blobs."""
    net = NetParameter()
    for name, shapes in layers.items():
        net.layer.add(name=name, blobs=[make_blob(np.ones(shape)) for shape in shapes])
    return net


def good_weights() -> NetParameter:
    return weights_of(conv=[(4, 3, 3, 3), (4,)], fc=[(2, 144), (2,)])


def planted(defect: str, folder: Path) -> NetParameter | bytes:
    """Weights for GOOD with one defect."""
    net = good_weights()
    if defect == "shape":
        net = weights_of(conv=[(4, 3, 5, 5), (4,)], fc=[(2, 144), (2,)])
    elif defect == "legacy shape":
        blob = net.layer[1].blobs[0]
        blob.ClearField("shape")
        blob.num, blob.channels, blob.height, blob.width = 2, 144, 1, 1
    elif defect == "number of blobs":
        del net.layer[0].blobs[1]
    elif defect == "layer without blobs":
        del net.layer[0].blobs[:]
    elif defect == "too few values":
        del net.layer[1].blobs[1].data[1:]
    elif defect == "no layer in common":
        net = weights_of(first=[(4, 3, 3, 3), (4,)], second=[(2, 144), (2,)])
    elif defect == "truncated":
        return net.SerializeToString()[:-20]
    elif defect == "web page":
        return b"<!DOCTYPE html><html></html>"
    elif defect == "noise":
        return bytes(range(256)) * 20
    elif defect == "empty":
        return b""
    return net


BAD_WEIGHTS = {
    "shape": ("'conv'", "blob 0", "(4, 3, 5, 5)", "(4, 3, 3, 3)"),
    "legacy shape": ("'fc'", "(2, 144, 1, 1)", "(2, 144)"),
    "number of blobs": ("'conv'", "1 blobs", "2 parameters", "bias_term"),
    "layer without blobs": ("'conv'", "0 blobs", "2 parameters"),
    "too few values": ("'fc'", "blob 1", "1 values"),
    "no layer in common": ("no layer", "'first'", "'conv'", "silently"),
    "truncated": ("cut short",),
    "web page": ("web page",),
    "noise": ("not a caffemodel",),
    "empty": ("empty",),
}
SILENT_WEIGHTS = ("no layer in common", "web page", "noise", "empty")


def plant(defect: str, folder: Path) -> tuple[Path, Path]:
    made = planted(defect, folder)
    path = folder / "bad.caffemodel"
    if isinstance(made, bytes):
        path.write_bytes(made)
    else:
        write_weights(made, path)
    return write(folder, GOOD), path


@pytest.fixture(autouse=True)
def _small_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 4 GB, so that 'too large' does not depend on where the tests run."""
    monkeypatch.setattr(sizes, "machine_memory", lambda: 4_000_000_000)
    checker._check.cache_clear()


# --- the prototxt ----------------------------------------------------------------------


@pytest.mark.parametrize("name", BAD_NETS)
def test_names_the_defect_without_an_engine(name: str, tmp_path: Path) -> None:
    report = check(write(tmp_path, BAD_NETS[name].text), probe=False)
    risky = BAD_NETS[name].risky
    found = "\n".join(map(str, report.warnings if risky else report.errors))
    assert report.ok == risky
    assert [word for word in BAD_NETS[name].words if word not in found] == [], found
    assert "  " not in found.strip(), "one line each, single spaces"


@pytest.mark.parametrize("name", [n for n, defect in BAD_NETS.items() if defect.when == "load"])
def test_real_caffe_aborts_while_it_loads(name: str, tmp_path: Path, caffe: Any) -> None:
    findings = child.probe(write(tmp_path, BAD_NETS[name].text), None)
    assert [f for f in findings if f.severity == "error"], "the check refuses what Caffe takes"


@pytest.mark.parametrize(
    "name", [n for n, defect in BAD_NETS.items() if defect.when in ("forward", "backward")]
)
def test_real_caffe_aborts_while_it_runs(name: str, tmp_path: Path, caffe: Any) -> None:
    path = write(tmp_path, BAD_NETS[name].text)
    assert child.probe(path, None) == (), "it should load"
    command = [sys.executable, "-c", RUN, str(path), BAD_NETS[name].when]
    done = subprocess.run(command, env=child._environment(), capture_output=True, check=False)
    assert done.returncode == -6, done.stderr.decode()


def test_pooling_leaves_its_input_as_the_check_says(caffe: Any, tmp_path: Path) -> None:
    """The window at 12 of 8 rows averages nothing: 0 / negative area, not the mean of the input."""
    net = caffe.Net(str(write(tmp_path, BAD_NETS["window outside the input"].text)), caffe.TEST)
    net.blobs["data"].data[...] = 1
    pooled = net.forward()["pool"][0, 0]
    assert pooled.shape == (3, 3)
    assert pooled[0, 0] == 1
    assert pooled[2, 2] != 1


@pytest.mark.parametrize(("kernel", "stride"), [(2, 3), (1, 7), (3, 2)])
def test_pooling_that_stays_inside_is_fine(kernel: int, stride: int, tmp_path: Path) -> None:
    text = f"pooling_param {{ kernel_size: {kernel} stride: {stride} }}"
    assert check(write(tmp_path, DATA + layer("p", "Pooling", "data", "p", text)), probe=False).ok


def test_finds_several_defects_at_once(tmp_path: Path) -> None:
    text = (
        DATA + layer("a", "Relu", "data", "a") + layer("b", "ReLU", "x", "b", "relu_param { engine: CUDNN }")
    )
    report = check(write(tmp_path, text), probe=False)
    assert len(report.errors) == 3
    with pytest.raises(InputError, match=r"net\.prototxt: layer .*and 2 more errors") as caught:
        report.raise_for_errors()
    assert "\n" not in str(caught.value)


def test_layers_of_one_name_are_a_warning(tmp_path: Path) -> None:
    report = check(write(tmp_path, GOOD + layer("fc", "ReLU", "fc", "fc")), probe=False)
    assert report.ok
    assert "2 layers" in report.warnings[0].message


def findings(text: str, engine: str) -> list[str]:
    return [str(found) for found in check_messages(parse_net(text), engine=engine)]


@pytest.mark.parametrize("later", ["ReLU", "Split"])
def test_layers_of_one_name_are_measured_each(later: str) -> None:
    """The check looked at the shapes of the last layer of the name: a ReLU has no weights to count."""
    twice = DATA + CONV + layer("conv", later, "conv", "conv" if later == "ReLU" else "copy")
    for engine in ("caffe", "torch"):
        assert findings(twice, engine) == ["layer 'conv': 2 layers have this name; weights reach only one."]


def test_defects_of_layers_of_one_name_are_named() -> None:
    """Hidden Splits, and one of the file, stand between the layers and what was measured of them."""
    image = GOOD.replace("dim: 8 dim: 8", "dim: 20 dim: 20")
    forks = image + layer("own", "Split", "data", "a b") + layer("pool", "ReLU", "a", "c")
    pool = layer("pool", "Pooling", "%s", "pooled", "pooling_param { kernel_size: 2 stride: 2 }")
    outside = pool.replace("stride: 2", "stride: 12")
    later = layer("pool", "ReLU", "pooled", "last")
    assert not [x for x in findings(forks + pool % "b" + later, "caffe") if "outside" in x]
    (found,) = [x for x in findings(forks + outside % "b" + later, "caffe") if "outside" in x]
    assert found.startswith("layer 'pool' (Pooling)")
    assert "over (20, 20)" in found


def test_column_buffers_of_layers_of_one_name() -> None:
    wide = "convolution_param { num_output: 1 kernel_size: 129 pad: 64 }"
    net = DATA.replace("dim: 8 dim: 8", "dim: 256 dim: 256") + layer(
        "conv", "Convolution", "data", "conv", wide
    )
    (found,) = [x for x in findings(net + layer("conv", "ReLU", "conv", "conv"), "caffe") if "column" in x]
    assert found.startswith("layer 'conv' (Convolution)")


def test_what_becomes_of_blobs_in_place_is_said() -> None:
    net = DATA + layer("sum", "Reduction", "data", "data")
    assert "'data' would become one number" in "\n".join(findings(net, "caffe"))
    (found,) = findings(net, "torch")
    assert "real Caffe refuses or computes wrongly" in found
    assert found.endswith("a new blob, one number.")


def test_files_are_allowed_by_option_if_they_exist(tmp_path: Path) -> None:
    text = DATA + layer(
        "o", "HDF5Output", "data data", "", f'hdf5_output_param {{ file_name: "{tmp_path}/o.h5" }}'
    )
    path = write(tmp_path, text)
    assert not check(path, probe=False).ok
    assert check(path, allow_code=True, probe=False).ok
    missing = layer("d", "HDF5Data", "", "d", 'hdf5_data_param { source: "nowhere.txt" batch_size: 1 }')
    report = check(write(tmp_path, missing, "h.prototxt"), allow_code=True, probe=False)
    assert "'nowhere.txt' does not exist" in str(report.errors[0])


def test_real_caffe_deletes_the_folder_that_a_net_names(tmp_path: Path, caffe: Any) -> None:
    """Why DetectionOutput is refused: a prototxt that is only loaded empties a folder."""
    folder = tmp_path / "precious"
    folder.mkdir()
    (folder / "file.txt").write_text("x")
    inputs = "".join(
        layer(n, "Input", "", n, f"input_param {{ shape {{ dim: 1 {dims} }} }}")
        for n, dims in {"loc": "dim: 4", "conf": "dim: 2", "prior": "dim: 2 dim: 4"}.items()
    )
    save = f'save_output_param {{ output_directory: "{folder}" }}'
    more = f"detection_output_param {{ num_classes: 2 {save} }}"
    path = write(tmp_path, inputs + layer("det", "DetectionOutput", "loc conf prior", "det", more))
    assert "deletes" in str(check(path, probe=True).errors[0])
    assert (folder / "file.txt").exists()
    assert check(path, allow_code=True, probe=True).ok
    assert not (folder / "file.txt").exists()


def test_phases_differ(tmp_path: Path) -> None:
    text = GOOD + layer("d", "Data", "", "x", "include { phase: TRAIN }")
    path = write(tmp_path, text)
    assert check(path, probe=False).ok
    assert not check(path, probe=False, state=State("TRAIN")).ok


def test_missing_files_raise_with_near_matches(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD, "deploy.prototxt")
    with pytest.raises(InputError, match=r"no such prototxt.*'deploy\.prototxt'"):
        check(tmp_path / "deply.prototxt")
    with pytest.raises(InputError, match=r"folder.*deploy\.prototxt"):
        check(tmp_path)
    with pytest.raises(InputError, match="no such caffemodel"):
        check(path, tmp_path / "nothing.caffemodel")
    with pytest.raises(InputError, match="swapped"):
        check(write(tmp_path, "", "w.caffemodel"), path)


# --- the weights -----------------------------------------------------------------------


@pytest.mark.parametrize("defect", BAD_WEIGHTS)
def test_names_what_does_not_fit(defect: str, tmp_path: Path) -> None:
    report = check(*plant(defect, tmp_path), probe=False)
    found = "\n".join(map(str, report.errors))
    assert not report.ok
    assert [word for word in BAD_WEIGHTS[defect] if word not in found] == [], found


@pytest.mark.parametrize("defect", [d for d in BAD_WEIGHTS if d not in SILENT_WEIGHTS])
def test_real_caffe_aborts_on_these_weights(defect: str, tmp_path: Path, caffe: Any) -> None:
    (finding,) = child.probe(*plant(defect, tmp_path))
    assert finding.message.startswith("Caffe aborts (SIGABRT"), finding


@pytest.mark.parametrize("defect", SILENT_WEIGHTS)
def test_real_caffe_takes_these_silently(defect: str, tmp_path: Path, caffe: Any) -> None:
    assert child.probe(*plant(defect, tmp_path)) == ()


@pytest.mark.parametrize(
    "legacy", [(("fc", 0), (1, 1, 2, 144)), (("fc", 1), (1, 1, 1, 2)), (("conv", 0), (4, 3, 3, 3))]
)
def test_legacy_shapes_count_from_the_end(
    legacy: tuple[tuple[str, int], tuple[int, ...]], tmp_path: Path, caffe: Any
) -> None:
    (name, index), shape = legacy
    weights = good_weights()
    blob = next(one for one in weights.layer if one.name == name).blobs[index]
    blob.ClearField("shape")
    blob.num, blob.channels, blob.height, blob.width = shape
    path = tmp_path / "legacy.caffemodel"
    write_weights(weights, path)
    assert check(write(tmp_path, GOOD), path, probe=True).findings == ()


def test_layers_without_weights_are_named() -> None:
    weights = weights_of(conv=[(4, 3, 3, 3), (4,)], fc_old=[(2, 144), (2,)])
    (finding,) = check_messages(parse_net(GOOD), weights)
    assert finding.severity == "warning"
    assert "none for 'fc'" in finding.message
    assert "'fc_old'" in finding.message
    assert "'conv'" not in finding.message


def test_shared_parameters_need_weights_once() -> None:
    text = DATA + "".join(
        layer(
            n,
            "InnerProduct",
            "data",
            n,
            'param { name: "w" } param { name: "b" } inner_product_param { num_output: 2 }',
        )
        for n in ("a", "b")
    )
    assert check_messages(parse_net(text), weights_of(a=[(2, 192), (2,)])) == ()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_a_warning(value: float) -> None:
    weights = good_weights()
    weights.layer[1].blobs[0].data[5] = value
    (finding,) = check_messages(parse_net(GOOD), weights)
    assert finding.severity == "warning"
    assert "'fc'" in finding.where
    assert "1 of 288 values" in finding.message


def test_empty_batch_norm_statistics_are_a_warning() -> None:
    weights = weights_of(bn=[(3,), (3,), (1,)])
    net = parse_net(DATA + layer("bn", "BatchNorm", "data", "bn"))
    assert check_messages(net, weights) == ()
    weights.layer[0].blobs[2].data[0] = 0
    (finding,) = check_messages(net, weights)
    assert "never gathered" in finding.message


# --- the child process -----------------------------------------------------------------


@pytest.mark.usefixtures("fresh_caffe")
def test_child_catches_what_slips_through(
    tmp_path: Path, caffe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checker, "check_messages", lambda *a, **k: ())
    report = check(*plant("shape", tmp_path))
    assert report.errors[0].message.startswith("Caffe aborts (SIGABRT, net.cpp:")
    assert "Cannot copy param 0 weights from layer 'conv'; shape mismatch" in report.errors[0].message
    assert not list(Path.cwd().glob("core*"))


@pytest.mark.usefixtures("fresh_caffe")
def test_child_says_why_the_parser_refuses(tmp_path: Path, caffe: Any) -> None:
    (finding,) = child.probe(write(tmp_path, DATA + "layer { names: 3 }"), None)
    assert 'has no field named "names"' in finding.message


@pytest.mark.usefixtures("fresh_caffe")
def test_child_cannot_import_from_the_current_folder(
    tmp_path: Path, caffe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sys.version_info < (3, 11):
        pytest.skip("PYTHONSAFEPATH came with Python 3.11")
    write(tmp_path, "raise SystemExit(3)", "caffe.py")
    monkeypatch.chdir(tmp_path)
    assert child.probe(write(tmp_path, GOOD), None) == ()


@pytest.mark.usefixtures("fresh_caffe")
def test_child_that_hangs_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "CODE", "import time; time.sleep(60)")
    (finding,) = child.probe(write(tmp_path, GOOD), None, timeout=0.3)
    assert finding.severity == "error"
    assert "0.3 s" in finding.message


@pytest.mark.usefixtures("fresh_caffe")
def test_child_without_caffe_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "CODE", child.CODE.replace("import caffe\n", "import caffe_not_here\n"))
    (finding,) = child.probe(write(tmp_path, GOOD), None)
    assert finding.severity == "warning"
    assert "make caffe" in finding.message


def test_explains_a_signal_without_a_reason() -> None:
    assert child.explain(-11, "") == "Caffe aborts (SIGSEGV): no reason given"
    assert "out of memory" in child.explain(-9, "")
    assert child.explain(1, "Traceback\nRuntimeError: no").startswith(
        "Caffe cannot load it (exit code 1): RuntimeError"
    )
    assert len(child.explain(-6, "F1124 10:00:00.1 7 a.cpp:1] " + "x" * 9999)) < 500


def test_a_prototxt_that_was_loaded_is_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless Caffe reads more than it, such as a layer of data, or did not load it."""
    codes = [0, 1, 0, 0]

    def run(*_: Any, **__: Any) -> Any:
        return subprocess.CompletedProcess([], codes.pop(0), b"", b"")

    monkeypatch.setattr(child.subprocess, "run", run)
    assert child.probe(write(tmp_path, GOOD), None) == child.probe(write(tmp_path, GOOD), None) == ()
    bad = write(tmp_path, DATA)
    assert child.probe(bad, None) != ()
    assert child.probe(bad, None) == ()
    assert child.probe(write(tmp_path, DATA + layer("d", "HDF5Data", "")), None) == ()
    assert child.probe(write(tmp_path, GOOD), None) == ()
    with pytest.raises(IndexError):
        child.probe(write(tmp_path, DATA + layer("d", "HDF5Data", "")), None)


def test_same_files_are_probed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(checker, "probe", lambda *a, **k: calls.append(a) or ())
    path = write(tmp_path, GOOD)
    for _ in range(3):
        assert check(path, probe=True).ok
    assert len(calls) == 1
    path.write_text(GOOD + "# changed\n")
    check(path, probe=True)
    assert len(calls) == 2


def test_weights_beyond_the_reader_of_caffe_are_not_handed_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(checker, "probe", lambda net, weights, *a, **k: seen.append(weights) or ())
    monkeypatch.setattr(checker, "CAFFE_READS_BYTES", 100)
    path = tmp_path / "w.caffemodel"
    write_weights(good_weights(), path)
    assert check(write(tmp_path, GOOD), path, probe=True).ok
    assert seen == [None]


# --- good files ------------------------------------------------------------------------


def deploys() -> list[Path]:
    return sorted((Path(__file__).parent.parent / "prototxt").glob("*/deploy.prototxt"))


@pytest.mark.parametrize("path", deploys(), ids=lambda p: p.parent.name)
def test_the_networks_of_the_project_are_clean(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_messages(read_net(path)) == ()


@pytest.mark.parametrize("name", ["squeezenet_v1.0", "lenet_mnist_v1", "cifar10_quick_v1"])
def test_trained_models_are_clean(name: str, shared: Path, caffe: Any) -> None:
    folder = shared / "models" / name
    (weights,) = folder.glob("*.caffemodel")
    assert check(folder / "deploy.prototxt", weights, probe=True).findings == ()


def test_nothing_is_written_or_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = sorted(os.listdir(tmp_path))
    check(write(tmp_path, GOOD), probe=False)
    assert sorted(os.listdir(tmp_path)) == [*before, "net.prototxt"]
    assert capfd.readouterr() == ("", "")
