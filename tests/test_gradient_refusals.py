"""Gradients that there cannot be, and images that no size is known of: one line each."""

from __future__ import annotations

import numpy as np
import pytest
from geometry_toys import Toy

import caffe_viz as cv
from caffe_viz.errors import InputError, RunError
from caffe_viz.geometry.data_shapes import image_size
from caffe_viz.netdef import parse_net
from caffe_viz.surgery.inputs import find_image

CHAIN = Toy("TanH", ["1 3"]).prototxt() + 'layer { name: "y" type: "TanH" bottom: "t0" top: "y" }'


def test_of_a_blob_with_respect_to_one_behind_it(engine: str) -> None:
    net = cv.load_net(parse_net(CHAIN), engine=engine, force_backward=True)
    cv.forward(net, {"a": np.ones((1, 3), np.float32)}, [])
    with pytest.raises(RunError) as caught:
        cv.gradient(net, "t0", np.ones((1, 3), np.float32), ["a", "y"])
    assert str(caught.value) == "no gradient of 't0' reaches 'y': it is not before it."


@pytest.mark.parametrize(("top", "name"), [('top: "pixels" top: "label"', "pixels"), ("", "data")])
def test_of_a_net_that_brings_its_own_data(top: str, name: str) -> None:
    layer = parse_net(f'layer {{ name: "d" type: "Data" {top} }}').layer
    with pytest.raises(InputError) as caught:
        find_image(layer, "net", "layer 'x'", None)
    assert str(caught.value) == (
        "layer 'd' (Data) brings its own data: give a deploy prototxt, which `caffe-viz deploy` makes, or the "
        f"shape, as --input {name}=1x3x227x227."
    )


@pytest.mark.parametrize(
    ("settings", "size", "stored"),
    [
        ("transform_param { crop_size: 5 }", (5, 5), None),
        ("transform_param { crop_h: 5 crop_w: 6 }", (5, 6), None),
        ("transform_param { crop_height: 5 crop_width: 6 }", (5, 6), None),
        ("transform_param { crop_size: 5 } image_data_param { new_height: 8 new_width: 9 }", (5, 5), (8, 9)),
        ("image_data_param { new_height: 8 new_width: 9 }", (8, 9), (8, 9)),
        ("data_param { new_h: 8 new_w: 9 }", (8, 9), (8, 9)),
        ("", None, None),
    ],
)
def test_sizes_of_images_before_and_after_the_crop(
    settings: str, size: tuple[int, int] | None, stored: tuple[int, int] | None
) -> None:
    layer = parse_net(f'layer {{ name: "d" type: "ImageData" top: "data" {settings} }}').layer[0]
    assert image_size(layer) == size
    assert image_size(layer, stored=True) == stored
