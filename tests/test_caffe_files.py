"""The files of the embedded engine that stand in the place of real Caffe's own, in a wheel or for one process."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from caffe_viz import caffe_files


def test_no_line_moves_and_nothing_of_this_package_is_left() -> None:
    """Tracebacks show lines of the files that these are made of."""
    for name, path, text in caffe_files.sources():
        if name == caffe_files.PRIVATE:
            continue
        original = path.read_text()
        assert text.count("\n") == original.count("\n")
        assert "import caffe_viz" not in text
        assert "from caffe_viz" not in text
        assert "torch" not in text.split('"""', 2)[2], name


def test_modules_come_after_those_that_they_import() -> None:
    known = set(caffe_files.THEIRS.values())
    for name, _, text in caffe_files.sources():
        asked = [line.split()[1] for line in text.splitlines() if line.startswith("from caffe")]
        assert known.issuperset(asked), name
        known.add(name)


@pytest.fixture
def built_elsewhere(caffe: Any, tmp_path: Path) -> Path:
    """A folder with a Caffe as other builds install it: its own Python files."""
    package = tmp_path / "caffe"
    skip = shutil.ignore_patterns("original", "_viz", "test", "__pycache__", "*.so")
    shutil.copytree(Path(caffe.__file__).parent, package, ignore=skip)
    (package / "_caffe.so").symlink_to(Path(caffe.__file__).parent / "_caffe.so")
    for file in (Path(caffe.__file__).parent / "original").glob("[a-z]*.py"):
        shutil.copy(file, package)
    init = package / "__init__.py"
    init.write_text(init.read_text().replace(caffe_files.ADDED["caffe/__init__.py"], ""))
    return tmp_path


def test_a_caffe_that_was_built_elsewhere_is_repaired(built_elsewhere: Path) -> None:
    code = """
import sys, os
os.environ["GLOG_minloglevel"] = "2"
sys.path.insert(0, sys.argv[1])
import caffe as before, numpy as np
assert not hasattr(before, "solver_count") and not hasattr(before, "_viz")
from caffe_viz import caffe
import caffe.io, caffe.draw
from caffe.proto import caffe_pb2
assert caffe is before and caffe.__file__.startswith(sys.argv[1])
assert caffe.io.resize_image(np.random.rand(9, 8, 3), (4, 5)).shape == (4, 5, 3)
assert type(caffe.io.array_to_datum(np.zeros((1, 2, 3), "u1"))) is caffe_pb2.Datum
assert issubclass(caffe.Classifier, caffe.Net) and caffe.Classifier.__init__.__annotations__
assert caffe.draw.get_pydot_graph(caffe_pb2.NetParameter(), "LR").to_string()
assert caffe.solver_count() == 1
"""
    done = subprocess.run(
        [sys.executable, "-c", code, built_elsewhere], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.caffe
def test_the_installed_caffe_has_the_files_of_today(caffe: Any) -> None:
    """Or tests of real Caffe would judge older ones: `make caffe` installs them, in seconds."""
    folder = Path(caffe.__file__).parent
    for name, _, text in caffe_files.sources():
        path = folder.joinpath(*name.split(".")[1:])
        file = path / "__init__.py" if name == caffe_files.PRIVATE else path.with_suffix(".py")
        assert file.read_text() == text, f"{name} is an older one: make caffe"
