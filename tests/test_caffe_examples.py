"""Scripts that make the calls of Caffe's own examples: unchanged on both engines, with the same results."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scripts_run import call

pytest.importorskip("torch", reason="the engine torch is not installed")

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = sorted((ROOT / "tests" / "pycaffe_scripts").glob("*.py"))


@cache
def results(script: Path, engine: str) -> dict[str, np.ndarray]:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MPLBACKEND", "Agg")
        words = (ROOT / "prototxt" / "caffenet_cifar10", ROOT / "examples" / "cat.png", "out.npz")
        assert call("--engine", engine, str(script), *map(str, words)) == 0
        with np.load("out.npz") as saved:
            return dict(saved)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_runs(script: Path, engine: str) -> None:
    assert results(script, engine)


@pytest.mark.caffe
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_engines_give_the_same(script: Path, caffe: object) -> None:
    ours, theirs = results(script, "torch"), results(script, "caffe")
    assert ours.keys() == theirs.keys()
    for name, found in ours.items():
        assert np.ptp(found) > 0 or not found.ndim
        np.testing.assert_allclose(
            found, theirs[name], rtol=0, atol=1e-4 * np.abs(theirs[name]).max(), err_msg=name
        )
