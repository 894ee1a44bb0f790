"""detect: boxes of every kind of net, by definition, by real Caffe's layers and by OpenCV."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import ran, refused
from kinds import data, fc, layer, softmax
from numpy.typing import NDArray
from PIL import Image

import caffe_viz as cv
from caffe_viz.detection import Detector, Found, decoder_of
from caffe_viz.detection.anchors import KNOWN, read_anchors
from caffe_viz.detection.boxes import MOST, overlaps, suppressed
from caffe_viz.detection.decoder import Classes
from caffe_viz.detection.yolo import _sigmoid, read_grid
from caffe_viz.errors import InputError
from caffe_viz.figures.boxes import Frame, framed
from caffe_viz.images import ImageCollection, Labels, Preprocess
from caffe_viz.netdef import NetParameter, make_blob, parse_net, write_net, write_weights
from caffe_viz.network import Network
from caffe_viz.parity import seeded_weights

pytest.importorskip("torch", reason="the engine torch is not installed")

Array = NDArray[Any]
RGB = 'channel_order = "RGB"\nmean = 0\nscale = 0.00392156862745098\nresize = false\n'
SIDE = 32  # pixels of the toy nets' inputs


def network(text: str, weights: NetParameter | None = None, engine: str = "torch", **how: Any) -> Network:
    net = parse_net(text)
    given = {"resize": None} | how
    return Network(net, weights or seeded_weights(net, 1), Preprocess("RGB", (0,), 1 / 255, **given), engine)


def point(name: str, bottom: str, outputs: int) -> str:
    return layer(
        name, "Convolution", bottom, more=f"convolution_param {{ num_output: {outputs} kernel_size: 1 }}"
    )


def pooled(stride: int, name: str = "pool") -> str:
    more = f"pooling_param {{ pool: AVE kernel_size: {stride} stride: {stride} }}"
    return layer(name, "Pooling", "data", more=more)


def rows(name: str, bottom: str) -> str:
    """Channels behind units, then one row, as SSD's files have it."""
    order = "permute_param { order: 0 order: 2 order: 3 order: 1 }"
    return layer(f"{name}_perm", "Permute", bottom, more=order) + layer(name, "Flatten", f"{name}_perm")


SSD = (
    data(1, 3, SIDE, SIDE) + pooled(8) + point("loc", "pool", 4) + rows("locs", "loc") + point("conf", "pool", 3)
    + layer("conf_perm", "Permute", "conf", more="permute_param { order: 0 order: 2 order: 3 order: 1 }")
    + layer("each", "Reshape", "conf_perm", more="reshape_param { shape { dim: 0 dim: -1 dim: 3 } }")
    + softmax("each", more="softmax_param { axis: 2 }") + layer("confs", "Flatten", "prob")
    + layer("prior", "PriorBox", "pool data",
            more="prior_box_param { min_size: 8 clip: false variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2 }")
    + layer("found", "DetectionOutput", "locs confs prior", more="detection_output_param { num_classes: 3 "
            "background_label_id: 0 share_location: true code_type: CENTER_SIZE confidence_threshold: 0.1 "
            "nms_param { nms_threshold: 0.4 top_k: 50 } keep_top_k: 50 }")
)  # fmt: skip


def ssd_weights() -> NetParameter:
    """Class 1 where it is red, 2 where it is green; each box twice as wide as its prior, shifted down by half."""
    out = NetParameter()
    codes = np.array(
        [0, 5, np.log(2) / 0.2, 0], np.float32
    )  # the second times the variance 0.1 is half a side
    out.layer.add(name="loc", blobs=[make_blob(np.zeros((4, 3, 1, 1), np.float32)), make_blob(codes)])
    kernel = np.zeros((3, 3, 1, 1), np.float32)
    kernel[1, 0] = kernel[2, 1] = 8
    out.layer.add(name="conf", blobs=[make_blob(kernel), make_blob(np.array([4, 0, 0], np.float32))])
    return out


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    """64 x 96: black, but red in one of 4 x 4 fields, the second row's third, and green in the last row's first."""
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[16:32, 48:72, 0] = 255
    pixels[48:64, :24, 1] = 255
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def places(found: cv.views.Detections) -> list[tuple[int, tuple[float, ...]]]:
    return [(box.number, tuple(round(x, 2) for x in box[3:])) for box in found.images[0].boxes]


class TestDetectionOutput:
    """SSD's layer, which real Caffe has too."""

    def test_boxes_are_in_pixels_of_the_image(self, photograph: Path, engine: str) -> None:
        """The red field is 24 x 16 pixels from (48, 16) on: its box is 48 wide, and 8 pixels lower."""
        net = network(SSD, ssd_weights(), engine, labels=("bus", "tree"))
        found = cv.detect(net, photograph)
        assert sorted(places(found)) == [(1, (36, 24, 84, 40)), (2, (0, 56, 36, 64))]  # the second is cut
        expected = np.exp(8) / (np.exp(8) + np.exp(4) + 1)
        assert [box.score for box in found.images[0].boxes] == pytest.approx([expected] * 2, rel=1e-5)
        assert {box.name for box in found.images[0].boxes} == {"bus", "tree"}

    def test_boxes_of_a_centre_crop(self, photograph: Path, engine: str) -> None:
        """Half of the image each way: the input's 4 x 4 fields are 12 x 8 pixels, from (24, 16) on."""
        net = network(SSD, ssd_weights(), engine, resize=64)
        found = places(cv.detect(net, photograph))
        assert (1, (42, 20, 66, 28)) in found
        assert (1, (54, 28, 78, 36)) in found
        assert all(number == 1 for number, _ in found)

    def test_rows_are_those_of_the_layer(self, photograph: Path, engine: str) -> None:
        """What the engine's own layer gives, row by row; a threshold leaves some out."""
        net = network(SSD, seeded_weights(parse_net(SSD), 3), engine)
        loaded = net.load()
        pixels = net.pixels(cv.load_image(photograph))
        loaded.blobs["data"].data[0] = pixels
        given = loaded.forward()["found"].reshape(-1, 7)
        found = cv.detect(net, photograph, threshold=0.0).images[0].boxes
        scale = np.array([96, 64, 96, 64])
        expected = {(int(row[1]), *np.round((row[3:] * scale).clip(0, scale), 2)) for row in given}
        assert len(given) > 3
        assert {(box.number, *np.round(box[3:], 2)) for box in found} == expected
        scores = sorted(box.score for box in found)
        some = cv.detect(net, photograph, threshold=scores[2]).images[0].boxes
        assert len(some) == len(scores) - 2

    def test_nothing_found(self, tmp_path: Path, engine: str) -> None:
        Image.new("RGB", (20, 20)).save(tmp_path / "black.png")
        net = network(SSD.replace("threshold: 0.1", "threshold: 0.99"), ssd_weights(), engine)
        found = cv.detect(net, tmp_path / "black.png")
        assert found.images[0].boxes == ()
        found.save(tmp_path)
        assert (tmp_path / "boxes.csv").read_text() == "image,score,class,label,left,top,right,bottom\n"


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (("none", "bus", "tree"), {0: "none", 1: "bus", 2: "tree"}),
        (("bus", "tree"), {1: "bus", 2: "tree"}),
        (("bus",), {}),
        ((), {}),
    ],
)
def test_labels_with_the_background_and_without(labels: tuple[str, ...], names: dict[int, str]) -> None:
    assert Classes(3, 0).names(Labels(labels)) == names


def test_the_background_may_be_any_class() -> None:
    assert Classes(3, 1).names(Labels(("a", "b"))) == {0: "a", 2: "b"}
    assert Classes(2).names(Labels(("a", "b"))) == {0: "a", 1: "b"}
    assert Classes(2).names(Labels(("", "a", "b"), numbered=True)) == {0: "a", 1: "b"}


# --- YOLO ------------------------------------------------------------------------------------


def sigmoid(x: float) -> float:
    return float(1 / (1 + np.exp(-x)))


def yolo_cells(
    values: Array, anchors: list[tuple[float, float]], classes: Callable[[Array], Array], stretch: float
) -> Iterator[tuple[int, float, tuple[float, ...]]]:
    """Label, score, box of each cell, anchor and class of (A (5 + K), H, W); anchors are fractions."""
    _, height, width = values.shape
    each = len(values) // len(anchors)
    for y, x, a in np.ndindex(height, width, len(anchors)):
        own = values[a * each : (a + 1) * each, y, x].astype(np.float64)
        centre = (
            (x + stretch * sigmoid(own[0]) - (stretch - 1) / 2) / width,
            (y + stretch * sigmoid(own[1]) - (stretch - 1) / 2) / height,
        )
        sides = (np.exp(own[2]) * anchors[a][0], np.exp(own[3]) * anchors[a][1])
        box = (*(c - s / 2 for c, s in zip(centre, sides, strict=True)),
               *(c + s / 2 for c, s in zip(centre, sides, strict=True)))  # fmt: skip
        for label, value in enumerate(classes(own[5:])):
            yield label, sigmoid(own[4]) * value, box


def soft(x: Array) -> Array:
    return np.asarray(np.exp(x) / np.exp(x).sum())


def by_rows(found: Found) -> Array:
    """As rows label, score, box, sorted."""
    table = np.column_stack([found.labels, found.scores, found.boxes]).astype(np.float64)
    return table[np.lexsort(table.T)]


def expected_rows(cells: Iterator[tuple[int, float, tuple[float, ...]]]) -> Array:
    table = np.array([(label, score, *box) for label, score, box in cells])
    return table[np.lexsort(table.T)]


def heads(*strides: int, outputs: int, side: int = 64) -> str:
    """A net of a grid for each stride."""
    parts = [pooled(s, f"p{s}") + point(f"out{s}", f"p{s}", outputs) for s in strides]
    return data(1, 3, side, side) + "".join(parts)


class TestYolo:
    """Grids of versions 2, 3 and 4, and the vector of the first."""

    def test_one_grid_by_definition(self) -> None:
        decoder = decoder_of(network(heads(32, outputs=5 * 7)))
        assert decoder.blobs == ("out32",)
        assert decoder.said == "YOLO's 'out32', anchors: yolov2"
        values = np.random.default_rng(0).normal(size=(1, 35, 2, 2)).astype(np.float32)
        anchors = [(w / 2, h / 2) for w, h in KNOWN["yolov2"].pairs]  # in cells, of which there are two
        expected = expected_rows(yolo_cells(values[0], anchors, soft, 1))
        np.testing.assert_allclose(by_rows(decoder.decode({"out32": values})), expected, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize(("name", "mish"), [("yolov3", False), ("yolov4", True)])
    def test_three_grids_by_definition(self, name: str, mish: bool) -> None:
        """The finest grid has the first anchors, in whatever order the outputs are."""
        text = heads(32, 8, 16, outputs=3 * 6)
        if mish:
            text = text.replace(
                point("out8", "p8", 18), layer("mish", "Mish", "p8", "p8") + point("out8", "p8", 18)
            )
        decoder = decoder_of(network(text))
        assert decoder.said.endswith(f"anchors: {name}")
        rng = np.random.default_rng(1)
        values = {
            f"out{s}": rng.normal(size=(1, 18, 64 // s, 64 // s)).astype(np.float32) for s in (8, 16, 32)
        }
        known, cells = KNOWN[name], list[tuple[int, float, tuple[float, ...]]]()
        for n, stride in enumerate((8, 16, 32)):
            anchors = [(w / 64, h / 64) for w, h in known.pairs[3 * n : 3 * n + 3]]
            stretch = known.stretch[n] if mish else 1
            each = np.vectorize(sigmoid)
            cells += yolo_cells(values[f"out{stride}"][0], anchors, each, stretch)
        np.testing.assert_allclose(
            by_rows(decoder.decode(values)), expected_rows(iter(cells)), rtol=1e-5, atol=1e-6
        )

    @pytest.mark.parametrize("kind", ["region", "yolo"])
    def test_as_opencv_reads_darknets_files(self, kind: str, tmp_path: Path, photograph: Path) -> None:
        """The same weights in a file of darknet, whose last layer OpenCV decodes."""
        cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
        if not hasattr(cv2.dnn, "readNetFromDarknet"):
            pytest.skip("this OpenCV does not read darknet's files")
        size, anchors = 64, {"region": "0.7,1.9,0.5,0.4", "yolo": "20,30,44,17"}[kind]
        end = {"region": "softmax=1\ncoords=4\n", "yolo": "mask=0,1\n"}[kind]
        (tmp_path / "net.cfg").write_text(
            f"[net]\nwidth={size}\nheight={size}\nchannels=3\n[convolutional]\nfilters=14\nsize=1\nstride=32\n"
            f"activation=linear\n[{kind}]\nanchors={anchors}\nclasses=2\nnum=2\n{end}"
        )
        rng = np.random.default_rng(2)
        bias, kernel = rng.normal(size=14).astype(np.float32), rng.normal(size=(14, 3)).astype(np.float32)
        head = np.array([0, 2, 0], np.int32).tobytes() + np.zeros(1, np.int64).tobytes()
        (tmp_path / "net.weights").write_bytes(head + bias.tobytes() + kernel.tobytes())
        other = cv2.dnn.readNetFromDarknet(str(tmp_path / "net.cfg"), str(tmp_path / "net.weights"))
        text = data(1, 3, size, size) + layer(
            "out",
            "Convolution",
            "data",
            more="convolution_param { num_output: 14 kernel_size: 1 stride: 32 }",
        )
        weights = NetParameter()
        weights.layer.add(name="out", blobs=[make_blob(kernel.reshape(14, 3, 1, 1)), make_blob(bias)])
        net = network(text, weights)
        pixels = net.pixels(cv.load_image(photograph))
        other.setInput(pixels[None])
        rows = other.forward().reshape(-1, 7).astype(np.float64)
        centres, sides = rows[:, :2], rows[:, 2:4]
        boxes = np.concatenate([centres - sides / 2, centres + sides / 2], 1)
        loaded = net.load()
        loaded.blobs["data"].data[0] = pixels
        values = loaded.forward()["out"]
        found = decoder_of(net, anchors).decode({"out": values})
        if kind == "yolo":  # of version 3, which has several of them
            found = Found.of(*read_grid(values[0], np.array([[20, 30], [44, 17]]) / size, _sigmoid))
        expected = np.array(
            [(label, row[5 + label], *box) for row, box in zip(rows, boxes, strict=True) for label in (0, 1)]
        )
        # OpenCV clears scores below a threshold of its own.
        given = by_rows(found)
        expected = expected[np.lexsort(expected[:, [2, 3, 0]].T)]
        given = given[np.lexsort(given[:, [2, 3, 0]].T)]
        assert (expected[:, 1] > 0).sum() > 3
        given[expected[:, 1] == 0, 1] = 0
        np.testing.assert_allclose(given, expected, rtol=1e-4, atol=1e-5)

    def test_anchors(self) -> None:
        net = network(heads(32, outputs=2 * 8))
        with pytest.raises(InputError, match="boxes can be read from"):
            decoder_of(net)  # 16 channels are not those of five anchors
        assert decoder_of(net, "1,2,3,4").classes == Classes(3)
        assert decoder_of(network(heads(32, outputs=125))).said.endswith("yolov2-voc")
        assert decoder_of(network(heads(16, 32, outputs=24))).said.endswith("yolov3-tiny")
        with pytest.raises(
            InputError, match=r"3 anchors \(1 2 3 4 5 6\) do not fit 1 outputs of 16 channels"
        ):
            decoder_of(net, "1 2 3 4 5 6")
        for wrong in ("1,2,3", "yolov5", "1,-2", ""):
            with pytest.raises(InputError, match="give widths and heights as 10,13,16,30"):
                read_anchors(wrong)
        with pytest.raises(InputError, match="does not end in convolutions of YOLO's grids"):
            decoder_of(network(SSD), "yolov2")

    def test_a_region_layer_brings_its_anchors(self) -> None:
        region = layer("region", "Region", "out32",
                       more='region_param { classes: 3 num: 2 softmax: true anchors: "1.5, 2, 3, 4.25" }')  # fmt: skip
        decoder = decoder_of(network(heads(32, outputs=16) + region))
        assert decoder.blobs == ("out32",)
        assert decoder.said == "YOLO's 'out32', anchors: those of 'region'"
        found = decoder.decode({"out32": np.zeros((1, 16, 2, 2), np.float32)})
        assert found.boxes[0].tolist() == pytest.approx([0.25 - 0.375, 0.25 - 0.5, 0.25 + 0.375, 0.25 + 0.5])
        assert found.scores[0] == pytest.approx(0.5 / 3)

    @pytest.mark.parametrize("by_cell", [True, False])
    def test_the_vector_of_the_first_by_definition(self, by_cell: bool) -> None:
        classes = 3
        if by_cell:
            text = data(1, 3, 28, 28) + fc("out", "data", 49 * (classes + 10))
        else:
            text = (
                data(1, 3, 28, 28) + pooled(4) + point("grid", "pool", classes + 10)
                + layer("out", "Reshape", "grid", more="reshape_param { shape { dim: 0 dim: -1 } }")
            )  # fmt: skip
        decoder = decoder_of(network(text))
        assert decoder.classes == Classes(classes)
        values = np.random.default_rng(3).random((1, 49 * (classes + 10))).astype(np.float32)
        v, cells = values[0].astype(np.float64), list[tuple[int, float, tuple[float, ...]]]()
        for cell, box in np.ndindex(49, 2):

            def at(first: int, columns: int, column: int, cell: int = cell) -> float:
                return float(v[first + (cell * columns + column if by_cell else column * 49 + cell)])

            x, y, w, h = (at(49 * (classes + 2), 8, 4 * box + k) for k in range(4))
            cx, cy = (cell % 7 + x) / 7, (cell // 7 + y) / 7
            corners = (cx - w * w / 2, cy - h * h / 2, cx + w * w / 2, cy + h * h / 2)
            sure = at(49 * classes, 2, box)
            cells += [(label, sure * at(0, classes, label), corners) for label in range(classes)]
        np.testing.assert_allclose(
            by_rows(decoder.decode({"out": values})), expected_rows(iter(cells)), rtol=1e-5, atol=1e-6
        )

    def test_output_layers_of_forks(self, photograph: Path) -> None:
        """Version 3's, whose labels begin with 1, and version 2's of caffe-yolov2, whose rows are centre and sides."""
        biases = " ".join(f"biases: {x}" for x in (10, 13, 16, 30))
        three = heads(8, outputs=14, side=SIDE) + layer(
            "found", "Yolov3DetectionOutput", "out8",
            more=f"yolov3_detection_output_param {{ num_classes: 2 num_box: 2 mask_group_num: 1 mask: 0 mask: 1 "
            f"anchors_scale: 8 confidence_threshold: 0.05 nms_threshold: 0.4 {biases} }}",
        )  # fmt: skip
        two = heads(8, outputs=14, side=SIDE) + layer(
            "found", "DetectionOutput", "out8",
            more=f"detection_output_param {{ num_classes: 2 num_box: 2 coords: 4 confidence_threshold: 0.05 "
            f"{biases.replace('10', '1').replace('13', '2').replace('16', '3').replace('30', '1')} }}",
        )  # fmt: skip
        for text, first, centred in ((three, 1, False), (two, 0, True)):
            net = network(text, seeded_weights(parse_net(text), 5), labels=("a", "b"))
            loaded = net.load()
            loaded.blobs["data"].data[0] = net.pixels(cv.load_image(photograph))
            given = loaded.forward()["found"].reshape(-1, 7)
            assert len(given) > 1
            found = cv.detect(net, photograph, threshold=0).images[0].boxes
            expected = set()
            for _, label, score, *box in given.tolist():
                x0, y0, x1, y1 = box
                if centred:
                    x0, y0, x1, y1 = x0 - x1 / 2, y0 - y1 / 2, x0 + x1 / 2, y0 + y1 / 2
                edges = np.clip([96 * x0, 64 * y0, 96 * x1, 64 * y1], 0, [96, 64, 96, 64])
                expected.add(("ab"[int(label) - first], round(score, 5), *np.round(edges, 2)))
            assert {(box.name, round(box.score, 5), *np.round(box[3:], 2)) for box in found} == expected


# --- regions ---------------------------------------------------------------------------------


def region_net(classes: int, moves: int) -> str:
    more = "roi_pooling_param { pooled_h: 2 pooled_w: 2 spatial_scale: 1 }"
    return (
        data(1, 3, SIDE, SIDE) + data(4, 5, name="rois") + layer("roi", "ROIPooling", "data rois", more=more)
        + fc("score", "roi", classes) + softmax("score", "cls_prob") + (fc("bbox_pred", "roi", moves) if moves else "")
    )  # fmt: skip


def moved(box: Array, step: Array) -> tuple[float, ...]:
    """rbgirshick/py-faster-rcnn: a box's last pixel is within it, a moved box ends where it does."""
    width, height = box[2] - box[0] + 1, box[3] - box[1] + 1
    x = box[0] + width / 2 + step[0] * width
    y = box[1] + height / 2 + step[1] * height
    w, h = np.exp(step[2]) * width, np.exp(step[3]) * height
    return x - w / 2, y - h / 2, x + w / 2, y + h / 2


class TestRegions:
    """Fast and Faster R-CNN, R-FCN, proposals."""

    @pytest.mark.parametrize("moves", [0, 8, 12])
    def test_classes_of_regions_by_definition(self, moves: int) -> None:
        """Without moves, with moves of all things alike, and of each class; those of the second image are left out."""
        decoder = decoder_of(network(region_net(3, moves)))
        assert decoder.blobs == (("rois", "cls_prob", "bbox_pred") if moves else ("rois", "cls_prob"))
        assert decoder.classes == Classes(3, 0)
        rng = np.random.default_rng(4)
        rois = np.array([[0, 2, 3, 11, 19], [0, 0, 0, 31, 31], [1, 5, 5, 9, 9]], np.float32)
        odds = rng.random((3, 3)).astype(np.float32)
        steps = rng.normal(0, 0.3, (3, max(moves, 4))).astype(np.float32)
        found = decoder.decode({"rois": rois, "cls_prob": odds, "bbox_pred": steps})
        cells = []
        for r, label in np.ndindex(2, 3):
            if label:
                first = {0: 0, 8: 4, 12: 4 * label}[moves]
                step = steps[r, first : first + 4] if moves else np.zeros(4)
                cells.append(
                    (label, float(odds[r, label]), tuple(x / SIDE for x in moved(rois[r, 1:], step)))
                )
        np.testing.assert_allclose(by_rows(found), expected_rows(iter(cells)), rtol=1e-5, atol=1e-6)

    def test_regions_given_by_hand(self, photograph: Path, tmp_path: Path) -> None:
        """Fast R-CNN, whose regions are an input: of two that are nearly the same, one stays."""
        np.save(
            tmp_path / "rois.npy", np.array([[0, 0, 0, 15, 15]] * 2 + [[0, 16, 16, 31, 31]] * 2, np.float32)
        )
        weights = seeded_weights(parse_net(region_net(3, 0)), 1)
        score = next(one for one in weights.layer if one.name == "score")
        del score.blobs[:]
        score.blobs.extend(
            [make_blob(np.zeros((3, 12), np.float32)), make_blob(np.array([0, 3, 0], np.float32))]
        )
        net = network(region_net(3, 0), weights)
        found = cv.detect(net, [photograph, f"rois={tmp_path / 'rois.npy'}"])
        assert sorted(places(found)) == [(1, (0, 0, 48, 32)), (1, (48, 32, 96, 64))]

    def test_the_size_of_the_image_is_what_im_info_holds(self, photograph: Path) -> None:
        """Proposals are cut to it: with 0 for it, as inputs hold by themselves, no box would have a size."""
        text = (
            data(1, 3, SIDE, SIDE) + data(1, 3, name="im_info") + pooled(8) + point("odds", "pool", 2)
            + layer("sure", "Softmax", "odds") + point("moves", "pool", 4)
            + layer("rpn", "Proposal", "sure moves im_info", "rois scores", more="proposal_param { feat_stride: 8 "
                    "base_size: 8 min_size: 4 ratio: 1 scale: 8 pre_nms_topn: 20 post_nms_topn: 5 nms_thresh: 0.9 }")
            + layer("roi", "ROIPooling", "data rois", more="roi_pooling_param { pooled_h: 2 pooled_w: 2 spatial_scale: 1 }")
            + fc("score", "roi", 3) + softmax("score", "cls_prob")
        )  # fmt: skip
        weights = seeded_weights(parse_net(text), 1)
        for blob in next(one for one in weights.layer if one.name == "moves").blobs:
            blob.CopyFrom(make_blob(np.zeros(tuple(blob.shape.dim), np.float32)))
        found = cv.detect(network(text, weights), photograph, threshold=0.01)
        assert max(box.right - box.left for box in found.images[0].boxes) > 20  # an anchor is 9 pixels of 32
        assert found.said == "classes 'cls_prob' of regions 'rois'"

    def test_proposals_alone(self) -> None:
        text = data(1, 3, SIDE, SIDE) + fc("boxes", "data", 20) + layer(
            "rois", "Reshape", "boxes", more="reshape_param { shape { dim: 4 dim: 5 } }"
        ) + fc("four", "data", 4) + layer("scores", "Reshape", "four", more="reshape_param { shape { dim: 4 dim: 1 } }")  # fmt: skip
        decoder = decoder_of(network(text))
        assert decoder.said == "regions 'rois' with scores 'scores', of one class"
        rois = np.array([[0, 0, 0, 15, 31], [1, 1, 1, 2, 2]], np.float32)
        found = decoder.decode({"rois": rois, "scores": np.array([[0.75], [0.5]], np.float32)})
        assert by_rows(found).tolist() == [[0, 0.75, 0, 0, 0.5, 1]]


def test_maps_of_detectnet_by_definition() -> None:
    text = (
        data(1, 3, 32, 64) + pooled(16) + point("score", "pool", 2) + layer("coverage", "Sigmoid", "score")
        + point("bboxes", "pool", 4)
    )  # fmt: skip
    decoder = decoder_of(network(text))
    rng = np.random.default_rng(5)
    cover, boxes = rng.random((1, 2, 2, 4)), rng.normal(0, 8, (1, 4, 2, 4))
    found = decoder.decode({"coverage": cover, "bboxes": boxes})
    expected = [
        (k, cover[0, k, y, x], (16 * x + boxes[0, 0, y, x]) / 64, (16 * y + boxes[0, 1, y, x]) / 32,
         (16 * x + boxes[0, 2, y, x]) / 64, (16 * y + boxes[0, 3, y, x]) / 32)
        for k, y, x in np.ndindex(2, 2, 4)
    ]  # fmt: skip
    table = np.array(expected)
    np.testing.assert_allclose(by_rows(found), table[np.lexsort(table.T)], rtol=1e-5, atol=1e-6)


def test_clusters_of_detectnet() -> None:
    cluster = layer(
        "cluster", "Python", "coverage bboxes", "cars people",
        'python_param { module: "caffe.layers.detectnet.clustering" layer: "ClusterDetections" '
        'param_str: "64, 32, 16, 0.6, 3, 0.02, 22, 2" }',
    )  # fmt: skip
    text = (
        data(1, 3, 32, 64) + pooled(16) + point("score", "pool", 2) + layer("coverage", "Sigmoid", "score")
        + point("bboxes", "pool", 4) + cluster
    )  # fmt: skip
    decoder = decoder_of(network(text))
    assert decoder.blobs == ("cars", "people")
    none, one = np.zeros((1, 50, 5)), np.zeros((1, 50, 5))
    one[0, 0] = 16, 8, 48, 32, 1.5
    assert by_rows(decoder.decode({"cars": none, "people": one})).tolist() == [[1, 1.5, 0.25, 0.25, 0.75, 1]]


# --- boxes -----------------------------------------------------------------------------------


def test_tags_do_not_lie_on_each_other() -> None:
    """Of many boxes at one place as many have words as there is room for: each tag its own colour."""
    image = np.zeros((60, 60, 3), np.float32)
    colours = [tuple(colour) for colour in np.eye(3).tolist()] * 10
    rgb = framed(image, [Frame(0, 0, 60, 60, "a", colour) for colour in colours]).rgb
    column = [tuple(np.round(pixel, 2)) for pixel in rgb[7::14, 12]]
    tags = [pixel for pixel in column if min(pixel) == 0.6]
    assert len(tags) == 420 // 14
    assert tags[:3] == [(1, 0.6, 0.6), (0.6, 1, 0.6), (0.6, 0.6, 1)]
    few = framed(image, [Frame(0, 0, 60, 60, "a", (1, 0, 0))] * 100).rgb
    assert (few[7::14, 12].min(axis=1) >= 0.6 - 1e-3).sum() == 420 // 14


def test_nets_that_end_in_one_number() -> None:
    two = fc("a", "data", 2) + layer("sum", "Reduction", "a") + layer("more", "Reduction", "data")
    with pytest.raises(InputError, match=r"ends in 'sum' of \(\), 'more' of \(\): boxes can be read from"):
        decoder_of(network(data(1, 3, 8, 8) + two))


def test_suppression_by_definition() -> None:
    """The surest box first; a further one stays if it overlaps none of its class that stays by more than the limit."""
    rng = np.random.default_rng(6)
    low = rng.random((60, 2))
    found = Found.of(
        rng.integers(0, 3, 60), rng.random(60), np.concatenate([low, low + rng.random((60, 2))], 1)
    )

    def shared(a: Array, b: Array) -> float:
        sides = [min(a[2 + k], b[2 + k]) - max(a[k], b[k]) for k in (0, 1)]
        inner = max(sides[0], 0) * max(sides[1], 0)
        areas = [(x[2] - x[0]) * (x[3] - x[1]) for x in (a, b)]
        return float(inner / (sum(areas) - inner))

    kept: list[int] = []
    for n in sorted(range(60), key=lambda n: -found.scores[n]):
        rivals = [m for m in kept if found.labels[m] == found.labels[n]]
        if all(shared(found.boxes[m], found.boxes[n]) <= 0.3 for m in rivals):
            kept.append(n)
    assert 5 < len(kept) < 60
    assert np.array_equal(by_rows(suppressed(found, 0.3)), by_rows(found.at(np.array(kept))))
    assert overlaps(np.zeros(4), np.zeros((1, 4))).tolist() == [0]
    assert len(suppressed(found.at(np.zeros(0, int)), 0.3)) == 0
    apart = np.arange(MOST + 9)[:, None] + np.array([0, 0, 0.5, 0.5])
    many = Found.of(np.zeros(len(apart)), np.linspace(1, 0, len(apart)), apart)
    assert len(suppressed(many, 0.3)) == MOST


def test_frames_are_where_they_should_be() -> None:
    image = np.full((60, 100, 3), 0.5, np.float32)
    frames = [Frame(20, 30, 50, 50, "one 0.90", (1, 0, 0)), Frame(40, 40, 90, 58, "two 0.80", (0, 0, 1))]
    rgb = framed(image, frames).rgb  # four pixels for each
    assert rgb.shape == (240, 400, 3)
    assert rgb[121, 140].tolist() == [1, 0, 0]
    assert rgb[198, 100].tolist() == [1, 0, 0]
    assert rgb[200, 359].tolist() == [0, 0, 1]
    assert rgb[150, 140].tolist() == pytest.approx([0.5] * 3)
    assert rgb[161, 198].tolist() == [1, 0, 0]  # the first is in front
    assert rgb[108, 81:190].min() < 0.3  # its words are above it
    empty = framed(image, [])
    assert (empty.rgb == 0.5).all()
    large = framed(np.zeros((1000, 3200, 3), np.float32), [Frame(0, 0, 3200, 1000, "all", (0, 1, 0))])
    assert large.shape == (500, 1600, 3)
    assert large.rgb[499, 800].tolist() == [0, 1, 0]


class TestCommand:
    """What it prints and writes."""

    @pytest.fixture
    def files(self, tmp_path: Path) -> tuple[Path, Path]:
        (tmp_path / "labels.txt").write_text("bus\ntree")
        write_net(parse_net(SSD), tmp_path / "deploy.prototxt")
        write_weights(ssd_weights(), tmp_path / "net.caffemodel")
        (tmp_path / "preprocess.toml").write_text(RGB + 'labels = "labels.txt"\n')
        return tmp_path / "deploy.prototxt", tmp_path / "net.caffemodel"

    def test_files(self, files: tuple[Path, Path], photograph: Path, tmp_path: Path, engine: str) -> None:
        (tmp_path / "bad.png").write_text("no image")
        words = ("--image", photograph, "--image", tmp_path / "bad.png", "-o", tmp_path / "out")
        code, said, errors = ran("detect", *files, *words, "--engine", engine)
        assert code == 0
        assert errors.count("\n") == 1
        assert "skipped: " in errors
        lines = said.splitlines()
        assert lines[0].startswith("preprocessing: RGB")
        assert lines[1] == f"boxes: DetectionOutput 'found'; engine: {engine}"
        assert {line.split("  ", 1)[1] for line in lines[3:5]} == {
            "1  bus  36.0 24.0 84.0 40.0", "2  tree  0.0 56.0 36.0 64.0",
        }  # fmt: skip
        assert {path.name for path in (tmp_path / "out").iterdir()} == {"photo_boxes.png", "boxes.csv"}
        with (tmp_path / "out" / "boxes.csv").open() as file:
            table = list(csv.DictReader(file))
        assert [(row["label"], row["left"], row["bottom"]) for row in table] in (
            [("bus", "36.0", "40.0"), ("tree", "0.0", "64.0")],
            [("tree", "0.0", "64.0"), ("bus", "36.0", "40.0")],
        )
        with Image.open(tmp_path / "out" / "photo_boxes.png") as image:
            assert image.size == (96 * 4, 64 * 4)

    def test_json(self, files: tuple[Path, Path], photograph: Path, tmp_path: Path) -> None:
        words = (
            "--image",
            photograph,
            "-o",
            tmp_path / "out",
            "--engine",
            "torch",
            "--json",
            "--threshold",
            "0.5",
        )
        made = json.loads(ran("detect", *files, *words)[1])
        (one,) = made["images"]
        assert (one["height"], one["width"]) == (64, 96)
        assert {box["label"]: box["box"] for box in one["boxes"]}["bus"] == pytest.approx(
            [36, 24, 84, 40], abs=1e-3
        )
        assert Path(made["table"]).is_file()
        assert [Path(path).name for path in one["files"]] == ["photo_boxes.png"]

    def test_what_cannot_be_is_one_line(
        self, files: tuple[Path, Path], photograph: Path, tmp_path: Path
    ) -> None:
        write_net(parse_net(SSD[: SSD.index(softmax("each")[:30])]), tmp_path / "cut.prototxt")
        cases: Mapping[tuple[Any, ...], str] = {
            (*files, "--image", tmp_path / "none.png"): "there is no such image",
            (*files, "--image", photograph, "--anchors", "yolov3"): "does not end in convolutions",
            (
                tmp_path / "cut.prototxt",
                files[1],
                "--image",
                photograph,
            ): "boxes can be read from DetectionOutput",
            (*files, "--image", photograph, "--nms", "2"): "--nms",
        }
        for words, reason in cases.items():
            said = refused("detect", *words, "-o", tmp_path / "out", "--engine", "torch")
            assert reason in said
            assert said.count("\n") == 1

    def test_labels_beside_the_net_are_found(
        self, files: tuple[Path, Path], photograph: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "preprocess.toml").write_text(RGB)
        said = ran("detect", *files, "--image", photograph, "-o", tmp_path / "out", "--engine", "torch")[1]
        assert f"; labels: {tmp_path / 'labels.txt'}\n" in said
        assert "  1  bus  " in said

    def test_labels_that_do_not_fit_are_doubted(self, files: tuple[Path, Path], photograph: Path) -> None:
        net = Network(*files, Preprocess("RGB", (0,), 1 / 255, None, ("a", "b", "c", "d")), "torch")
        (doubt,) = Detector(net, ImageCollection.of(photograph)).doubts
        assert doubt.startswith("labels names 4 classes, the net has 2 and 3")
