"""The graph of layers, its modules, its drawing; networks of papers, and toys with hostile or odd wiring."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import structure_toys as toys
from commands import here, refused

import caffe_viz as cv
from caffe_viz.errors import InputError, RunError
from caffe_viz.figures import structure
from caffe_viz.geometry.rules import TABLE
from caffe_viz.netdef import parse_net, read_net
from caffe_viz.network import Network
from caffe_viz.structure import Graph, Layout, graphviz, lay_out, read_graph, svg
from caffe_viz.structure.boxes import STEM, text_width
from caffe_viz.structure.descriptions import TIMES
from caffe_viz.structure.palette import COLOURS, FILLS, family
from caffe_viz.structure.placing import Axis, Placed, Span, place
from caffe_viz.views import show_structure

REPOSITORY = Path(__file__).resolve().parent.parent
NETS = REPOSITORY / "prototxt"
STATIC = REPOSITORY / "caffe_viz" / "report" / "static"
SVG = "{http://www.w3.org/2000/svg}"
# Szegedy and others, 2014, table 1; Iandola and others, 2016, table 1; He and others, 2015, table 1: 3, 4, 6, 3 blocks.
INCEPTIONS = [f"inception_{x}" for x in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")]
FIRES = [f"fire{n}" for n in range(2, 10)]
BLOCKS = [f"res{s}{'abcdef'[b]}" for s, count in ((2, 3), (3, 4), (4, 6), (5, 3)) for b in range(count)]
LESS = np.array([0.01, 0.01, -0.01, -0.01])  # a hundredth of a pixel off a rectangle
BRANCHED = ["googlenet", "resnet50", "squeezenet_v1.0"]


@pytest.fixture(scope="module", params=BRANCHED)
def layout(request: pytest.FixtureRequest) -> Layout:
    return lay_out(graph_of(request.param))


def graph_of(name: str) -> Graph:
    return read_graph(read_net(NETS / name / "deploy.prototxt"))


def names(graph: Graph, nodes: tuple[int, ...]) -> list[str]:
    return [graph.nodes[n].layers[0].name for n in nodes]


@pytest.mark.parametrize(
    ("net", "expected", "sizes"),
    [
        ("googlenet", INCEPTIONS, {8}),  # six convolutions, a pooling, a concat
        ("squeezenet_v1.0", FIRES, {4}),  # squeeze, two expands, concat
        ("squeezenet_v1.1", FIRES, {4}),
        ("resnet50", BLOCKS, {4, 5}),  # three convolutions and the sum; a projection where shapes change
        *((net, [], set()) for net in ("alexnet", "caffenet", "caffenet_cifar10", "lenet", "vgg16")),
    ],
)  # fmt: skip
def test_modules_are_those_of_the_papers(net: str, expected: list[str], sizes: set[int]) -> None:
    graph = graph_of(net)
    assert [module.name for module in graph.modules] == expected
    assert {len(module.nodes) for module in graph.modules} == sizes
    for module in graph.modules:
        assert all(name.startswith(module.name) for name in names(graph, module.nodes))


def test_first_blocks_of_a_stage_have_a_projection() -> None:
    graph = graph_of("resnet50")
    assert [m.name for m in graph.modules if len(m.nodes) == 5] == ["res2a", "res3a", "res4a", "res5a"]
    assert names(graph, graph.modules[0].nodes)[0] == "res2a_branch1"


def test_a_head_that_hangs_on_a_module_leaves_it_a_module() -> None:
    graph = read_graph(parse_net(toys.inceptions(3, head=1)))
    assert [module.name for module in graph.modules] == ["in0", "in1", "in2"]
    assert not any("head" in name for m in graph.modules for name in names(graph, m.nodes))


def test_modules_without_names_in_common_are_found_by_their_wiring() -> None:
    graph = read_graph(parse_net(toys.dense(5)))
    assert [module.name for module in graph.modules] == [f"concat_2_{k}" for k in range(1, 6)]
    assert names(graph, graph.modules[2].nodes) == ["conv2_3/x1/bn", "conv2_3/x1", "conv2_3/x2", "concat_2_3"]
    assert read_graph(parse_net(toys.dense(1))).modules == ()  # once is no repetition


@pytest.mark.parametrize("net", [toys.unet(), toys.ssd(), toys.siamese(), toys.block("", "abc")])
def test_nets_without_modules_have_none(net: str) -> None:
    assert read_graph(parse_net(net)).modules == ()


def test_a_name_that_others_have_too_makes_no_module() -> None:
    assert read_graph(parse_net(toys.block("net/", "abc"))).modules == ()
    assert [m.name for m in read_graph(parse_net(toys.block("part/", "abc"))).modules] == ["part"]


def test_layers_in_place_are_rows_and_splits_are_gone(caffe: Any) -> None:
    """`Layer.index` is that of real Caffe's `net.layers`, every layer of which but its splits is in one box."""
    for name in ("resnet50", "caffenet_cifar10"):
        graph, real = graph_of(name), cv.load_net(NETS / name / "deploy.prototxt", engine="caffe")
        rows = sorted((x.index, x.name, x.type) for node in graph.nodes for x in node.layers)
        kinds = [layer.type for layer in real.layers]
        assert rows == [
            (i, n, k) for i, (n, k) in enumerate(zip(real._layer_names, kinds, strict=True)) if k != "Split"
        ]
        assert not any("_split" in edge.blob.name for edge in graph.edges)
    stacked = {node.layers[0].name: [x.type for x in node.layers] for node in graph_of("resnet50").nodes}
    assert stacked["conv1"] == ["Convolution", "BatchNorm", "Scale", "ReLU"]
    assert stacked["res2a"] == ["Eltwise", "ReLU"]
    assert len(stacked) == 74


def test_edges_carry_blobs_and_shapes_without_the_batch() -> None:
    graph = graph_of("squeezenet_v1.0")
    at = {node.layers[0].name: n for n, node in enumerate(graph.nodes)}
    edges = {(e.tail, e.head): e.blob for e in graph.edges}
    squeezed = at["fire2/squeeze1x1"]
    assert edges[at["pool1"], squeezed].shape == (96, 55, 55)
    for branch in ("fire2/expand1x1", "fire2/expand3x3"):
        assert (edges[squeezed, at[branch]].name, edges[squeezed, at[branch]].shape) == (
            "fire2/squeeze1x1",
            (16, 55, 55),
        )
    assert graph.batch == 10
    assert all(e.tail < e.head for e in graph.edges)


def test_a_row_needs_one_top_of_its_own() -> None:
    """A ReLU on one of two tops is a box: as a row it would seem to work on both."""
    graph = read_graph(parse_net(toys.sliced()))
    assert [node.layers[0].name for node in graph.nodes] == ["data", "slice", "relu", "sum"]
    assert [(e.tail, e.head, e.blob.name) for e in graph.edges] == [
        (0, 1, "data"), (1, 2, "a"), (2, 3, "a"), (1, 3, "b"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("type", "settings", "words"),
    [
        ("Convolution", "convolution_param { num_output: 64 kernel_size: 7 stride: 2 pad: 3 }", "7*7, 64, /2"),
        ("Convolution", "convolution_param { num_output: 8 kernel_h: 1 kernel_w: 5 }", "1*5, 8"),
        ("Convolution", "convolution_param { num_output: 8 kernel_size: 3 stride_h: 1 stride_w: 2 group: 4 dilation: 2 }", "3*3, 8, /1*2, dilation 2, group 4"),
        ("Pooling", "pooling_param { pool: AVE kernel_size: 3 stride: 2 }", "ave 3*3, /2"),
        ("Pooling", "pooling_param { pool: MAX global_pooling: true }", "max global"),
        ("Eltwise", "eltwise_param { operation: PROD }", "prod"),
        ("InnerProduct", "inner_product_param { num_output: 10 }", "10"),
        ("Concat", "", ""),
        ("Concat", "concat_param { axis: 2 }", "axis 2"),
        ("Dropout", "dropout_param { dropout_ratio: 0.4 }", "0.4"),
    ],
)  # fmt: skip
def test_a_box_says_what_matters(type: str, settings: str, words: str) -> None:
    bottoms = ["data", "data"] if type == "Eltwise" else ["data"]
    graph = read_graph(
        parse_net(toys.data(shape=(1, 8, 32, 32)) + toys.layer("x", type, bottoms, extra=settings))
    )
    assert graph.nodes[-1].layers[0].words == words.replace("*", TIMES)


def test_kernels_have_as_many_axes_as_their_input() -> None:
    net = toys.data(shape=(1, 3, 40)) + toys.conv("x", "data")
    assert read_graph(parse_net(net)).nodes[-1].layers[0].words == "3, 8"


def test_a_net_that_cannot_be_measured_is_drawn_without_shapes() -> None:
    graph = read_graph(parse_net(toys.data() + toys.layer("x", "InnerProduct", ["data"])))
    assert "needs num_output" in str(graph.unmeasured)
    assert [e.blob.shape for e in graph.edges] == [None]
    assert "Without shapes" in svg.standalone(lay_out(graph))
    with pytest.raises(InputError, match="bottom 'nowhere'"):
        read_graph(parse_net(toys.data() + toys.conv("x", "nowhere")))


def test_an_unknown_type_is_marked_and_what_depends_on_it_has_no_shape() -> None:
    text = toys.data() + toys.layer("x", "Foreign", ["data"]) + toys.layer("y", "ReLU", ["x"])
    graph = read_graph(parse_net(text))
    assert graph.unmeasured is None
    assert [node.layers[0].known for node in graph.nodes] == [True, False, True]
    assert [(e.blob.shape, e.blob.unknown) for e in graph.edges] == [((3, 64, 64), False), (None, True)]
    drawn = svg.standalone(lay_out(graph))
    assert "Foreign (unknown type)" in drawn
    assert drawn.count(">?<") == 2  # below the two boxes
    assert ">unknown<" in drawn  # in the legend


def test_an_axis_is_stretched_by_hand() -> None:
    one = Axis([Span(10, 20, 30)])
    assert [one(t) for t in (0, 10, 15, 20, 25)] == [0, 10, 25, 40, 45]
    both = Axis([Span(10, 20, 30), Span(15, 25, 20)])  # 3 times, 3 times (not 2), 2 times
    assert [both(t) for t in (10, 15, 20, 25, 30)] == [10, 25, 40, 50, 55]
    assert [Axis([Span(10, 20, 5)])(t) for t in (10, 20)] == [10, 20]  # never shorter
    assert Axis([])(7) == 7


def opened_sets(layout: Layout) -> Iterator[list[int]]:
    """Every set of modules, or five hundred of them."""
    modules = [u for u, unit in enumerate(layout.units) if unit.module]
    if len(modules) <= 9:
        for size in range(len(modules) + 1):
            yield from map(list, combinations(modules, size))
        return
    dice = random.Random(0)
    yield from ([m for m in modules if dice.random() < 0.5] for _ in range(500))
    yield modules


def overlaps(boxes: np.ndarray) -> bool:
    """(N, 4) of left, top, right, bottom: whether two of them meet."""
    low, high = boxes[:, None, :2], boxes[:, None, 2:]
    meet = ((low < boxes[None, :, 2:]) & (boxes[None, :, :2] < high)).all(-1)
    np.fill_diagonal(meet, False)
    return bool(meet.any())


def rectangles(placed: Placed) -> np.ndarray:
    """With the stems, whose shapes must not be covered either."""
    return np.array([(b.x, b.y, b.x + b.width, b.y + b.height + STEM) for b in placed.boxes])


def test_boxes_never_overlap_whatever_is_open(layout: Layout) -> None:
    folded = rectangles(place(layout, []))
    for opened in opened_sets(layout):
        placed = place(layout, opened)
        boxes = rectangles(placed)
        assert not overlaps(boxes + LESS)
        assert boxes.min() >= 0
        assert (boxes.max(0)[2:] <= [placed.width, placed.height]).all()
        assert [b.open for b in placed.boxes] == [u in opened for u in range(len(layout.units))]
        # What was above stays above.
        before = folded[:, None, 3] <= folded[None, :, 1]
        assert (boxes[:, None, 3] <= boxes[None, :, 1] + 0.01)[before].all()
        for box, unit in zip(placed.boxes, layout.units, strict=True):
            shown = unit.inside if box.open and unit.inside else unit.face
            assert (box.width, box.height) == (shown.width, shown.height)


def test_modules_side_by_side_open_without_overlap() -> None:
    """Two towers: what is beside an open module is stretched with it, and stays as large as it was."""
    layout = lay_out(read_graph(parse_net(toys.towers())))
    assert sorted(u.module.name for u in layout.units if u.module) == ["left0", "left1", "right0", "right1"]
    for opened in opened_sets(layout):
        placed = place(layout, opened)
        assert not overlaps(rectangles(placed) + LESS)
        check_ends(layout, placed)


def check_ends(layout: Layout, placed: Placed) -> None:
    for wire, points in zip(layout.wires, placed.wires, strict=True):
        tail, head = placed.boxes[wire.tail], placed.boxes[wire.head]
        (x0, y0), (x1, y1) = points[0], points[-1]
        assert y0 == pytest.approx(tail.y + tail.height + STEM)
        assert y1 == pytest.approx(head.y)
        assert tail.x < x0 < tail.x + tail.width
        assert head.x < x1 < head.x + head.width
        ys = [y for _, y in points]
        assert all(a <= b + 0.01 for a, b in pairwise(ys))


def test_lines_end_at_their_boxes_and_cross_no_other(layout: Layout) -> None:
    for opened in ([], range(len(layout.units))):
        placed = place(layout, opened)
        check_ends(layout, placed)
        for wire, points in zip(layout.wires, placed.wires, strict=True):
            others = np.delete(rectangles(placed), (wire.tail, wire.head), axis=0)
            assert not crosses(np.array(points), others)


def test_the_inside_of_a_module_fits_its_frame(layout: Layout) -> None:
    for inside in (unit.inside for unit in layout.units if unit.inside):
        boxes = np.array([(s.x, s.y, s.x + s.face.width, s.y + s.face.height + STEM) for s in inside.spots])
        assert not overlaps(boxes + LESS)
        assert boxes.min() >= 0
        assert (boxes.max(0)[2:] <= [inside.width + 0.01, inside.height + STEM]).all()
        at = {spot.node: i for i, spot in enumerate(inside.spots)}
        for line in inside.lines:
            ends = {at[n] for e in line.edges for n in (e.tail, e.head) if n in at}
            if line.edges:
                assert not crosses(np.array(line.points), np.delete(boxes, list(ends), axis=0))
                assert line.points[-1][1] == pytest.approx(boxes[at[line.edges[0].head]][1])


def crosses(points: np.ndarray, boxes: np.ndarray) -> bool:
    inside = (points[:, None] > boxes[:, :2] + 1) & (points[:, None] < boxes[:, 2:] - 1)
    return bool(inside.all(-1).any())


def test_text_is_not_wider_than_its_box() -> None:
    """Measured in DejaVu Sans, the widest of the faces that the drawing asks for."""
    from caffe_viz.figures.picture import text_width as measured

    for words in (
        "inception_3a/3x3_reduce",
        f"Convolution 3{TIMES}3, 128",
        "MWmw%@WWW",
        "fc8 · InnerProduct",
        f"64 {TIMES} 112 {TIMES} 112",
    ):
        assert measured(words, 11 * 0.72) <= 1.03 * text_width(words, 11)


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_text_has_contrast(mode: int) -> None:
    """WCAG 2.1: 4.5 to 1 for text, 3 to 1 for what is no text."""
    for fill in FILLS:
        assert contrast(COLOURS["text"][mode], COLOURS[fill][mode]) >= 4.5
    for fill in ("canvas", "module"):
        assert contrast(COLOURS["dim"][mode], COLOURS[fill][mode]) >= 4.5
        assert contrast(COLOURS["line"][mode], COLOURS[fill][mode]) >= 3


def contrast(a: str, b: str) -> float:
    def luminance(colour: str) -> float:
        rgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(rgb <= 0.03928, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def test_every_layer_type_has_a_family() -> None:
    others = {kind for kind in TABLE if family(kind) == "other"}
    assert others == {
        "AUMaskBasedLand", "BilinearInterpolate", "BilinearInterpolation", "BoxAnnotatorOHEM", "ColorConv",
        "CropCenter", "DecodeBBox", "Division", "Flatten", "Flip", "FlowWarp", "HDF5Output", "Interp", "MaskResize",
        "MultiStageMeanfield", "MultiStageMeanfieldAU3", "OutputDecay", "Pad", "Permute", "PixelShuffle", "PriorBox",
        "PriorBoxClustered", "Proposal", "Python", "Reduction", "Reorg", "Reshape", "Resize", "ResizeBilinear",
        "ResizeNearestNeighbor", "Reverse", "ShuffleChannel", "Silence", "Split", "Squeeze", "Tile", "Tiling",
        "Transpose", "Unsqueeze", "Upsample",
    }  # fmt: skip


def test_hostile_names_stay_text() -> None:
    graph = read_graph(parse_net(toys.hostile()))
    layout = lay_out(graph)
    assert [m.name for m in graph.modules] == ['mod<"\\>/a']
    for text in (
        svg.standalone(layout),
        svg.standalone(layout, fold=True),
        svg.fragment(layout, lambda index: f"#layer-{index}"),
    ):
        root = ElementTree.fromstring(text)
        tags = {element.tag.removeprefix(SVG) for element in root.iter()}
        assert tags <= {
            "svg", "g", "a", "rect", "path", "text", "title", "style", "figure", "figcaption", "ul", "li", "p", "div",
        }  # fmt: skip
        for element in root.iter():
            assert not any(key.startswith("on") or key == "style" for key in element.attrib)
            assert re.fullmatch(r"#layer-\d+", element.get("href", "#layer-0"))
        titles = [element.text or "" for element in root.iter() if element.tag.endswith("title")]
        for name in toys.HOSTILE:
            whole = " ".join(name.split()).replace("\u202e", "\N{REPLACEMENT CHARACTER}")
            assert any(title.startswith(f"{whole}: Convolution") for title in titles)
    assert max(len(e.text or "") for e in root.iter() if e.tag.endswith("text")) < 60


def test_each_row_links_to_its_layer() -> None:
    graph = graph_of("resnet50")
    text = svg.fragment(lay_out(graph), lambda index: f"#layer-{index}" if index else None)
    found = [int(index) for index in re.findall(r'href="#layer-(\d+)"', text)]
    expected = [x.index for node in graph.nodes for x in node.layers if x.index]
    assert sorted(found) == sorted(expected)
    root = ElementTree.fromstring(text)
    said = {a.get("href"): a.get("aria-label") for a in root.iter("a")}
    assert said["#layer-1"] == f"conv1: Convolution 7{TIMES}7, 64, /2, 9,472 parameters"
    assert said["#layer-2"] == "bn_conv1: BatchNorm, 129 parameters"


def test_a_file_shows_one_state_and_a_fragment_both() -> None:
    layout = lay_out(graph_of("googlenet"))
    inner, outer = "inception_3a/3x3_reduce", "14 layers, 163,696 parameters"
    shown = [
        [e.text for e in ElementTree.fromstring(text).iter() if e.tag.endswith("text")]
        for text in (
            svg.standalone(layout),
            svg.standalone(layout, fold=True),
            svg.fragment(layout, lambda index: None),
        )
    ]
    assert [inner in texts for texts in shown] == [True, False, True]
    assert [outer in texts for texts in shown] == [False, True, True]
    assert all(f"192 {TIMES} 28 {TIMES} 28" in texts for texts in shown)


@pytest.mark.slow
def test_the_page_places_as_python_does(tmp_path: Path, chromium: str) -> None:
    """graph.js in Chromium against `place`, for modules opened by clicks."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make test")
    css, js = ((STATIC / f"graph.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    css = svg.style() + css
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        tab = browser.new_page(viewport={"width": 1600, "height": 1000})
        for graph in (graph_of("googlenet"), read_graph(parse_net(toys.towers()))):
            layout = lay_out(graph)
            drawn = svg.fragment(layout, lambda index: None)
            page = tmp_path / "page.html"
            page.write_text(
                f"<!doctype html><meta charset=utf-8><style>{css}</style>{drawn}<script>{js}</script>",
                "utf-8",
            )
            tab.goto(page.as_uri())
            modules = [u for u, unit in enumerate(layout.units) if unit.module]
            for opened in ([], modules[1:2], modules[::2], modules):
                tab.get_by_text("fold all", exact=True).click()
                for u in opened:
                    tab.locator("[data-unit]").nth(u).locator(".cvg-folded .cvg-toggle").click()
                check_page(tab, layout, place(layout, opened))
        browser.close()


def check_page(tab: Any, layout: Layout, placed: Placed) -> None:
    moved = tab.locator("[data-unit]").evaluate_all("all => all.map(g => g.getAttribute('transform'))")
    at = np.array([[float(v) for v in re.findall(r"-?[\d.]+", words)] for words in moved])
    np.testing.assert_allclose(at, [(b.x, b.y) for b in placed.boxes], atol=0.3)
    lines = tab.locator("[data-wire]").evaluate_all("all => all.map(p => p.getAttribute('d'))")
    for d, points in zip(lines, placed.wires, strict=True):
        numbers = [float(v) for v in re.findall(r"-?[\d.]+", d.split("M")[1])]
        np.testing.assert_allclose(np.reshape(numbers, (-1, 2)), points, atol=0.5)
    box = tab.locator(".cvg-drawing").get_attribute("viewBox").split()
    np.testing.assert_allclose([float(v) for v in box[2:]], [placed.width, placed.height], atol=0.3)


def test_draw_writes_what_is_asked_for(tmp_path: Path) -> None:
    net = NETS / "squeezenet_v1.0" / "deploy.prototxt"
    said = here("draw", net, "--format", "svg", "--format", "dot", "-o", tmp_path)
    paths = [tmp_path / f"structure.{form}" for form in ("svg", "dot")]
    assert said.split("\n")[:-1] == [
        "SqueezeNet_v1.0: 40 boxes, 8 modules: fire2, fire3, fire4, fire5, fire6, fire7, fire8, fire9",
        *map(str, paths),
    ]
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    assert ElementTree.parse(paths[0]).getroot().tag == f"{SVG}svg"
    assert "subgraph cluster_" in paths[1].read_text(encoding="utf-8")
    folded = tmp_path / "folded"
    made = json.loads(
        here("draw", net, "--fold", "--json", "--format", "svg", "--format", "png", "-o", folded)
    )
    assert made["files"] == [str(folded / "structure.svg"), str(folded / "structure.png")]
    assert (folded / "structure.png").read_bytes().startswith(b"\x89PNG")
    assert made["modules"]["fire2"] == [
        "fire2/squeeze1x1", "fire2/relu_squeeze1x1", "fire2/expand1x1", "fire2/relu_expand1x1",
        "fire2/expand3x3", "fire2/relu_expand3x3", "fire2/concat",
    ]  # fmt: skip
    small, large = ((folder / "structure.svg").stat().st_size for folder in (folded, tmp_path))
    assert small < large / 2


def test_draw_needs_no_engine_and_says_what_is_wrong(tmp_path: Path) -> None:
    net = tmp_path / "foreign.prototxt"
    net.write_text(toys.data() + toys.layer("x", "InnerProduct", ["data"]), encoding="utf-8")
    code = "import sys; from caffe_viz.cli import main\ntry: main()\nfinally: print([m for m in ('torch', 'caffe') if m in sys.modules])"
    command = [sys.executable, "-c", code, "draw", str(net), "-o", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.endswith("structure.svg\n[]\n")
    assert done.stderr.startswith("without shapes: layer 'x' (InnerProduct)")
    refused("draw", net, "-o", tmp_path, "--format", "jpeg")


@pytest.mark.parametrize("fold", [False, True])
def test_graphviz_reads_the_dot_file(fold: bool, tmp_path: Path) -> None:
    shown = show_structure(parse_net(toys.hostile()))
    (path,) = shown.save(tmp_path, ["dot"], fold=fold)
    done = subprocess.run([graphviz.program(), "-Tplain", path], capture_output=True, check=True, timeout=60)
    drawn = [line.split()[1] for line in done.stdout.decode().split("\n") if line.startswith("node")]
    inside = len(shown.graph.modules[0].nodes)
    assert len(drawn) == len(shown.graph.nodes) - (inside - 1 if fold else 0)
    text = path.read_text(encoding="utf-8")
    assert r'"back\\slash\\\"quote\"\nConvolution' in text
    assert r'"new line tab\nConvolution' in text


def test_without_graphviz_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = show_structure(NETS / "lenet" / "deploy.prototxt")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert graphviz.program() == str(Path(sys.executable).parent / "graphviz-pure")  # beside this Python
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(RunError, match=r"pip install 'caffe-viz\[report\]', or install graphviz"):
        shown.svg()
    shown.save(tmp_path, ["dot"])  # which needs none


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("exec sleep 30", "took more than 0.2 seconds"),
        ("echo 'no layout engine' >&2; exit 3", "failed .exit code 3.: no layout engine"),
        ("echo graph 1 2 3", "answer .* is not understood"),
    ],
)
def test_a_graphviz_that_fails_is_a_clear_error(
    script: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "dot"
    program.write_text(f"#!/bin/sh\ncat > /dev/null\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(graphviz, "TIMEOUT", 0.2 if "sleep" in script else 60)
    with pytest.raises(RunError, match=words):
        show_structure(NETS / "lenet" / "deploy.prototxt").svg()


def test_lines_that_graphviz_does_not_draw_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so in a warning only, where it finds no way around the boxes."""
    program = tmp_path / "dot"
    program.write_text(f"#!/bin/sh\n{graphviz.program()} -Tplain | grep -v ^edge\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    layout = lay_out(graph_of("squeezenet_v1.0"))
    check_ends(layout, place(layout, range(len(layout.units))))


def test_the_picture_of_the_page_is_what_draw_makes() -> None:
    """Its words and colours; places differ between versions of Graphviz."""
    shipped, made = (
        [(e.tag, e.text) for e in ElementTree.fromstring(text).iter() if e.text and e.text.strip()]
        for text in (
            (REPOSITORY / "docs" / "googlenet.svg").read_text(encoding="utf-8"),
            show_structure(NETS / "googlenet" / "deploy.prototxt").svg(),
        )
    )
    assert shipped == made


def test_the_view_takes_all_kinds_of_nets(engine: str) -> None:
    folder = NETS / "caffenet_cifar10"
    prototxt, weights = folder / "deploy.prototxt", folder / "caffenet_cifar10.caffemodel"
    message = read_net(prototxt)
    loaded = cv.load_net(prototxt, weights, engine=engine)
    graphs = [
        show_structure(net).graph for net in (prototxt, str(prototxt), message, Network(prototxt), loaded)
    ]
    assert all(graph == graphs[0] for graph in graphs)
    shown = show_structure(prototxt)
    assert shown._repr_svg_() == shown.svg()
    assert repr(shown) == "CaffeNet_CIFAR10: 15 boxes"
    with pytest.raises(InputError, match=r"format 'pgn' is unknown. Did you mean 'png'\?"):
        shown.save("out", ["pgn"])


def test_the_picture_has_boxes_of_their_colours() -> None:
    shown = show_structure(parse_net(toys.inceptions(3) + toys.layer("pool", "Pooling", ["in2/out"])))
    whole, folded = shown.picture(), shown.picture(fold=True)
    assert whole.shape[0] > 2 * folded.shape[0]
    graph = shown.graph
    for name in ("convolution", "pooling", "join"):
        rgb = np.array([int(COLOURS[name][0][i : i + 2], 16) for i in (1, 3, 5)]) / 255
        share = float((np.abs(whole.rgb - rgb).max(-1) < 0.003).sum()) / whole.rgb[..., 0].size
        count = sum(family(node.layers[0].type) == name for node in graph.nodes)
        # Most of each head row, 42 high and at least 90 wide, is its colour.
        layout = shown.layout
        area = place(layout, range(len(layout.units)))
        assert share > count * 42 * 90 * 0.5 / (area.width * area.height * 1.2)


def test_very_large_nets_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less sharp, where they would have too many pixels on a side or in all."""
    shown = show_structure(parse_net(toys.chain(40)))
    assert shown.svg().count("<title>") == 41 + 40
    sharp = shown.picture().shape
    monkeypatch.setattr(structure, "LONGEST", 1000)
    assert max(shown.picture().shape) in (1000, 1001)
    monkeypatch.setattr(structure, "LONGEST", 30000)
    monkeypatch.setattr(structure, "MOST", sharp[0] * sharp[1] / 4)
    np.testing.assert_allclose(shown.picture().shape[:2], np.divide(sharp[:2], 2), atol=1)


def test_a_net_without_layers_in_its_phase_is_drawn() -> None:
    shown = show_structure(parse_net(toys.layer("x", "Input", extra="include { phase: TRAIN }")))
    assert shown.graph.nodes == ()
    assert ElementTree.fromstring(shown.svg()) is not None
    assert shown.picture().shape[2] == 3
