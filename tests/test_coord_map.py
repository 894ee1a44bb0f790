"""`caffe.coord_map` of the embedded engine: the maps that real Caffe finds, and crops that fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the engine torch is not installed")

from caffe_viz.engine import Net, coord_map
from caffe_viz.engine.net_spec import NetSpec, layers
from caffe_viz.errors import InputError


def conv(L: Any, x: Any, kernel: Any = 3, stride: Any = 1, pad: Any = 0, **more: Any) -> Any:
    return L.Convolution(x, num_output=2, kernel_size=kernel, stride=stride, pad=pad, **more)


def pool(L: Any, x: Any, size: int = 2, pad: int = 0) -> Any:
    return L.Pooling(x, pool=0, kernel_size=size, stride=size, pad=pad)


def up(L: Any, x: Any, factor: int = 2, pad: int = 0, size: int | None = None) -> Any:
    of = {"num_output": 2, "kernel_size": size or 2 * factor, "stride": factor, "pad": pad}
    return L.Deconvolution(x, convolution_param=of)


# Name -> from an input (2, 1, 60, 60), and the layers of a module, two tops.
PAIRS: dict[str, Callable[[Any, Any], tuple[Any, Any]]] = {
    "one layer": lambda L, x: (conv(L, x), x),
    "there and back": lambda L, x: (up(L, pool(L, conv(L, x))), x),
    "four times": lambda L, x: (up(L, pool(L, conv(L, x), 4), 4), x),
    "padded": lambda L, x: (up(L, pool(L, conv(L, x, 5, 1, 7), 2, 1), 2, 1), x),
    "in place and more": lambda L, x: (L.Scale(L.ReLU(up(L, pool(L, conv(L, x))), in_place=True)), L.LRN(x)),
    "strided": lambda L, x: (conv(L, conv(L, x, 5, 3, 1), 3, 2), x),
    "dilated": lambda L, x: (conv(L, x, 3, 1, 4, dilation=3), x),
    "two axes": lambda L, x: (conv(L, x, [3, 5], [1, 2], [0, 10]), x),
    "two branches": lambda L, x: (up(L, conv(L, pool(L, x), 3, 1, 6)), conv(L, x, 5)),
    "a sum": lambda L, x: (up(L, L.Eltwise(*(conv(L, pool(L, x), 1) for _ in "ab"))), conv(L, x, 5)),
    "a crop": lambda L, x: (L.Crop(conv(L, x, 3, 1, 5), conv(L, x), crop_param={"axis": 2, "offset": [4, 6]}), x),
    "itself": lambda L, x: (x, x),
}  # fmt: skip


@pytest.mark.caffe
@pytest.mark.parametrize("name", PAIRS)
def test_maps_are_those_of_real_caffe(name: str, caffe: Any) -> None:
    import caffe.coord_map as theirs

    ours, real = (PAIRS[name](L, L.Input(shape={"dim": [2, 1, 60, 60]})) for L in (layers, caffe.layers))
    for (axis, *numbers), (expected, *others) in (
        (coord_map.coord_map_from_to(*ours), theirs.coord_map_from_to(*real)),
        (coord_map.coord_map_from_to(*ours[::-1]), theirs.coord_map_from_to(*real[::-1])),
    ):
        assert axis == expected
        for found, other in zip(numbers, others, strict=True):
            np.testing.assert_allclose(found, other)


CROPS = ["padded", "two branches", "a sum", "there and back"]


@pytest.mark.parametrize("name", CROPS)
def test_a_crop_fits(name: str) -> None:
    """The net with it runs: the crop lies within, and is as large as what it shall fit."""
    n = NetSpec()
    n.data = layers.Input(shape={"dim": [1, 1, 60, 60]})
    n.large, n.small = PAIRS[name](layers, n.data)
    if name == "there and back":
        n.large = up(layers, pool(layers, conv(layers, n.data, 3, 1, 20)))
    if name == "padded":
        n.large = up(layers, pool(layers, conv(layers, n.data, 5, 1, 20)))
    n.crop = coord_map.crop(n.large, n.small)
    net = Net(n.to_proto(), phase=1)
    assert net.blobs["crop"].shape[2:] == net.blobs["small"].shape[2:]


@pytest.mark.caffe
def test_a_crop_is_that_of_real_caffe(caffe: Any) -> None:
    import caffe.coord_map as theirs

    made = []
    for L, crop in ((layers, coord_map.crop), (caffe.layers, theirs.crop)):
        x = L.Input(shape={"dim": [1, 1, 60, 60]})
        made.append(crop(up(L, conv(L, pool(L, x), 3, 1, 6)), conv(L, x, 5)).fn.params)
    assert made[0] == made[1]


WRONG: dict[str, tuple[Callable[[Any], Any], type[Exception], str]] = {
    "scale": (lambda x: coord_map.crop(conv(layers, x, stride=2), x), AssertionError, "no crop makes them fit"),
    "behind": (lambda x: coord_map.crop(conv(layers, x), x), AssertionError, "begins .* places after"),
    "half": (lambda x: coord_map.crop(conv(layers, x, 2, 1, 3), x), AssertionError, "no whole number"),
    "apart": (lambda x: coord_map.crop(layers.Flatten(x), x), RuntimeError, "no common ancestor"),
    "axes": (
        lambda x: coord_map.crop(conv(layers, conv(layers, x), 3, axis=2), x), InputError, r"begin at axes \[1, 2\]",
    ),
    "no map": (lambda x: coord_map.coord_map(layers.Flatten(x).fn), InputError, "places of a Flatten"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_said(case: str) -> None:
    call, kind, words = WRONG[case]
    with pytest.raises(kind, match=words) as caught:
        call(layers.Input(shape={"dim": [1, 1, 20, 20]}))
    assert isinstance(caught.value, InputError)
