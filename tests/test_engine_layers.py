"""Every layer type on both engines: values, gradients of inputs and of parameters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from caffe_runs import CaffeRuns, Case, run
from geometry_toys import Toy
from layer_cases import LayerCase, all_cases

from caffe_viz.errors import InputError
from caffe_viz.geometry.table import TABLE
from caffe_viz.parity import LIMIT, apart

torch = pytest.importorskip("torch")

from caffe_viz.engine import Net  # noqa: E402
from caffe_viz.engine.table import LAYERS  # noqa: E402

CASES = all_cases()


class Engine:
    """What `run` takes for a caffe module."""

    Net = Net


@pytest.fixture(scope="module")
def caffe_runs(caffe: Any) -> Iterator[CaffeRuns]:
    process = CaffeRuns()
    yield process
    process.close()


def as_run(case: LayerCase) -> Case:
    params = {f"x {i}": values for i, values in case.params.items()}
    return Case(case.prototxt(), case.inputs, case.gradient, int(not case.train), params)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_engines_agree(caffe_runs: CaffeRuns, case: LayerCase) -> None:
    theirs, mine = caffe_runs.run(as_run(case)), run(Engine, as_run(case))
    assert theirs is not None, "real Caffe aborts on this case"
    assert "error" not in theirs
    assert list(mine) == list(theirs)
    differ = {name: apart(theirs[name], mine[name]) for name in theirs}
    assert {name: value for name, value in differ.items() if not value <= LIMIT} == {}


def test_every_type_has_cases() -> None:
    elsewhere = {"HDF5Data", "ImageData", "MemoryData"}  # need files or arrays: test_engine_sources.py
    elsewhere |= {"PSROIPooling"}  # Caffe has no CPU code for it: test_engine_detection.py
    here = {name for name in LAYERS if not TABLE[name].fork}  # types of forks: test_forks.py
    assert here - {case.toy.type for case in CASES} == elsewhere


def test_words_that_an_embedding_does_not_have(tmp_path: Path) -> None:
    toy = Toy("Embed", ["2 3"], "embed_param { num_output: 4 input_dim: 5 }")
    (tmp_path / "net.prototxt").write_text(toy.prototxt())
    net = Net(tmp_path / "net.prototxt", 1)
    net.blobs["a"].data[...] = [[0, 4, 2], [1, 3, 5]]
    with pytest.raises(InputError, match=r"'x' \(Embed\).* 0 to 4, not 0 to 5"):
        net.forward()
