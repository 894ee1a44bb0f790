"""Means that are images, in every place; how images get in, as files and options say it."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import here, ran, refused
from PIL import Image

import caffe_viz as cv
from caffe_viz.ascent import Recipe
from caffe_viz.classification.crops import ten_crops
from caffe_viz.deploying import preprocess_near
from caffe_viz.errors import CaffeVizWarning, InputError
from caffe_viz.images import Preprocess
from caffe_viz.images.mean import Mean, read_mean
from caffe_viz.netdef import BlobProto, NetParameter, make_blob, write_weights
from caffe_viz.network import Network
from caffe_viz.views import dream, maximize, show_attribution, show_preprocessing

RNG = np.random.default_rng(0)
BGR = (2, 1, 0)
SIDE = 8
PHOTO = RNG.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
MEAN = RNG.integers(60, 190, (3, SIDE, SIDE)).astype(np.float32)  # BGR
TOY = """
name: "toy"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 2 kernel_size: 3 } }
layer { name: "score" type: "InnerProduct" bottom: "conv" top: "score" inner_product_param { num_output: 3 } }
layer { name: "prob" type: "Softmax" bottom: "score" top: "prob" }
"""
TRAINING = (
    'layer { name: "images" type: "Data" top: "data" top: "label" include { phase: TEST } '
    "data_param { batch_size: 2 } transform_param { %s } }"
)


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A folder with a small net, its weights, a photograph and a mean, which nothing names."""
    rng, weights = np.random.default_rng(1), NetParameter()
    for name, *shapes in (("conv", (2, 3, 3, 3), (2,)), ("score", (3, 72), (3,))):
        blobs = [make_blob(rng.normal(0, 0.01, shape).astype(np.float32)) for shape in shapes]
        weights.layer.add(name=name, blobs=blobs)
    write_weights(weights, tmp_path / "net.caffemodel")
    (tmp_path / "deploy.prototxt").write_text(TOY)
    Image.fromarray(PHOTO).save(tmp_path / "photo.png")
    write_blob(tmp_path / "m.binaryproto", MEAN[None])
    return tmp_path


def write_blob(path: Path, array: Any) -> None:
    path.write_bytes(make_blob(array).SerializeToString())


def pixels_by_hand(mean: Any = MEAN, order: Any = BGR) -> Any:
    """(3, 8, 8) of the photograph, which has the size of the input."""
    return PHOTO.transpose(2, 0, 1).astype(np.float32)[list(order)] - mean


def answer(folder: Path, blob: Any, engine: str) -> Any:
    net = cv.load_net(folder / "deploy.prototxt", folder / "net.caffemodel", engine=engine)
    return cv.forward(net, {"data": blob[None]}, ["prob"])["prob"][0]


def classified(folder: Path, engine: str, *options: object) -> Any:
    """What classify says of the photograph: the probabilities by class, and the settings."""
    files = folder / "deploy.prototxt", folder / "net.caffemodel"
    words = ("--image", folder / "photo.png", "--engine", engine, "--json", *options)
    made = json.loads(here("classify", *files, *words))
    best = {one["index"]: one["value"] for one in made["images"][0]["top"]}
    return [best[k] for k in range(3)], made["preprocess"]


# --- a mean as a value -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "shape"),
    [
        (7, (1, 1, 1)), ((1, 2, 3), (3, 1, 1)), (MEAN, (3, 8, 8)), (MEAN[None], (3, 8, 8)), (MEAN[0], (1, 8, 8)),
        (MEAN[:, :, :5].transpose(1, 2, 0), (3, 8, 5)), (MEAN[:, :3, :3], (3, 3, 3)),
        (MEAN[:1].transpose(1, 2, 0), (1, 8, 8)), (MEAN.astype(np.uint8), (3, 8, 8)),
    ],
)  # fmt: skip
def test_what_can_be_a_mean(given: Any, shape: tuple[int, ...]) -> None:
    mean = Mean.of(given)
    assert mean.values.shape == shape
    channels_first = np.moveaxis(given, -1, 0) if np.shape(given)[-1:] == (3,) and shape[1] == 8 else given
    np.testing.assert_array_equal(mean.values.ravel(), np.ravel(channels_first))


def test_a_mean_is_an_array() -> None:
    assert np.array(Preprocess().mean).tolist() == [104.007, 116.669, 122.679]
    image = np.arange(24, dtype=np.float32).reshape(3, 2, 4)
    assert np.array_equal(np.asarray(Mean.of(image)), image)


def test_scripts_of_the_first_version(networks: Path) -> None:
    prototxt = networks / "caffenet_cifar10" / "deploy.prototxt"
    assert Preprocess.near(prototxt) == preprocess_near(prototxt)


def test_means_of_equal_values_are_equal() -> None:
    a, b, c = Mean.of(MEAN), Mean.of(MEAN.copy(), "elsewhere.npy"), Mean.of(MEAN + 1)
    assert a == b != c
    assert len({a, b, c}) == 2
    assert pickle.loads(pickle.dumps(a)) == a
    assert repr(a) == repr(b) != repr(c)
    assert Preprocess(mean=MEAN) == Preprocess(mean=Mean.of(MEAN)) != Preprocess(mean=MEAN + 1)
    assert Mean.of((1, 2)) != Mean.of([[1, 2]])
    assert repr(Mean.of(1.0000001)) != repr(Mean.of(1.0000002))


def written(path: Path) -> Path:
    """The mean in a file of the kind that its name says."""
    blob = make_blob(MEAN[None])
    if path.stem == "legacy":
        blob = BlobProto(num=1, channels=3, height=8, width=8, data=MEAN.ravel())
    elif path.stem == "double":
        blob = BlobProto(double_data=MEAN.ravel())
        blob.shape.dim.extend((3, 8, 8))
    elif path.stem == "averages":
        blob = make_blob(MEAN.mean((1, 2))[None, :, None, None])
    arrays = {
        "planes": MEAN,
        "pixels": MEAN.transpose(1, 2, 0),
        "half": MEAN.astype("f2"),
        "batch": MEAN[None],
    }
    if path.suffix == ".binaryproto":
        path.write_bytes(blob.SerializeToString())
    elif path.suffix == ".npy":
        np.save(path, arrays.get(path.stem, MEAN.mean((1, 2))))
    else:
        Image.fromarray(MEAN[::-1].transpose(1, 2, 0).astype(np.uint8)).save(path)
    return path


FILES = [
    "new.binaryproto", "legacy.binaryproto", "double.binaryproto", "planes.npy", "pixels.npy", "half.npy", "batch.npy",
    "image.png", "image.bmp",
]  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_files_of_means(tmp_path: Path, name: str) -> None:
    np.testing.assert_allclose(read_mean(written(tmp_path / name), BGR).values, MEAN, atol=1e-4)


@pytest.mark.parametrize("name", ["averages.npy", "averages.binaryproto"])
def test_files_of_averages_are_numbers(tmp_path: Path, name: str) -> None:
    mean = read_mean(written(tmp_path / name), BGR)
    assert mean.size is None
    assert mean.average == pytest.approx(MEAN.mean((1, 2)), rel=1e-6)


def test_an_image_as_the_mean_of_grey_is_its_brightness(tmp_path: Path) -> None:
    rgb = MEAN[::-1].transpose(1, 2, 0).astype(np.uint8)
    mean = read_mean(written(tmp_path / "a.png"), (0, 0, 0))
    np.testing.assert_allclose(mean.values[0], rgb @ np.array([0.2125, 0.7154, 0.0721]), rtol=1e-5)


BROKEN = {
    "five.npy": (np.zeros((5, 9, 7)), "mean has 5 channels; BGR takes one or 3"),
    "two.npy": (np.zeros(2), "mean has 2 numbers; BGR takes one or 3"),
    "batch.npy": (np.zeros((2, 3, 4, 4)), r"shape \(2, 3, 4, 4\)"),
    "empty.npy": (np.zeros((3, 0, 4)), r"shape \(3, 0, 4\)"),
    "nan.npy": (np.full((3, 4, 4), np.nan), "NaN"),
    "complex.npy": (np.ones(3, complex), "complex numbers"),
    "objects.npy": (np.array([None, 1, 2]), "holds Python objects"),
    "text.npy": (b"104,117,123", "is no .npy"),
    "page.binaryproto": (b"<html>404</html>", "is not a binaryproto"),
    "empty.binaryproto": (b"", "is empty"),
    "damaged.binaryproto": (BlobProto(num=1, channels=3, height=9, width=9, data=[1.0]).SerializeToString(), "1 values"),
    "text.png": (b"104", "not an image"),
    "lost.binaryproto": (None, "no such binaryproto"),
    "lost.npy": (None, "No such file"),
    "lost.png": (None, "no such file"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_mean_names_file_and_key(toy: Path, name: str) -> None:
    content, message = BROKEN[name]
    if isinstance(content, bytes):
        (toy / name).write_bytes(content)
    elif content is not None:
        np.save(toy / name, content)
    (toy / "preprocess.toml").write_text(f'mean = "{name}"\nresize = false')
    with pytest.raises(InputError, match=message) as error:
        Preprocess.from_toml(toy / "preprocess.toml")
    assert "preprocess.toml" in str(error.value)
    assert name in str(error.value) or "mean has" in str(error.value)
    said = refused(
        "preprocess", toy / "deploy.prototxt", "--mean", toy / name, "--preprocess", toy / "preprocess.toml"
    )
    assert said.startswith("caffe-viz: ")
    assert said.count("\n") == 1
    assert f"--mean {toy / name}" in said


def test_an_unknown_key_leads_to_the_right_one(toy: Path) -> None:
    (toy / "preprocess.toml").write_text('mean_file = "m.binaryproto"')
    said = refused("preprocess", toy / "deploy.prototxt")
    assert "Did you mean 'mean'? That is a number, a list of numbers or the name of a file" in said


# --- what is subtracted where ----------------------------------------------------------------


@pytest.mark.parametrize("crop", [0, 6])
def test_as_caffes_data_layer(tmp_path: Path, crop: int) -> None:
    """Which subtracts the mean of the whole image, then crops."""
    pytest.importorskip("torch", reason="the engine torch is not installed")
    Image.fromarray(PHOTO).save(tmp_path / "photo.png")
    (tmp_path / "list.txt").write_text(f"{tmp_path / 'photo.png'} 0\n")
    write_blob(tmp_path / "m.binaryproto", MEAN[None])
    text = (
        'layer { name: "d" type: "ImageData" top: "data" top: "label" image_data_param { source: "%s" batch_size: 1 }'
        ' transform_param { mean_file: "%s" scale: 0.5 crop_size: %d } }'
    )  # fmt: skip
    (tmp_path / "net.prototxt").write_text(text % (tmp_path / "list.txt", tmp_path / "m.binaryproto", crop))
    net = cv.load_net(tmp_path / "net.prototxt", engine="torch", allow_code=True)
    net.forward()
    made = Preprocess("BGR", MEAN, 0.5, SIDE if crop else None).to_caffe(
        PHOTO, (3, crop or SIDE, crop or SIDE)
    )
    np.testing.assert_allclose(made, net.blobs["data"].data[0], atol=1e-4)


@pytest.mark.parametrize("size", [(8, 8), (13, 16)])
def test_as_pycaffes_transformer(size: tuple[int, int]) -> None:
    """Which brings a larger mean to the input; raw_scale and input_scale are folded in."""
    from caffe_viz.engine.io import Transformer

    mean = RNG.random((3, *size)).astype(np.float32)
    turn = Transformer({"data": (1, 3, 8, 8)})
    turn.set_transpose("data", (2, 0, 1))
    turn.set_channel_swap("data", BGR)
    turn.set_raw_scale("data", 2.0)
    turn.set_mean("data", mean)
    turn.set_input_scale("data", 3.0)
    photo = PHOTO / np.float32(255)
    expected = turn.preprocess("data", photo)
    how = Preprocess("BGR", Mean.of(mean) * (255 / 2), 3 * 2 / 255, None)
    np.testing.assert_allclose(how.to_caffe(photo, (3, 8, 8)), expected, atol=1e-5)


def test_as_real_caffes_transformer(caffe: Any) -> None:
    turn = caffe.io.Transformer({"data": (1, 3, 8, 8)})
    turn.set_transpose("data", (2, 0, 1))
    turn.set_channel_swap("data", BGR)
    turn.set_raw_scale("data", 255.0)
    turn.set_mean("data", MEAN)
    turn.set_input_scale("data", 0.25)
    expected = turn.preprocess("data", PHOTO / np.float32(255))
    made = Preprocess("BGR", MEAN, 0.25, None).to_caffe(PHOTO, (3, 8, 8))
    np.testing.assert_allclose(made, expected, atol=1e-4)


def test_a_mean_of_the_inputs_size_is_one_of_crops() -> None:
    """As pycaffe's Classifier has it: the image is cropped, the mean is not."""
    made = Preprocess("BGR", MEAN[:, :4, :4], 1, SIDE).to_caffe(PHOTO, (3, 4, 4))
    whole = PHOTO.transpose(2, 0, 1)[::-1].astype(np.float32)
    np.testing.assert_allclose(made, whole[:, 2:6, 2:6] - MEAN[:, :4, :4], atol=1e-4)


def test_a_mean_of_another_size_goes_the_way_of_the_image() -> None:
    """scikit-image brings both to the square; then both are cropped."""
    from skimage.transform import resize

    mean = RNG.uniform(0, 255, (3, 20, 10))
    square = [
        resize(x, (12, 12), order=1, mode="edge", anti_aliasing=False)
        for x in (PHOTO / 255, mean.transpose(1, 2, 0))
    ]
    expected = (square[0][..., ::-1] * 255 - square[1])[2:10, 2:10].transpose(2, 0, 1)
    np.testing.assert_allclose(Preprocess("BGR", mean, 1, 12).to_caffe(PHOTO, (3, 8, 8)), expected, atol=1e-3)


@pytest.mark.parametrize("size", [(8, 8), (6, 6), (5, 11), (30, 20)])
@pytest.mark.parametrize("resize", [None, 8])
def test_display_is_the_inverse_at_any_size(size: tuple[int, int], resize: int | None) -> None:
    how = Preprocess("BGR", MEAN, 1 / 64, resize)
    rgb = RNG.random((*size, 3)).astype(np.float32)
    np.testing.assert_allclose(how.in_rgb(how.encoded(rgb)), rgb, atol=1e-5)
    grey = how.in_rgb(np.zeros((2, 1, *size), np.float32))
    assert grey.shape == (2, *size, 3)
    if size == (8, 8):
        np.testing.assert_allclose(grey[0, ..., 0] * 255, MEAN.mean(0), atol=1e-3)


def test_grey_nets_take_mean_images() -> None:
    made = Preprocess("GRAY", MEAN[0], 2, None).to_caffe(np.stack([PHOTO[..., 0]] * 3, 2), (1, 8, 8))
    np.testing.assert_allclose(made[0], 2 * (PHOTO[..., 0] - MEAN[0]), atol=1e-3)


@pytest.mark.parametrize("mean", [MEAN, MEAN[:, :4, :4], MEAN.mean((1, 2))], ids=["whole", "crop", "numbers"])
def test_ten_crops(mean: Any) -> None:
    """A mean of whole images moves with the crops, and is mirrored with them; one of crops stands still."""
    made = ten_crops(Preprocess("BGR", mean, 1, SIDE), PHOTO / np.float32(255), (3, 4, 4))
    whole = PHOTO.transpose(2, 0, 1)[::-1].astype(np.float32)
    places = [(0, 0), (0, 4), (4, 0), (4, 4), (2, 2)]
    for k, (mirror, (y, x)) in enumerate(product((False, True), places)):
        crop = whole[:, y : y + 4, x : x + 4]
        if mean.shape[-2:] == (8, 8):
            wanted = crop - mean[:, y : y + 4, x : x + 4]
            wanted = wanted[..., ::-1] if mirror else wanted
        else:
            wanted = (crop[..., ::-1] if mirror else crop) - mean.reshape(
                3, *([1, 1] if mean.ndim == 1 else (4, 4))
            )
        np.testing.assert_allclose(made[k], wanted, atol=1e-4)


# --- the whole way, on both engines ----------------------------------------------------------


@pytest.mark.parametrize("name", ["legacy.binaryproto", "planes.npy", "image.png", "averages.npy"])
def test_a_mean_file_of_preprocess_toml(toy: Path, engine: str, name: str) -> None:
    written(toy / name)
    (toy / "preprocess.toml").write_text(f'mean = "{name}"\nscale = 0.5')
    mean = MEAN.mean((1, 2))[:, None, None] if name == "averages.npy" else MEAN
    if name == "averages.npy":
        (toy / "preprocess.toml").write_text(f'mean = "{name}"\nscale = 0.5\nresize = false')
    found, said = classified(toy, engine)
    assert found == pytest.approx(answer(toy, pixels_by_hand(mean) * 0.5, engine), rel=1e-4)
    assert ("mean_image" in said) == (name != "averages.npy")


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (
            ("--mean", "104,117,123", "--resize", "false"),
            pixels_by_hand(np.array([[[104]], [[117]], [[123]]])),
        ),
        (("--mean", "7", "--scale", "0.5", "--resize", "8"), pixels_by_hand(7) * 0.5),
        (("--mean", "FILE", "--channel-order", "RGB"), pixels_by_hand(order=(0, 1, 2))),
        (("--mean", "0.5", "--raw-scale", "1", "--resize", "false"), pixels_by_hand(127.5) / 255),
        (("--mean", "FILE", "--raw-scale", "255", "--scale", "2"), pixels_by_hand() * 2),
    ],
)
def test_options(toy: Path, engine: str, options: tuple[str, ...], wanted: Any) -> None:
    """Each in the place of what preprocess.toml says."""
    if "FILE" not in options:  # whose size images are warped to where nothing else is said
        (toy / "preprocess.toml").write_text("mean = 1\nresize = 40")
    words = [str(toy / "m.binaryproto") if word == "FILE" else word for word in options]
    found, said = classified(toy, engine, *words)
    assert found == pytest.approx(answer(toy, wanted, engine), rel=1e-4)
    assert " ".join(words[:2]) in said["from"]


@pytest.mark.parametrize("method", ["plain", "natural"])
@pytest.mark.usefixtures("climbing_here")
def test_ascents(toy: Path, engine: str, method: str) -> None:
    """The net gives for the picture what the ascent says; bounded ones lie between black and white."""
    how = Preprocess(mean=MEAN, resize=None)
    network = Network(toy / "deploy.prototxt", toy / "net.caffemodel", how, engine)
    net = cv.load_net(toy / "deploy.prototxt", toy / "net.caffemodel", engine=engine)
    found = maximize(network, "conv", [1], method=method, steps=3, size=(8, 8), jobs=1).ascent
    value = cv.forward(net, {"data": found.images}, ["conv"])["conv"][0, 1].mean()
    assert found.values[0] == pytest.approx(value, rel=1e-3, abs=1e-4)
    if method == "natural":
        rgb = how.in_rgb(found.images[0])
        assert -1e-6 <= rgb.min() < rgb.max() <= 1 + 1e-6


@pytest.mark.usefixtures("climbing_here")
def test_a_start_comes_back(toy: Path, engine: str) -> None:
    """Through octaves, at another size than the mean's; and as it is shown."""
    how = Preprocess(mean=MEAN, resize=SIDE)
    network = Network(toy / "deploy.prototxt", toy / "net.caffemodel", how, engine)
    start = how.encoded(PHOTO / np.float32(255))
    recipe = Recipe.of("plain", steps=1, octaves=2, rate=1e-9)
    kept = maximize(network, "conv", [0], method=recipe, start=start, jobs=1).ascent
    np.testing.assert_allclose(kept.images[0], start, atol=1e-3)
    cropped = Preprocess(mean=np.pad(MEAN, ((0, 0), (2, 2), (2, 2)), "reflect"), resize=12)
    network = replace(network, preprocess=cropped)
    shown = dream(network, toy / "photo.png", "conv", steps=1, rate=1e-9, octaves=1, jobs=1).tiles[0].rgb
    np.testing.assert_allclose(shown * 255, PHOTO, atol=1e-2)


def test_the_mean_image_is_what_hides_and_where_gradients_begin(toy: Path, engine: str) -> None:
    """It is the zero blob: integrated gradients sum up to the score less that of the mean image."""
    Image.fromarray(MEAN[::-1].transpose(1, 2, 0).astype(np.uint8)).save(toy / "mean.png")
    network = Network(
        toy / "deploy.prototxt", toy / "net.caffemodel", Preprocess(mean=MEAN, resize=None), engine
    )
    assert np.abs(network.pixels(toy / "mean.png")).max() < 1e-4
    found = show_attribution(network, toy / "photo.png", 1, "integrated-gradients").attributions[0]
    net = cv.load_net(toy / "deploy.prototxt", toy / "net.caffemodel", engine=engine)
    scores = [
        cv.forward(net, {"data": network.pixels(toy / name)[None]}, ["score"])["score"][0, 1]
        for name in ("photo.png", "mean.png")
    ]
    assert found.values.sum() == pytest.approx(scores[0] - scores[1], rel=1e-3, abs=1e-4)
    np.testing.assert_allclose(found.pictures[0] * 255, PHOTO, atol=1e-2)


# --- where it is said ------------------------------------------------------------------------


def test_the_training_beside(toy: Path, engine: str) -> None:
    """The transform_param of TEST, and the mean file by its name alone, wherever the training had it."""
    train = TRAINING.replace("TEST", "TRAIN") % "mean_value: 9" + TRAINING % (
        'mean_file: "/data/m.binaryproto" scale: 0.5 mirror: true'
    )
    (toy / "train_val.prototxt").write_text(train)
    found, said = classified(toy, engine)
    assert found == pytest.approx(answer(toy, pixels_by_hand() * 0.5, engine), rel=1e-4)
    assert said["from"] == f"{toy / 'train_val.prototxt'}: the transform_param of layer 'images'"
    assert said["mean_image"] == {"file": str(toy / "m.binaryproto"), "shape": [3, 8, 8]}
    (toy / "preprocess.toml").write_text("mean = 1\nresize = false")
    assert preprocess_near(toy / "deploy.prototxt").mean.average == (1,)


@pytest.mark.parametrize(
    ("names", "used"),
    [
        (["train_val.prototxt", "other_train.prototxt"], "train_val.prototxt"),
        (["toy_train_test.prototxt"], "toy_train_test.prototxt"),
        (["a_train.prototxt", "b_train.prototxt"], ""),
        (["train_solver.prototxt"], ""),
    ],
)
def test_which_file_is_that_of_the_training(toy: Path, names: list[str], used: str) -> None:
    (toy / "m.binaryproto").unlink()
    for name in names:
        (toy / name).write_text(TRAINING % "mean_value: 9")
    found = preprocess_near(toy / "deploy.prototxt")
    assert found.mean == (Mean.of(9) if used else Preprocess().mean)
    assert found.source.startswith(str(toy / used) if used else "CaffeNet's: there is no preprocess.toml")


def test_the_nets_own_data_layer(toy: Path) -> None:
    """Where the file of the training is given as the net."""
    (toy / "net.prototxt").write_text(
        TRAINING % "crop_size: 8 mean_value: 9 scale: 0.5" + TOY.partition("\n")[2]
    )
    with pytest.warns(CaffeVizWarning, match="the size of the images before the crop"):
        found = preprocess_near(toy / "net.prototxt")
    assert found == Preprocess("BGR", 9, 0.5, None)


@pytest.mark.parametrize(
    ("text", "said"), [("layer { nonsense", "is not used for the preprocessing"), ("", "is empty"), (TOY, "")]
)
def test_a_training_that_says_nothing_is_no_fault(toy: Path, text: str, said: str) -> None:
    (toy / "train_val.prototxt").write_text(text)
    code, printed, warned = ran("preprocess", toy / "deploy.prototxt")
    assert code == 0
    assert "(CaffeNet's: there is no preprocess.toml beside the prototxt)" in printed.splitlines()[0]
    assert said in warned
    assert (f"{toy / 'train_val.prototxt'}" in warned) == bool(said)


def test_an_archive_of_digits(toy: Path, engine: str) -> None:
    """deploy.prototxt, mean.binaryproto, labels.txt, train_val.prototxt, info.json: a crop of 10 x 10 images."""
    (toy / "m.binaryproto").unlink()
    write_blob(toy / "mean.binaryproto", np.full((1, 3, 10, 10), 100, np.float32))
    (toy / "info.json").write_text(
        json.dumps({"image dimensions": [10, 10, 3], "mean file": "mean.binaryproto"})
    )
    (toy / "labels.txt").write_text("cat\ndog\nowl\n")
    (toy / "train_val.prototxt").write_text(
        TRAINING % "crop_size: 8 mean_value: 1 mean_value: 2 mean_value: 3"
    )
    assert preprocess_near(toy / "deploy.prototxt") == Preprocess("BGR", (1, 2, 3), 1, 10)
    (toy / "train_val.prototxt").unlink()  # as old archives have none
    found = preprocess_near(toy / "deploy.prototxt")
    assert (found.resize, found.mean.size) == (10, (10, 10))
    assert "mean.binaryproto" in found.source
    words = "--image", toy / "photo.png", "--engine", engine
    lines = here("classify", toy / "deploy.prototxt", toy / "net.caffemodel", *words).splitlines()
    assert "minus mean.binaryproto (10 x 10), cropped as the image is" in lines[0]
    assert lines[3].split()[-1] in ("cat", "dog", "owl")


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (Preprocess(mean=Mean.of(MEAN, "x/m.npy"), resize=None), "minus m.npy (8 x 8)), warped to 8 x 8"),
        (
            Preprocess(mean=MEAN, resize=9),
            "minus an image (8 x 8), after the crop), warped to 9 x 9, centre crop 8 x 8",
        ),
        (
            Preprocess(mean=MEAN[:, :4], resize=9),
            "minus an image (4 x 8), warped to 9 x 9, cropped as the image is), warped to 9 x 9, centre crop 8 x 8",
        ),
        (
            Preprocess(mean=MEAN[:, :4], resize=None),
            "minus an image (4 x 8), warped to 8 x 8), warped to 8 x 8",
        ),
        (Preprocess(mean=5, resize=None, source="p.toml"), "minus 5), warped to 8 x 8 (p.toml)"),
    ],
)
def test_what_was_done_with_the_mean_is_said(toy: Path, how: Preprocess, words: str) -> None:
    found = show_preprocessing(Network(toy / "deploy.prototxt", preprocess=how))
    assert found.words == f"BGR, (0..255 {words}"
    assert found.words in repr(found)


@pytest.mark.parametrize("command", ["activations", "attribute", "top", "features"])
def test_every_command_with_an_image_says_it_first(toy: Path, command: str) -> None:
    blob = {"activations": ("--layer", "conv"), "top": ("--layer", "conv"), "features": ("--blob", "conv")}
    words = [
        command, toy / "deploy.prototxt", toy / "net.caffemodel", "--image", toy / "photo.png", "--mean", "9",
        "--resize", "false", "--engine", "torch", "-o", toy / "made.npz", *blob.get(command, ()),
    ]  # fmt: skip
    first = here(*words).splitlines()[0]
    assert first.startswith("preprocessing: BGR, (0..255 minus 9), warped to 8 x 8 (")
    assert first.endswith("--mean 9 --resize false)")
    if command == "activations":
        json.loads(here(*words, "--json"))


# --- the command preprocess ------------------------------------------------------------------


def test_it_is_written_with_names_relative_to_it(toy: Path) -> None:
    (toy / "names.txt").write_text("a\nb\nc\n")
    options = (
        "--mean",
        toy / "m.binaryproto",
        "--labels",
        toy / "names.txt",
        "--scale",
        "0.5",
        "--channel-order",
        "RGB",
    )
    out = toy / "use" / "preprocess.toml"
    assert here("preprocess", toy / "deploy.prototxt", *options, "-o", out).splitlines()[-1] == str(out)
    text = out.read_text()
    assert 'mean = "../m.binaryproto"' in text
    assert 'labels = "../names.txt"' in text
    assert "--scale 0.5" in text.splitlines()[0]
    assert Preprocess.from_toml(out) == Preprocess("RGB", MEAN, 0.5, SIDE, ("a", "b", "c"))


def test_a_mean_that_is_in_no_file_is_written_too(tmp_path: Path) -> None:
    how = Preprocess(mean=MEAN, resize=None)
    with pytest.raises(InputError, match=r"Preprocess\.save"):
        how.to_toml()
    assert how.save(tmp_path / "a.toml") == [tmp_path / "a.toml", tmp_path / "a_mean.npy"]
    assert Preprocess.from_toml(tmp_path / "a.toml") == how


@pytest.mark.parametrize(
    "how", [Preprocess(), Preprocess("GRAY", 0.1, 1 / 255, None), Preprocess(antialias=True, scale=-3)]
)
def test_numbers_come_back_exactly(tmp_path: Path, how: Preprocess) -> None:
    how.save(tmp_path / "a.toml")
    assert Preprocess.from_toml(tmp_path / "a.toml") == how


def test_it_warns_as_classify_does(toy: Path, engine: str) -> None:
    files = toy / "deploy.prototxt", toy / "net.caffemodel"
    options = "--mean", "0.4", "--resize", "false", "--engine", engine
    _, _, said = ran("preprocess", *files, *options)
    assert "warning: mean is 0.4: it is subtracted from pixels of 0..255, so give 255 times it" in said
    made = json.loads(here("preprocess", *files, "--mean", "9000", "--image", toy / "photo.png", "--json"))
    assert any("brighter than white" in doubt for doubt in made["warnings"])
    assert made["mean"] == [9000]
    assert ran("preprocess", *files, "--image", toy / "lost.png")[0] == 2


def test_nets_that_take_no_image_as_they_are(toy: Path) -> None:
    """Layers of a stage that nobody chose, and two inputs that could be the image: it is said all the same."""
    (toy / "staged.prototxt").write_text(
        TRAINING.replace("TEST", 'TEST stage: "val"') % "mean_value: 9" + TOY.split("\n", 3)[3]
    )
    code, printed, said = ran("preprocess", toy / "staged.prototxt", "--scale", "2")
    assert (code, printed.splitlines()[0]) == (
        0,
        "preprocessing: BGR, (0..255 minus 9) times 2, warped to the input "
        f"({toy / 'staged.prototxt'}: the transform_param of layer 'images'; --scale 2)",
    )
    assert "warning: layer 'conv' (Convolution): no layer before it makes its bottom 'data'" in said
    two = TOY.replace('top: "data" input', 'top: "data" top: "near" input') + (
        'layer { name: "sum" type: "Eltwise" bottom: "data" bottom: "near" top: "sum" }'
    )
    (toy / "two.prototxt").write_text(two)
    first = here("preprocess", toy / "two.prototxt", "--mean", toy / "m.binaryproto").splitlines()[0]
    assert first.startswith(
        "preprocessing: BGR, (0..255 minus m.binaryproto (8 x 8)), warped to 8 x 8, centre crop"
    )


def test_given_shapes_tell_the_order(toy: Path) -> None:
    """A data layer says nothing of channels, which its database has."""
    (toy / "train.prototxt").write_text(TRAINING % "scale: 0.00390625" + TOY.split("\n", 3)[3])
    words = "preprocess", toy / "train.prototxt", "--json", "--input"
    assert [json.loads(here(*words, f"data=1x{n}x8x8"))["channel_order"] for n in (1, 3)] == ["GRAY", "BGR"]


# --- raw_scale -------------------------------------------------------------------------------


@pytest.mark.parametrize("raw", [1, 255, 2.5, -1])
def test_raw_scale_is_folded_exactly(tmp_path: Path, raw: float) -> None:
    """(x * raw_scale - mean) * scale, for pixels x of 0..1."""
    np.save(tmp_path / "m.npy", MEAN)
    (tmp_path / "a.toml").write_text(f'mean = "m.npy"\nraw_scale = {raw}\nscale = 0.3\nresize = false')
    made = Preprocess.from_toml(tmp_path / "a.toml").to_caffe(PHOTO, (3, 8, 8))
    expected = ((PHOTO / 255).transpose(2, 0, 1)[::-1] * raw - MEAN) * 0.3
    np.testing.assert_allclose(made, expected, atol=1e-4)


def test_raw_scale_leaves_a_mean_in_pixels(tmp_path: Path) -> None:
    """An image file is in 0..255 whatever else is said, and so is the default."""
    written(tmp_path / "m.png")
    (tmp_path / "a.toml").write_text('mean = "m.png"\nraw_scale = 1')
    assert Preprocess.from_toml(tmp_path / "a.toml") == Preprocess(mean=MEAN, scale=1 / 255, resize=SIDE)
    (tmp_path / "a.toml").write_text("raw_scale = 1")
    assert Preprocess.from_toml(tmp_path / "a.toml") == Preprocess(scale=1 / 255)


# --- arrays in place of images ---------------------------------------------------------------

ARRAYS = {
    "bytes": PHOTO, "shares": (PHOTO / 255).astype(np.float64), "blob": pixels_by_hand(9),
    "whole numbers": pixels_by_hand(9).astype(np.int64),
}  # fmt: skip


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_are_blobs_or_images(toy: Path, engine: str, name: str) -> None:
    np.save(toy / "a.npy", ARRAYS[name])
    how = Preprocess(mean=9, resize=None)
    network = Network(toy / "deploy.prototxt", toy / "net.caffemodel", how, engine)
    found = cv.classify(network, toy / "a.npy").answers[0].guesses
    expected = answer(toy, pixels_by_hand(9), engine)
    assert [x.value for x in sorted(found)] == pytest.approx(list(expected), rel=1e-4)


@pytest.mark.parametrize("grey", [PHOTO[..., 0], PHOTO[..., :1], PHOTO[:5, :, 0] / 255])
def test_grey_arrays(toy: Path, grey: Any) -> None:
    network = Network(toy / "deploy.prototxt", preprocess=Preprocess(mean=0, resize=None))
    made = network.pixels(grey)
    assert np.ptp(made, axis=0).max() == 0
    if grey.shape[0] == SIDE:
        np.testing.assert_allclose(made[0], np.reshape(grey, (8, 8)), atol=1e-4)


@pytest.mark.parametrize(
    ("array", "why"),
    [
        (
            np.zeros((9, 9, 5)),
            r"the array has the shape \(9, 9, 5\); input 'data' takes \(3, 8, 8\), or an image",
        ),
        (np.zeros((3, 9, 9)), r"shape \(3, 9, 9\)"),
        (np.full((3, 8, 8), np.nan), "NaN or infinity, in 192 of its 192 values"),
        (np.ones((3, 8, 8), complex), "complex numbers"),
        (np.array(["a"]), "texts"),
        (np.array([{}]), "Python objects"),
        (PHOTO * 1.0, "0 to 1 is expected"),
    ],
)
@pytest.mark.parametrize("inside", [False, True])
def test_arrays_that_cannot_be_meant(toy: Path, array: Any, why: str, inside: bool) -> None:
    """Alone, and in a folder."""
    folder = toy / "many"
    folder.mkdir()
    np.save(folder / "a.npy", array)
    network = Network(toy / "deploy.prototxt", toy / "net.caffemodel", engine="torch")
    with pytest.raises(InputError, match=why) as error:
        cv.classify(network, folder if inside else folder / "a.npy")
    assert str(folder / "a.npy") in str(error.value)
