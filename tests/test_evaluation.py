"""Evaluation of attributions: planted truths, formulas by hand, both engines, results on disk, the command."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import completed

import caffe_viz as cv
from caffe_viz import evaluation
from caffe_viz.attribution import METHODS, Reads, Settings
from caffe_viz.attribution.job import Job
from caffe_viz.attribution.queries import NamedImage, NetQueries
from caffe_viz.attribution.table import Method, total
from caffe_viz.deploying import preprocess_near
from caffe_viz.errors import InputError, RunError
from caffe_viz.evaluation import (
    BASELINES,
    Curves,
    Sanity,
    area,
    curves,
    rank_correlation,
    sanity,
    ssim,
)
from caffe_viz.evaluation.curves import blurred, order
from caffe_viz.evaluation.sanity import cascade, mean, weighted_layers
from caffe_viz.netdef import NetParameter, parse_net, write_net, write_weights
from caffe_viz.network import Network
from caffe_viz.parity import apart, seeded_weights
from caffe_viz.probe import Probe
from caffe_viz.tables import Table
from caffe_viz.views.evaluated import Evaluated, curves_table, sanity_table, show_evaluation
from caffe_viz.views.markdown import markdown, marks, need_marks

REPOSITORY = Path(__file__).resolve().parent.parent
CAT = REPOSITORY / "examples" / "cat.png"
FEW = Settings(samples=2, steps=4)

# Class 1 has the mean of a patch of channel 0 as its score, times 6; class 0 has none: p = 1 / (1 + exp(-sum)).
LOOKS = """
name: "looks"
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 10 } } }
layer { name: "score" type: "InnerProduct" bottom: "x" top: "score" inner_product_param { num_output: 2 bias_term: false } }
layer { name: "prob" type: "Softmax" bottom: "score" top: "prob" }
"""
ROWS, COLUMNS = slice(2, 4), slice(5, 8)
PATCH = np.zeros((8, 10), np.float32)
PATCH[ROWS, COLUMNS] = 1

# Three layers that learn, the last two after one another, and an end that the class does not depend on.
DEEP = """
name: "deep"
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 dim: 12 dim: 9 } } }
layer { name: "conv1" type: "Convolution" bottom: "x" top: "conv1" convolution_param { num_output: 6 kernel_size: 3 pad: 1 } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "conv2" type: "Convolution" bottom: "conv1" top: "conv2" convolution_param { num_output: 8 kernel_size: 3 } }
layer { name: "relu2" type: "ReLU" bottom: "conv2" top: "conv2" }
layer { name: "beside" type: "InnerProduct" bottom: "conv1" top: "beside" inner_product_param { num_output: 2 } }
layer { name: "silence" type: "Silence" bottom: "beside" }
layer { name: "fc" type: "InnerProduct" bottom: "conv2" top: "fc" inner_product_param { num_output: 5 } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""


def looks(engine: str) -> Probe:
    message = parse_net(LOOKS)
    weights = seeded_weights(message)
    kernel = np.zeros((2, 3, 8, 10), np.float32)
    kernel[1, 0] = PATCH
    weights.layer[0].blobs[0].data[:] = kernel.ravel().tolist()
    return Probe(Network(message, weights, engine=engine))


def deep(engine: str) -> tuple[Probe, np.ndarray]:
    message = parse_net(DEEP)
    image = np.random.default_rng(0).normal(size=(2, 2, 12, 9)).astype(np.float32)
    return Probe(Network(message, seeded_weights(message, 1), engine=engine)), image


def cases(probe: Probe, images: Any, *asked: Any, names: Any = (), **more: Any) -> evaluation.Cases:
    """Of images in this process, of the net of a probe that is loaded."""
    asking = NetQueries(probe.network)
    vars(asking)["probe"] = probe
    given = [NamedImage(names[n] if names else str(n), image) for n, image in enumerate(images)]
    return evaluation.cases(asking, given, *asked, **more)


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Any], None]:
    """Puts a method (M, C, H, W) of a job into the table."""

    def put(name: str, function: Callable[[Job], np.ndarray]) -> None:
        monkeypatch.setitem(METHODS, name, Method(function, Reads.ANY, total))

    return put


# Formulas by hand.


def test_areas() -> None:
    assert area([0, 0.25, 1], [1, 0.5, 0.1]) == pytest.approx(0.25 * 0.75 + 0.75 * 0.3)
    np.testing.assert_allclose(area([0, 0.5, 1], [[[1, 1, 1]], [[0, 1, 0]]]), [[1], [0.5]])


def test_rank_correlation() -> None:
    """1 - 6 sum d^2 / (n (n^2 - 1)) where no values are equal, and Pearson's of mean ranks where some are."""
    assert rank_correlation([1, 2, 3, 4, 5], [5, 6, 7, 8, 7.5]) == pytest.approx(1 - 6 * 2 / (5 * 24))
    assert rank_correlation([[1, 2], [3, 4]], [[-1, -20], [-30, -31]]) == -1
    # Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: 4.5 / sqrt(4.5 * 5).
    assert rank_correlation([0, 1, 1, 2], [1, 2, 3, 4]) == pytest.approx(np.sqrt(0.9))
    assert rank_correlation([1, 2, 3], [5, 5, 5]) == 0
    assert np.isnan(rank_correlation([5, 5, 5], [1, 2, 3]))
    scipy = pytest.importorskip("scipy.stats")
    a, b = np.random.default_rng(0).integers(0, 9, (2, 200))
    assert rank_correlation(a, b) == pytest.approx(scipy.spearmanr(a, b).statistic)


def test_structural_similarity() -> None:
    """Of one window: (2 m n + c)(2 s + d) / ((m^2 + n^2 + c)(u + v + d)), with c = 0.01^2, d = 0.03^2."""
    a = np.array([[0, 1, 0], [0.5, 0, 0], [0, 0, 1]])
    b = np.array([[0, 0, 1], [0, 1, 0], [0, 0, 0.25]])
    (u, s), (_, v) = np.cov(a.ravel(), b.ravel())
    m, n = a.mean(), b.mean()
    expected = (2 * m * n + 1e-4) * (2 * s + 9e-4) / ((m**2 + n**2 + 1e-4) * (u + v + 9e-4))
    assert ssim(a, b) == pytest.approx(expected)
    assert ssim(a, 7 * b - 3) == pytest.approx(expected)
    big = np.random.default_rng(0).random((20, 30))
    assert ssim(big, 2 * big + 1) == pytest.approx(1)
    assert ssim(big, big[::-1]) < 0.2
    assert abs(ssim(big, np.ones_like(big))) < 0.1
    assert np.isnan(ssim(np.ones_like(big), big))
    assert np.isnan(ssim(big[:2], big[:2]))


def test_equal_values_go_in_random_order() -> None:
    values = np.zeros((20, 20), np.float32)
    values[3, 4], values[7, 8] = 2, 3
    places = order(values, np.random.default_rng(0))
    assert (places[7, 8], places[3, 4]) == (0, 1)
    assert sorted(places.ravel()) == list(range(400))
    assert abs(np.corrcoef(places.ravel(), np.arange(400))[0, 1]) < 0.2
    assert (places != order(values, np.random.default_rng(1))).any()


def test_baselines() -> None:
    made = {name: f((20, 32), np.random.default_rng(0)) for name, f in BASELINES.items()}
    assert all(values.shape == (20, 32) for values in made.values())
    y, x = np.unravel_index(made["centre"].argmax(), (20, 32))
    assert (y, x) in [(9, 15), (9, 16), (10, 15), (10, 16)]
    assert made["centre"][0, 0] == made["centre"].min()

    def roughness(values: np.ndarray) -> float:
        return float(np.abs(np.diff(values, axis=1)).mean() / values.std())

    assert roughness(made["random-smooth"]) < 0.4 * roughness(made["random"])


def test_the_mean_over_cases_that_have_a_value() -> None:
    found = mean(np.array([[1, np.nan, 2], [np.nan] * 3], np.float32))
    assert found[0] == 1.5
    assert np.isnan(found[1])


# Curves, with a planted truth.


def test_deletion_by_hand(engine: str, plant: Any) -> None:
    """80 pixels, one a step: the score is 6 while the 6 that count are there, and less one for each that goes."""
    plant("wrong", lambda job: np.broadcast_to(1 - PATCH, job.images.shape))
    image = np.ones((1, 3, 8, 10), np.float32)
    found = curves(cases(looks(engine), image, [1], ["gradient", "wrong"], settings=FEW), points=80)
    gone = np.arange(81)
    right, wrong = (1 / (1 + np.exp(-6.0 + n)) for n in (np.minimum(gone, 6), np.maximum(gone - 74, 0)))
    np.testing.assert_allclose(found.deletion[0, 0], right, atol=1e-6)
    np.testing.assert_allclose(found.deletion[1, 0], wrong, atol=1e-6)
    assert found.unit == "probability"
    assert found.targets == ("score 1",)
    areas = found.deletion_areas[:, 0]
    assert areas[0] == pytest.approx((right[1:] + right[:-1]).sum() / 160)
    assert areas.argmin() == 0
    assert areas.argmax() == 1
    assert found.beats("gradient", "random")[0] == 1
    assert found.beats("wrong", "random")[0] == 0


def test_insertion_by_hand(engine: str, plant: Any) -> None:
    """Only the patch is bright: what comes back first, from the blurred image, are its pixels, or the others."""
    plant("wrong", lambda job: np.broadcast_to(1 - PATCH, job.images.shape))
    image = np.broadcast_to(PATCH, (1, 3, 8, 10)).copy()
    found = curves(cases(looks(engine), image, [1], ["gradient", "wrong"], settings=FEW), points=80)
    dim = blurred(image[0])[0][ROWS, COLUMNS]
    assert dim.max() < 0.9
    start, end = 1 / (1 + np.exp(-dim.sum())), 1 / (1 + np.exp(-6))
    for row in found.insertion[:, 0]:
        assert row[0] == pytest.approx(start, abs=1e-6)
        assert row[-1] == pytest.approx(end, abs=1e-6)
    np.testing.assert_allclose(found.insertion[0, 0, 6:], end, atol=1e-6)
    np.testing.assert_allclose(found.insertion[1, 0, :75], start, atol=1e-6)
    assert found.insertion_areas[:, 0].argmax() == 0
    assert found.insertion_areas[:, 0].argmin() == 1
    assert found.beats("gradient", "random")[1] == 1
    assert found.beats("wrong", "random")[1] == 0


def test_few_points_are_even_shares(engine: str) -> None:
    image = np.ones((1, 3, 8, 10), np.float32)
    found = curves(cases(looks(engine), image, [1], ["gradient"], settings=FEW), points=5)
    np.testing.assert_allclose(found.shares, [0, 0.2, 0.4, 0.6, 0.8, 1])
    np.testing.assert_allclose(found.deletion[0, 0], [1 / (1 + np.exp(-6))] + [0.5] * 5, atol=1e-6)
    assert len(curves(cases(looks(engine), image, [1], ["gradient"]), points=999).shares) == 81
    with pytest.raises(InputError, match="points is 0"):
        curves(cases(looks(engine), image, [1], ["gradient"]), points=0)


def test_probabilities_are_those_of_the_net(engine: str) -> None:
    probe, images = deep(engine)
    found = curves(cases(probe, images, [3, 0], ["gradient"], names=["a", "b"]), points=2)
    assert found.names == ("a", "a", "b", "b")
    assert found.targets == ("fc 3", "fc 0", "fc 3", "fc 0")
    expected = probe.forward(images, ["prob"])["prob"][:, [3, 0]].ravel()
    for ends in (found.deletion[..., 0], found.insertion[..., -1]):
        np.testing.assert_allclose(ends, np.broadcast_to(expected, ends.shape), rtol=1e-5)
    blank = probe.forward(np.zeros_like(images), ["prob"])["prob"][:, [3, 0]].ravel()
    np.testing.assert_allclose(found.deletion[0, :, -1], blank, rtol=1e-5)


def test_a_filter_has_a_score(engine: str) -> None:
    probe, images = deep(engine)
    found = curves(cases(probe, images, ["conv2:3"], ["gradient"]), points=2)
    assert found.unit == "score"
    before = probe.forward(images, ["conv2_before_relu2"])["conv2_before_relu2"][:, 3].mean((1, 2))
    np.testing.assert_allclose(found.deletion[0, :, 0], before, rtol=1e-4)


def test_the_likeliest_class_is_the_target(engine: str) -> None:
    probe, images = deep(engine)
    best = probe.forward(images, ["fc"])["fc"].argmax(1)
    assert cases(probe, images).given == tuple(best)


def test_chance_comes_from_the_seed(engine: str) -> None:
    probe, images = deep(engine)
    c = cases(probe, images[[0, 0]], [2], ["gradient"])
    a, b, other = (curves(c, points=9, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a.deletion, b.deletion)
    np.testing.assert_allclose(a.deletion[0], other.deletion[0], rtol=1e-5)  # no equal values
    assert apart(a.deletion[1], other.deletion[1]) > 1e-3
    assert apart(a.deletion[1, 0], a.deletion[1, 1]) > 1e-3  # each case has its own random maps


# The check by random weights.


def parameters(net: Any) -> dict[tuple[str, int], np.ndarray]:
    """All but the image, which a probe keeps in a layer of its own."""
    return {
        (name, k): np.array(b.data)
        for name, some in net.params.items()
        for k, b in enumerate(some)
        if name != "image"
    }


def test_layers_from_the_top_down_become_random_and_go_back(engine: str) -> None:
    probe, _ = deep(engine)
    layers = weighted_layers(probe, "fc")
    assert layers == ("fc", "conv2", "conv1")
    assert weighted_layers(probe, "conv2_before_relu2") == ("conv2", "conv1")
    before = parameters(probe.net)
    with suppress(KeyError), cascade(probe.net, layers, np.random.default_rng(0)) as stages:
        for count, name in enumerate(stages, 1):
            assert name == layers[count - 1]
            for (layer, k), values in parameters(probe.net).items():
                old = before[layer, k]
                assert (layer in layers[:count]) == (values != old).any(), (layer, k)
                np.testing.assert_array_equal(np.sort(values.ravel()), np.sort(old.ravel()))
        assert count == 3
        raise KeyError  # whatever happens inside
    for key, values in parameters(probe.net).items():
        np.testing.assert_array_equal(values, before[key])


def test_a_map_that_ignores_weights_fails(engine: str, plant: Any) -> None:
    plant("edges", lambda job: np.abs(np.diff(job.images, axis=3, append=0)))
    probe, images = deep(engine)
    before = parameters(probe.net)
    found = sanity(cases(probe, images, None, ["edges", "gradient-x-input", "occlusion"], settings=FEW))
    np.testing.assert_allclose(found.correlation[0], 1)
    np.testing.assert_allclose(found.similarity[0], 1)
    assert found.failed == ("edges",)
    assert found.layers == ("fc", "conv2", "conv1")
    assert found.correlation.shape == (3, 3, 2)
    assert np.abs(mean(found.correlation)[1:, -1]).max() < 0.4
    for key, values in parameters(probe.net).items():
        np.testing.assert_array_equal(values, before[key])
    assert sanity_table(found).rows[0] == ("edges", *[1.0] * 10, "fails")
    assert "check" in sanity_table(found).columns
    assert sanity_table(found).rows[1][-1] == ""


def test_the_rule_reads_the_upper_half() -> None:
    """Of 4 layers it is the second that counts; of 5, the third; of one, that."""
    for count, half in ((1, 0), (2, 0), (4, 1), (5, 2), (26, 12)):
        values = np.zeros((2, count, 3), np.float32)
        values[0, half], values[1] = 0.51, 0.9
        values[1, half] = [0.5, 0.4, 0.6]
        layers = tuple(map(str, range(count)))
        s = Sanity("caffe", ("a",) * 3, ("b",) * 3, ("bad", "good"), 3, layers, values, values)
        assert s.half == half
        assert s.failed == ("bad",)
        row = sanity_table(s).rows[0]
        assert row[3] == row[8] == 0.51  # "rank 50%", "SSIM 50%"


def test_weights_of_a_net_in_use_go_back_too(engine: str, tmp_path: Path) -> None:
    message = parse_net(DEEP)
    net = cv.load_net(message, seeded_weights(message, 1), engine=engine)
    before = parameters(net)
    images = np.random.default_rng(0).normal(size=(1, 2, 12, 9)).astype(np.float32)
    found = show_evaluation(net, images, 2, "gradient", checks=["sanity"])
    assert found.sanity is not None
    assert found.curves is None
    assert found.sanity.correlation[0, -1, 0] < 0.9
    for key, values in parameters(net).items():
        np.testing.assert_array_equal(values, before[key])


def test_nothing_to_make_random(engine: str) -> None:
    net = parse_net(
        """layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 dim: 4 dim: 4 } } }
        layer { name: "y" type: "Pooling" bottom: "x" top: "y" pooling_param { pool: AVE global_pooling: true } }"""
    )
    probe = Probe(Network(net, NetParameter(), engine=engine))
    c = cases(probe, np.ones((1, 3, 4, 4), np.float32), [0], ["gradient"])
    with pytest.raises(RunError, match="no layer before it has weights"):
        sanity(c)


def test_a_method_without_maps_is_said() -> None:
    nothing = np.full((1, 2, 2), np.nan, np.float32)
    s = Sanity("caffe", ("a", "b"), ("0", "0"), ("flat",), 2, ("top", "low"), nothing, nothing)
    assert s.failed == ()
    assert sanity_table(s).rows == (("flat", *[None] * 10, "no map"),)


# What does not fit.


def test_methods_that_do_not_fit(engine: str) -> None:
    probe, images = deep(engine)
    c = cases(probe, images)
    assert c.methods == tuple(name for name in METHODS if name != "cam")
    assert [name for name, _ in c.refused] == ["cam"]
    with pytest.raises(InputError, match="CAM needs global average pooling"):
        cases(probe, images, methods=["cam"])
    with pytest.raises(InputError, match="Did you mean 'grad-cam"):
        cases(probe, images, methods=["gradcam"])
    with pytest.raises(InputError, match="no layer 'conv_2'"):
        cases(probe, images, layer="conv_2")
    with pytest.raises(InputError, match="one layer at a time"):
        cases(probe, images, [1, "conv2:3"])
    with pytest.raises(InputError, match="no target is given"):
        cases(probe, images, [])
    with pytest.raises(InputError, match="0 has NaN or infinity"):
        cases(probe, images * np.nan)
    flat = parse_net(
        DEEP.replace("dim: 1 dim: 2 dim: 12 dim: 9", "dim: 1 dim: 9").split('layer { name: "conv1"')[0]
    )
    with pytest.raises(InputError, match=r"the input is \(9,\): an image \(C, H, W\) is needed"):
        cases(Probe(Network(flat, NetParameter(), engine=engine)), images)
    with pytest.raises(InputError, match=r"check 'santy' is unknown. Did you mean 'sanity'"):
        show_evaluation(probe.network, images, checks=["santy"])


# Ctrl-C.


def stops(after: float) -> Callable[[float], None]:
    def report(share: float) -> None:
        if share > after:
            raise KeyboardInterrupt

    return report


@pytest.mark.parametrize("check", [curves, sanity])
def test_ctrl_c_keeps_finished_cases(engine: str, check: Any) -> None:
    probe, images = deep(engine)
    before = parameters(probe.net)
    c = cases(probe, images, [0, 1], ["gradient"], names=["a", "b"])
    whole, part = check(c), check(c, on_progress=stops(0.8))
    assert not whole.interrupted
    assert part.interrupted
    assert part.names == ("a", "a", "b")
    assert part.targets == whole.targets[:3]
    if check is curves:
        np.testing.assert_array_equal(part.deletion, whole.deletion[:, :3])
    else:
        np.testing.assert_array_equal(part.correlation, whole.correlation[..., :3])
    with pytest.raises(KeyboardInterrupt):
        check(c, on_progress=stops(0.1))
    for key, values in parameters(probe.net).items():
        np.testing.assert_array_equal(values, before[key])


@pytest.mark.parametrize(("after", "rows", "checked"), [(0.3, 1, None), (0.6, 2, None), (0.9, 2, 1)])
def test_ctrl_c_keeps_finished_checks(engine: str, after: float, rows: int, checked: int | None) -> None:
    probe, images = deep(engine)
    stop = stops(after)
    found = show_evaluation(
        probe.network, images, 0, ["gradient"], on_progress=lambda done, whole: stop(done / whole)
    )
    assert found.interrupted
    assert found.curves is not None
    assert len(found.curves.names) == rows
    assert (found.sanity and len(found.sanity.names)) == checked


def test_progress_rises_to_one(engine: str) -> None:
    probe, images = deep(engine)
    told: list[float] = []
    show_evaluation(
        probe.network, images, 0, ["gradient", "grad-cam"], points=7,
        on_progress=lambda done, whole: told.append(done / whole),
    )  # fmt: skip
    assert told == sorted(told)
    assert told[-1] == 1
    assert len(told) > 20


# Results.


@pytest.fixture(scope="module")
def made() -> Evaluated:
    probe, images = deep("auto")
    return show_evaluation(probe.network, images, 0, points=6, settings=FEW)


def test_saved_results_draw_without_an_engine(
    made: Evaluated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = made.save(tmp_path)
    assert [p.name for p in paths] == ["curves.npz", "curves.png", "sanity.npz", "sanity.png"]
    for name in ("caffe", "torch", "caffe_viz.engine"):
        monkeypatch.setitem(sys.modules, name, None)
    back = Evaluated.load(tmp_path)
    assert repr(back) == repr(Evaluated(made.curves, made.sanity))
    for name, picture in made.pictures.items():
        np.testing.assert_array_equal(picture.rgb, back.pictures[name].rgb)
        assert picture.rgb.min() < 0.9
    assert back._repr_png_().startswith(b"\x89PNG")


def test_results_of_different_images_are_not_loaded_together(made: Evaluated, tmp_path: Path) -> None:
    assert made.curves is not None
    assert made.sanity is not None
    made.curves.save(tmp_path / "curves.npz")
    first = replace(made.sanity, names=made.sanity.names[:1], targets=made.sanity.targets[:1])  # interrupted
    first.save(tmp_path / "sanity.npz")
    assert Evaluated.load(tmp_path).curves is not None
    for change in ({"names": ("x", *made.sanity.names[1:])}, {"engine": "another"}):
        replace(made.sanity, **change).save(tmp_path / "sanity.npz")
        with pytest.raises(InputError, match=r"of different images, targets or engines: remove"):
            Evaluated.load(tmp_path)


def test_files_that_are_no_results(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds neither"):
        Evaluated.load(tmp_path)
    (tmp_path / "curves.npz").write_bytes(b"no")
    with pytest.raises(InputError, match="holds no saved curves"):
        Evaluated.load(tmp_path)
    np.savez(tmp_path / "sanity.npz", x=1)
    with pytest.raises(InputError, match="holds no saved sanity"):
        Sanity.load(tmp_path / "sanity.npz")


def test_tables_by_hand() -> None:
    """Two cases: areas 0.2 and 0.4 have the mean 0.3 and the standard error 0.1."""
    flat = np.ones(3, np.float32)
    methods = ("m", *BASELINES)
    deletion = np.stack([np.stack([0.2 * flat, 0.4 * flat])] + [0.3 * np.ones((2, 3), np.float32)] * 3)
    c = Curves(
        "caffe", "probability", ("a", "b"), ("1", "1"), methods, 2, np.linspace(0, 1, 3), deletion, deletion
    )
    rows = curves_table(c).rows
    assert rows[0] == ("m", "0.300 ± 0.100", "0.300 ± 0.100", "1 / 1", "1 / 1")
    assert rows[1][3:] == ("", "")


def test_markdown() -> None:
    assert markdown(Table("t", ("a", "b|c"), (("x", 0.5), ("y", None)))) == (
        "t:\n\n| a | b\\|c |\n| --- | --- |\n| x | 0.5 |\n| y |  |\n"
    )


def test_tables_go_between_their_marks(made: Evaluated, tmp_path: Path) -> None:
    file = tmp_path / "x.md"
    lines = [line for check in ("curves", "sanity") for line in ("before", *marks("deep", check), "after")]
    file.write_text("\n".join(lines))
    made.write(file, "deep")
    once = file.read_text()
    made.write(file, "deep")
    assert file.read_text() == once
    assert once.count("before") == once.count("after") == 2
    assert once.count("| grad-cam |") == 2
    assert "failed the check by random weights" in once
    file.write_text(marks("deep", "curves")[0])
    with pytest.raises(
        InputError, match="has no place for the table: write the lines <!-- begin deep curves -->"
    ):
        need_marks(file, "deep", ["curves"])
    with pytest.raises(InputError, match="cannot be read"):
        need_marks(tmp_path / "absent.md", "deep", ["curves"])
    assert marks("a --> <b>\n", "x")[0] == "<!-- begin a - <b x -->"  # a name cannot end the comment


def test_some_of_many_images(engine: str) -> None:
    probe, images = deep(engine)
    many = np.concatenate([images] * 5)
    found = show_evaluation(probe.network, many, 0, "gradient", count=4, checks=["curves"], points=2)
    assert found.curves is not None
    assert found.curves.names == ("image 0", "image 2", "image 5", "image 7")


# Both engines, the command, and photographs.


def cifar(networks: Path, engine: str = "auto") -> Network:
    folder = networks / "caffenet_cifar10"
    prototxt = folder / "deploy.prototxt"
    return Network(prototxt, folder / "caffenet_cifar10.caffemodel", preprocess_near(prototxt), engine)


def test_engines_agree(networks: Path, caffe: Any) -> None:
    pytest.importorskip("torch", reason="the engine torch is not installed")
    methods = ["gradient", "grad-cam", "guided-backprop"]
    a, b = (
        show_evaluation(cifar(networks, e), CAT, "cat", methods, points=4, settings=FEW)
        for e in ("caffe", "torch")
    )
    assert a.curves is not None
    assert b.curves is not None
    assert a.sanity is not None
    assert b.sanity is not None
    np.testing.assert_allclose(a.curves.deletion, b.curves.deletion, atol=1e-3)
    np.testing.assert_allclose(a.curves.insertion, b.curves.insertion, atol=1e-3)
    np.testing.assert_allclose(a.sanity.correlation, b.sanity.correlation, atol=1e-3)
    np.testing.assert_allclose(a.sanity.similarity, b.sanity.similarity, atol=1e-3)
    assert a.sanity.failed == b.sanity.failed == ("guided-backprop",)


run = partial(completed, "evaluate")


def files(folder: Path) -> tuple[Path, Path, Path]:
    """A prototxt, a caffemodel, and an image as .npy."""
    message = parse_net(DEEP)
    write_net(message, folder / "net.prototxt")
    write_weights(seeded_weights(message, 1), folder / "net.caffemodel")
    np.save(folder / "x.npy", deep("torch")[1][0])
    return folder / "net.prototxt", folder / "net.caffemodel", folder / "x.npy"


def test_the_command(engine: str, tmp_path: Path) -> None:
    net, weights, image = files(tmp_path)
    lines = [line for check in ("curves", "sanity") for line in marks("deep", check)]
    (tmp_path / "docs.md").write_text("\n".join(lines))
    done = run(
        net, weights, "--image", image, "--engine", engine, "-o", tmp_path / "out", "--points", 4,
        "--method", "gradient", "--method", "grad-cam", "--write", tmp_path / "docs.md", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [row["method"] for row in told["curves"]] == ["gradient", "grad-cam", *BASELINES]
    assert [row["method"] for row in told["sanity"]] == ["gradient", "grad-cam"]
    assert set(told) == {"engine", "curves", "sanity", "failed", "refused", "settings", "files"}
    assert told["engine"] == engine
    assert all(Path(f).is_file() for f in told["files"])
    assert "| grad-cam |" in (tmp_path / "docs.md").read_text()


def test_what_the_command_refuses(tmp_path: Path) -> None:
    net, weights, image = files(tmp_path)
    for arguments, message in (
        (("--write", tmp_path / "absent.md"), "cannot be read"),
        (("--check", "speed"), "--check speed: give curves or sanity"),
        (("--method", "cam"), "CAM needs global average pooling"),
    ):
        failed = run(net, weights, "--image", image, "-o", tmp_path / "out", *arguments)
        assert failed.returncode == 2
        assert failed.stderr.count("\n") == 1
        assert message in failed.stderr


def test_the_command_interrupted(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from caffe_viz.cli import evaluation
    from caffe_viz.cli.app import INTERRUPTED, app

    @contextmanager
    def bar(title: str) -> Iterator[Callable[[int, int, str], None]]:
        stop = stops(0.8)
        yield lambda done, whole, note: stop(done / whole)

    monkeypatch.setattr(evaluation, "progress_bar", bar)
    net, weights, image = files(tmp_path)
    (tmp_path / "docs.md").write_text("\n".join(marks("deep", "curves")))
    given = [
        "evaluate", net, weights, "--image", image, "--image", image, "--method", "gradient", "--engine", engine,
        "--check", "curves", "--write", tmp_path / "docs.md", "-o", tmp_path / "out",
    ]  # fmt: skip
    done = CliRunner().invoke(app, [str(x) for x in given])
    assert done.exit_code == INTERRUPTED, done.output
    assert "1 cases" in done.output
    kept = Curves.load(tmp_path / "out" / "curves.npz")
    assert kept.interrupted
    assert kept.names == (str(image),)
    assert "gradient" not in (tmp_path / "docs.md").read_text()  # no half results in documents


PHOTOGRAPHS = ["ILSVRC2012_val_00000610.jpg", "ILSVRC2012_val_00020333.jpg", "ILSVRC2012_val_00029739.jpg"]


def test_grad_cam_is_better_than_chance_on_photographs(networks: Path, shared: Path) -> None:
    """In each of the three; but random single pixels harm a net no less than the patches that it finds."""
    folder = shared / "models" / "squeezenet_v1.0"
    preprocess = preprocess_near(networks / "squeezenet_v1.0" / "deploy.prototxt")
    net = parse_net((folder / "deploy.prototxt").read_text().replace("227", "131"))
    network = Network(net, folder / "squeezenet_v1.0.caffemodel", preprocess)
    images = [shared / "images" / name for name in PHOTOGRAPHS]
    found = show_evaluation(network, images, methods="grad-cam", checks=["curves"], points=4).curves
    assert found is not None
    assert found.beats("grad-cam", "random-smooth") == (3, 3)
    assert found.beats("grad-cam", "random")[1] == 3
    deletion, insertion = (
        dict(zip(found.methods, areas.mean(1), strict=True))
        for areas in (found.deletion_areas, found.insertion_areas)
    )
    assert deletion["grad-cam"] < 0.5 * deletion["random-smooth"]
    assert insertion["grad-cam"] > 1.2 * insertion["random-smooth"]
    assert insertion["grad-cam"] > 2 * insertion["random"]
