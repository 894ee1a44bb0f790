"""evolution: what the pictures of a record and of a series of snapshots show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import here, refused
from PIL import Image
from recorder_toy import Cycle, plain, solver

from caffe_viz.errors import InputError
from caffe_viz.figures.evolution import (
    SIDE,
    kernel_film,
    kernels_over_time,
    layer_curves,
    ridges,
    training_curves,
)
from caffe_viz.recording import Record, Recorder
from caffe_viz.recording.series import of_snapshots
from caffe_viz.views.evolved import Evolution, show_evolution

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """Three periods of a toy, with all weights."""
    made = solver(tmp_path, "torch")
    with Recorder(made, tmp_path / "a.record", layers="all", every=5, feed=Cycle(made.net)) as seen:
        seen.step(15)
    return tmp_path / "a.record"


def series(folder: Path, engine: str) -> list[Path]:
    made = solver(folder, engine)
    for count in (2, 3, 5):
        plain(made, count)
        made.snapshot()
    return [folder / f"toy_iter_{n}.caffemodel" for n in (10, 2, 5)]


def tile(picture: Any, row: int, column: int, side: int = 3) -> np.ndarray:
    """The pixels of a kernel of `side` in the sheet, which begins below and right of its labels."""
    rgb = picture.rgb
    pitch = SIDE // side * side + 4
    not_white = np.abs(rgb - 1).max(axis=2) > 0.05
    columns = np.flatnonzero(not_white[20 : pitch * 2].mean(axis=0) > 0.5)
    left = columns[0]
    top = 10 + 14
    y, x = top + row * pitch, left + column * pitch
    step = SIDE // side
    return rgb[y + step // 2 : y + side * step : step, x + step // 2 : x + side * step : step]


def test_kernels_are_drawn_with_one_scale_for_all_moments() -> None:
    weights = np.zeros((3, 2, 3, 3, 3), np.float32)  # T, O, I, kh, kw
    weights[0, 0], weights[1, 0], weights[2, 0] = 0.0, 0.5, 1.0
    weights[2, 1, 2] = -1.0  # BGR: red
    picture = kernels_over_time(weights, ["0", "5", "10"])
    np.testing.assert_allclose(tile(picture, 0, 0), 0.5, atol=0.01)
    np.testing.assert_allclose(tile(picture, 1, 0), 0.75, atol=0.01)
    np.testing.assert_allclose(tile(picture, 2, 1)[..., 0], 0, atol=0.01)
    np.testing.assert_allclose(tile(picture, 2, 1)[..., 1:], 0.5, atol=0.01)
    rgb = kernels_over_time(weights, ["0", "5", "10"], "RGB")
    np.testing.assert_allclose(tile(rgb, 2, 1)[..., 2], 0, atol=0.01)


def test_the_kernels_that_change_most_are_chosen() -> None:
    weights = np.zeros((2, 20, 4, 3, 3), np.float32)
    chosen = [(19, 3), (0, 1), (7, 2)]
    for filter_, channel in chosen:
        weights[1, filter_, channel] = 1
    from caffe_viz.figures.evolution import _chosen

    tiles, names = _chosen(weights, 3, "BGR")
    assert names == ["0:1", "7:2", "19:3"]
    assert tiles.shape == (2, 3, 3, 3, 3)
    assert tiles[1].min() == 1


def test_frames_of_a_film_have_one_size_and_scale() -> None:
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(4, 6, 3, 5, 5)).astype(np.float32) * np.arange(1, 5).reshape(-1, 1, 1, 1, 1)
    frames = kernel_film(weights, ["a", "b", "c", "d"])
    assert len({frame.shape for frame in frames}) == 1
    spread = [frame.rgb[24:-24, 10:100].std() for frame in frames]
    assert spread == sorted(spread)
    assert spread[-1] > 1.5 * spread[0]


@pytest.mark.parametrize("shape", [(2, 4, 3, 3), (0, 4, 3, 3, 3), (2, 0, 3, 3, 3)])
def test_other_arrays_are_no_kernels(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="kh, kw"):
        kernels_over_time(np.zeros(shape), ["0", "1"])


def test_moments_must_be_named() -> None:
    with pytest.raises(InputError, match="1 moments are named for 2"):
        kernels_over_time(np.zeros((2, 1, 1, 3, 3)), ["0"])


def test_curves_survive_what_trainings_bring() -> None:
    """NaN, zero on a logarithmic axis, one point alone; all of them missing is an error."""
    values = np.array([[1, np.nan], [0, np.inf], [1e-9, 1e9]])
    assert layer_curves([1, 2, 3], values, ["a", "$b_{$"], "norm").shape[2] == 3
    assert layer_curves([1], [[0.5]], ["a"], "norm").shape[2] == 3
    with pytest.raises(InputError, match="nothing to draw"):
        layer_curves([1, 2], np.zeros((2, 1)), ["a"], "norm")
    with pytest.raises(InputError, match="do not fit"):
        layer_curves([1, 2], np.zeros((2, 1)), ["a", "b"], "norm")
    with pytest.raises(InputError, match="nothing to draw"):
        training_curves(([], []), [])
    one = training_curves(([1, 2], [1.0, np.nan]), [("loss", [2], [0.5])])
    two = training_curves(([1, 2], [1.0, 0.5]), [("loss", [2], [0.5]), ("accuracy", [2], [0.7])])
    assert two.shape[0] > 1.5 * one.shape[0]


def test_ridges_need_equal_numbers() -> None:
    counts = np.ones((3, 8), int)
    low, high = np.full(3, -1.0), np.full(3, 1.0)
    assert (
        ridges([("a", counts, low, high), ("b", counts * 0, low * 0, low * 0)], ["0", "1", "2"]).shape[0]
        > 100
    )
    with pytest.raises(InputError, match="each of 2 moments"):
        ridges([("a", counts, low, high)], ["0", "1"])


def test_a_record_becomes_pictures(recorded: Path, tmp_path: Path) -> None:
    made = json.loads(here("evolution", recorded, "-o", tmp_path / "out", "--json"))
    paths = [Path(path) for path in made["files"]]
    names = ["curves", "gradients", "ratios", "dead", "norms", "histograms"]
    assert [p.name for p in paths] == [
        *(f"evolution_{name}.png" for name in names), "conv_evolution.png", "conv_evolution.gif",
        "fc_evolution.png", "fc_evolution.gif",
    ]  # fmt: skip
    assert all(np.asarray(Image.open(p).convert("L")).std() > 5 for p in paths)
    with Image.open(paths[-1]) as film:
        assert film.n_frames >= 4  # the start, and three periods
    found = show_evolution(recorded)
    assert found.table.to_json() == made["periods"]
    assert [row["iteration"] for row in made["periods"]] == [5, 10, 15]
    assert made["periods"][0]["mean loss"] == pytest.approx(found.record.periods[0].losses.mean(), rel=1e-3)


def test_what_is_no_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text("no record")
    wrong = refused("evolution", tmp_path / "net.prototxt")
    assert wrong.count("\n") == 1
    assert "is neither the record nor the log of a training" in wrong
    assert "there is no such record" in refused("evolution", tmp_path / "no.record")


def test_of_a_long_training_some_moments_are_drawn(tmp_path: Path) -> None:
    made = solver(tmp_path, "torch")
    seen = Recorder(made, layers=["conv"], every=1, feed=Cycle(made.net))
    seen.step(70)
    found = Evolution(seen.record)
    assert len(found.film()) == 60
    assert (found.moments[0], found.moments[-1]) == ("0", "70")
    assert len(found.table.rows) == 70


def test_a_series_of_snapshots_is_a_record(engine: str, tmp_path: Path) -> None:
    paths = series(tmp_path, engine)
    record = of_snapshots(paths)
    iterations, values = record.values("conv")
    assert iterations.tolist() == [2, 5, 10]
    again = solver(tmp_path, engine)
    plain(again, 5)
    np.testing.assert_array_equal(values[1], again.net.params["conv"][0].data)
    norm = np.linalg.norm(again.net.params["conv"][0].data)
    assert record.frames[1].period.weights[0] == pytest.approx(norm, rel=1e-5)


def test_a_series_of_snapshots_becomes_pictures(tmp_path: Path) -> None:
    found = show_evolution(series(tmp_path, "torch"))
    assert [p.name for p in found.save(tmp_path / "out")] == [
        "evolution_norms.png", "evolution_histograms.png", "conv_evolution.png", "conv_evolution.gif",
        "fc_evolution.png", "fc_evolution.gif",
    ]  # fmt: skip
    assert "nan" not in str(found).lower()


def test_snapshots_of_two_nets_are_no_series(tmp_path: Path) -> None:
    paths = series(tmp_path, "torch")
    (tmp_path / "b").mkdir()
    from recorder_toy import LAYERS

    other = solver(tmp_path / "b", "torch", layers=LAYERS.replace("num_output: 5", "num_output: 6"))
    other.snapshot()
    with pytest.raises(InputError, match="not of one net"):
        of_snapshots([*paths, tmp_path / "b/toy_iter_0.caffemodel"])
    with pytest.raises(InputError, match="two caffemodels or more"):
        show_evolution(paths[0])


SHIPPED = REPOSITORY / "examples" / "caffenet_cifar10.record"


def test_the_record_that_is_shipped() -> None:
    """Four epochs of caffenet_cifar10 on real Caffe."""
    record = Record.load(SHIPPED)
    assert (record.head.engine, record.head.net) == ("caffe", "CaffeNet_CIFAR10")
    assert record.iterations.tolist() == [500, 1000, 1500, 2000]
    assert record.curve("gradients").shape == (4, 16)
    assert record.losses[0].tolist() == list(range(1, 2001))
    assert record.values("conv1")[1].shape == (5, 48, 3, 7, 7)
    gradients = record.gradient("conv1").reshape(4, -1)
    np.testing.assert_allclose(np.linalg.norm(gradients, axis=1), record.curve("gradients")[:, 0], rtol=1e-5)
    np.testing.assert_allclose(record.scores("accuracy"), [0.4709, 0.5722, 0.6264, 0.656], atol=1e-6)
    assert record.losses[1][-100:].mean() < 0.6 * record.losses[1][:100].mean()
    assert SHIPPED.stat().st_size < 10**6


def test_the_record_that_is_shipped_shows_something_at_once(tmp_path: Path) -> None:
    """Kernels leave the noise they began with: neighbouring pixels come to agree."""
    assert "training of CaffeNet_CIFAR10 (caffe)" in here("evolution", SHIPPED, "-o", tmp_path)
    assert len(list(tmp_path.iterdir())) == 8
    kernels = Record.load(SHIPPED).values("conv1")[1]
    agree = [np.corrcoef(w[..., :-1].ravel(), w[..., 1:].ravel())[0, 1] for w in kernels]
    assert abs(agree[0]) < 0.05
    assert agree[-1] > 0.5


@pytest.mark.parametrize(("x", "start"), [([500, 1000], 0), ([0, 10], 0), ([9000, 9500], 9000)])
def test_time_begins_at_0_unless_the_pictures_begin_late(x: list[int], start: int) -> None:
    from matplotlib.figure import Figure

    from caffe_viz.figures.evolution import _over_time

    axes = Figure().subplots()
    _over_time(axes, np.array(x))
    assert axes.get_xlim()[0] == pytest.approx(start, abs=0.01 * (x[1] - start) + 1e-9)
    assert axes.get_xlim()[1] > x[1]
