"""Layers over regions of interest: where the gradient goes, what is said of wrong regions, the settings of proposals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from geometry_toys import Toy
from google.protobuf import text_format

from caffe_viz.errors import InputError
from caffe_viz.geometry import measure
from caffe_viz.geometry.python_known import proposals, settings
from caffe_viz.netdef import LayerParameter, NetParameter

pytest.importorskip("torch", reason="the engine torch is not installed")

from caffe_viz.engine import Net

POOL = Toy("ROIPooling", ["1 1 4 4", "1 5"], "roi_pooling_param { pooled_h: 1 pooled_w: 1 }")
CODES = ["1 18 3 4", "1 36 3 4", "1 3"]


def net_of(toy: Toy) -> Net:
    return Net(text_format.Parse("force_backward: true " + toy.prototxt(), NetParameter()), 1)


def python(string: str, shapes: list[str] = CODES, module: str = "rpn.proposal_layer") -> Toy:
    text = string.replace("\n", "\\n")
    return Toy(
        "Python", shapes, f'python_param {{ module: "{module}" layer: "ProposalLayer" param_str: "{text}" }}'
    )


def test_of_equal_values_the_first_has_the_gradient_and_regions_have_none() -> None:
    net = net_of(POOL)
    net.blobs["a"].data[0, 0, [1, 1, 2], [2, 3, 1]] = 5
    net.blobs["b"].data[...] = [[0, 0, 0, 3, 3]]
    assert net.forward()["t0"].item() == 5
    net.backward(t0=np.full((1, 1, 1, 1), 7))
    assert [tuple(place) for place in np.argwhere(net.blobs["a"].diff)] == [(0, 0, 1, 2)]
    assert net.blobs["a"].diff[0, 0, 1, 2] == 7
    assert not net.blobs["b"].diff.any()


@pytest.mark.parametrize("kind", ["ROIPooling", "ROIAlign", "ROIWarping", "PSROIPooling"])
def test_a_region_of_no_image_is_said(kind: str) -> None:
    field = {"ROIAlign": "roi_align_param", "ROIWarping": "roi_warping_param"}.get(kind, "roi_pooling_param")
    text = f"{field} {{ pooled_h: 1 pooled_w: 1 }}"
    if kind == "PSROIPooling":
        text = "psroi_pooling_param { spatial_scale: 1 output_dim: 1 group_size: 1 }"
    net = net_of(Toy(kind, ["2 1 4 4", "3 5"], text))
    for image in (2, -1, np.nan):
        net.blobs["b"].data[1, 0] = image
        with pytest.raises(
            InputError, match=f"'x' \\({kind}\\): region 1 is of image {image:g}, and there are 2"
        ):
            net.forward()


def test_regions_of_another_length_and_too_large_ones_are_said() -> None:
    net = net_of(Toy("ROIPooling", ["1 1 4 4", "3 4"], "roi_pooling_param { pooled_h: 1 pooled_w: 1 }"))
    with pytest.raises(InputError, match=r"must be \(R, 5\), not \(3, 4\)"):
        net.forward()
    net = net_of(Toy("ROIWarping", ["1 1 4 4", "1 5"], "roi_warping_param { pooled_h: 1 pooled_w: 1 }"))
    net.blobs["b"].data[...] = [[0, 0, 0, 1e9, 1]]
    with pytest.raises(InputError, match="a region is 1e\\+09 long, and the maps are 4"):
        net.forward()


@pytest.mark.parametrize(
    ("string", "found"),
    [
        ("'feat_stride': 16", {"feat_stride": 16}),
        ("'feat_stride': 16 \n'scales': !!python/tuple [4, 8]", {"feat_stride": 16, "scales": [4, 8]}),
        ("feat_stride: 4,8", {"feat_stride": "4,8"}),
        ("{feat_stride: 16, clip: true, name: 'a b'}", {"feat_stride": 16, "clip": True, "name": "a b"}),
        ('{"a": [1, 2.5], "b": (3,)}', {"a": [1, 2.5], "b": (3,)}),
        ("", {}),
    ],
)
def test_settings_are_read_as_yaml_or_python(string: str, found: dict[str, Any]) -> None:
    layer = LayerParameter()
    layer.python_param.param_str = string
    assert settings(layer) == found


@pytest.mark.parametrize("string", ["{'a': open('x')}", "{" * 500, "{'feat_stride': 16"])
def test_settings_run_nothing(string: str) -> None:
    layer = LayerParameter()
    layer.python_param.param_str = string
    with pytest.raises(InputError, match="is not a mapping such as"):
        settings(layer)


@pytest.mark.parametrize(
    "string", ["", "feat_stride: wide", "feat_stride: 0", "{'feat_stride': 16, 'scales': 8}"]
)
def test_proposals_need_a_stride(string: str) -> None:
    layer = LayerParameter()
    layer.python_param.param_str = string
    with pytest.raises(InputError, match="feat_stride"):
        proposals(layer)


def test_shapes_of_proposals_need_no_anchors() -> None:
    """The number of regions does not depend on them; only a forward does."""
    toy = python("'feat_stride': 16", ["1 10 3 4", "1 20 3 4", "1 3"])
    net = text_format.Parse(toy.prototxt(), NetParameter())
    assert measure(net).blobs["t0"] == (300, 5)
    with pytest.raises(InputError, match=r"5 anchors, ratios .* make 9"):
        Net(net, 1).forward()


def test_where_no_proposal_is_large_enough_there_is_one_of_no_score() -> None:
    net = net_of(python("'feat_stride': 16"))
    net.blobs["c"].data[...] = [[10, 10, 1]]
    assert net.forward()["t0"].tolist() == [[0, 0, 0, 16, 16]]
    net.backward(t0=np.ones((1, 5)))
    assert not net.blobs["b"].diff.any()
