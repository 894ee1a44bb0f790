"""How results show themselves in notebooks."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import caffe_viz as cv
from caffe_viz.attribution import Settings
from caffe_viz.checking import Finding, Report
from caffe_viz.markup import html_lines, html_picture, html_table
from caffe_viz.netdef import NetParameter
from caffe_viz.parity import Difference, Parity
from caffe_viz.tables import Table

REPOSITORY = Path(__file__).resolve().parent.parent
FOLDER = REPOSITORY / "prototxt" / "caffenet_cifar10"
FILES = FOLDER / "deploy.prototxt", FOLDER / "caffenet_cifar10.caffemodel"
CAT = REPOSITORY / "examples" / "cat.png"
PNG = b"\x89PNG"
HOSTILE = '<script>alert("1")</script>'
SHORT = Settings(samples=2, steps=2)


@pytest.fixture(scope="module")
def net() -> Any:
    return cv.load_net(*FILES)


class Page(HTMLParser):
    """Tags that are open at the end, rows of cells, and pictures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.sides: list[str] = []
        self.alts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "img":
            self.alts.append(str(given["alt"]))
        elif tag != "br":
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.sides.append(str(given["style"]).split(":")[1])

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def test_a_table_has_its_cells_with_numbers_to_the_right() -> None:
    table = Table("two nets", ("name", "size", "share"), (("a", 1234567, 0.5), ("b", None, 1.0)))
    page = Page(table._repr_html_())
    assert page.open == []
    assert page.rows == [["name", "size", "share"], ["a", "1,234,567", "0.5"], ["b", "", "1.0"]]
    assert page.sides == ["left", "right", "right"] * 3
    assert "<b>two nets</b>" in table._repr_html_()
    assert repr(table) == str(table)


def test_every_word_is_escaped() -> None:
    made = [
        html_table(HOSTILE, [HOSTILE], [[HOSTILE]]),
        html_lines([HOSTILE]),
        html_picture(PNG, f'" onerror="x" {HOSTILE}'),
        Report(Path(HOSTILE), None, (Finding("error", HOSTILE, HOSTILE),))._repr_html_(),
        Parity(HOSTILE, (Difference(HOSTILE, HOSTILE, 0.0, None, None),), None)._repr_html_(),
    ]
    for text in made:
        assert "<script" not in text
        assert 'onerror="x"' not in text
        assert Page(text).open == []


def test_names_from_a_net_are_escaped(tmp_path: Path) -> None:
    message = NetParameter(name=HOSTILE)
    data = message.layer.add(name=HOSTILE, type="Input", top=[HOSTILE])
    data.input_param.shape.add().dim.extend([1, 3, 8, 8])
    message.layer.add(name="relu", type="ReLU", bottom=[HOSTILE], top=["out"])
    for shown in (cv.shapes(message), cv.measure(message)):
        text = shown._repr_html_()
        assert "<script" not in text
        assert "&lt;script" in text


def test_a_report_says_how_it_ended() -> None:
    fine = cv.check(*FILES)._repr_html_()
    assert "0 errors, 0 warnings" in fine
    assert Page(fine).rows == [[]]
    wrong = cv.check(REPOSITORY / "prototxt" / "caffenet" / "deploy.prototxt", FILES[1])._repr_html_()
    assert "16 errors" in wrong
    assert Page(wrong).rows[1][0] == "error"


def test_geometry_and_parity_are_tables() -> None:
    geometry = Page(cv.measure(cv.read_net(FILES[0]))._repr_html_())
    assert ["conv1", "Convolution", "10 48 32 32", "7,225,344"] in geometry.rows
    layers = (
        Difference("a", "ReLU", 1e-7, None, None),
        Difference("s", "Split", 0.0, 0.0, None),
        Difference("b", "InnerProduct", 0.5, 1e-6, 2e-6),
    )
    text = Parity("net", layers, None)._repr_html_()
    assert Page(text).rows[1:] == [
        ["a", "ReLU", "1.0e-07", "", ""],
        ["b", "InnerProduct", "5.0e-01", "1.0e-06", "2.0e-06"],
    ]
    assert "differ from b on" in text
    assert "agree" in Parity("net", layers[:2], None)._repr_html_()


# Result, how many pictures stand in its HTML, and a cell of its table.
RESULTS: dict[str, tuple[Callable[[Any], Any], int, str]] = {
    "shapes": (lambda net: cv.shapes(net), 0, "48 3 7 7"),
    "classified": (lambda net: cv.classify(net, CAT), 0, "cat"),
    "activations": (lambda net: cv.show_activations(net, CAT), 0, "post-ReLU (relu1, in place)"),
    "one blob": (lambda net: cv.show_activations(net, CAT, ["conv1"]), 1, "conv1"),
    "gradients": (lambda net: cv.show_gradients(net, CAT, "conv3:1"), 1, "parameter"),
    "two blobs": (lambda net: cv.show_gradients(net, CAT, "conv3:1", blobs=["data", "conv1"]), 0, "conv1"),
    "maximized": (lambda net: cv.maximize(net, "conv2", [0, 5], steps=2, jobs=1), 1, "5"),
    "attributed": (lambda net: cv.show_attribution(net, CAT, "cat", "grad-cam"), 1, "grad-cam"),
    "top": (lambda net: cv.top_images(net, CAT, "conv3", [0, 1]), 1, str(CAT)),
    "compared": (lambda net: cv.compare_weights(FILES[1], net), 1, "same"),
    "evolution": (lambda net: cv.show_evolution(REPOSITORY / "examples" / "caffenet_cifar10.record"), 1, "500"),
    "evaluated": (
        lambda net: cv.show_evaluation(net, np.zeros((2, 3, 32, 32), np.float32) + 0.1, methods=["gradient"], points=3, settings=SHORT),
        2,
        "gradient",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RESULTS)
def test_results_are_html_and_png(name: str, net: Any) -> None:
    make, pictures, cell = RESULTS[name]
    result = make(net)
    text = result._repr_html_()
    page = Page(text)
    assert page.open == []
    assert len(page.alts) == pictures
    assert all(page.alts)
    assert any(cell in row for row in page.rows)
    png = getattr(result, "_repr_png_", lambda: None)()
    assert (png is not None) == (pictures > 0)
    if png is not None:
        assert png.startswith(PNG)
        assert len(re.findall('src="data:image/png;base64,', text)) == pictures
    assert repr(result)
    assert "object at 0x" not in repr(result)


def test_what_has_nothing_to_draw_is_a_table(net: Any, tmp_path: Path) -> None:
    dead = cv.load_net(*FILES)
    dead.params["conv2"][0].data[...] = 0
    dead.params["conv2"][1].data[...] = -1
    found = cv.maximize(dead, "conv3", [0], steps=1, jobs=1)
    assert found.ascent.dead == (0,)
    assert found._repr_png_() is None
    assert "dead" in found._repr_html_()
    places = cv.top_images(dead, CAT, "conv2", [0])
    assert places._repr_png_() is None
    assert "dead" in places._repr_html_()
