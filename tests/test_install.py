"""The installer of real Caffe, without a build: what is cached, what is noticed, what is said."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "install_caffe.py"


@pytest.fixture
def installer() -> Any:
    spec = importlib.util.spec_from_file_location("install_caffe", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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


def test_a_damaged_wheel_is_noticed_and_removed(installer: Any, tmp_path: Path) -> None:
    wheel = tmp_path / "a.whl"
    assert not installer.intact(wheel)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("caffe/_caffe.so", bytes(range(256)) * 40)
    assert installer.intact(wheel)
    data = bytearray(wheel.read_bytes())
    data[200] ^= 1
    wheel.write_bytes(data)
    assert not installer.intact(wheel)
    assert not wheel.exists()
    wheel.write_bytes(bytes(data[:3000]))
    assert not installer.intact(wheel)


def source_tree(folder: Path) -> Path:
    package = folder / "source" / "python" / "caffe"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("x = 1\n")
    (package / "_caffe.so").write_bytes(b"so")
    (folder / "source" / "LICENSE").write_text("BSD\n")
    return folder / "source"


def test_the_wheel_is_one_that_pip_takes(installer: Any, tmp_path: Path) -> None:
    wheel = tmp_path / installer.wheel_name()
    installer.pack(source_tree(tmp_path), wheel)
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", tmp_path / "site", wheel],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "caffe" / "_caffe.so").read_bytes() == b"so"


def test_a_build_that_stops_leaves_no_wheel(installer: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """The archive is whole under another name before it gets its own."""
    wheel = tmp_path / installer.wheel_name()

    def broken(source: Path) -> Any:
        yield "caffe/__init__.py", b""
        raise KeyboardInterrupt

    monkeypatch.setattr(installer, "wheel_files", broken)
    with pytest.raises(KeyboardInterrupt):
        installer.pack(source_tree(tmp_path), wheel)
    assert not wheel.exists()


def test_what_an_interrupted_build_left_is_removed(installer: Any, tmp_path: Path) -> None:
    (tmp_path / "build-abc").mkdir()
    (tmp_path / "build-abc" / "x.o").write_bytes(b"")
    (tmp_path / "build.log").write_text("kept")
    with installer.locked(tmp_path):
        assert sorted(p.name for p in tmp_path.iterdir()) == ["build.log", "lock"]


def test_a_second_build_waits_for_the_first(installer: Any, tmp_path: Path) -> None:
    code = (
        f"import importlib.util, time, pathlib\n"
        f"spec = importlib.util.spec_from_file_location('i', {str(SCRIPT)!r})\n"
        f"m = importlib.util.module_from_spec(spec); spec.loader.exec_module(m)\n"
        f"with m.locked(pathlib.Path({str(tmp_path)!r})):\n"
        f"    print('locked', flush=True); time.sleep(1.5)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "locked\n"
        start = time.monotonic()
        with installer.locked(tmp_path):
            assert time.monotonic() - start > 0.7


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


def test_a_sdist_with_another_hash_is_not_used(installer: Any, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / f"{installer.SDIST}-{installer.VERSION}.tar.gz").write_bytes(b"old")

    def fetched(command: Any, log: Path, env: Any = None) -> Any:
        (Path(command[-2]) / "x.tar.gz").write_bytes(b"other")
        yield ""

    monkeypatch.setattr(installer, "run", fetched)
    with pytest.raises(installer.InstallError, match="not used"):
        installer.fetch_sdist(tmp_path, tmp_path / "log")
    assert [p.name for p in tmp_path.iterdir()] == [f"{installer.SDIST}-{installer.VERSION}.tar.gz"]


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
