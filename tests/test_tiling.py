"""vis_square against pictures written out by hand and against scikit-image's montage."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from caffe_viz.errors import InputError
from caffe_viz.tiling import enlarge, grid, vis_square


def montage(images: Any, padding: int) -> Any:
    """What vis_square must equal: scikit-image's montage without its outer frame."""
    from skimage.util import montage

    colour = {"channel_axis": -1, "fill": (1, 1, 1)} if images.ndim == 4 else {"fill": 1}
    picture = montage(images.copy(), padding_width=padding, **colour)  # a copy: montage rescales in place
    inside = slice(padding, -padding) if padding else slice(None)
    return picture[inside, inside]


def test_grey_tiles_are_normalised_together_and_set_apart_by_one_white_pixel() -> None:
    images = [[[0, 10], [20, 40]], [[4, 8], [12, 16]], [[40, 40], [0, 0]]]
    expected = [
        [0.0, 0.25, 1, 0.1, 0.2],
        [0.5, 1.00, 1, 0.3, 0.4],
        [1.0, 1.00, 1, 1.0, 1.0],
        [1.0, 1.00, 1, 1.0, 1.0],
        [0.0, 0.00, 1, 1.0, 1.0],
    ]
    picture = vis_square(images)
    assert picture.dtype == np.float32
    np.testing.assert_allclose(picture, expected, atol=1e-7)


def test_colour_tiles_keep_their_channels() -> None:
    red, blue = [[[8, 0, 0]]], [[[0, 0, 4]]]
    expected = [[[1, 0, 0], [1, 1, 1], [0, 0, 0.5]], np.ones((3, 3)), np.ones((3, 3))]
    np.testing.assert_array_equal(vis_square([red, blue]), expected)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 12),
    st.integers(1, 5),
    st.integers(1, 6),
    st.booleans(),
    st.integers(0, 3),
    st.integers(0, 99),
)
def test_equals_montage(n: int, h: int, w: int, colour: bool, padding: int, seed: int) -> None:
    shape = (n, h, w, 3) if colour else (n, h, w)
    assume(np.prod(shape) > 1)
    images = np.random.default_rng(seed).normal(size=shape)
    images.flat[0], images.flat[-1] = 0, 1  # never constant
    low, high = images.min(), images.max()
    expected = montage((images - low) / (high - low), padding)
    np.testing.assert_allclose(vis_square(images, padding=padding), expected, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.uint8, bool])
def test_the_input_is_left_as_it_was(dtype: Any) -> None:
    images = np.random.default_rng(0).integers(0, 2, (5, 3, 4)).astype(dtype)
    before = images.copy()
    images.setflags(write=False)
    picture = vis_square(images)
    np.testing.assert_array_equal(images, before)
    assert not np.shares_memory(picture, images)


def test_constant_images_are_black_on_white_not_nan() -> None:
    np.testing.assert_array_equal(vis_square(np.full((2, 1, 1), 7.0)), [[0, 1, 0], [1, 1, 1], [1, 1, 1]])


def test_the_whole_range_of_float32_is_normalised_without_overflow() -> None:
    top = np.finfo(np.float32).max
    np.testing.assert_array_equal(vis_square(np.array([[[-top, 0, top]]], np.float32)), [[0, 0.5, 1]])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((4, 4)), r"\(4, 4\).*\(N, H, W\)"),
        (np.zeros((2, 4, 4, 2)), r"\(2, 4, 4, 2\)"),
        (np.zeros((1, 2, 3, 4, 5)), r"\(1, 2, 3, 4, 5\)"),
        (np.zeros((0, 4, 4)), r"\(0, 4, 4\).*nothing"),
        (np.array([[[1, np.nan, np.inf]]]), "2 of 3 values are NaN or infinite"),
        (np.array([[["a"]]]), "not real numbers"),
        (np.zeros((1, 1, 1), complex), "not real numbers"),
    ],
)
def test_what_cannot_be_tiled_is_named(images: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        vis_square(images)


def test_a_grid_goes_line_by_line_with_its_own_padding() -> None:
    tiles = np.array([0, 0.2, 0.4], np.float32).reshape(3, 1, 1)
    expected = np.array([[0, 1, 1, 0.2], [1, 1, 1, 1], [0.4, 1, 1, 1]], np.float32)
    np.testing.assert_array_equal(grid(tiles, 2, 2, padding=(1, 2)), expected)


def test_enlarging_makes_squares_of_pixels() -> None:
    tile = np.array([[[0, 0.5]]], np.float32)
    np.testing.assert_array_equal(enlarge(tile, 2), [[[0, 0, 0.5, 0.5], [0, 0, 0.5, 0.5]]])
