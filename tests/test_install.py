"""The installer of real Caffe, without a build: what is cached, what is noticed, what is said."""

from __future__ import annotations

import importlib.util
import io
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"
# How a child process gets the installer.
IMPORT = f"import sys; sys.path.insert(0, {str(SCRIPTS)!r}); import install_caffe as m, pathlib\n"


@pytest.fixture
def installer(monkeypatch: Any) -> Any:
    monkeypatch.syspath_prepend(SCRIPTS)
    spec = importlib.util.spec_from_file_location("install_caffe", SCRIPTS / "install_caffe.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def logged(installer: Any) -> Any:
    import logged

    return logged


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SHA256", "0"),
        ("UNITY", ""),
        ("CMAKE_ARGUMENTS", ()),
        ("PYTHON_PACKAGES", ()),
        ("system", lambda: "debian 13 glibc 2.41"),
    ],
)
def test_the_cache_key_changes_with_what_is_built(
    installer: Any, monkeypatch: Any, name: str, value: Any
) -> None:
    before = installer.wheel_name()
    assert installer.wheel_name() == before
    monkeypatch.setattr(installer, name, value)
    assert installer.wheel_name() != before


def test_the_cache_key_does_not_change_with_the_kernel(installer: Any, monkeypatch: Any) -> None:
    before = installer.wheel_name()
    monkeypatch.setattr(installer.platform, "release", lambda: "9.9.9-other")
    assert installer.wheel_name() == before
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    assert re.fullmatch(rf"caffe-1\.0\.0-1_[0-9a-f]{{12}}-{python}-{python}-linux_\w+\.whl", before)


def test_files_that_change_are_installed_anew_without_a_build(installer: Any, monkeypatch: Any) -> None:
    """What the compiled wheel is called does not depend on the files that replace some of it."""
    built, repaired = installer.wheel_name(), installer.repaired_name()
    assert re.sub(r"-2_\w{12}-", "", repaired, count=1) == re.sub(r"-1_\w{12}-", "", built, count=1)
    changed = [(name, path, text + "#") for name, path, text in installer.caffe_files.sources()]
    monkeypatch.setattr(installer.caffe_files, "sources", lambda: changed)
    assert (installer.wheel_name(), installer.repaired_name() != repaired) == (built, True)
    monkeypatch.setattr(installer, "SHA256", "0")
    assert installer.wheel_name() != built


@pytest.mark.parametrize("damage", ["truncated", "one bit", "another wheel", "no record"])
def test_a_damaged_wheel_is_noticed_and_removed(installer: Any, tmp_path: Path, damage: str) -> None:
    wheel = tmp_path / installer.wheel_name()
    assert not installer.intact(wheel)
    installer.pack(installer.wheel_files(source_tree(tmp_path)), wheel, tmp_path)
    assert installer.intact(wheel)
    data = bytearray(wheel.read_bytes())
    if damage == "truncated":
        wheel.write_bytes(data[: len(data) // 2])
    elif damage == "one bit":
        data[60] ^= 1
        wheel.write_bytes(data)
    elif damage == "another wheel":  # a whole archive, but not the one that was packed
        with zipfile.ZipFile(wheel, "a") as archive:
            archive.writestr("caffe/more.py", "")
    else:
        installer.record_of(wheel).unlink()
    assert not installer.intact(wheel)
    assert not wheel.exists()


def source_tree(folder: Path) -> Path:
    package = folder / "source" / "python" / "caffe"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("x = 1\n")
    (package / "_caffe.so").write_bytes(b"so")
    (folder / "source" / "LICENSE").write_text("BSD\n")
    return folder / "source"


def test_the_wheel_is_one_that_pip_takes(installer: Any, tmp_path: Path) -> None:
    wheel = tmp_path / installer.wheel_name()
    installer.pack(installer.wheel_files(source_tree(tmp_path)), wheel, tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", tmp_path / "site", wheel],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "caffe" / "_caffe.so").read_bytes() == b"so"


def test_a_repaired_wheel_has_both_files(installer: Any, tmp_path: Path) -> None:
    source = source_tree(tmp_path)
    (source / "python" / "caffe" / "io.py").write_text("old = 1\n")
    built, wheel = tmp_path / installer.wheel_name(), tmp_path / installer.repaired_name()
    installer.pack(installer.wheel_files(source), built, tmp_path)
    installer.pack(installer.repaired_files(built), wheel, tmp_path)
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        text = {name: archive.read(name).decode(errors="ignore") for name in names}
    assert len(names) == len(set(names))
    assert text["caffe/original/io.py"] == "old = 1\n"
    assert "class Transformer" in text["caffe/io.py"]
    assert text["caffe/__init__.py"].startswith("x = 1\n\nfrom caffe.classifier import Classifier\n")
    assert text["caffe-1.0.0.dist-info/RECORD"].count("\n") == len(names)


@pytest.mark.caffe
def test_the_installed_caffe_needs_no_caffe_viz(caffe: Any, tmp_path: Path) -> None:
    """Every file that was put into it is imported and used where caffe_viz cannot be found."""
    code = """
import sys
sys.modules["caffe_viz"] = None
import numpy as np, caffe, caffe.draw
from caffe.proto import caffe_pb2
from caffe.model_libs import xrange
image = np.random.rand(9, 8, 3)
caffe.io.Transformer({"data": (1, 3, 5, 5)}).preprocess("data", image)
net = caffe_pb2.NetParameter(layer=[dict(name="a", type="Input", top=["x"])])
net.layer[0].blobs.extend([caffe.io.array_to_blobproto(image)])
assert net.layer[0].blobs[0].shape.dim[:] == [9, 8, 3]
datum = caffe.io.array_to_datum((image * 255).astype("u1"), 3)
assert type(datum) is caffe_pb2.Datum and caffe.io.datum_to_array(datum).dtype == "u1"
caffe.draw.draw_net_to_file(net, sys.argv[1] + "/net.dot")
assert caffe.solver_count() == 1 and issubclass(caffe.Detector, caffe.Net)
for call in (caffe.set_mode_gpu, lambda: caffe.set_device(0)):  # with Caffe's own, this process would be gone
    try:
        call()
    except Exception as error:
        assert "built for the CPU" in str(error), error
    else:
        raise AssertionError("no GPU, and nothing said")
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "digraph" in (tmp_path / "net.dot").read_text()


def test_a_build_that_stops_leaves_no_wheel(installer: Any, tmp_path: Path) -> None:
    """The archive is whole under another name before it gets its own."""
    wheel = tmp_path / installer.wheel_name()

    def broken() -> Any:
        yield "caffe/__init__.py", b""
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        installer.pack(broken(), wheel, tmp_path)
    assert not wheel.exists()


def test_what_an_interrupted_build_left_is_removed(installer: Any, tmp_path: Path) -> None:
    (tmp_path / "build-abc").mkdir()
    (tmp_path / "build-abc" / "x.o").write_bytes(b"")
    (tmp_path / "build.log").write_text("kept")
    with installer.locked(tmp_path):
        assert sorted(p.name for p in tmp_path.iterdir()) == ["build.log", "lock"]


def test_a_second_build_waits_for_the_first(installer: Any, tmp_path: Path, monkeypatch: Any) -> None:
    code = (
        f"{IMPORT}"
        f"folder = pathlib.Path({str(tmp_path)!r})\n"
        f"with m.locked(folder):\n"
        f"    print('locked', flush=True); input(); (folder / 'built').touch()\n"
    )
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as first:
        assert first.stdout.readline() == "locked\n"
        said = []

        def say(words: str) -> None:
            said.append(words)
            print(file=first.stdin, flush=True)  # the first goes on when the second waits

        monkeypatch.setattr(installer, "say", say)
        with installer.locked(tmp_path):
            assert (tmp_path / "built").exists()
    assert said == [f"waiting for another build in {tmp_path}"]


def test_a_failing_command_shows_its_last_errors(installer: Any, tmp_path: Path) -> None:
    log = tmp_path / "build.log"
    code = "print('fine'); print('x.cpp:3: error: no such type'); print('make: stopped'); raise SystemExit(3)"
    with pytest.raises(
        installer.InstallError, match=r"exit 3(.|\n)*x\.cpp:3: error(.|\n)*Whole log"
    ) as caught:
        installer.drain(installer.run([sys.executable, "-c", code], log))
    assert "fine" not in str(caught.value)
    assert "make: stopped" in log.read_text()


def test_without_root_the_missing_packages_are_one_line(
    installer: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(installer, "SYSTEM_PACKAGES", ["no-such-package-1", "no-such-package-2"])
    monkeypatch.setattr(installer.os, "geteuid", lambda: 1000)
    with pytest.raises(
        installer.InstallError, match=r"sudo apt-get install .* no-such-package-1 no-such-package-2$"
    ):
        installer.install_system_packages(tmp_path / "log")


def test_an_sdist_with_another_hash_is_not_used(installer: Any, tmp_path: Path) -> None:
    def download(folder: Path) -> list[str]:
        return [sys.executable, "-c", f"open({str(folder / 'x.tar.gz')!r}, 'w').write('other')"]

    with pytest.raises(installer.InstallError, match="not used"):
        installer.fetch_sdist(tmp_path, tmp_path / "log", download)
    assert [p.name for p in tmp_path.iterdir()] == ["log"]


def test_pip_compares_the_hash_before_it_runs_the_archives_code(installer: Any, tmp_path: Path) -> None:
    """Offline, from a folder with an archive of the right name whose setup.py would leave a mark."""
    mark = tmp_path / "it-ran"
    name = f"{installer.SDIST}-{installer.VERSION}"
    with tarfile.open(tmp_path / f"{name}.tar.gz", "w:gz") as tar:
        for file, text in (
            ("setup.py", f"open({str(mark)!r}, 'w')"),
            ("PKG-INFO", "Metadata-Version: 1.0\n"),
        ):
            info = tarfile.TarInfo(f"{name}/{file}")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    cache = tmp_path / "cache"
    cache.mkdir()

    def offline(folder: Path) -> list[str | Path]:
        return [*installer.download_command(folder), "--no-index", "--no-build-isolation", "-f", tmp_path]

    with pytest.raises(installer.InstallError, match="HASH"):
        installer.fetch_sdist(cache, tmp_path / "log", offline)
    assert not mark.exists()
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("ERROR: Could not find a version that satisfies the requirement x", "check the network"),
        ("c++: fatal error: Killed signal terminated program cc1plus", "want of memory"),
        ("fatal error: error writing to /tmp/x.s: No space left on device", "disk is full"),
    ],
)
def test_what_an_error_means_is_said(logged: Any, tmp_path: Path, line: str, said: str) -> None:
    log = tmp_path / "log"
    log.write_text("x: error: an old one\n")
    begin = log.stat().st_size
    with log.open("a") as file:
        file.write(f"$ command\nfine\n{line}\n")
    told = logged.last_errors(log, begin)
    assert line in told
    assert said in told
    assert "an old one" not in told
    assert "fine" not in told


def test_an_ended_build_takes_its_children_along(tmp_path: Path) -> None:
    """SIGTERM to the installer, as from `kill`, while a grandchild that ignores SIGTERM is at work."""
    stubborn = "import os, signal, time; signal.signal(15, signal.SIG_IGN); print(os.getpid(), flush=True); time.sleep(60)"
    code = (
        f"{IMPORT}"
        f"def build(rebuild):\n"
        f"    for line in m.run([sys.executable, '-c', {stubborn!r}], pathlib.Path({str(tmp_path / 'log')!r})):\n"
        f"        print(line, flush=True)\n"
        f"import logged; logged.GRACE = 0.1; m.ensure_caffe = build; sys.argv = ['install_caffe.py']; sys.exit(m.main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as installing:
        child = int(installing.stdout.readline())
        installing.terminate()
        assert installing.wait(20) == 130
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_verdict_of_caffes_own_tests(installer: Any) -> None:
    output = "ERROR: test_apply_update (test_solver.TestSolver.test_apply_update)\nRan 50 tests in 0.1s\nFAILED (errors=1, skipped=8)\n"
    assert installer.verdict(output).startswith("41 of Caffe's own 42 runnable tests pass")
    for other in (
        output.replace("apply_update", "forward"),
        "Ran 50 tests in 1s\nOK\n",
        "Segmentation fault",
    ):
        with pytest.raises(installer.InstallError):
            installer.verdict(other)
