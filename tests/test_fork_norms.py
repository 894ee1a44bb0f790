"""Layers of forks that normalise, resize and rearrange: which fork is meant, training, what a unit sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from geometry_toys import Toy

from caffe_viz.geometry import LayerGeometry, ReceptiveField, measure
from caffe_viz.netdef import parse_net

SEGNET = "bn_param { scale_filler { value: 1 } shift_filler { } %s }"
FOUR = "trained { } " * 4


def measured(kind: str, settings: str = "", *shapes: str, tops: int = 1) -> LayerGeometry:
    return measure(parse_net(Toy(kind, list(shapes or ["2 4 9 8"]), settings, tops).prototxt())).layer("x")


@pytest.mark.parametrize(
    ("settings", "blobs", "batch"),
    [
        (SEGNET % "", 2, True),
        (SEGNET % "bn_mode: INFERENCE", 2, False),
        (FOUR + SEGNET % "", 4, False),
        (FOUR + SEGNET % "moving_average: false", 4, True),
        (SEGNET % "decay: 0.9", 4, False),
        ("", 4, False),
        ("trained { } trained { }", 2, True),
        ('variant: "segnet"', 2, True),
        ('variant: "caffe-windows" bn_param { bn_mode: LEARN }', 4, False),
        ("bn_param { icnet: true }", 4, False),
    ],
)
def test_which_batch_normalisation_is_meant(settings: str, blobs: int, batch: bool) -> None:
    """By fields, then by the trained blobs, or as told; SegNet's takes the statistics of the batch."""
    layer = measured("BN", settings)
    assert layer.param_shapes == ((1, 4, 1, 1),) * blobs
    assert layer.field == ReceptiveField(*(((9, 8), (0, 0), (0, 0)) if batch else ((1, 1), (1, 1), (0, 0))))


@pytest.mark.parametrize(
    ("settings", "blobs"),
    [
        ("", 3),
        ("batch_norm_param { bias_filler { } }", 3),
        ("batch_norm_param { scale_filler { value: 1 } }", 5),
        ("batch_norm_param { use_weight_bias: true }", 5),
        ("batch_norm_param { use_weight_bias: true bias_term: false }", 4),
        ("trained { } " * 3 + "batch_norm_param { scale_bias: true }", 3),
        ("trained { } " * 5, 5),
    ],
)
def test_batch_norm_with_a_scale_of_its_own(settings: str, blobs: int) -> None:
    assert measured("BatchNorm", settings).param_shapes == ((4,), (4,), (1,), (4,), (4,))[:blobs]


@pytest.mark.parametrize(
    ("kind", "settings", "field"),
    [
        ("Interp", "interp_param { zoom_factor: 2 }", ReceptiveField((2, 2), (0.5, 0.5), (-0.5, -0.5))),
        (
            "Interp",
            "interp_param { height: 5 width: 8 pad_beg: 0 }",
            ReceptiveField((2, 1), (2, 1), (-0.5, 0)),
        ),
        ("Tiling", "tiling_param { tile_dim: 2 }", ReceptiveField((1, 1), (0.5, 0.5), (-0.25, -0.25))),
        (
            "CropCenter",
            "crop_center_param { crop_size: [0, 1, 2, 3] }",
            ReceptiveField((1, 1), (1, 1), (2, 3)),
        ),
        ("DenseBlock", "denseblock_param { numTransition: 2 }", ReceptiveField((5, 5), (1, 1), (-2, -2))),
        ("Flip", "", None),
        ("GroupNorm", "group_norm_param { group_num: 2 }", ReceptiveField((9, 8), (0, 0), (0, 0))),
        ("ShuffleChannel", "shuffle_channel_param { group: 2 }", ReceptiveField((1, 1), (1, 1), (0, 0))),
    ],
)
def test_what_a_unit_sees(kind: str, settings: str, field: ReceptiveField | None) -> None:
    assert measured(kind, settings).field == field


def test_an_eighth_as_large_and_back_meets_the_corners() -> None:
    text = Toy("Interp", ["1 1 65 33"], "interp_param { shrink_factor: 8 }").prototxt()
    text += 'layer { name: "y" type: "Interp" bottom: "t0" top: "y" interp_param { zoom_factor: 8 } }'
    layers = measure(parse_net(text))
    assert (layers.layer("x").top_shapes, layers.layer("y").top_shapes) == (
        ((1, 1, 9, 5),),
        ((1, 1, 65, 33),),
    )
    field = layers.layer("y").field
    assert field is not None
    assert (field.stride, field.offset) == ((1, 1), (-4.5, -4.5))


def made(tmp_path: Path, text: str, phase: int) -> object:
    engine = pytest.importorskip("caffe_viz.engine")
    (tmp_path / "net.prototxt").write_text(text)
    return engine.Net(tmp_path / "net.prototxt", phase)


TRAIN, TEST = 0, 1


@pytest.mark.parametrize(
    ("settings", "keep"),
    [
        ("bn_param { slope_filler { value: 1 } momentum: 0.75 }", 0.75),
        (FOUR + SEGNET % "decay: 0.25", 0.75),
        ("bn_param { slope_filler { value: 1 } frozen: true momentum: 0.75 }", 1),
    ],
)
def test_training_moves_the_stored_statistics(tmp_path: Path, settings: str, keep: float) -> None:
    net = made(tmp_path, Toy("BN", ["3 4 5 2"], settings).prototxt(), TRAIN)
    x = np.random.default_rng(1).normal(2, 3, (3, 4, 5, 2))
    net.blobs["a"].data[...] = x
    blobs = net.layer_dict["x"].blobs
    blobs[2].data[...], blobs[3].data[...] = 1, 2
    net.forward()
    mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
    np.testing.assert_allclose(blobs[2].data.reshape(-1), keep + (1 - keep) * mean, rtol=1e-5)
    np.testing.assert_allclose(blobs[3].data.reshape(-1), 2 * keep + (1 - keep) * variance, rtol=1e-5)
    centred = (x - (1 if keep == 1 else x.mean((0, 2, 3), keepdims=True))) / np.sqrt(
        2 if keep == 1 else x.var((0, 2, 3), keepdims=True)
    )
    np.testing.assert_allclose(net.blobs["t0"].data, centred, rtol=1e-4, atol=1e-4)


def test_bayesian_dropout_samples_in_a_test_too(tmp_path: Path) -> None:
    text = Toy(
        "Dropout", ["100 100"], "dropout_param { dropout_ratio: 0.25 sample_weights_test: true }"
    ).prototxt()
    net = made(tmp_path, text, TEST)
    net.blobs["a"].data[...] = 3
    net.forward()
    assert set(np.unique(net.blobs["t0"].data)) == {0, 4}
    assert 0.2 < (net.blobs["t0"].data == 0).mean() < 0.3


def test_the_mean_field_of_a_crf_is_said_not_to_be_computed(tmp_path: Path) -> None:
    toy = Toy("MultiStageMeanfield", ["1 5 6 7", "1 5 6 7", "1 3 6 7"])
    assert measure(parse_net(toy.prototxt())).layer("x").top_shapes == ((1, 5, 6, 7),)
    with pytest.raises(NotImplementedError, match="no MultiStageMeanfield: it filters"):
        made(tmp_path, toy.prototxt(), TEST)


def test_gradient_of_batch_norm_with_a_scale_of_its_own(tmp_path: Path) -> None:
    """By the statistics stored: of x it is scale / deviation, of scale and shift as of any."""
    text = (
        "force_backward: true "
        + Toy("BatchNorm", ["2 3 4 5"], "batch_norm_param { scale_bias: true }").prototxt()
    )
    net, rng = made(tmp_path, text, TEST), np.random.default_rng(3)
    mean, variance, factor, scale, shift = net.layer_dict["x"].blobs
    for blob in (mean, scale, shift, net.blobs["a"]):
        blob.data[...] = rng.normal(size=blob.data.shape)
    variance.data[...], factor.data[...] = [0.5, 1, 2], 1
    net.forward()
    net.blobs["t0"].diff[...] = seed = rng.normal(size=(2, 3, 4, 5))
    net.backward()
    deviation = np.sqrt(variance.data + 1e-5)
    wide = (scale.data / deviation).reshape(3, 1, 1)
    np.testing.assert_allclose(net.blobs["a"].diff, seed * wide, rtol=1e-5)
    unit = (net.blobs["a"].data - mean.data.reshape(3, 1, 1)) / deviation.reshape(3, 1, 1)
    np.testing.assert_allclose(scale.diff, (seed * unit).sum((0, 2, 3)), rtol=1e-4)
    np.testing.assert_allclose(shift.diff, seed.sum((0, 2, 3)), rtol=1e-4)
