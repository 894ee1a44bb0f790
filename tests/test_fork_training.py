"""Layers of forks that compute something else in training: batch statistics, chance, boxes that are left out."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from fork_cases.batch_norms import convolved, stored
from geometry_toys import Toy
from toy_runs import TRAIN, run

trained = partial(run, phase=TRAIN)


@pytest.mark.parametrize("narrow", [False, True])
def test_a_dense_block_norms_by_the_batch_and_moves_what_it_stores(tmp_path: Path, narrow: bool) -> None:
    steps, keep = 2, 0.75
    settings = (
        f"numTransition: {steps} growthRate: 2 use_BC: {str(narrow).lower()} moving_average_fraction: {keep}"
    )
    toy = Toy("DenseBlock", ["2 3 4 3"], f"denseblock_param {{ {settings} }}")
    rng = np.random.default_rng(0)
    x = rng.normal(1, 2, (2, 3, 4, 3))
    blobs = trained(tmp_path, toy, {"a": x}).layer_dict["x"].blobs
    params = {n: rng.uniform(0.5, 2, blob.data.shape) for n, blob in enumerate(blobs)}
    net = trained(tmp_path, toy, {"a": x}, params)
    expected = dict(params)

    def normed(x: np.ndarray, group: int, step: int) -> np.ndarray:
        scale, shift, mean, variance = ((group + k) * steps + step for k in range(1, 5))
        fresh = x.mean((0, 2, 3)), x.var((0, 2, 3))
        for place, values in zip((mean, variance), fresh, strict=True):
            expected[place] = keep * params[place] + values.reshape(params[place].shape)
        return np.maximum(stored([x], [params[scale], params[shift], *fresh], eps=1e-5), 0)

    for step in range(steps):
        y = normed(x, 0, step)
        if narrow:
            y = normed(convolved(y, params[5 * steps + step], 0), 5, step)
        x = np.concatenate([x, convolved(y, params[step], 1)], 1)
    last = len(params) - 1
    expected[last] = keep * params[last] + 1
    np.testing.assert_allclose(net.blobs["t0"].data, x, rtol=1e-4, atol=1e-4)
    for n, blob in enumerate(net.layer_dict["x"].blobs):
        np.testing.assert_allclose(blob.data, expected[n], rtol=1e-5, atol=1e-5, err_msg=f"blob {n}")


def test_a_dense_block_drops_values_of_what_a_step_adds(tmp_path: Path) -> None:
    settings = "numTransition: 1 growthRate: 8 use_dropout: true dropout_amount: 0.25"
    toy = Toy("DenseBlock", ["4 3 9 9"], f"denseblock_param {{ {settings} }}")
    x = np.random.default_rng(0).normal(size=(4, 3, 9, 9))
    params = {0: np.ones((8, 3, 3, 3)), 1: 1, 2: 5}
    whole = trained(tmp_path, toy._replace(settings=toy.settings.replace("true", "false")), {"a": x}, params)
    top = trained(tmp_path, toy, {"a": x}, params).blobs["t0"].data
    np.testing.assert_allclose(top[:, :3], x, rtol=1e-6)
    dropped = top[:, 3:] == 0
    assert dropped.mean() == pytest.approx(0.25, abs=0.03)
    np.testing.assert_allclose(
        top[:, 3:][~dropped], whole.blobs["t0"].data[:, 3:][~dropped] / 0.75, rtol=1e-4
    )


def test_insanity_draws_the_slope_of_each_value(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(50, 40))
    top = trained(tmp_path, Toy("Insanity", ["50 40"], "insanity_param { lb: 2 ub: 8 }"), {"a": x}).blobs[
        "t0"
    ]
    np.testing.assert_allclose(top.data[x > 0], x[x > 0], rtol=1e-6)
    drawn = x[x < 0] / top.data[x < 0]
    assert 2 <= drawn.min() < 2.1
    assert 7.9 < drawn.max() <= 8.001
    assert drawn.mean() == pytest.approx(5, abs=0.2)


def test_spatial_dropout_drops_whole_channels(tmp_path: Path) -> None:
    settings = (
        "module: 'spatial_dropout' layer: 'SpatialDropoutLayer' param_str: \"{'phase': 'TRAIN', 'p': '0.2'}\""
    )
    x = np.random.default_rng(0).uniform(1, 2, (40, 50, 2, 3))
    toy = Toy("Python", ["40 50 2 3"], f"python_param {{ {settings} }}")
    top = trained(tmp_path, toy, {"a": x}).blobs["t0"].data
    dropped = (top == 0).all((2, 3))
    assert dropped.mean() == pytest.approx(0.2, abs=0.03)
    np.testing.assert_allclose(top[~dropped], x[~dropped] / 0.8, rtol=1e-5)


def test_boxes_that_end_before_they_begin_or_are_the_truth_are_left_out(tmp_path: Path) -> None:
    regions = np.array(
        [[0, 0, 0, 9, 9], [0, 20, 20, 39, 29], [1, 5, 5, 14, 14], [1, 0, 0, 99, 99]], np.float32
    )
    codes = np.zeros((4, 8), np.float32)
    codes[:, 4:] = [[0.1, 0, 0, 0], [0, 0, 0, -5], [0, 0, 0, 0], [0, 0, 0, 0]]  # the second gets no height
    truth = np.zeros((4, 5), np.float32)
    truth[:, 4] = [0.2, 0.2, 0.94, 0.96]
    toy = Toy("DecodeBBox", ["4 8", "4 5 1 1", "4 5"], "decode_bbox_param { gt_iou_thr: 0.95 }")
    inputs = {"a": codes, "b": regions.reshape(4, 5, 1, 1), "c": truth}
    top = trained(tmp_path, toy, inputs).blobs["t0"].data
    np.testing.assert_allclose(top[..., 0, 0], [[0, 1, 0, 10, 9], regions[2]], atol=1e-5)


def test_hypercolumns_are_drawn_of_places_with_values(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, 2, 4, 5))
    first[:, :, 1:3] = 0
    first[0, 1, 0, 0] = np.nan
    toy = Toy(
        "HyperColumns", ["2 3 4 5", "2 2 4 5"], "hypercolumns_param { is_train: true sample_num: 7 }", 2
    )
    net = trained(tmp_path, toy, {"a": first, "b": second})
    columns, own = net.blobs["t0"].data, net.blobs["t1"].data
    assert own.shape == (14, 3)
    places = set()
    for row, (values, column) in enumerate(zip(own, columns[..., 0, 0], strict=True)):
        image = row // 7
        gaps = np.abs(first[image] - values[:, None, None]).sum(0)
        y, x = np.unravel_index(np.nanargmin(gaps), gaps.shape)
        assert gaps[y, x] < 1e-5
        assert y in (0, 3)
        np.testing.assert_allclose(column, second[image, :, y, x], rtol=1e-5)
        places.add((image, y, x))
    assert len(places) == 14  # each once: there are nine or ten


def test_more_hypercolumns_than_places_come_again(tmp_path: Path) -> None:
    first = np.random.default_rng(0).normal(size=(1, 1, 2, 2))
    toy = Toy(
        "HyperColumns", ["1 1 2 2", "1 1 2 2"], "hypercolumns_param { is_train: true sample_num: 6 }", 2
    )
    own = trained(tmp_path, toy, {"a": first, "b": first}).blobs["t1"].data
    assert own.shape == (6, 1)
    np.testing.assert_allclose(np.unique(own[:4]), np.unique(first), rtol=1e-6)
    np.testing.assert_array_equal(own[4:], own[:2])
