"""docs/tour.ipynb runs as it stands, on real Caffe where that is installed, and says what it should."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any

import fork_server
import pytest

from caffe_viz.backend import chosen

REPOSITORY = Path(__file__).resolve().parent.parent
TOUR = REPOSITORY / "docs" / "tour.ipynb"
# What ascents come to is seen elsewhere.
FEW_STEPS = "import caffe_viz as cv; import functools; cv.maximize = functools.partial(cv.maximize, steps=3)"
MOST_BYTES = 1_500_000
nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")


@pytest.fixture(scope="module")
def stored() -> Any:
    return nbformat.read(TOUR, as_version=4)


def kernel(words: list[str], **options: Any) -> Any:
    """A fork, as are the workers that it starts; its parent is another process than it is told."""
    del options["env"]["JPY_PARENT_PID"]
    return fork_server.Popen(words, forks=True, **options)


def run(stored: Any, engine: str, root: Path) -> Any:
    """The notebook, run in a checkout of links on one engine; its last cell says which Python that was."""
    for name in ("prototxt", "examples"):
        (root / name).symlink_to(REPOSITORY / name)
    (root / "docs").mkdir()
    notebook = nbformat.from_dict(stored)
    first = next(cell for cell in notebook.cells if 'ENGINE = "auto"' in cell.source)
    first.source = first.source.replace('ENGINE = "auto"', f'ENGINE = "{engine}"')
    assert "import caffe_viz as cv\n" in first.source
    first.source = first.source.replace("import caffe_viz as cv\n", f"{FEW_STEPS}\n")
    for cell in notebook.cells:
        cell.source = cell.source.replace(", steps=128", "").replace("size=(200, 300)", "size=(40, 60)")
        cell.source = cell.source.replace("epoch = 2\n", "epoch = 1\n").replace("step(8)", "step(4)")
    notebook.cells.append(nbformat.v4.new_code_cell("import sys; [sys.executable, type(both).__module__]"))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(REPOSITORY / "scripts"))
        patch.setenv("OPENBLAS_NUM_THREADS", "1")
        from docs_pictures import run_notebook

        patch.setattr("jupyter_client.launcher.Popen", kernel)
        run_notebook(notebook, root / "docs")
    return notebook


def output(notebook: Any, words: str) -> str:
    """What the one cell whose source holds `words` returned, as text."""
    (cell,) = [c for c in notebook.cells if c.cell_type == "code" and words in c.source]
    (made,) = [out for out in cell.outputs if out.output_type == "execute_result"]
    return str(made.data["text/plain"])


@pytest.mark.slow
def test_it_runs_and_says_what_is_right(stored: Any, tmp_path: Path) -> None:
    """One test, so that processes of pytest do not repeat it; on one engine, as it is long."""
    engine = chosen()
    pytest.importorskip("nbclient", reason="nbclient is not installed")
    tour = run(stored, engine, tmp_path)
    for cell in (c for c in tour.cells if c.cell_type == "code"):  # no cell fails, warns or prints
        assert [out.output_type for out in cell.outputs] == ["execute_result"], (cell.source, cell.outputs)
    python, home = ast.literal_eval(output(tour, "sys.executable"))
    assert python == sys.executable
    assert home.startswith("caffe_viz" if engine == "torch" else "caffe.")
    answer = output(tour, "cv.classify")
    assert f"probabilities ({engine};" in answer
    assert answer.splitlines()[2].split()[-2:] == ["3", "cat"]
    gradients_are_those_of_the_blobs(ast.literal_eval(output(tour, "both.backward")))
    assert "8 11 7 92" in output(tour, "cv.shapes(signals)")
    assert min(ast.literal_eval(output(tour, "np.corrcoef"))) > 0.9
    climb = ast.literal_eval(output(tour, "for _ in range(40)"))
    assert climb["at first"] < climb["after 10 steps"] < climb["after 40"]
    assert output(tour, "record.gradients.shape") == "((4, 16), (48, 3, 7, 7), (10,))"
    assert "conv1 50 96 55 55" in " ".join(output(tour, "caffenet.tables[0]").split())
    assert "fc6 4096 9216 4096" in " ".join(output(tour, "caffenet.tables[1]").split())
    assert "60,965,224" in output(tour, "caffenet.tables[3]")


def gradients_are_those_of_the_blobs(found: dict[str, Any]) -> None:
    shapes = {name: shape for name, (shape, _, _) in found.items()}
    assert shapes == {"data": (1, 3, 32, 32), "conv1": (1, 48, 32, 32)}
    assert all(same and largest > 0.001 for _, same, largest in found.values())


def test_what_is_stored_is_complete_and_small(stored: Any) -> None:
    assert TOUR.stat().st_size < MOST_BYTES
    codes = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert all(cell.outputs for cell in codes)
    assert not [out for cell in codes for out in cell.outputs if out.output_type == "error"]
    assert sum("image/png" in out.get("data", {}) for cell in codes for out in cell.outputs) > 15
    assert str(REPOSITORY) not in TOUR.read_text(encoding="utf-8")
