"""docs/tour.ipynb runs on both engines as it stands, and says what it should."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
TOUR = REPOSITORY / "docs" / "tour.ipynb"
MOST_BYTES = 1_500_000
nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
PNG, HTML, TEXT = "image/png", "text/html", "text/plain"


@pytest.fixture(scope="module")
def stored() -> Any:
    return nbformat.read(TOUR, as_version=4)


@pytest.fixture(scope="module")
def tour(engine: str, stored: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The notebook, run in a checkout of links on one engine."""
    pytest.importorskip("nbclient", reason="nbclient is not installed")
    root = tmp_path_factory.mktemp("tour")
    for name in ("prototxt", "examples"):
        (root / name).symlink_to(REPOSITORY / name)
    (root / "docs").mkdir()
    notebook = nbformat.from_dict(stored)
    first = next(cell for cell in notebook.cells if 'ENGINE = "auto"' in cell.source)
    first.source = first.source.replace('ENGINE = "auto"', f'ENGINE = "{engine}"')
    notebook.cells.append(nbformat.v4.new_code_cell("import sys; sys.executable, both.__class__.__module__"))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(REPOSITORY / "scripts"))
        patch.setenv("OPENBLAS_NUM_THREADS", "1")
        from docs_pictures import run_notebook

        run_notebook(notebook, root / "docs")
    return notebook


def output(notebook: Any, words: str, kind: str = TEXT) -> str:
    """What the one cell whose source holds `words` returned."""
    (cell,) = [c for c in notebook.cells if c.cell_type == "code" and words in c.source]
    (made,) = [out for out in cell.outputs if out.output_type == "execute_result"]
    return str(made.data[kind])


def test_every_cell_runs_and_is_silent(tour: Any) -> None:
    for cell in (c for c in tour.cells if c.cell_type == "code"):
        kinds = [out.output_type for out in cell.outputs]
        assert kinds == ["execute_result"], (cell.source, cell.outputs)
    assert sys.executable in output(tour, "sys.executable")


def test_it_runs_on_the_engine(tour: Any, engine: str) -> None:
    assert f"probabilities ({engine};" in output(tour, "cv.classify")
    assert ("caffe_viz" in output(tour, "sys.executable").split(",")[-1]) == (engine == "torch")


def test_it_says_what_is_right(tour: Any) -> None:
    likeliest = output(tour, "cv.classify").splitlines()[2].split()
    assert likeliest[-2:] == ["3", "cat"]
    assert "conv1 50 96 55 55" in " ".join(output(tour, "caffenet.tables[0]").split())
    assert "fc6" in output(tour, "caffenet.tables[1]")
    assert "4096 9216" in output(tour, "caffenet.tables[1]")
    assert "60,965,224" in output(tour, "caffenet.tables[3]")
    assert "8 11 7 92" in output(tour, "cv.shapes(signals)")
    assert output(tour, "record.gradients.shape") == "((4, 16), (48, 3, 7, 7), (10,))"


def test_gradients_are_there_and_those_of_the_blobs(tour: Any) -> None:
    found = ast.literal_eval(output(tour, "both.backward"))
    assert {name: shape for name, (shape, _, _) in found.items()} == {
        "data": (1, 3, 32, 32),
        "conv1": (1, 48, 32, 32),
    }
    assert all(same and largest > 0.001 for _, same, largest in found.values())


def test_the_climb_goes_up(tour: Any) -> None:
    climb = ast.literal_eval(output(tour, "for _ in range(40)"))
    assert climb["at first"] < climb["after 10 steps"] < climb["after 40"]


def test_what_is_stored_is_complete_and_small(stored: Any) -> None:
    assert TOUR.stat().st_size < MOST_BYTES
    codes = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert all(cell.outputs for cell in codes)
    assert not [out for cell in codes for out in cell.outputs if out.output_type == "error"]
    assert sum(PNG in out.get("data", {}) for cell in codes for out in cell.outputs) > 15
    assert str(REPOSITORY) not in TOUR.read_text(encoding="utf-8")
