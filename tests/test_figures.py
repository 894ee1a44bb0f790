"""Pictures are looked into: which tile is where, what is written, where the ink is."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from PIL import Image

from caffe_viz import figures
from caffe_viz.errors import InputError
from caffe_viz.figures import (
    Picture,
    bars,
    channels,
    contact_sheet,
    curves,
    frames,
    kernel_tiles,
    map_tiles,
    prob_plot,
    tiles,
    vector_plot,
)
from caffe_viz.figures.picture import shorten, text_width, write_on
from caffe_viz.tiling import enlarge

BLUE, ORANGE, GREEN = ([int(c[i : i + 2], 16) for i in (0, 2, 4)] for c in ("0072B2", "D55E00", "009E73"))
HARD = [
    "$x_{",
    "$\\frac{$",
    "conv_1/5x5 \\frac $a$",
    "_under",
    "zwei\nZeilen\x00",
    "猫",
    "",
]  # text that files may hold


def kernels(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=shape)


def find(picture: Picture, tile: Any, factor: int) -> tuple[int, int]:
    """Row and column of `tile` (h, w[, 3]), enlarged by `factor`, in the picture; it must be there once."""
    tile = np.broadcast_to(
        tile if np.ndim(tile) == 3 else np.asarray(tile)[..., None], (*np.shape(tile)[:2], 3)
    )
    tile = enlarge(tile[None].astype(np.float32), factor)[0]
    h, w, _ = tile.shape
    rgb = picture.rgb[: picture.shape[0] - h + 1, : picture.shape[1] - w + 1]
    near = np.abs(rgb - tile[0, 0]).max(2) < 1e-4
    places = [
        (y, x) for y, x in np.argwhere(near) if np.abs(picture.rgb[y : y + h, x : x + w] - tile).max() < 1e-4
    ]
    assert len(places) == 1
    return int(places[0][0]), int(places[0][1])


def where(picture: Picture, colour: list[int]) -> Any:
    """Rows and columns of the pixels of a colour, each as a share of the picture."""
    hit = np.abs(picture.rgb - np.array(colour) / 255).max(2) < 0.02
    return np.argwhere(hit) / picture.shape[:2]


@pytest.fixture
def words(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is written on tiles, as it is written."""
    said: list[str] = []
    write_on = tiles.write_on

    def spy(canvas: Any, texts: Any) -> Picture:
        texts = list(texts)
        said.extend(text.words for text in texts)
        return write_on(canvas, texts)

    monkeypatch.setattr(tiles, "write_on", spy)
    return said


@pytest.fixture
def axis_words(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is written into plots, as it is written."""
    said: list[str] = []
    text = Axes.text

    def spy(self: Any, x: float, y: float, s: str, *args: Any, **options: Any) -> Any:
        said.append(s)
        return text(self, x, y, s, *args, **options)

    monkeypatch.setattr(Axes, "text", spy)
    return said


# --- Picture -----------------------------------------------------------------------


def test_a_picture_is_a_png_and_cannot_be_changed(tmp_path: Path) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (4, 6, 3)) / 255
    picture = Picture(rgb)
    picture.save(tmp_path / "a.png")
    for source in (tmp_path / "a.png", io.BytesIO(picture._repr_png_())):
        np.testing.assert_array_equal(np.asarray(Image.open(source)), np.rint(rgb * 255))
    assert (picture.shape, picture.rgb.dtype, repr(picture)) == (
        (4, 6, 3),
        np.float32,
        "Picture(6 x 4 pixels)",
    )
    with pytest.raises(ValueError, match="read-only"):
        picture.rgb[0] = 0
    rgb[:] = 0
    assert picture.rgb.max() > 0


@pytest.mark.parametrize("bad", [np.zeros((4, 4)), np.full((2, 2, 3), 2.0), np.full((2, 2, 3), np.nan)])
def test_what_is_no_picture(bad: Any) -> None:
    with pytest.raises(InputError):
        Picture(bad)


# --- tiles -------------------------------------------------------------------------


@pytest.mark.parametrize(("order", "channels"), [("BGR", [2, 1, 0]), ("RGB", [0, 1, 2])])
def test_colour_kernels(order: str, channels: list[int], words: list[str]) -> None:
    weights = kernels(5, 3, 4, 6)
    picture = kernel_tiles(weights, channel_order=order, filters=[0, 10, 20, 30, 45])
    shown = (weights - weights.min()) / (weights.max() - weights.min())
    at = [find(picture, k.transpose(1, 2, 0)[..., channels], 112 // 6) for k in shown]
    assert at[0][0] == at[1][0] == at[2][0] < at[3][0] == at[4][0]
    assert at[0][1] == at[3][1] < at[1][1] == at[4][1] < at[2][1]
    assert {"0", "30"} <= set(words)
    assert any("5 filters of 4 x 6" in w and f"white {weights.max():.3g}" in w for w in words)


def test_kernels_of_many_channels_are_rows_of_filters_and_columns_of_channels(words: list[str]) -> None:
    weights = kernels(4, 6, 5, 3)
    picture = kernel_tiles(weights, filters=[3, 7, 11, 200])
    limit = np.sort(np.abs(weights).ravel())[-2]  # one of these 360 is in the 0.5 % beyond
    shown = (weights / (2 * limit) + 0.5).clip(0, 1)
    at = np.array([[find(picture, k, 96 // 5) for k in row] for row in shown])
    assert np.ptp(at[..., 0], axis=1).max() == 0
    assert np.ptp(at[..., 1], axis=0).max() == 0
    assert (np.diff(at[:, 0, 0]) == 5 * 19 + 6).all()
    assert (np.diff(at[0, :, 1]) == 3 * 19 + 5).all()
    assert words[1:] == ["3", "7", "11", "200", "0", "1", "2", "3", "4", "5"]
    # The labels are left of the rows and above the columns, beside the middle of a tile.
    (top, left), ink = at[0, 0], picture.rgb.min(2) < 0.6
    assert ink[top + 40 : top + 56, : left - 3].any()
    assert ink[:top, left + 20 : left + 37].any()


def test_a_few_large_weights_do_not_grey_out_the_others(words: list[str]) -> None:
    weights = np.tile([0.1, -0.1, 0.05, 0.0], (8, 16, 3, 1))
    weights[0, 0, 0, 0] = 50
    picture = kernel_tiles(weights)
    assert "white 0.1 (largest weight 50)" in words[0]
    rows = (picture.rgb[..., 0] * 4).round(3)
    assert {0, 2, 3, 4} == set(np.unique(rows[30:130, 30:].ravel()))


def test_grey_networks_and_kernels_of_three_hidden_channels() -> None:
    weights = kernels(5, 1, 5, 5)
    picture = kernel_tiles(weights, channel_order="GRAY")
    shown = (weights - weights.min()) / (weights.max() - weights.min())
    at = [find(picture, k[0], 112 // 5) for k in shown]
    assert at[0][0] == at[2][0] < at[3][0]
    grey = kernel_tiles(kernels(2, 3, 5, 5), channel_order="GRAY").rgb
    np.testing.assert_allclose(grey[..., 0], grey[..., 2], atol=1e-6)


def test_kernels_of_lines_are_strips_in_grey(words: list[str]) -> None:
    weights = kernels(5, 3, 7)
    picture = kernel_tiles(weights)
    limit = np.sort(np.abs(weights).ravel())[-1]
    find(picture, (weights[4, 2:] / (2 * limit) + 0.5), 96 // 7)
    assert words[0].startswith("rows: 5 filters;  columns: 3 channels;  each 7;")


@pytest.mark.parametrize(("flat", "at_least"), [((62, 1), (62, 9)), ((1, 62), (9, 62))])
def test_flat_kernels_are_thick_enough_to_be_seen(flat: tuple[int, int], at_least: tuple[int, int]) -> None:
    weights = np.zeros((4, 8, *flat))
    weights[3, 7].flat[::2], weights[3, 7].flat[1::2] = -1, 1
    dark = np.argwhere(kernel_tiles(weights).rgb.max(2) == 0)
    assert (np.ptp(dark, axis=0) + 2 >= at_least).all()


def test_kernels_of_volumes_are_slices_side_by_side(words: list[str]) -> None:
    weights = kernels(4, 3, 3, 4, 5)
    picture = kernel_tiles(weights, channel_order="RGB")
    shown = (weights - weights.min()) / (weights.max() - weights.min())
    factor = 112 * 3 // 17
    at = [find(picture, shown[2, :, d].transpose(1, 2, 0), factor) for d in range(3)]
    assert [(y - at[0][0], x - at[0][1]) for y, x in at] == [(0, d * (5 * factor + 1)) for d in range(3)]
    assert words[0].startswith("4 filters of 3 x 4 x 5 on 3 channels, as colours, slices side by side")
    kernel_tiles(kernels(4, 6, 3, 4, 5))
    assert "6 channels;  each 3 x 4 x 5, slices side by side" in words[-1] + words[3]


def test_what_is_not_shown_is_said(words: list[str]) -> None:
    kernel_tiles(kernels(60, 192, 3, 3))
    assert words[0].startswith("rows: the first 48 of 60 filters;  columns: the first 48 of 192 channels;")
    assert "47" in words
    assert "48" not in words


def test_labels_are_left_out_where_they_would_overlap(words: list[str]) -> None:
    kernel_tiles(kernels(2, 48, 1, 1), filters=[0, 1])
    assert words[-48:] == [str(k) for k in range(48)]
    words.clear()
    assert tiles._spaced([(str(k), 10 * k) for k in range(48)], text_width)[1:3] == [("2", 20), ("4", 40)]


def test_flat_kernels_of_96_channels_are_all_shown_and_large_enough(words: list[str]) -> None:
    weights = np.zeros((11, 96, 1, 5))
    weights[10, 95] = [-1, 1, -1, 1, -1]
    picture = kernel_tiles(weights)
    y, x = find(picture, [[0, 1, 0, 1, 0]], 9)
    assert y > 0.9 * (picture.shape[0] - 60)
    assert x > 0.9 * picture.shape[1]
    assert words[0].startswith("rows: 11 filters;  columns: 96 channels;  each 1 x 5")
    assert words[1:6] == ["0", "+24", "+48", "+72", "1"]


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 3, 11, 11), (96, 3, 11, 11), (2, 500, 1, 1), (300, 2, 7, 7), (1, 2, 60, 1), (3, 5, 1, 900), (384, 256, 3, 3)])  # fmt: skip
def test_kernels_of_any_shape_make_pictures_of_a_sane_size(shape: tuple[int, ...]) -> None:
    height, width, _ = kernel_tiles(kernels(*shape)).shape
    assert 60 <= height <= 1500
    assert 60 <= width <= 1500 or shape[3] == 900


@pytest.mark.parametrize(
    ("weights", "options", "message"),
    [
        (kernels(4, 5), {}, r"\(4, 5\) are not kernels"),
        (kernels(0, 3, 2, 2), {}, r"\(0, 3, 2, 2\)"),
        (kernels(4, 3, 2, 2) * np.nan, {}, "48 of 48"),
        (kernels(4, 3, 2, 2), {"channel_order": "GBR"}, "GBR.*'BGR'"),
        (kernels(4, 3, 2, 2), {"filters": [1, 2]}, "2 numbers are given for 4 filters"),
    ],
)
def test_what_are_no_kernels(weights: Any, options: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        kernel_tiles(weights, **options)


def test_maps_without_numbers_are_nothing_but_tiles() -> None:
    maps = np.arange(30.0).reshape(5, 2, 3)
    picture = map_tiles(maps, numbered=False).rgb[..., 0]
    factor = 360 // 3
    assert picture.shape == (2 * 2 * factor + 6, 3 * 3 * factor + 12)
    np.testing.assert_allclose(picture[::factor, ::factor][:2, :3] * 29, maps[0], atol=1e-4)
    assert picture[2 * factor + 6 :, 3 * factor + 6 :][0, 0] * 29 == pytest.approx(maps[4, 0, 0])
    assert (picture[2 * factor : 2 * factor + 6] == 1).all()
    assert (picture[2 * factor + 6 :, 6 * factor + 12 :] == 1).all()  # the place of a sixth map


def test_the_planted_maximum_is_the_white_one(words: list[str]) -> None:
    maps = np.random.default_rng(0).random((10, 7, 8))
    maps[6, 2, 3] = 9
    picture = map_tiles(maps)
    y, x = find(picture, np.float32(maps[6] - maps.min()) / np.float32(9 - maps.min()), 298 // 8)
    assert picture.rgb[y + 2 * 37, x + 3 * 37].tolist() == [1, 1, 1]
    assert words[1:] == ["0", "4", "8"]
    assert words[0].endswith("white 9")


def test_flat_maps_are_strips_below_each_other(words: list[str]) -> None:
    maps = np.zeros((16, 1, 351))
    maps[:, 0, 300] = 1
    white = np.argwhere(map_tiles(maps).rgb[:-30].min(2) == 1)
    white = white[(white[:, 1] > 300) & (white[:, 1] < 940)]
    column = white[:, 1][np.bincount(white[:, 1])[white[:, 1]] > 16 * 20]
    assert set(column) == {*range(column[0], column[0] + 3)}  # one under the other, three pixels wide
    assert np.bincount(white[:, 1])[column[0]] >= 16 * 24
    assert words[1:] == [str(k) for k in range(16)]


def test_sequences_and_volumes_as_maps(words: list[str]) -> None:
    maps = np.random.default_rng(0).random((5, 24))
    maps.flat[:2] = 0, 1
    find(map_tiles(maps), maps[3:4], 3 * 360 // 24)
    assert words[0].startswith("5 maps of 24;")
    volume = np.random.default_rng(0).random((4, 3, 8, 9))
    volume.flat[:2] = 0, 1
    picture = map_tiles(volume)
    factor = 1198 // (2 * 29)
    first, second = (find(picture, volume[2, d], factor) for d in (0, 1))
    assert (second[0] - first[0], second[1] - first[1]) == (0, 9 * factor + 1)
    assert any(w.startswith("4 maps of 3 x 8 x 9, slices side by side") for w in words)


@pytest.mark.parametrize(
    ("maps", "caption"),
    [
        (np.zeros((5, 7, 8)), "5 maps of 7 x 8;  all 0"),
        (np.ones((1, 1, 1)), "1 map of 1 x 1;  all 1"),
        (np.arange(1000.0).reshape(1000, 1, 1), "1,000 maps of 1 x 1;  black 0, white 999"),
        (np.arange(12.0).reshape(3, 4, 1), "3 maps of 4 x 1"),
    ],
)
def test_odd_maps(maps: Any, caption: str, words: list[str]) -> None:
    map_tiles(maps)
    assert words[0].startswith(caption)


@pytest.mark.parametrize(("maps", "message"), [(np.zeros(2), r"\(2,\)"), (np.zeros((0, 2, 2)), "nothing"), (np.full((1, 2, 2), np.nan), "NaN")])  # fmt: skip
def test_what_are_no_maps(maps: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        map_tiles(maps)


def test_of_maps_that_would_fill_the_memory_the_first_are_shown(words: list[str], monkeypatch: Any) -> None:
    monkeypatch.setattr(tiles, "MOST_PIXELS", 6 * 400 + 399)
    picture = map_tiles(np.random.default_rng(0).random((9, 20, 20)))
    assert words[0].startswith("the first 6 of 9 maps of 20 x 20")
    assert words[1:] == ["0", "3"]
    assert picture.shape[0] < picture.shape[1]


def test_contact_sheet(words: list[str]) -> None:
    images = np.random.default_rng(0).random((5, 30, 40, 3))
    titles = [f"conv3 {k}" for k in range(0, 50, 10)]
    picture = contact_sheet(images, titles)
    at = [find(picture, image, 5) for image in images]
    assert at[0][0] == at[1][0] == at[2][0] < at[3][0] == at[4][0]
    assert at[0][1] == at[3][1] < at[1][1] == at[4][1]
    assert words == titles
    for y, x in at:  # a title is below each image, in its middle
        line = picture.rgb[y + 150 : y + 168, x : x + 200].min((0, 2)) < 0.5
        assert line.any()
        assert abs(np.argwhere(line).mean() - 100) < 4
    one_line = contact_sheet(list(images), titles, columns=5)
    assert len({find(one_line, image, 5)[0] for image in images}) == 1


def test_long_titles_keep_their_last_word(words: list[str]) -> None:
    contact_sheet(np.zeros((1, 30, 30, 3)), ["inception_4a/5x5_reduce_with_a_long_name 120"])
    assert words[0].startswith("inception_4a")
    assert words[0].endswith("… 120")
    assert 30 * 6 < text_width(words[0]) <= 200  # the cell grows for it, up to a limit


@pytest.mark.parametrize(
    ("images", "titles", "columns", "message"),
    [
        ([], [], None, "none at all"),
        ([np.zeros((2, 2, 3)), np.zeros((2, 3, 3))], ["a", "b"], None, r"\(2, 2, 3\), \(2, 3, 3\)"),
        (np.zeros((2, 2, 2, 3)), ["a"], None, "1 titles are given for 2 images"),
        (np.zeros((1, 2, 2, 3)), ["a"], 0, "columns is 0"),
        (np.full((1, 2, 2, 3), 7.0), ["a"], None, "0 to 1 is expected"),
    ],
)
def test_what_is_no_contact_sheet(images: Any, titles: Any, columns: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        contact_sheet(images, titles, columns)


# --- plots -------------------------------------------------------------------------


def test_a_vector_is_a_line_with_its_peak_in_place_and_a_histogram_below() -> None:
    values = np.zeros(1000)
    values[700] = 3
    values[:500] = 2.99
    picture = vector_plot(values, "fc6")
    ink = where(picture, BLUE)
    line, bars = ink[ink[:, 0] < 0.5], ink[ink[:, 0] > 0.6]
    assert line[line[:, 0] < line[:, 0].min() + 0.01][:, 1].max() == pytest.approx(0.72, abs=0.02)
    # 501 values of 2.99 and 3 fill the last of the 100 bins only.
    assert bars[:, 1].min() > 0.96
    assert np.ptp(bars[:, 1]) < 0.012


def test_without_positive_values_the_histogram_says_so(axis_words: list[str]) -> None:
    picture = vector_plot(-np.arange(10.0))
    assert axis_words == ["no positive values"]
    assert where(picture, BLUE)[:, 0].max() < 0.6


@pytest.mark.parametrize("values", [[1.0], [0.0], [5.0] * 40, np.arange(9).reshape(9, 1, 1)])
def test_odd_vectors_leave_ink(values: Any) -> None:
    assert len(where(vector_plot(values), BLUE)) > 4


def test_probabilities_name_the_five_largest_in_order(axis_words: list[str]) -> None:
    prob = np.full(1000, 1e-5)
    prob[[281, 282, 285, 5, 990]] = [0.5, 0.2, 0.1, 0.05, 0.04]
    labels = [f"n{k:08d} thing {k}, other" for k in range(1000)]
    picture = prob_plot(prob, labels)
    names = [281, 282, 285, 5, 990]
    assert axis_words[::2] == [f"thing {k}, other ({k})" for k in names]
    assert axis_words[1::2] == ["0.5000", "0.2000", "0.1000", "0.0500", "0.0400"]
    ink = where(picture, ORANGE)
    bars = ink[ink[:, 1] > 0.63]
    lengths = [np.ptp(bars[bars[:, 0] == row][:, 1]) for row in sorted(set(bars[:, 0]))]
    assert max(lengths) == pytest.approx(0.5 * 0.36, rel=0.1)
    assert lengths[0] == max(lengths)
    assert len(where(picture, BLUE)) > 100


def test_probabilities_without_labels_and_of_few_classes(axis_words: list[str]) -> None:
    prob_plot([0.25, 0.75])
    assert axis_words == ["class (1)", "0.7500", "class (0)", "0.2500"]


def test_few_curves_have_a_colour_and_a_title_each(axis_words: list[str]) -> None:
    steps = np.arange(20.0)
    picture = curves([steps, 3 * steps, np.where(steps < 10, 2 * steps, np.nan)], ["low", "high", "ended"])
    assert axis_words == ["57", "high", "19", "low", "18", "ended"]
    for colour, last in ((BLUE, 0.78), (ORANGE, 0.78), (GREEN, 0.4)):  # by rank: high, low, ended
        ink = where(picture, colour)
        assert ink[ink[:, 1] < 0.8][:, 1].max() == pytest.approx(last, abs=0.05)
    assert where(picture, BLUE)[:, 0].min() < where(picture, ORANGE)[:, 0].min()


def test_of_many_curves_the_highest_and_lowest_are_named(axis_words: list[str]) -> None:
    curves(np.arange(20.0)[:, None] * np.arange(5), [f"conv3 {k}" for k in range(20)])
    assert axis_words[1:8:2] == ["conv3 19", "conv3 18", "conv3 1", "conv3 0"]
    assert axis_words[8:] == ["and 16 between"]


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: vector_plot([]), "nothing to draw"),
        (lambda: vector_plot([1, np.nan]), "NaN"),
        (lambda: prob_plot([0.5, 0.5], ["a"]), "1 labels are given for 2"),
        (lambda: prob_plot([np.inf]), "infinite"),
        (lambda: curves([1, 2]), r"shape \(2,\)"),
        (lambda: curves([[np.nan]]), "finite"),
        (lambda: curves([[1, np.inf]]), "finite"),
        (lambda: curves([[1, 2]], ["a", "b"]), "2 titles are given for 1 curves"),
    ],
)
def test_what_cannot_be_plotted(draw: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        draw()


# --- text and settings -------------------------------------------------------------


@pytest.mark.parametrize("text", HARD)
@pytest.mark.filterwarnings("error")
def test_text_from_files_is_written_as_it_is(text: str) -> None:
    """Neither parsed as mathematics, nor in need of a font that has its letters."""
    assert vector_plot([0, 0], text).shape == (600, 900, 3)
    assert prob_plot([0.5, 0.5], [text, "b"], text).shape == (400, 1100, 3)
    assert curves([[1, 2]], [text]).shape == (450, 1000, 3)
    assert contact_sheet(np.zeros((1, 9, 9, 3)), [text]).shape[2] == 3


def test_dollars_are_drawn() -> None:
    """Between dollars, mathematics would leave the dollars out: less ink than the same without them."""
    ink = [(vector_plot([1.0], title).rgb[:28] < 0.5).sum() for title in ("aaa", "$aaa$")]
    assert ink[1] > 1.2 * ink[0]


@pytest.mark.parametrize(
    ("words", "width", "keep", "expected"),
    [("abc", 500, 0, "abc"), ("a" * 99, 1, 0, "…"), ("a" * 99 + " 7", 1, 2, "… 7"), ("", 0, 0, "")],
)
def test_shortening(words: str, width: float, keep: int, expected: str) -> None:
    assert shorten(words, width, keep=keep) == expected


def test_the_users_settings_neither_matter_nor_change() -> None:
    expected = vector_plot([1, 2, 3], "a").rgb
    with mpl.rc_context(
        {"text.usetex": True, "figure.facecolor": "black", "font.size": 30, "figure.dpi": 40}
    ):
        before = dict(mpl.rcParams)
        np.testing.assert_array_equal(vector_plot([1, 2, 3], "a").rgb, expected)
        map_tiles(np.eye(3)[None])
        assert dict(mpl.rcParams) == before
    assert expected[0, 0].tolist() == [1, 1, 1]


def test_pyplot_is_never_imported_and_nothing_heavy_before_a_picture_is_drawn() -> None:
    program = """
import sys, numpy as np
from caffe_viz import figures as f
assert not {"matplotlib", "PIL", "skimage", "scipy"} & set(sys.modules)
f.kernel_tiles(np.eye(6).reshape(2, 3, 3, 2)); f.vector_plot([1, 2]); f.prob_plot([1.0]); f.curves([[1, 2]])
f.contact_sheet(np.zeros((1, 3, 3, 3)), ["a"])._repr_png_()
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)


def test_public_names() -> None:
    assert all(getattr(figures, name).__doc__ for name in figures.__all__)


def test_text_fits_pictures_of_every_size() -> None:
    """Sizes that are less than a whole number of pixels in floating point inches."""
    awkward = [n for n in range(30, 2000) if int(n / 100 * 100) != n]
    assert awkward
    for n in awkward[:: len(awkward) // 8]:
        assert write_on(np.ones((n, 40, 3), np.float32), []).shape == (n, 40, 3)
        assert write_on(np.ones((40, n, 3), np.float32), []).shape == (40, n, 3)


@pytest.mark.parametrize("plot", [vector_plot, prob_plot])
def test_an_endless_title_leaves_the_plot_as_it_is(plot: Any) -> None:
    values = np.linspace(0, 1, 12)
    long, short = (plot(values, title=words) for words in ("x" * 3000, "x"))
    assert long.shape == short.shape
    rows = [np.flatnonzero(drawn.rgb[60:].min((1, 2)) < 1) for drawn in (long, short)]
    assert abs(len(rows[0]) - len(rows[1])) < 3  # the axes kept their place


# --- inputs that are no images -----------------------------------------------------


def test_a_vector_is_bars_from_zero() -> None:
    picture = bars(np.array([1, -0.5, 0, 0.25]))
    blue = np.abs(picture - np.array(BLUE) / 255).max(2) < 0.01
    wide = picture.shape[1] // 4
    up, down = blue[: len(blue) // 2].sum(0), blue[len(blue) // 2 :].sum(0)
    assert up[wide // 2 :: wide].tolist() == [48, 0, 0, 12]
    assert down[wide // 2 :: wide].tolist() == [0, 24, 0, 0]


def test_bars_of_a_long_vector_keep_its_peaks() -> None:
    values = np.zeros(10_000)
    values[[3, 9_990]] = 1, -1
    picture = bars(values)
    blue = np.abs(picture - np.array(BLUE) / 255).max(2) < 0.01
    assert picture.shape[1] <= 1200
    assert blue[:40].any(0).nonzero()[0].tolist() == [0]
    assert blue[-40:].any(0).nonzero()[0].tolist() == [picture.shape[1] - 2]
    assert (bars(np.zeros(3)) >= 0.59).all()


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((8, 7, 96), (8 * 21 + 7 * 2, 288)),  # flat channels, below each other
        ((8, 1, 5), (8 * 36 + 7 * 2, 5 * 36)),  # not flat, but wide
        ((6, 30), (6 * 9, 30 * 9)),  # a line for each channel
        ((1, 28, 28), (280, 280)),
        ((4, 16, 16), (2 * 144 + 2, 2 * 144 + 2)),
        ((2, 5, 20, 30), (2 * 60 + 2, 5 * 90 + 4)),  # slices side by side
    ],
)
def test_channels_that_are_no_colours(shape: tuple[int, ...], size: tuple[int, int]) -> None:
    values = np.random.default_rng(0).random(shape)
    assert channels(values).shape[:2] == size


def test_frames_are_side_by_side() -> None:
    rgb = np.random.default_rng(0).random((3, 4, 5, 3), np.float32)
    picture = frames(rgb)
    assert picture.shape == (4 * 33, 15 * 33 + 2, 3)
    np.testing.assert_array_equal(picture[::33, 5 * 33 + 1 : 10 * 33 + 1 : 33], rgb[1])
