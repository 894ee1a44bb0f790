"""Fillers: each by its definition, and against those of real Caffe by their moments."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format
from numpy.typing import NDArray

from caffe_viz.backend import module
from caffe_viz.errors import InputError
from caffe_viz.netdef.net_pb2 import FillerParameter

torch = pytest.importorskip("torch")

from caffe_viz.engine.fillers import FILLERS, filled  # noqa: E402

SHAPE = (40, 25, 10, 10)  # 10^5 values; 2500 go into an output, 4000 come out of an input
FAN = {"FAN_IN": 2500, "FAN_OUT": 4000, "AVERAGE": 3250}


def fill(settings: str, shape: tuple[int, ...] = SHAPE, seed: int = 0) -> NDArray[np.float32]:
    filler = text_format.Parse(settings, FillerParameter())
    values: NDArray[np.float32] = filled(filler, shape, torch.Generator().manual_seed(seed)).numpy()
    assert values.shape == shape
    assert values.dtype == np.float32
    return values


def caffe_fill(tmp_path: Path, settings: str, shape: tuple[int, ...] = SHAPE) -> NDArray[np.float32]:
    """What real Caffe fills a DummyData layer with."""
    dims = " ".join(f"dim: {d}" for d in shape)
    path = tmp_path / "net.prototxt"
    path.write_text(
        f'layer {{ name: "d" type: "DummyData" top: "d" dummy_data_param {{ shape {{ {dims} }} data_filler {{ {settings} }} }} }}'
    )
    caffe = module("caffe")
    caffe.set_random_seed(3)
    net = caffe.Net(str(path), caffe.TEST)
    net.forward()
    return np.array(net.blobs["d"].data)


# --- definitions -------------------------------------------------------------------------


def test_constant() -> None:
    assert (fill("value: -2.5", (3, 2)) == -2.5).all()
    assert (fill("", (3, 2)) == 0).all()
    assert fill("value: 4", ()) == 4


def test_uniform() -> None:
    values = fill("type: 'uniform' min: -3 max: 5")
    assert values.min() >= -3
    assert values.max() <= 5
    assert values.mean() == pytest.approx(1, abs=0.03)
    assert values.std() == pytest.approx(8 / math.sqrt(12), rel=0.01)
    assert (fill("type: 'uniform' min: 2 max: 2", (3,)) == 2).all()


def test_gaussian() -> None:
    values = fill("type: 'gaussian' mean: 7 std: 0.5")
    assert values.mean() == pytest.approx(7, abs=0.01)
    assert values.std() == pytest.approx(0.5, rel=0.01)
    assert (np.abs(values - 7) < 0.5).mean() == pytest.approx(0.6827, abs=0.01)


def test_sparse_gaussian_keeps_so_many_values_of_each_column() -> None:
    """Of 200 outputs a column has 200 weights, each kept with probability 15 / 200."""
    values = fill("type: 'gaussian' mean: 3 std: 0.1 sparse: 15", (200, 500))
    assert (values != 0).sum(0).mean() == pytest.approx(15, rel=0.03)
    assert values[values != 0].mean() == pytest.approx(3, abs=0.01)
    assert (fill("type: 'gaussian' sparse: 0", (4, 5)) == 0).all()
    assert (fill("type: 'gaussian' sparse: 4", (4, 5)) != 0).all()


def test_positive_unitball() -> None:
    values = fill("type: 'positive_unitball'", (50, 4, 3))
    assert values.min() >= 0
    assert values.reshape(50, -1).sum(1) == pytest.approx(1, rel=1e-6)
    assert fill("type: 'positive_unitball'", (9,)) == pytest.approx(1)


@pytest.mark.parametrize("norm", FAN)
def test_xavier(norm: str) -> None:
    values = fill(f"type: 'xavier' variance_norm: {norm}")
    bound = math.sqrt(3 / FAN[norm])
    assert np.abs(values).max() == pytest.approx(bound, rel=1e-3)
    assert np.abs(values).max() <= bound * (1 + 1e-6)
    assert values.std() == pytest.approx(math.sqrt(1 / FAN[norm]), rel=0.01)


@pytest.mark.parametrize("norm", FAN)
def test_msra(norm: str) -> None:
    values = fill(f"type: 'msra' variance_norm: {norm}")
    assert values.std() == pytest.approx(math.sqrt(2 / FAN[norm]), rel=0.01)
    assert np.abs(values).max() > 4 * values.std()


def test_fan_of_a_matrix_and_of_a_line() -> None:
    """An inner product's (outputs, inputs): fan in is the inputs. A bias (outputs): fan in 1."""
    assert np.abs(fill("type: 'xavier'", (300, 48))).max() == pytest.approx(0.25, rel=1e-2)
    assert np.abs(fill("type: 'xavier' variance_norm: FAN_OUT", (48, 300))).max() == pytest.approx(
        0.25, rel=1e-2
    )
    assert np.abs(fill("type: 'xavier'", (4000,))).max() == pytest.approx(math.sqrt(3), rel=1e-2)


def test_bilinear_of_the_usual_upsampling() -> None:
    """Kernel 4, for twice the size: the line is 1/4, 3/4, 3/4, 1/4; of 3, in Caffe only the first three."""
    four = np.array([0.25, 0.75, 0.75, 0.25])
    assert (fill("type: 'bilinear'", (2, 3, 4, 4)) == np.outer(four, four)).all()
    assert (fill("type: 'bilinear'", (1, 1, 3, 3)) == np.outer(four, four)[:3, :3]).all()


def test_a_seed_decides() -> None:
    for kind in set(FILLERS) - {"constant", "bilinear"}:
        settings = f"type: '{kind}'"
        assert (fill(settings, (30, 4)) == fill(settings, (30, 4))).all()
        assert not (fill(settings, (30, 4)) == fill(settings, (30, 4), seed=1)).all()


@pytest.mark.parametrize(
    ("settings", "shape", "message"),
    [
        ("type: 'xavier' sparse: 3", (2,), "'xavier' takes no `sparse`; gaussian does"),
        ("type: 'bilinear'", (2, 3), r"square kernels \(O, I, K, K\), not \(2, 3\)"),
        ("type: 'bilinear'", (1, 1, 3, 4), "square kernels"),
        ("type: 'gaussian' std: 0", (2,), "std 0 .* above 0"),
        ("type: 'uniform' min: 1 max: 0", (2,), "min 1 .* above its max 0"),
        ("type: 'gaussian' sparse: 3", (2, 9), "sparse 3 .* 2 outputs"),
    ],
)
def test_what_cannot_fill_is_said(settings: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        fill(settings, shape)


# --- real Caffe --------------------------------------------------------------------------


@pytest.mark.parametrize("size", [*range(1, 17), 32, 64])
def test_bilinear_is_caffes_bit_for_bit(caffe: Any, tmp_path: Path, size: int) -> None:
    shape = (2, 3, size, size)
    assert (fill("type: 'bilinear'", shape) == caffe_fill(tmp_path, "type: 'bilinear'", shape)).all()


@pytest.mark.parametrize(
    "settings",
    [
        "type: 'uniform'",
        "type: 'uniform' min: -3 max: 5",
        "type: 'gaussian'",
        "type: 'gaussian' mean: -2 std: 3",
        "type: 'gaussian' mean: 1 sparse: 12",
        "type: 'positive_unitball'",
        *[f"type: '{kind}' variance_norm: {norm}" for kind in ("xavier", "msra") for norm in FAN],
    ],
)
def test_moments_are_caffes(caffe: Any, tmp_path: Path, settings: str) -> None:
    """Of 10^5 values: mean, deviation, third and fourth moment, the share of zeros, and extremes.

    The mean of n values of one distribution scatters by deviation / sqrt(n); five times that, for two of them.
    """
    theirs, mine = (x.astype(np.float64).ravel() for x in (caffe_fill(tmp_path, settings), fill(settings)))
    for power in (1, 2, 3, 4):
        a, b = theirs**power, mine**power
        assert a.mean() == pytest.approx(b.mean(), abs=5 * math.sqrt(2) * a.std() / math.sqrt(a.size))
    assert (theirs == 0).mean() == pytest.approx((mine == 0).mean(), abs=0.01)
    if "uniform" in settings or "xavier" in settings:
        span = theirs.max() - theirs.min()
        assert theirs.min() == pytest.approx(mine.min(), abs=1e-3 * span)
        assert theirs.max() == pytest.approx(mine.max(), abs=1e-3 * span)
