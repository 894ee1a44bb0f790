"""classify: what a net sees in images, and whether its preprocessing looks wrong."""

from __future__ import annotations

import json
import shutil
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import completed
from PIL import Image

from caffe_viz.classification import Classifier
from caffe_viz.classification.crops import ten_crops
from caffe_viz.classification.preprocessing_checks import check_input
from caffe_viz.cli import main
from caffe_viz.deploying import preprocess_near
from caffe_viz.errors import InputError
from caffe_viz.images import ImageCollection, Preprocess
from caffe_viz.netdef import NetParameter, make_blob, write_weights
from caffe_viz.network import Network
from caffe_viz.tasks import cut
from caffe_viz.views.classified import classify

REPOSITORY = Path(__file__).resolve().parent.parent
CAT = REPOSITORY / "examples" / "cat.png"
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
# Scores are the mean red, green and blue of an image in 0..1, times 4.
TOY = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 10 dim: 3 dim: 8 dim: 8 } } }
layer { name: "mean" type: "Pooling" bottom: "data" top: "mean" pooling_param { pool: AVE global_pooling: true } }
layer { name: "score" type: "InnerProduct" bottom: "mean" top: "score" inner_product_param { num_output: 3 } }
layer { name: "prob" type: "Softmax" bottom: "score" top: "prob" }
"""
TOML = 'channel_order = "BGR"\nmean = 0\nscale = 0.00392156862745098\nresize = false\nlabels = "labels.txt"\n'


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A folder with the toy net, which takes BGR, and one image of each colour in images/."""
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / "deploy.prototxt").write_text(TOY)
    (folder / "preprocess.toml").write_text(TOML)
    (folder / "labels.txt").write_text("red\ngreen\nblue\n")
    weights = NetParameter()
    matrix = 4 * np.eye(3, dtype=np.float32)[::-1]
    weights.layer.add(name="score", blobs=[make_blob(matrix), make_blob(np.zeros(3, np.float32))])
    write_weights(weights, folder / "net.caffemodel")
    (folder / "images" / "deep").mkdir(parents=True)
    for name, colour in COLOURS.items():
        place = folder / "images" / ("deep" if name == "blue" else "")
        Image.new("RGB", (10, 9), colour).save(place / f"{name}.png")
    return folder


def network(folder: Path, engine: str, **changes: Any) -> Network:
    net = folder / "deploy.prototxt"
    return Network(net, folder / "net.caffemodel", replace(preprocess_near(net), **changes), engine)


run = completed


def test_no_more_than_the_top_classes_come_from_a_worker(toy: Path, engine: str) -> None:
    """(n, 2, k): their numbers, then their values."""
    run = Classifier(network(toy, engine), ImageCollection.of(toy / "images"), top=2)
    (piece,) = cut(run.collection, [range(3)])
    (batch,) = run._work.open()(piece)
    assert batch.values["prob"].shape == (3, 2, 2)
    assert batch.values["prob"][:, 0].tolist() == [[1, 0], [0, 1], [2, 0]]
    assert (batch.values["prob"][:, 1, 0] > 0.9).all()


def test_colours_are_told_apart(toy: Path, engine: str) -> None:
    found = classify(network(toy, engine), toy / "images", top=2)
    named = [(Path(a.image).name, a.guesses[0].label, a.guesses[0].number) for a in found.answers]
    assert named == [("green.png", "green", 1), ("red.png", "red", 0), ("blue.png", "blue", 2)]
    expected = np.exp(4) / (np.exp(4) + 2)  # the softmax of (4, 0, 0)
    assert [a.guesses[0].value for a in found.answers] == pytest.approx([expected] * 3, rel=1e-5)
    assert all(len(a.guesses) == 2 for a in found.answers)
    assert (found.unit, found.engine) == ("probabilities", engine)
    assert found.doubts == ()
    assert "BGR, (0..255 minus 0) times 0.00392157, warped to 8 x 8" in repr(found)


def test_many_images_are_as_each_alone(toy: Path, engine: str) -> None:
    """More than a batch, the last one not full, with damaged ones between."""
    folder = toy / "many"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for n in range(75):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / f"{n:02d}.png")
    for n in (0, 31, 32, 74):
        (folder / f"{n:02d}.png").write_bytes(b"damaged")
    net = network(toy, engine)
    answers = classify(net, folder).answers
    assert [n for n, a in enumerate(answers) if a.failed] == [0, 31, 32, 74]
    for n in (1, 33, 73):
        alone = classify(net, folder / f"{n:02d}.png").answers[0]
        assert alone.image == answers[n].image
        assert [g.number for g in alone.guesses] == [g.number for g in answers[n].guesses]
        assert [g.value for g in alone.guesses] == pytest.approx(
            [g.value for g in answers[n].guesses], rel=1e-5
        )


def test_ten_crops_are_those_of_pycaffe(caffe: Any) -> None:
    rgb = np.random.default_rng(0).random((16, 16, 3)).astype(np.float32)
    preprocess = Preprocess("RGB", (0,), 1 / 255, resize=16)
    theirs = caffe.io.oversample([rgb], (11, 8))
    np.testing.assert_allclose(
        ten_crops(preprocess, rgb, (3, 11, 8)), theirs.transpose(0, 3, 1, 2), atol=1e-6
    )


def test_oversampling_is_the_mean_of_ten(toy: Path, engine: str) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (12, 12, 3), np.uint8)
    Image.fromarray(pixels).save(toy / "a.png")
    net = network(toy, engine, resize=12)
    made = classify(net, toy / "a.png", oversample=True).answers[0]
    rgb = pixels.astype(np.float64) / 255
    corners = [(0, 0), (0, 4), (4, 0), (4, 4), (2, 2)]
    scores = np.array([4 * rgb[y : y + 8, x : x + 8].mean((0, 1)) for y, x in corners])  # mirrored: the same
    expected = (np.exp(scores) / np.exp(scores).sum(1, keepdims=True)).mean(0)
    assert {g.number: g.value for g in made.guesses} == pytest.approx(dict(enumerate(expected)), rel=1e-5)
    centre = classify(net, toy / "a.png").answers[0].guesses
    alone = np.exp(scores[4]) / np.exp(scores[4]).sum()
    assert {g.number: g.value for g in centre} == pytest.approx(dict(enumerate(alone)), rel=1e-5)
    with pytest.raises(InputError, match="resize is false"):
        classify(network(toy, engine), toy / "a.png", oversample=True)


def test_the_mirror_images_count(toy: Path, engine: str) -> None:
    """A net that looks at the left column alone sees both sides of an image."""
    text = TOY.replace('type: "Pooling" bottom: "data" top: "mean" pooling_param { pool: AVE global_pooling: true }',
                       'type: "Slice" bottom: "data" top: "mean" top: "rest" slice_param { axis: 3 slice_point: 1 }')  # fmt: skip
    (toy / "deploy.prototxt").write_text(text)
    matrix = np.zeros((3, 3, 8), np.float32)
    matrix[0, 2] = 1 / 8  # class 0: the mean red of the left column
    weights = NetParameter()
    weights.layer.add(
        name="score", blobs=[make_blob(matrix.reshape(3, 24)), make_blob(np.zeros(3, np.float32))]
    )
    write_weights(weights, toy / "net.caffemodel")
    image = np.zeros((12, 12, 3), np.uint8)
    image[:, 6:, 0] = 255
    Image.fromarray(image).save(toy / "a.png")
    made = classify(network(toy, engine, resize=12), toy / "a.png", oversample=True).answers[0]
    # Left columns of the crops: 0, 4, 0, 4, 2, all black; those of the mirrored ones: 7, 11, 7, 11, 9, all red.
    expected = (1 / 3 + np.e / (np.e + 2)) / 2
    assert {g.number: g.value for g in made.guesses}[0] == pytest.approx(expected, rel=1e-5)


def test_archives_and_folders_in_them(toy: Path) -> None:
    archive = toy / "a.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for name in ("z/red.png", "a/green.png", "a/deep/blue.png"):
            source = next((toy / "images").rglob(Path(name).name))
            file.write(source, name)
        file.writestr("a/readme.txt", "no image")
        file.writestr("__MACOSX/a/green.png", "no image either")
        file.writestr("../out.png", (toy / "images" / "red.png").read_bytes())
    assert [Path(e.member).name for e in ImageCollection.of(archive / "a").entries] == [
        "blue.png",
        "green.png",
    ]
    collection = ImageCollection.of(archive / "z", toy / "images" / "green.png")
    assert [collection.load(n)[0, 0].tolist() for n in range(2)] == [[1, 0, 0], [0, 1, 0]]
    assert collection.digest != ImageCollection.of(archive / "a").digest
    assert len(ImageCollection.of(archive)) == 3  # hidden ones are left out, and so is what points out of it
    for source, words in {
        archive / "b": "no images in 'b'", toy / "nothing": "no such image, folder or archive",
        toy / "labels.txt" / "x": "no such image",
    }.items():  # fmt: skip
        with pytest.raises(InputError, match=words):
            ImageCollection.of(source)
    empty = toy / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="holds no images"):
        ImageCollection.of(empty)


def test_a_damaged_archive_is_one_image_less(toy: Path) -> None:
    archive = toy / "a.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(toy / "images" / "red.png", "red.png")
    data = bytearray(archive.read_bytes())
    data[60] ^= 255  # within the member's content
    archive.write_bytes(bytes(data))
    with pytest.raises(InputError, match=r"red\.png cannot be unpacked: Bad CRC-32"):
        ImageCollection.of(archive).load(0)


def test_names_cannot_write_on_the_terminal(toy: Path) -> None:
    shutil.copy(toy / "images" / "red.png", toy / "images" / "red\x1b[2J\n.png")
    done = run("classify", toy / "deploy.prototxt", toy / "net.caffemodel", "--image", toy / "images")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert "red\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}.png" in done.stdout


def odd_images(folder: Path) -> set[str]:
    """Images of every kind; returns the names of those that are none."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (9, 7), np.uint8)
    Image.fromarray(grey).save(folder / "grey.png")
    Image.fromarray(np.dstack([grey] * 4)).save(folder / "alpha.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(folder / "sixteen.png")
    Image.fromarray(grey).convert("1").save(folder / "black_white.png")
    Image.new("RGB", (1, 1), (9, 200, 9)).save(folder / "one.png")
    Image.new("RGB", (3000, 1), (9, 200, 9)).save(folder / "wide.png")
    Image.fromarray(grey).convert("CMYK").save(folder / "cmyk.jpg")
    whole = (folder / "cmyk.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("no image")
    (folder / "link.png").symlink_to(folder / "nowhere")
    return {"cut.jpg", "empty.png", "text.png", "link.png"}


def test_odd_images_work_or_are_passed_over(toy: Path) -> None:
    bad = odd_images(toy / "odd")
    arguments = (
        "classify",
        toy / "deploy.prototxt",
        toy / "net.caffemodel",
        "--image",
        toy / "odd",
        "--json",
    )
    done = run(*arguments)
    made = json.loads(done.stdout)
    assert done.returncode == 0
    assert {Path(x["image"]).name for x in made["images"] if "failed" in x} == bad
    assert len(made["images"]) == 11
    assert done.stderr.count("\n") == done.stderr.count("skipped: ") == len(bad)
    assert all(np.isfinite([g["value"] for g in x.get("top", [])]).all() for x in made["images"])
    one = next(x for x in made["images"] if x["image"].endswith("one.png"))
    assert one["top"][0]["label"] == "green"


@pytest.mark.parametrize("name", ["cut.jpg", "empty.png", "text.png", "link.png", "none.png"])
def test_a_damaged_image_alone_is_one_line_and_exit_code_2(
    toy: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    odd_images(toy / "odd")
    files = [str(toy / part) for part in ("deploy.prototxt", "net.caffemodel")]
    monkeypatch.setattr(sys, "argv", ["caffe-viz", "classify", *files, "--image", str(toy / "odd" / name)])
    with pytest.raises(SystemExit) as done:
        main()
    words = capsys.readouterr().err
    assert done.value.code == 2
    assert words.count("\n") == 1
    assert name in words


def test_the_command_says_the_preprocessing(toy: Path) -> None:
    arguments = (
        "classify",
        toy / "deploy.prototxt",
        toy / "net.caffemodel",
        "--image",
        toy / "images/red.png",
    )
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    first, second, name, best, *_ = done.stdout.splitlines()
    assert first == (
        f"preprocessing: BGR, (0..255 minus 0) times 0.00392157, warped to 8 x 8 ({toy / 'preprocess.toml'})"
    )
    assert second.startswith("values: probabilities; engine: ")
    assert name == str(toy / "images/red.png")
    assert best.split()[1:] == ["0", "red"]
    assert done.stderr == ""
    made = json.loads(run(*arguments, "--json", "--top", 1).stdout)
    assert made["preprocess"]["channel_order"] == "BGR"
    assert made["warnings"] == []
    assert [g["label"] for g in made["images"][0]["top"]] == ["red"]
    (toy / "preprocess.toml").unlink()
    done = run(*arguments)
    assert "CaffeNet's: there is no preprocess.toml" in done.stdout
    assert "warning: resize is 256, so the net sees 0 % of an image" in done.stderr


def test_a_net_without_classes_is_refused(toy: Path) -> None:
    (toy / "deploy.prototxt").write_text(TOY.splitlines()[1] + """
    layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 3 kernel_size: 3 } }
    """)  # fmt: skip
    weights = NetParameter()
    weights.layer.add(
        name="conv", blobs=[make_blob(np.ones((3, 3, 3, 3), np.float32)), make_blob(np.ones(3, np.float32))]
    )
    write_weights(weights, toy / "net.caffemodel")
    done = run("classify", toy / "deploy.prototxt", toy / "net.caffemodel", "--image", toy / "images")
    assert done.returncode == 2
    assert "ends in 'conv' of (1, 3, 6, 6)" in done.stderr


def shipped(networks: Path, engine: str, **changes: Any) -> Network:
    folder = networks / "caffenet_cifar10"
    net = folder / "deploy.prototxt"
    preprocess = replace(preprocess_near(net), **changes)
    return Network(net, folder / "caffenet_cifar10.caffemodel", preprocess, engine)


def doubts(net: Network, *images: Path) -> tuple[str, ...]:
    return Classifier(net, ImageCollection.of(*images)).doubts


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"mean": (128.0,)}, ""),
        ({"scale": 1 / 64 / 255}, "scale seems too small"),
        ({"scale": 1 / 64 / 64}, "scale seems too small"),
        ({"scale": 255 / 64}, "scale seems too large"),
        ({"mean": (0.45, 0.48, 0.49)}, "give 255 times it"),
        ({"mean": (125.3, 123.0, 113.9)}, "the mean may be in the other order"),
        ({"channel_order": "RGB"}, "the mean may be in the other order"),
        ({"mean": (0.0,), "scale": 1.0}, "no mean is subtracted"),
        ({"resize": 256}, "sees 2 % of an image"),
        ({"labels": ("a", "b")}, "labels names 2 classes, the net has 10"),
    ],
)
def test_doubts(networks: Path, changes: dict[str, Any], words: str) -> None:
    found = doubts(shipped(networks, "auto", **changes), CAT)
    if words:
        assert any(words in doubt for doubt in found), found
    else:
        assert found == ()


def test_blank_images_raise_no_doubt_about_the_scale(networks: Path, engine: str, tmp_path: Path) -> None:
    for grey in (0, 114, 255):
        Image.new("RGB", (32, 32), (grey,) * 3).save(tmp_path / f"{grey}.png")
    assert doubts(shipped(networks, engine), tmp_path) == ()


def test_pixels_of_0_to_1_for_a_net_of_0_to_255() -> None:
    pixels = np.random.default_rng(0).random((2, 3, 8, 8)).astype(np.float32)
    found = list(check_input(lambda x: x.mean((2, 3)), pixels, 1.0, orders=False))
    assert len(found) == 1
    assert "is it 0..1 where 0..255 is wanted?" in found[0]


def test_a_net_that_is_always_sure_raises_no_doubt(toy: Path, engine: str, tmp_path: Path) -> None:
    """One class has a large bias: a blue image is answered as a blank one is, and the scale is right."""
    matrix = 4 * np.eye(3, dtype=np.float32)[::-1]
    weights = NetParameter()
    weights.layer.add(name="score", blobs=[make_blob(matrix), make_blob(np.array([12, 0, 0], np.float32))])
    write_weights(weights, toy / "net.caffemodel")
    pixels = np.random.default_rng(0).integers(0, 99, (8, 8, 3), np.uint8) + np.array([0, 0, 150], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "blue.png")
    assert doubts(network(toy, engine), tmp_path / "blue.png") == ()


@pytest.fixture(scope="session")
def cifar(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 200 test images of CIFAR-10, 20 of each class."""
    folder = tmp_path_factory.mktemp("cifar")
    with zipfile.ZipFile(shared / "data" / "cifar10-jpeg.zip") as archive:
        for name in archive.namelist():
            if name.startswith("test/") and name.endswith(".jpg") and int(Path(name).stem) < 20:
                archive.extract(name, folder)
    return folder


def test_most_of_the_shipped_networks_answers_are_right(networks: Path, engine: str, cifar: Path) -> None:
    found = classify(shipped(networks, engine), cifar, top=1)
    right = [Path(a.image).parent.name == a.guesses[0].label for a in found.answers]
    assert len(right) == 200
    assert np.mean(right) > 0.8
    assert found.doubts == ()


def test_the_channel_order_is_doubted_over_many_photographs(networks: Path, engine: str, cifar: Path) -> None:
    words = "the net is clearly more confident with red and blue swapped: the channel order seems wrong"
    swapped = {"channel_order": "RGB", "mean": (125.3, 123.0, 113.9)}
    assert doubts(shipped(networks, engine, **swapped), cifar) == (words,)


def test_networks_trained_elsewhere_answer_and_raise_no_doubt(
    shared: Path, cifar: Path, tmp_path: Path
) -> None:
    """As each was trained: Caffe's own CIFAR-10 files are RGB, which the doubts find by themselves."""
    models = shared / "models"
    squeezenet = Preprocess("BGR", (104, 117, 123), resize=None)
    quick = Preprocess("RGB", (125.3, 123.0, 113.9), resize=None, antialias=True)
    lenet = Preprocess("GRAY", (0,), 1 / 256, resize=None)
    digit = np.zeros((28, 28), np.uint8)
    digit[4:24, 12:16] = 255
    Image.fromarray(digit).save(tmp_path / "1.png")

    def of(name: str, preprocess: Preprocess) -> Network:
        folder = models / name
        return Network(folder / "deploy.prototxt", next(folder.glob("*.caffemodel")), preprocess)

    photographs = sorted((shared / "images").glob("ILSVRC*.jpg"))
    found = classify(of("squeezenet_v1.0", squeezenet), photographs, top=1)
    assert found.doubts == ()
    assert [a.guesses[0].number for a in found.answers] == [290, 407, 515]
    assert found.unit == "scores"
    assert doubts(of("cifar10_quick_v1", quick), cifar) == ()
    assert doubts(of("lenet_mnist_v1", lenet), tmp_path / "1.png") == ()
    bgr = replace(quick, channel_order="BGR", mean=(113.9, 123.0, 125.3))
    assert "the channel order seems wrong" in doubts(of("cifar10_quick_v1", bgr), cifar)[0]
