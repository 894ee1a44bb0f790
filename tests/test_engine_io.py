"""`caffe.io` of the embedded engine: as real Caffe's where that still works, by arithmetic where it does not."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch", reason="the engine torch is not installed")

from legacy_io import original_io

from caffe_viz.engine import io
from caffe_viz.engine.proto import caffe_pb2
from caffe_viz.errors import InputError

RNG = np.random.default_rng(0)
IMAGE = RNG.random((9, 7, 3)).astype(np.float32)
SHAPE = (1, 3, 9, 7)

# Name -> what is set.
SETTINGS: dict[str, Callable[[Any], object]] = {
    "nothing": lambda t: None,
    "transpose": lambda t: t.set_transpose("data", (2, 0, 1)),
    "raw scale": lambda t: t.set_raw_scale("data", 255),
    "input scale": lambda t: t.set_input_scale("data", 0.017),
    "swap": lambda t: (t.set_transpose("data", (2, 0, 1)), t.set_channel_swap("data", (2, 1, 0))),
    "turned": lambda t: (t.set_transpose("data", (2, 0, 1)), t.set_channel_swap("data", (1, 2, 0))),
    "mean": lambda t: (t.set_transpose("data", (2, 0, 1)), t.set_mean("data", np.array([0.1, 0.2, 0.3]))),
    "mean image": lambda t: (t.set_transpose("data", (2, 0, 1)), t.set_mean("data", IMAGE.transpose(2, 0, 1) / 2)),
    "grey mean image": lambda t: (t.set_transpose("data", (2, 0, 1)), t.set_mean("data", IMAGE[..., 0])),
    "all": lambda t: (
        t.set_transpose("data", (2, 0, 1)),
        t.set_mean("data", np.array([104.0, 117.0, 123.0])),
        t.set_raw_scale("data", 255),
        t.set_channel_swap("data", (2, 1, 0)),
        t.set_input_scale("data", 0.017),
    ),
}  # fmt: skip


def transformer(module: Any, setting: str, shape: tuple[int, ...] = SHAPE) -> Any:
    made = module.Transformer({"data": shape})
    SETTINGS[setting](made)
    return made


@pytest.fixture
def real_io(caffe: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    return original_io(monkeypatch)


@pytest.mark.caffe
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("setting", [s for s in SETTINGS if s != "grey mean image"])
def test_transformer_gives_what_real_caffe_gives(real_io: Any, setting: str, dtype: type) -> None:
    image = (IMAGE * 255).astype(dtype)
    ours, theirs = transformer(io, setting), transformer(real_io, setting)
    blob = theirs.preprocess("data", image.copy())
    np.testing.assert_array_equal(ours.preprocess("data", image), blob, strict=True)
    for data in (blob, blob[np.newaxis], blob.astype(np.float64)):
        np.testing.assert_array_equal(
            ours.deprocess("data", data), theirs.deprocess("data", data), strict=True
        )


@pytest.mark.caffe
@pytest.mark.parametrize("setting", ["all", "mean image"])
def test_resizing_transformer_gives_what_real_caffe_gives(real_io: Any, setting: str) -> None:
    large, mean = RNG.random((20, 31, 3)), RNG.random((3, 17, 9)) * 200
    made = []
    for module in (io, real_io):
        made.append(transformer(module, setting))
        made[-1].set_mean("data", mean)
    ours, theirs = (t.preprocess("data", large) for t in made)
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.caffe
def test_other_channels_are_resized_as_by_real_caffe(real_io: Any) -> None:
    image = RNG.random((6, 5, 4)).astype(np.float32)
    for size, order in [((9, 7), 1), ((3, 11), 1), ((12, 10), 0), ((9, 7), 3)]:
        theirs = real_io.resize_image(image, size, order)
        np.testing.assert_array_equal(io.resize_image(image, size, order), theirs, strict=True)


@pytest.mark.parametrize("setting", SETTINGS)
def test_deprocess_inverts(setting: str) -> None:
    made = transformer(io, setting)
    np.testing.assert_allclose(made.deprocess("data", made.preprocess("data", IMAGE)), IMAGE, atol=1e-5)


def test_order_of_the_steps() -> None:
    blob = transformer(io, "all").preprocess("data", np.full((9, 7, 3), (0.2, 0.4, 0.8)))
    np.testing.assert_allclose(
        blob[:, 0, 0], (np.array([204.0, 102, 51]) - [104, 117, 123]) * 0.017, rtol=1e-6
    )


def test_images_are_never_changed() -> None:
    image = IMAGE.copy()
    made = transformer(io, "raw scale")
    made.deprocess("data", made.preprocess("data", image))
    np.testing.assert_array_equal(image, IMAGE)


def test_an_image_of_another_size_is_resized() -> None:
    blob = transformer(io, "swap").preprocess("data", np.repeat(np.repeat(IMAGE, 3, 0), 3, 1))
    np.testing.assert_allclose(blob, IMAGE.transpose(2, 0, 1)[::-1], atol=1e-6)


def test_a_mean_image_is_resized_and_a_flat_one_too() -> None:
    made = transformer(io, "transpose")
    made.set_mean("data", np.repeat(np.repeat(IMAGE, 3, 0), 3, 1).transpose(2, 0, 1) * 200)
    np.testing.assert_allclose(made.mean["data"], IMAGE.transpose(2, 0, 1) * 200, rtol=1e-5)
    made.set_mean("data", np.full((3, 20, 20), 7.0))  # real Caffe divides by zero
    np.testing.assert_array_equal(made.mean["data"], np.full(SHAPE[1:], 7))


def test_grey_images_come_back() -> None:
    made = transformer(io, "transpose", (1, 1, 9, 7))
    made.set_mean("data", np.array([0.5]))
    assert made.deprocess("data", made.preprocess("data", IMAGE[..., :1])[np.newaxis]).shape == (9, 7, 1)
    assert transformer(io, "nothing", (1, 1, 9, 7)).deprocess("data", np.ones((1, 1, 9, 7))).shape == (9, 7)


def test_shapes_may_be_lists_and_blobs_shapes() -> None:
    made = io.Transformer({"data": [1, 3, 9, 7]})
    assert made.preprocess("data", IMAGE).shape == (9, 7, 3)


# Bilinear at pixel centres, written out: x of a row of 4 in a row of 2 is 0.5, 2.5; of 2 in 4: -0.25, 0.25, 0.75, 1.25.
def test_halved_without_smoothing() -> None:
    row = np.array([0, 1, 5, 9, 2, 2, 2, 7, 3], np.float32)
    found = io.resize_image(row.reshape(1, 9, 1), (1, 3))  # at 1, 4, 7
    np.testing.assert_allclose(found.ravel(), [1, 2, 7], rtol=1e-6)


def test_borders_fade_to_the_least_value() -> None:
    found = io.resize_image(np.array([8, 4], np.float32).reshape(1, 2, 1), (1, 4)).ravel()
    np.testing.assert_allclose(found, [0.75 * 8 + 0.25 * 4, 0.75 * 8 + 0.25 * 4, 5, 4], rtol=1e-6)


def test_nearest() -> None:
    found = io.resize_image(np.array([8, 4], np.float32).reshape(1, 2, 1), (1, 4), interp_order=0)
    np.testing.assert_array_equal(found.ravel(), [8, 8, 4, 4])


def test_cubic_is_a_cubic_convolution() -> None:
    """Keys' kernel with a = -0.5, which scikit-image had; today's resize fits a spline."""
    row = RNG.random(12) + np.r_[0, np.full(10, 1.0), 5]
    found = io.resize_image(row.reshape(1, 12, 1), (1, 9), interp_order=3).ravel()[2:7]
    at = (np.arange(2, 7) + 0.5) * 12 / 9 - 0.5
    distance = np.abs(at[:, None] - np.arange(12))
    near, far = (
        1.5 * distance**3 - 2.5 * distance**2 + 1,
        -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2,
    )
    kernel = np.where(distance <= 1, near, np.where(distance < 2, far, 0))
    np.testing.assert_allclose(found, kernel @ row, rtol=1e-5)


@pytest.mark.parametrize("size", [(5, 4), (20, 30), (9, 30), (1, 1), (9, 7)])
def test_as_todays_scikit_image_without_smoothing(size: tuple[int, int]) -> None:
    from skimage.transform import resize

    image = IMAGE * 300 - 20
    low, high = image.min(), image.max()
    unit = resize((image - low) / (high - low), size, order=1, mode="constant", anti_aliasing=False)
    np.testing.assert_allclose(io.resize_image(image, size), unit * (high - low) + low, atol=1e-4)


def test_flat_images_and_bytes() -> None:
    np.testing.assert_array_equal(
        io.resize_image(np.full((3, 3, 3), 7), (5, 2)), np.full((5, 2, 3), 7, np.float32)
    )
    found = io.resize_image((IMAGE * 255).astype(np.uint8), (5, 4))
    np.testing.assert_allclose(found, io.resize_image(np.floor(IMAGE * 255), (5, 4)), rtol=1e-5)


@pytest.mark.caffe
@pytest.mark.parametrize(("shape", "crop"), [((9, 7, 3), (4, 4)), ((8, 8, 1), (3, 5)), ((6, 6, 2), (6, 6))])
def test_ten_crops_as_real_caffe(real_io: Any, shape: tuple[int, int, int], crop: tuple[int, int]) -> None:
    images = [RNG.random(shape), RNG.random(shape)]
    np.testing.assert_array_equal(io.oversample(images, crop), real_io.oversample(images, crop), strict=True)


def test_ten_crops_written_out() -> None:
    image = np.arange(9.0).reshape(3, 3, 1)
    firsts = [
        0,
        2,
        6,
        8,
        4,
    ]  # corners by rows, centre; then mirrored, which a crop of one pixel does not show
    np.testing.assert_array_equal(io.oversample([image], (1, 1)).ravel(), firsts * 2)
    np.testing.assert_array_equal(io.oversample([image], (1, 3))[5].ravel(), [2, 1, 0])


# Images on disk.


def saved(folder: Path, mode: str, pixels: Any, name: str = "image.png") -> Path:
    path = folder / name
    Image.fromarray(np.asarray(pixels)).convert(mode).save(path)
    return path


def test_colour_is_rgb_in_0_to_1(tmp_path: Path) -> None:
    pixels = (IMAGE * 255).astype(np.uint8)
    found = io.load_image(saved(tmp_path, "RGB", pixels))
    np.testing.assert_allclose(found, pixels / 255, atol=1e-7)
    assert found.dtype == np.float32


def test_colour_to_grey(tmp_path: Path) -> None:
    path = saved(tmp_path, "RGB", np.full((2, 3, 3), (255, 51, 102), np.uint8))
    found = io.load_image(path, color=False)
    assert found.shape == (2, 3, 1)
    np.testing.assert_allclose(found, 0.2125 + 0.7154 * 0.2 + 0.0721 * 0.4, rtol=1e-6)


@pytest.mark.parametrize("mode", ["L", "1"])
def test_grey_is_given_three_channels(tmp_path: Path, mode: str) -> None:
    path = saved(tmp_path, mode, np.array([[0, 255]], np.uint8))
    np.testing.assert_array_equal(io.load_image(path), [[[0, 0, 0], [1, 1, 1]]])
    np.testing.assert_array_equal(io.load_image(path, color=False), [[[0], [1]]])


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_alpha_is_dropped_and_palettes_are_looked_up(tmp_path: Path, mode: str) -> None:
    pixels = np.full((2, 2, 4), (102, 102, 102, 0), np.uint8)
    found = io.load_image(saved(tmp_path, mode, pixels))
    np.testing.assert_allclose(found, np.full((2, 2, 3), 0.4), atol=1e-7)


def test_files_that_are_open(tmp_path: Path) -> None:
    path = saved(tmp_path, "RGB", (IMAGE * 255).astype(np.uint8))
    for file in (path.open("rb"), BytesIO(path.read_bytes())):
        with file:
            np.testing.assert_array_equal(io.load_image(file), io.load_image(path))
    with pytest.raises(InputError, match="the open file is not an image"):
        io.load_image(BytesIO(b"text"))


def test_sixteen_bits(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 13107]], np.uint16)).save(tmp_path / "deep.png")
    np.testing.assert_allclose(io.load_image(tmp_path / "deep.png")[..., 0], [[0, 0.2]])


@pytest.mark.caffe
@pytest.mark.parametrize(
    ("mode", "color"), [("RGB", True), ("RGB", False), ("L", True), ("L", False), ("RGBA", True)]
)  # of RGBA as grey, today's scikit-image puts white behind transparent pixels
def test_files_as_real_caffe(real_io: Any, tmp_path: Path, mode: str, color: bool) -> None:
    path = saved(tmp_path, mode, (RNG.random((9, 7, 4)) * 255).astype(np.uint8))
    np.testing.assert_allclose(
        io.load_image(path, color), real_io.load_image(path, color), atol=1e-6, strict=True
    )


# Arrays and messages.


@pytest.mark.caffe
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (7,), ()])
def test_blobs_are_those_of_real_caffe(real_io: Any, shape: tuple[int, ...]) -> None:
    data, diff = RNG.normal(size=shape), RNG.normal(size=shape)
    for given in ((data,), (data, diff), (data.astype(np.float32), diff)):
        ours, theirs = io.array_to_blobproto(*given), real_io.array_to_blobproto(*given)
        assert ours.SerializeToString() == theirs.SerializeToString()
    for side in (False, True):
        found = io.blobproto_to_array(ours, return_diff=side)
        np.testing.assert_array_equal(
            found, real_io.blobproto_to_array(theirs, return_diff=side), strict=True
        )


def test_legacy_shape_and_diff() -> None:
    blob = caffe_pb2.BlobProto(num=1, channels=1, height=2, width=2, data=[1, 2, 3, 4], diff=[5, 6, 7, 8])
    np.testing.assert_array_equal(io.blobproto_to_array(blob), [[[[1, 2], [3, 4]]]])
    np.testing.assert_array_equal(io.blobproto_to_array(blob, True), [[[[5, 6], [7, 8]]]])


@pytest.mark.caffe
def test_vectors_of_blobs_are_those_of_real_caffe(real_io: Any) -> None:
    arrays = [RNG.normal(size=(2, 3)), RNG.normal(size=4)]
    data = io.arraylist_to_blobprotovector_str(arrays)
    assert data == real_io.arraylist_to_blobprotovector_str(arrays)
    for found, array in zip(io.blobprotovector_str_to_arraylist(data), arrays, strict=True):
        np.testing.assert_array_equal(found, array.astype(np.float32))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int64])
def test_datums(dtype: type) -> None:
    array = (RNG.random((3, 2, 4)) * 255).astype(dtype)
    datum = caffe_pb2.Datum.FromString(io.array_to_datum(array, label=7).SerializeToString())
    assert (datum.label, bool(datum.data)) == (7, dtype is np.uint8)
    np.testing.assert_array_equal(io.datum_to_array(datum), array)
    assert io.datum_to_array(datum).flags.writeable
    assert not io.array_to_datum(array).HasField("label")


@pytest.mark.caffe
def test_float_datums_are_those_of_real_caffe(real_io: Any) -> None:
    array = RNG.normal(size=(3, 2, 4))
    ours, theirs = io.array_to_datum(array, 3), real_io.array_to_datum(array, 3)
    assert ours.SerializeToString() == theirs.SerializeToString()
    np.testing.assert_array_equal(io.datum_to_array(ours), real_io.datum_to_array(theirs), strict=True)


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "input": (lambda: transformer(io, "all").preprocess("date", IMAGE), "'date' is not one of the net's inputs. Did you mean 'data'"),
    "transpose": (lambda: transformer(io, "all").set_transpose("data", (2, 0)), r"transpose \(2, 0\): an order of the 3 axes of 'data'"),
    "swap": (lambda: transformer(io, "all").set_channel_swap("data", (0, 1)), r"swap \(0, 1\): an order of the 3 channels"),
    "mean length": (lambda: transformer(io, "all").set_mean("data", np.ones(4)), r"mean of shape \(4,\): \(3,\) or \(3, H, W\)"),
    "mean shape": (lambda: transformer(io, "all").set_mean("data", np.ones((1, 3, 9, 7))), r"mean of shape \(1, 3, 9, 7\)"),
    "mean alone": (lambda: transformer(io, "mean image").deprocess("data", np.ones((1, 3, 4, 4))), r"mean of shape \(3, 9, 7\) does not fit"),
    "two axes": (lambda: transformer(io, "all").preprocess("data", IMAGE[..., 0]), r"transposed as \(2, 0, 1\); an array of shape \(9, 7\)"),
    "channels": (lambda: transformer(io, "all").preprocess("data", IMAGE[..., :2]), r"swapped as \(2, 1, 0\); those of shape \(2, 9, 7\)"),
    "batch": (lambda: transformer(io, "all").deprocess("data", np.ones((2, 3, 9, 7))), "cannot be"),
    "no channels": (lambda: io.resize_image(IMAGE[..., 0], (3, 3)), r"image of shape \(9, 7\) was given: \(H, W, K\)"),
    "no pixels": (lambda: io.resize_image(IMAGE[:0], (3, 3)), r"image of shape \(0, 7, 3\)"),
    "size": (lambda: io.resize_image(IMAGE, (0, 3)), "size of 0 x 3"),
    "crop": (lambda: io.oversample([IMAGE], (10, 4)), "crop of 10 x 4 does not fit into images of 9 x 7"),
    "shapes": (lambda: io.oversample([IMAGE, IMAGE[1:]], (3, 3)), "images of one shape"),
    "no images": (lambda: io.oversample([], (3, 3)), "images of one shape"),
    "no file": (lambda: io.load_image("nowhere.png"), "there is no such file"),
    "no shape": (lambda: io.blobproto_to_array(caffe_pb2.BlobProto(data=[1, 2])), r"shape \(\) holds 2 values"),
    "diff": (lambda: io.array_to_blobproto(IMAGE, IMAGE[0]), r"diff of shape \(7, 3\) does not fit data of shape \(9, 7, 3\)"),
    "datum": (lambda: io.array_to_datum(IMAGE[0]), r"\(7, 3\) is no datum"),
    "encoded": (lambda: io.datum_to_array(caffe_pb2.Datum(encoded=True, data=b"x")), "encoded image: decode"),
    "values": (lambda: io.datum_to_array(caffe_pb2.Datum(channels=2, height=1, width=1, data=b"x")), "holds 1 values"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_said(case: str) -> None:
    call, words = WRONG[case]
    with pytest.raises(InputError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_what_pycaffe_raises_for_arrays() -> None:
    for case in ("mean length", "no shape", "datum"):
        with pytest.raises(ValueError):  # noqa: PT011  (its words are its own)
            WRONG[case][0]()


def test_messages_by_their_names() -> None:
    assert caffe_pb2.NetParameter().name == ""
    assert (caffe_pb2.TRAIN, caffe_pb2.Phase.Value("TEST")) == (0, 1)
    assert caffe_pb2.LabelMap(item=[{"name": "cat", "label": 1}]).item[0].name == "cat"
    with pytest.raises(AttributeError, match="Did you mean 'NetParameter'"):
        caffe_pb2.NetParam  # noqa: B018
    with pytest.raises(NotImplementedError, match="AnnotatedDatum is real Caffe's only"):
        caffe_pb2.AnnotatedDatum  # noqa: B018
