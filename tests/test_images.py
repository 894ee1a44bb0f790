"""Every kind of image file becomes RGB in 0..1, and RGB becomes the pixels that legacy pycaffe would give."""

from __future__ import annotations

import os
import struct
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from caffe_viz.deploying import preprocess_near
from caffe_viz.errors import InputError, RunError
from caffe_viz.images import Preprocess, load_image, resized, save_gif, save_png, stretched

RNG = np.random.default_rng(0)
RGB8 = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
GREY8 = RGB8[..., 0]


def png(path: Path, rows: Any, depth: int, colour_type: int) -> None:
    """Write a PNG chunk by chunk: Pillow writes no 16 bit colour. `rows` is (H, W[, C]) of big-endian pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", rows.shape[1], rows.shape[0], depth, colour_type, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


# --- reading -----------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "tiff", "bmp", "webp"])
def test_colour(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(RGB8).save(tmp_path / f"a.{suffix}", **({"lossless": True} if suffix == "webp" else {}))
    loaded = load_image(tmp_path / f"a.{suffix}")
    assert loaded.dtype == np.float32
    np.testing.assert_allclose(loaded, RGB8 / 255, atol=1e-6)


def test_grey_becomes_three_equal_channels(tmp_path: Path) -> None:
    Image.fromarray(GREY8).save(tmp_path / "a.png")
    np.testing.assert_allclose(load_image(str(tmp_path / "a.png")), np.stack([GREY8] * 3, 2) / 255, atol=1e-6)


def test_black_and_white_bits(tmp_path: Path) -> None:
    Image.fromarray(GREY8 > 127).save(tmp_path / "a.png")
    np.testing.assert_array_equal(load_image(tmp_path / "a.png")[..., 1], GREY8 > 127)


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bit_grey_keeps_its_depth(tmp_path: Path, suffix: str) -> None:
    grey = np.array([[0, 1, 255, 256, 40000, 65535]], np.uint16)
    Image.fromarray(grey).save(tmp_path / f"a.{suffix}")
    np.testing.assert_allclose(load_image(tmp_path / f"a.{suffix}")[..., 2], grey / 65535, atol=1e-7)


def test_sixteen_bit_colour(tmp_path: Path) -> None:
    colour = RNG.integers(0, 65536, (3, 4, 3)).astype(">u2")
    png(tmp_path / "a.png", colour, 16, 2)
    np.testing.assert_allclose(load_image(tmp_path / "a.png"), colour / 65535, atol=1 / 255)


def test_float_tiff(tmp_path: Path) -> None:
    values = np.array([[0, 0.25, 1]], np.float32)
    Image.fromarray(values).save(tmp_path / "a.tiff")
    np.testing.assert_array_equal(load_image(tmp_path / "a.tiff")[..., 0], values)


@pytest.mark.parametrize(("bad", "shown"), [(2.5, "2.5"), (-1, "-1"), (np.nan, "nan to nan")])
def test_float_tiff_of_another_range_is_named(tmp_path: Path, bad: float, shown: str) -> None:
    Image.fromarray(np.array([[0.5, bad]], np.float32)).save(tmp_path / "a.tiff")
    with pytest.raises(InputError, match=f"a.tiff.*({shown}).*not from 0 to 1"):
        load_image(tmp_path / "a.tiff")


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_lies_over_white(tmp_path: Path, mode: str) -> None:
    colours, alphas = ([[10, 20, 30]] * 3, [[0], [51], [255]])
    pixels = np.uint8(np.hstack([np.array(colours)[:, : len(mode) - 1], alphas]))[None]
    Image.fromarray(pixels, mode=mode).save(tmp_path / "a.png")
    weight = np.array(alphas) / 255
    expected = np.array(colours)[:, [0, 1, 2] if mode == "RGBA" else [0, 0, 0]] / 255 * weight + 1 - weight
    np.testing.assert_allclose(load_image(tmp_path / "a.png")[0], expected, atol=1e-6)


def test_palette_with_a_transparent_colour(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), mode="P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.save(tmp_path / "a.png", transparency=1)
    image.save(tmp_path / "opaque.png")
    np.testing.assert_array_equal(load_image(tmp_path / "a.png")[0], [[1, 0, 0], [1, 1, 1], [0, 0, 1]])
    np.testing.assert_array_equal(load_image(tmp_path / "opaque.png")[0], np.eye(3))


def test_cmyk_jpeg(tmp_path: Path) -> None:
    cyan = np.broadcast_to(np.uint8([255, 0, 0, 0]), (16, 16, 4))
    Image.fromarray(np.ascontiguousarray(cyan), mode="CMYK").save(tmp_path / "a.jpg", quality=95)
    np.testing.assert_allclose(load_image(tmp_path / "a.jpg")[8, 8], [0, 1, 1], atol=0.03)


@pytest.mark.parametrize(("orientation", "turn"), [(1, 0), (6, -1), (3, 2), (8, 1)])
def test_exif_orientation(tmp_path: Path, orientation: int, turn: int) -> None:
    stored = np.zeros((16, 32, 3), np.uint8)
    stored[:8, :8] = 255  # a white patch in a corner
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / "a.jpg", exif=exif, quality=95)
    np.testing.assert_allclose(load_image(tmp_path / "a.jpg"), np.rot90(stored, turn) / 255, atol=0.1)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.png", None, "no such file"),
        ("", None, "is not a file"),
        ("a.png", b"", "not an image"),
        ("a.jpg", b"<html>404</html>", "not an image"),
    ],
)
def test_what_is_no_image_is_named(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        load_image(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff", "gif"])
@pytest.mark.parametrize("kept", [0.3, 0.7])
def test_truncated_image(tmp_path: Path, suffix: str, kept: float) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(InputError) as error:
        load_image(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("times", [1.5, 3])  # Pillow warns over its limit, and raises over twice its limit
def test_decompression_bomb(tmp_path: Path, times: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2_000_000)
    Image.new("L", (int(2_000_000 * times / 1000), 1000)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a.png has more than 2 million pixels"):
        load_image(tmp_path / "a.png")


# --- to the network ----------------------------------------------------------------


@pytest.mark.parametrize(("old", "new"), [((9, 7), (4, 5)), ((40, 30), (7, 11)), ((3, 4), (8, 5)), ((1, 1), (3, 2)), ((6, 5), (6, 5))])  # fmt: skip
def test_resizing_equals_legacy_scikit_image(old: tuple[int, int], new: tuple[int, int]) -> None:
    from skimage.transform import resize

    image = RNG.random((*old, 3)).astype(np.float32)
    expected = resize(image, new, order=1, mode="edge", anti_aliasing=False)
    np.testing.assert_allclose(resized(image, new), expected, atol=1e-5)


def test_to_caffe_by_hand() -> None:
    """2 x 4 -> the middle 2 x 2 of a 4 x 4 square: columns 1 and 2, rows 1 and 2, each between two pixels."""
    image = np.zeros((2, 4, 3))
    image[0, :, 0], image[1, :, 1], image[..., 2] = 1, 1, [0, 0.2, 0.4, 1]
    blob = Preprocess("BGR", (10.0, 20.0, 30.0), 0.5, 4).to_caffe(image, (3, 2, 2))
    assert blob.dtype == np.float32
    assert blob.flags.c_contiguous
    np.testing.assert_allclose(blob[0], (np.array([[51, 102]] * 2) - 10) * 0.5, rtol=1e-6)
    np.testing.assert_allclose(blob[1], (255 * np.array([[0.25] * 2, [0.75] * 2]) - 20) * 0.5, rtol=1e-6)
    np.testing.assert_allclose(blob[2], (255 * np.array([[0.75] * 2, [0.25] * 2]) - 30) * 0.5, rtol=1e-6)


def test_to_caffe_equals_pycaffe(caffe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tutorial's own chain on a photograph, with the anti-aliasing off that scikit-image had not then."""
    from skimage import data, transform

    # Not every build of Caffe imports the name that its resize_image calls.
    plain = partial(transform.resize, anti_aliasing=False)
    monkeypatch.setattr(caffe.io, "resize", plain, raising=False)
    photo = data.chelsea() / 255  # 300 x 451
    turn = caffe.io.Transformer({"data": (1, 3, 256, 256)})
    turn.set_transpose("data", (2, 0, 1))
    turn.set_channel_swap("data", (2, 1, 0))
    turn.set_raw_scale("data", 255)
    turn.set_mean("data", np.array([104.007, 116.669, 122.679]))
    expected = turn.preprocess("data", photo)[:, 14:241, 14:241]
    np.testing.assert_allclose(Preprocess().to_caffe(photo, (3, 227, 227)), expected, atol=2e-3)


def test_no_crop_without_resize() -> None:
    image = RNG.random((4, 6, 3))
    blob = Preprocess("RGB", (0.0,), 1.0, None).to_caffe(image, (3, 4, 6))
    np.testing.assert_allclose(blob, 255 * image.transpose(2, 0, 1), rtol=1e-6)


def test_bytes_and_fractions_give_the_same_blob() -> None:
    a, b = (Preprocess(resize=None).to_caffe(image, (3, 4, 4)) for image in (RGB8, RGB8 / 255))
    np.testing.assert_allclose(a, b, atol=1e-4)


def test_grey_is_the_luma_of_scikit_image() -> None:
    from skimage.color import rgb2gray

    blob = Preprocess("GRAY", (7.0,), 2.0, None).to_caffe(RGB8, (1, 5, 7))
    np.testing.assert_allclose(blob[0], 2 * (255 * rgb2gray(RGB8) - 7), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(
    ("order", "mean", "image"),
    [
        ("BGR", (1.0, 2.0, 3.0), RGB8 / 255),
        ("RGB", (9.0,), RGB8 / 255),
        ("GRAY", (5.0,), np.stack([GREY8] * 3, 2) / 255),
    ],
)
def test_display_is_the_inverse(order: str, mean: tuple[float, ...], image: Any) -> None:
    preprocess = Preprocess(order, mean, 1 / 64, None)
    blob = preprocess.to_caffe(image, (1 if order == "GRAY" else 3, 5, 7))
    np.testing.assert_allclose(preprocess.to_display(blob), image, atol=1e-5)
    batch = np.stack([blob, blob * 0])[None]
    shown = preprocess.to_display(batch)
    assert shown.shape == (1, 2, 5, 7, 3)
    np.testing.assert_allclose(shown[0, 0], image, atol=1e-5)
    grey = np.broadcast_to(mean, 3)[:: -1 if order == "BGR" else 1]
    np.testing.assert_allclose(shown[0, 1], np.broadcast_to(np.array(grey) / 255, (5, 7, 3)), atol=1e-6)


def test_display_clips_and_shows_one_channel_grey() -> None:
    shown = Preprocess(mean=(90.0, 100.0, 110.0)).to_display([[[-1000, 0, 1000]]])
    np.testing.assert_allclose(shown, [[[0] * 3, [100 / 255] * 3, [1] * 3]], rtol=1e-6)


@pytest.mark.parametrize(
    ("preprocess", "image", "shape", "message"),
    [
        (Preprocess(), RGB8, (7, 4, 4), r"takes 7 channels.*array of shape \(7, 4, 4\)"),
        (Preprocess(), RGB8, (1, 4, 4), "takes 1 channels.*GRAY"),
        (Preprocess("GRAY", (0.0,)), RGB8, (3, 4, 4), "takes 3 channels.*BGR"),
        (
            Preprocess(),
            RGB8,
            (3, 227, 300),
            "256 is smaller than the net's input of 227 x 300: set it to 300",
        ),
        (Preprocess(), GREY8, (3, 4, 4), r"shape \(5, 7\).*\(H, W, 3\)"),
        (Preprocess(), np.zeros((0, 4, 3)), (3, 4, 4), r"\(0, 4, 3\)"),
        (Preprocess(), RGB8 * 1.0, (3, 4, 4), "0 to 1 is expected"),
        (Preprocess(), RGB8 * np.nan, (3, 4, 4), "NaN"),
    ],
)
def test_images_that_do_not_fit(preprocess: Preprocess, image: Any, shape: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        preprocess.to_caffe(image, shape)


@pytest.mark.parametrize("shape", [(7, 4, 4), (4, 4), (2, 5, 4, 4)])
def test_blobs_that_are_no_image(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"not an image in BGR order: \(\.\.\., 3, H, W\)"):
        Preprocess().to_display(np.zeros(shape))


# --- preprocess.toml ---------------------------------------------------------------


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "preprocess.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_antialias_keeps_the_mean_of_a_fine_pattern() -> None:
    """Stripes of one pixel, shrunk 8 times, are grey; sampled without smoothing they are not."""
    stripes = np.zeros((64, 64, 3), np.float32)
    stripes[:, ::8] = 1
    grey, sharp = (
        Preprocess(mean=(0,), resize=None, antialias=on).to_caffe(stripes, (3, 8, 8)) for on in (True, False)
    )
    assert np.abs(grey - 255 / 8)[:, 2:-2, 2:-2].max() < 12
    assert np.abs(sharp - 255 / 8).max() > 30


def test_every_key(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("tench\n  käse, cheese \n\n$n_3$\n\n", encoding="utf-8")
    path = written(
        tmp_path,
        'channel_order = "RGB"\nmean = [1, 2.5, 3]\nscale = 0.5\nresize = 40\nlabels = "names.txt"\nantialias = true',
    )
    expected = Preprocess("RGB", (1, 2.5, 3), 0.5, 40, ("tench", "käse, cheese", "", "$n_3$"), antialias=True)
    assert Preprocess.from_toml(path) == expected
    assert preprocess_near(tmp_path / "deploy.prototxt") == expected


def test_one_mean_and_no_crop(tmp_path: Path) -> None:
    path = written(tmp_path, 'channel_order = "GRAY"\nmean = 33\nresize = false')
    assert Preprocess.from_toml(path) == Preprocess("GRAY", (33,), 1.0, None)


def test_without_a_file_the_defaults_are_caffenets(tmp_path: Path) -> None:
    expected = Preprocess("BGR", (104.007, 116.669, 122.679), 1.0, 256, ())
    assert preprocess_near(tmp_path / "deploy.prototxt") == expected
    assert Preprocess.from_toml(written(tmp_path, "")) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("means = 3", "unknown key 'means'.*'mean'"),
        ("mean = = 3", "line 1"),
        ("mean = [1, 2]", "mean has 2 numbers; BGR takes one or 3"),
        ("mean = []", r"mean = \[\]: .*a list of numbers or the name of a file"),
        ('mean = "a.npy"', r"mean = 'a.npy': .*a.npy cannot be read as an array: No such file"),
        ("mean = [1, true, 3]", "mean = .*numbers"),
        ("mean = nan", "mean = nan"),
        ('channel_order = "GRAY"', "mean is missing"),
        ('channel_order = "GRAY"\nmean = [1, 2, 3]', "mean has 3 numbers; GRAY takes one"),
        ('channel_order = "bgr"', "channel_order is 'bgr'.*'BGR'"),
        ("channel_order = 3", "channel_order = 3"),
        ("scale = 0", "scale is 0"),
        ("scale = true", "scale = True"),
        ('scale = "1/255"', "scale = '1/255'"),
        ("resize = 25.5", "resize = 25.5"),
        ("resize = true", "resize = True"),
        ("resize = -3", "resize is -3"),
        ('labels = "lost.txt"', "labels = 'lost.txt': there is no file .*lost.txt"),
        ('labels = ["a"]', "labels = "),
    ],
)
def test_errors_name_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InputError, match=message) as error:
        Preprocess.from_toml(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"lost.toml cannot be read: No such file"):
        Preprocess.from_toml(tmp_path / "lost.toml")
    (tmp_path / "names.txt").write_bytes(b"\x89PNG\0\0")
    with pytest.raises(InputError, match=r"names.txt is not a text"):
        Preprocess.from_toml(written(tmp_path, 'labels = "names.txt"'))


# --- writing -----------------------------------------------------------------------


def test_png_comes_back(tmp_path: Path) -> None:
    save_png(tmp_path / "new" / "a.png", RGB8 / 255)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "new" / "a.png")), RGB8)


def test_png_rounds_to_the_nearest_step(tmp_path: Path) -> None:
    save_png(tmp_path / "a.png", np.array([[[0.4, 0.6, 254.6]]]) / 255)
    assert np.asarray(Image.open(tmp_path / "a.png")).tolist() == [[[0, 1, 255]]]


def test_gif_has_its_frames_and_times(tmp_path: Path) -> None:
    frames = [np.full((4, 6, 3), v) for v in (0, 0.4, 1)]
    save_gif(tmp_path / "a.gif", frames, ms=120)
    with Image.open(tmp_path / "a.gif") as gif:
        assert (gif.n_frames, gif.size, gif.info["duration"], gif.info["loop"]) == (3, (6, 4), 120, 0)
        shown = []
        for k in range(3):
            gif.seek(k)
            shown.append(np.asarray(gif.convert("RGB"))[2, 2, 0])
    assert shown == [0, 102, 255]


@pytest.mark.parametrize(
    ("save", "message"),
    [
        (lambda d: save_png(d / "a.jpg", RGB8), r"a.jpg: the name must end in .png"),
        (lambda d: save_png(d / "a.png", RGB8 / 255 + np.inf), "NaN or infinite"),
        (lambda d: save_png(d / "a.png", GREY8), r"\(5, 7\)"),
        (lambda d: save_gif(d / "a.gif", []), "none at all"),
        (lambda d: save_gif(d / "a.gif", [RGB8, RGB8[1:]]), "4 x 7, 5 x 7"),
        (lambda d: save_gif(d / "a.gif", [RGB8], ms=5), "5 ms"),
    ],
)
def test_what_cannot_be_saved_leaves_nothing(tmp_path: Path, save: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        save(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: bytes) -> int:
        self.touch()
        raise OSError(28, "No space left on device")

    save_png(tmp_path / "a.png", RGB8)
    before = (tmp_path / "a.png").read_bytes()
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RunError, match=r"a.png cannot be written: No space left"):
        save_png(tmp_path / "a.png", RGB8[::-1])
    assert os.listdir(tmp_path) == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == before


def test_stretched_has_mid_grey_and_its_deviation_and_keeps_the_picture() -> None:
    images = np.random.default_rng(0).normal(7, 30, (2, 16, 16, 3)).astype(np.float32)
    out = stretched(images)
    np.testing.assert_allclose(out.mean(axis=(1, 2, 3)), 0.5, atol=0.01)
    np.testing.assert_allclose(out.std(axis=(1, 2, 3)), 0.18, atol=0.01)
    assert np.corrcoef(out.ravel(), images.ravel())[0, 1] > 0.98
    assert (stretched(np.full((4, 4, 3), 9, np.float32)) == 0.5).all()
