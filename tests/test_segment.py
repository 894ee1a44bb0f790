"""segment: the class of each pixel of images, where it lies, and what is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import ran, refused
from kinds import conv, data, layer
from PIL import Image

import caffe_viz as cv
from caffe_viz.errors import InputError
from caffe_viz.figures.palette import _apart, _as_seen, class_colours, voc_colours
from caffe_viz.figures.segments import Entry, class_map, class_map_over, with_legend
from caffe_viz.images import Preprocess
from caffe_viz.images.window import Window, window_of
from caffe_viz.netdef import NetParameter, make_blob, parse_net, write_net, write_weights
from caffe_viz.network import Network
from caffe_viz.segmentation import Dense, Meaning, dense_answer
from caffe_viz.segmentation.places import Axis, axes_of, label_map
from caffe_viz.views import segmented

pytest.importorskip("torch", reason="the engine torch is not installed")
RGB = 'channel_order = "RGB"\nmean = 0\nscale = 0.00392156862745098\nresize = false\n'
COLOURS = layer(
    "score", "Convolution", "data", more="convolution_param { num_output: 3 kernel_size: 1 bias_term: false }"
)
QUICK = ("--engine", "torch")  # where the engine does not matter
POOLED = layer("pool", "Pooling", "data", more="pooling_param { pool: AVE kernel_size: 4 stride: 4 }")


def weights_of(text: str) -> NetParameter:
    """The scores of a class are the channel of its number: what is brightest, red, green or blue."""
    out = NetParameter()
    for one in parse_net(text).layer:
        if one.type == "Convolution":
            kernel = np.eye(one.convolution_param.num_output, 3, dtype=np.float32)
            out.layer.add(name=one.name, blobs=[make_blob(kernel.reshape(-1, 3, 1, 1))])
    return out


def write(folder: Path, text: str, toml: str = RGB) -> tuple[Path, Path]:
    write_net(parse_net(text), folder / "deploy.prototxt")
    write_weights(weights_of(text), folder / "net.caffemodel")
    (folder / "preprocess.toml").write_text(toml)
    return folder / "deploy.prototxt", folder / "net.caffemodel"


def network(
    text: str, engine: str = "torch", resize: int | None = None, labels: tuple[str, ...] = ()
) -> Network:
    how = Preprocess("RGB", (0,), 1 / 255, resize, labels)
    return Network(parse_net(text), weights_of(text), how, engine)


def photograph(path: Path, height: int, width: int, edge: int) -> Path:
    """Red left of the column `edge`, green right of it."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, :edge, 0] = 255
    pixels[:, edge:, 1] = 255
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize("pooled", [False, True])
def test_each_pixel_has_its_class_at_the_size_of_the_image(tmp_path: Path, engine: str, pooled: bool) -> None:
    """Of a map of every fourth pixel, scores are read between the units, so that the edge stays where it is."""
    text = data(1, 3, 16, 16) + (POOLED + COLOURS.replace('"data"', '"pool"') if pooled else COLOURS)
    net = network(text, engine, labels=("red", "green", "blue"))
    (one,) = cv.segment(net, photograph(tmp_path / "a.png", 20, 32, 24)).images
    expected = np.repeat([[0] * 24 + [1] * 8], 20, axis=0)
    assert one.labels.dtype == np.uint8
    assert np.array_equal(one.labels, expected)
    assert [(x.name, x.pixels, x.share) for x in one.shares] == [("red", 480, 0.75), ("green", 160, 0.25)]


def test_a_map_that_padding_has_shortened_lies_where_its_receptive_fields_are(
    tmp_path: Path, engine: str
) -> None:
    """A 5 x 5 window without padding: 12 units of 16 pixels, and nothing is said of two pixels at each side."""
    blur = layer("pool", "Pooling", "data", more="pooling_param { pool: AVE kernel_size: 5 }")
    net = network(data(1, 3, 16, 16) + blur + COLOURS.replace('"data"', '"pool"'), engine)
    (one,) = cv.segment(net, photograph(tmp_path / "a.png", 16, 16, 10)).images
    inside = np.repeat([[0] * 8 + [1] * 4], 12, axis=0)  # the window's majority changes at the edge
    assert np.array_equal(one.labels[2:-2, 2:-2], inside)
    assert (np.delete(one.labels, slice(2, -2), axis=0) == 255).all()
    assert (np.delete(one.labels, slice(2, -2), axis=1) == 255).all()
    assert sum(x.share for x in one.shares) == 1


def test_the_centre_crop_is_where_it_was_cut(tmp_path: Path, engine: str) -> None:
    net = network(data(1, 3, 8, 8) + COLOURS, engine, resize=16)
    (one,) = cv.segment(net, photograph(tmp_path / "a.png", 32, 64, 40)).images
    expected = np.full((32, 64), 255)
    expected[8:24, 16:40], expected[8:24, 40:48] = 0, 1
    assert np.array_equal(one.labels, expected)


def test_where_nothing_is_said_of_how_images_get_in_the_net_sees_them_whole(tmp_path: Path) -> None:
    net = Network(parse_net(data(1, 3, 8, 8) + COLOURS), weights_of(COLOURS), engine="torch")
    image = photograph(tmp_path / "a.png", 8, 8, 4)
    assert (cv.segment(net, image).images[0].labels != 255).all()
    files = write(tmp_path, data(1, 3, 8, 8) + COLOURS, "resize = 256\n")  # as the default, but said
    words = ("--image", image, "-o", tmp_path, *QUICK)
    assert "centre crop 8 x 8" in ran("segment", *files, *words)[1]
    (tmp_path / "preprocess.toml").unlink()
    assert (
        "warped to 8 x 8 (CaffeNet's: there is no preprocess.toml beside the prototxt; the whole image)"
        in (ran("segment", *files, *words)[1])
    )


@pytest.mark.parametrize("seed", range(4))
def test_maps_by_definition(seed: int) -> None:
    """Pixel by pixel: its place among the units, the value between four of them, the highest of all channels."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(5, 4, 6)).astype(np.float32)
    axes = Axis(4, 32, 4.5, 8.0), Axis(6, 40, 3.0, 6.0)
    window, image = Window(2.0, 3.5, 20.0, 31.0), (26, 37)
    found = label_map(values, Dense("x", (1, 5, 4, 6), Meaning.SCORES, 5), axes, image, window)

    def place(pixel: int, start: float, length: float, axis: Axis) -> float | None:
        at = (pixel + 0.5 - start) / length * axis.pixels
        unit = (at - axis.first) / axis.step
        inside = 0 <= at <= axis.pixels and -0.5 <= unit <= axis.units - 0.5
        return min(max(unit, 0), axis.units - 1) if inside else None

    for y, x in np.ndindex(image):
        v = place(y, window.top, window.height, axes[0])
        u = place(x, window.left, window.width, axes[1])
        if v is None or u is None:
            assert found[y, x] == 255
            continue
        v0, u0 = min(int(v), 2), min(int(u), 4)
        between = [
            sum(
                channel[v0 + i, u0 + j] * (v - v0 if i else 1 - v + v0) * (u - u0 if j else 1 - u + u0)
                for i in (0, 1) for j in (0, 1)
            )
            for channel in values.astype(np.float64)
        ]  # fmt: skip
        best, second = sorted(between)[-1], sorted(between)[-2]
        assert best - second < 1e-5 or found[y, x] == int(np.argmax(between))


def test_numbers_of_classes_are_read_at_the_nearest_unit(tmp_path: Path, engine: str) -> None:
    """An ArgMax, of which a Crop leaves the middle: 3 classes without their scores."""
    best = layer("best", "ArgMax", "score", more="argmax_param { axis: 1 }")
    like = layer("like", "Pooling", "data", more="pooling_param { pool: MAX kernel_size: 2 stride: 2 }")
    cut = layer("cut", "Crop", "best like", more="crop_param { axis: 2 offset: 2 }")
    net = network(data(1, 3, 8, 8) + COLOURS + best + like + cut, engine)
    assert dense_answer(net).meaning is Meaning.NUMBERS
    assert dense_answer(net).classes == 3
    (one,) = cv.segment(net, photograph(tmp_path / "a.png", 8, 8, 4)).images
    expected = np.full((8, 8), 255)
    expected[2:6, 2:4], expected[2:6, 4:6] = 0, 1
    assert np.array_equal(one.labels, expected)


def test_the_image_of_several_inputs_is_chosen_by_name(tmp_path: Path, engine: str) -> None:
    other = data(1, 3, 8, 8, name="prior")
    both = layer("both", "Eltwise", "data prior") + COLOURS.replace('"data"', '"both"')
    image, prior = photograph(tmp_path / "a.png", 8, 8, 4), photograph(tmp_path / "b.png", 8, 8, 8)
    net = network(data(1, 3, 8, 8) + other + both, engine)
    (one,) = cv.segment(net, [f"data={image}", f"prior={prior}"]).images
    assert (one.labels == 0).all()  # red is 2 or 1, green 0 or 1
    with pytest.raises(InputError, match="--image NAME=FILE"):
        cv.segment(net, image)


@pytest.mark.parametrize("outputs", [1, 2])
def test_masks(tmp_path: Path, engine: str, outputs: int) -> None:
    """A sigmoid of (channel - 0.5): red is a foreground; of two, what is neither red nor green has no class."""
    score = COLOURS.replace("num_output: 3", f"num_output: {outputs}")
    shift = layer("shift", "Power", "score", more="power_param { shift: -0.5 }")
    text = data(1, 3, 6, 6) + score + shift + layer("mask", "Sigmoid", "shift")
    pixels = np.zeros((6, 6, 3), np.uint8)
    pixels[:2, :, 0] = pixels[2:4, :, 1] = pixels[4:, :, 2] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (one,) = cv.segment(network(text, engine), tmp_path / "a.png").images
    assert one.labels[::2, 0].tolist() == ([1, 0, 0] if outputs == 1 else [0, 1, 255])
    names = {x.number: x.name for x in one.shares}
    assert names == ({1: "foreground", 0: "background"} if outputs == 1 else {0: "", 1: ""})
    (named,) = cv.segment(network(text, engine, labels=("cat",)), tmp_path / "a.png").images
    assert [x.name for x in named.shares] == (["background", "cat"] if outputs == 1 else ["", ""])


def test_which_answer_says_something_of_each_pixel() -> None:
    feature = conv("feature", "data", 7, "kernel_size: 3 pad: 1")
    text = data(1, 3, 8, 8) + COLOURS + layer("prob", "Softmax", "score") + feature
    net = network(text)
    assert dense_answer(net).blob == "prob"
    assert dense_answer(net, "feature") == Dense("feature", (1, 7, 8, 8), Meaning.SCORES, 7)
    with pytest.raises(InputError, match="blob 'nothing'"):
        dense_answer(net, "nothing")
    line = layer("only", "Convolution", "data", more="convolution_param { num_output: 1 kernel_size: 1 }")
    for ending in (line, layer("mean", "Reduction", "data", more="reduction_param { axis: 1 }")):
        with pytest.raises(InputError, match="not a class for each pixel"):
            dense_answer(network(data(1, 3, 8, 8) + ending))


def test_several_answers_are_said(tmp_path: Path) -> None:
    side = layer(
        "side",
        "Convolution",
        "data",
        more="convolution_param { num_output: 2 kernel_size: 1 bias_term: false }",
    )
    found = cv.segment(network(data(1, 3, 8, 8) + side + COLOURS), photograph(tmp_path / "a.png", 8, 8, 4))
    assert found.doubts[0].endswith("side, score: this is about score; --blob chooses")
    assert cv.segment(network(data(1, 3, 8, 8) + side + COLOURS), tmp_path / "a.png", "side").doubts == ()


def test_windows() -> None:
    assert window_of(Preprocess(resize=None), (30, 50), (8, 8)) == (0, 0, 30, 50)
    assert window_of(Preprocess(resize=10), (100, 50), (6, 4)) == (20, 15, 60, 20)


def test_maps_of_the_inputs_size_lie_on_it_and_unknown_ones_cover_it() -> None:
    padded = (
        data(1, 3, 8, 8) + conv("a", "data", 3, "kernel_size: 7 pad: 3") + POOLED.replace('"data"', '"a"')
    )
    net = network(padded)
    assert axes_of(net, dense_answer(net, "a")) == (Axis(8, 8, 0.5, 1.0),) * 2
    assert axes_of(net, dense_answer(net, "pool")) == (Axis(2, 8, 2.0, 4.0),) * 2
    lost = layer("mixed", "Reshape", "data", more="reshape_param { shape { dim: 1 dim: 12 dim: 4 dim: 4 } }")
    net = network(data(1, 3, 8, 8) + COLOURS + lost.replace('"data"', '"score"'))
    assert axes_of(net, dense_answer(net)) == (Axis(4, 8, 1.0, 2.0),) * 2


class TestCommand:
    """What it prints and writes."""

    def test_files(self, tmp_path: Path, engine: str) -> None:
        (tmp_path / "labels.txt").write_text("background\ngrass\nsky")
        files = write(tmp_path, data(1, 3, 8, 8) + COLOURS)
        (tmp_path / "photos").mkdir()
        photograph(tmp_path / "photos" / "a.png", 40, 60, 30)
        (tmp_path / "photos" / "b.png").write_text("no image")
        photograph(tmp_path / "photos" / "c.png", 8, 8, 0)
        code, said, errors = ran(
            "segment", *files, "--image", tmp_path / "photos", "-o", tmp_path / "out", "--engine", engine
        )
        assert code == 0
        assert errors.count("\n") == 1
        assert "skipped: " in errors
        assert " 50.00 %  0  background\n 50.00 %  1  grass\n" in said
        names = {path.name for path in (tmp_path / "out").iterdir()}
        assert names == {f"{stem}_{what}.png" for stem in "ac" for what in ("segments", "classes", "labels")}
        with Image.open(tmp_path / "out" / "a_labels.png") as image:
            assert (image.mode, image.size) == ("P", (60, 40))
            assert np.array_equal(np.asarray(image), np.repeat([[0] * 30 + [1] * 30], 40, axis=0))
            assert image.getpalette()[:9] == [0, 0, 0, 128, 0, 0, 0, 128, 0]  # PASCAL VOC's
        over = np.asarray(Image.open(tmp_path / "out" / "a_segments.png"))
        assert over[20, 20].tolist() == [255, 0, 0]  # the background shows the image, enlarged 7 times

    def test_json(self, tmp_path: Path) -> None:
        files = write(tmp_path, data(1, 3, 8, 8) + COLOURS)
        code, said, _ = ran(
            "segment",
            *files,
            "--image",
            photograph(tmp_path / "a.png", 4, 8, 2),
            "-o",
            tmp_path,
            *QUICK,
            "--json",
        )
        made = json.loads(said)
        assert code == 0
        assert made["blob"] == "score"
        (one,) = made["images"]
        assert (one["height"], one["width"], one["void"]) == (4, 8, 255)
        assert one["classes"] == [
            {"index": 1, "label": "", "pixels": 24, "share": 0.75},
            {"index": 0, "label": "", "pixels": 8, "share": 0.25},
        ]
        assert [Path(path).name for path in one["files"]] == [
            "a_segments.png",
            "a_classes.png",
            "a_labels.png",
        ]

    def test_ctrl_c_keeps_what_is_finished(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        files = write(tmp_path, data(1, 3, 8, 8) + COLOURS)
        images = [photograph(tmp_path / f"{name}.png", 8, 8, 4) for name in "ab"]
        save, done = segmented.save_segmented, list[str]()

        def stopping(one: Any, folder: Path, stem: str) -> list[Path]:
            if done:
                raise KeyboardInterrupt
            done.append(stem)
            return save(one, folder, stem)

        monkeypatch.setattr(segmented, "save_segmented", stopping)
        words = [word for image in images for word in ("--image", image)]
        code, said, errors = ran("segment", *files, *words, "-o", tmp_path / "out", *QUICK, "--json")
        assert code == 130
        assert errors == "interrupted after 1 images\n"
        assert [Path(one["image"]).name for one in json.loads(said)["images"]] == ["a.png"]
        assert len(list((tmp_path / "out").iterdir())) == 3

    def test_what_cannot_be_is_one_line(self, tmp_path: Path) -> None:
        files = write(tmp_path, data(1, 3, 8, 8) + COLOURS)
        (tmp_path / "bad.png").write_text("no image")
        image = photograph(tmp_path / "a.png", 8, 8, 4)
        for words, reason in {
            ("--image", tmp_path / "bad.png"): "bad.png is not an image",
            ("--image", image, "--blob", "scor"): "scor",
            ("--image", tmp_path / "none.png"): "there is no such image",
        }.items():
            said = refused("segment", *files, *words, "-o", tmp_path / "out", *QUICK)
            assert reason in said
            assert said.count("\n") == 1

    def test_labels_that_do_not_fit_are_doubted(self, tmp_path: Path) -> None:
        (tmp_path / "few.txt").write_text("a\nb")
        files = write(tmp_path, data(1, 3, 8, 8) + COLOURS, RGB + 'labels = "few.txt"\n')
        image = photograph(tmp_path / "a.png", 8, 8, 4)
        assert (
            "labels names 2 classes, the net has 3"
            in ran("segment", *files, "--image", image, "-o", tmp_path, *QUICK)[2]
        )


def test_many_classes_have_16_bits(tmp_path: Path) -> None:
    many = layer("many", "Tile", "score", more="tile_param { axis: 1 tiles: 100 }")
    found = cv.segment(network(data(1, 3, 8, 8) + COLOURS + many), photograph(tmp_path / "a.png", 8, 8, 4))
    assert found.images[0].void == 65535
    found.save(tmp_path)
    with Image.open(tmp_path / "a_labels.png") as image:
        assert image.mode == "I;16"
        assert np.array_equal(np.asarray(image), np.repeat([[0] * 4 + [1] * 4], 8, axis=0))


def test_arrays_of_other_channels_have_no_image_below(tmp_path: Path) -> None:
    score = COLOURS.replace("num_output: 3", "num_output: 2")
    text = data(1, 5, 6, 6) + score
    kernel = np.zeros((2, 5, 1, 1), np.float32)
    kernel[0, 4] = kernel[1, 2] = 1
    weights = NetParameter()
    weights.layer.add(name="score", blobs=[make_blob(kernel)])
    array = np.zeros((5, 6, 6), np.float32)
    array[4, :3] = array[2, 3:] = 1
    np.save(tmp_path / "x.npy", array)
    found = cv.segment(Network(parse_net(text), weights, engine="torch"), tmp_path / "x.npy")
    assert found.images[0].rgb is None
    assert found.images[0].labels[:, 0].tolist() == [0, 0, 0, 1, 1, 1]
    assert found.over().shape == found.alone().shape


class TestFigures:
    """Colours and legends."""

    def test_vocs_colours(self) -> None:
        """The first five and the last of the 21 as the kit lists them."""
        found = np.rint(voc_colours(21) * 255).astype(int).tolist()
        assert found[:5] == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128]]
        assert found[20] == [0, 64, 128]

    @pytest.mark.parametrize(("count", "least"), [(8, 15), (21, 12), (64, 7)])
    def test_colours_are_apart_for_everybody(self, count: int, least: float) -> None:
        """In CIELAB, where 2.3 is a difference just seen; PASCAL VOC's 21 are 1 apart to some."""
        seen = _as_seen(class_colours(count).astype(np.float64))
        pairs = np.array([_apart(seen, seen[:, k]) for k in range(count)]) + 1000 * np.eye(count)
        assert pairs.min() > least
        assert np.array_equal(class_colours(count), class_colours(200)[:count])

    def test_maps_over_images(self) -> None:
        rgb = np.full((2, 3, 3), 0.5, np.float32)
        labels = np.array([[0, 1, 1], [0, 1, 9]], np.uint8)
        colours = np.array([[0, 0, 0], [1, 0, 0]], np.float32)
        assert class_map(labels, colours)[1].tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 1]]
        over = class_map_over(rgb, labels, colours, [0])
        assert over[0, 1] == pytest.approx([0.8, 0.2, 0.2])  # 0.4 of grey 0.5, 0.6 of red
        assert (over[0, 0] > 0.9).all()  # a line between two classes
        plain = class_map_over(rgb, np.zeros((2, 3), np.uint8), colours, [0])
        assert np.array_equal(plain, rgb)
        for wrong in (labels[0], labels.astype(float)):
            with pytest.raises(InputError, match="whole numbers"):
                class_map(wrong, colours)
        with pytest.raises(InputError, match="one size"):
            class_map_over(rgb[:1], labels, colours)

    def test_long_legends_are_cut(self) -> None:
        image = np.ones((20, 300, 3), np.float32)
        entries = [Entry((1, 0, 0), f"class {n}") for n in range(100)]
        few, many = with_legend(image, entries[:31]), with_legend(image, entries)
        assert few.shape == many.shape
        assert with_legend(image, []).shape[0] < few.shape[0]


def test_nets_whose_authors_say_where_their_maps_lie() -> None:
    """FCN-32s crops 19 pixels off its enlarged scores; U-Net's answer is 92 pixels smaller on each side."""
    pool = "pooling_param { pool: MAX kernel_size: 2 stride: 2 }"

    fcn, below = data(1, 3, 500, 500), "data"
    for n, convs in enumerate((2, 2, 3, 3, 3)):
        for k in range(convs):
            fcn += conv(f"c{n}{k}", below, 1, f"kernel_size: 3 pad: {100 if n == k == 0 else 1}")
            below = f"c{n}{k}"
        fcn += layer(f"p{n}", "Pooling", below, more=pool)
        below = f"p{n}"
    up = "convolution_param { num_output: 21 kernel_size: 64 stride: 32 }"
    fcn += conv("fc6", below, 1, "kernel_size: 7") + layer("up", "Deconvolution", "fc6", more=up)
    net = network(fcn)
    down, across = axes_of(net, dense_answer(net))
    assert down == across
    assert (down.units, down.first - 0.5, down.step) == (544, -19, 1)

    unet, below = data(1, 3, 572, 572), "data"
    for n in range(5):
        unet += conv(f"a{n}", below, 1, "kernel_size: 3") + conv(f"b{n}", f"a{n}", 1, "kernel_size: 3")
        unet += layer(f"q{n}", "Pooling", f"b{n}", more=pool) if n < 4 else ""
        below = f"q{n}"
    below = "b4"
    for n in (3, 2, 1, 0):
        unet += layer(
            f"u{n}",
            "Deconvolution",
            below,
            more="convolution_param { num_output: 1 kernel_size: 2 stride: 2 }",
        )
        offset = (4, 16, 40, 88)[3 - n]
        unet += layer(f"k{n}", "Crop", f"b{n} u{n}", more=f"crop_param {{ axis: 2 offset: {offset} }}")
        unet += layer(f"j{n}", "Concat", f"u{n} k{n}")
        unet += conv(f"d{n}", f"j{n}", 1, "kernel_size: 3") + conv(f"e{n}", f"d{n}", 1, "kernel_size: 3")
        below = f"e{n}"
    two = "convolution_param { num_output: 2 kernel_size: 1 }"
    net = network(unet + layer("score", "Convolution", below, more=two))
    down, across = axes_of(net, dense_answer(net))
    assert down == across
    assert (down.units, down.first - 0.5, down.step) == (388, 92, 1)
