"""`caffe.draw` on both engines: nodes and edges against Caffe's own drawing, the text against Graphviz's reader."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format

from caffe_viz import backend
from caffe_viz.structure import graphviz

ROOT = Path(__file__).resolve().parent.parent
HOSTILE = 'a"; }\n<b> \\ {x|y} \N{SNOWMAN}'
TRAINING = """
name: "toy"
layer { name: "d" type: "Data" top: "data" top: "label" include { phase: TRAIN } data_param { batch_size: 7 source: "x" } }
layer { name: "d" type: "Input" top: "data" include { phase: TEST } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" param { lr_mult: 0.5 }
        convolution_param { num_output: 4 kernel_size: 3 kernel_size: 5 stride: 2 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "wide" type: "Convolution" bottom: "conv" top: "wide" convolution_param { num_output: 2 kernel_h: 1 kernel_w: 7 pad_w: 3 } }
layer { name: "pool" type: "Pooling" bottom: "wide" top: "pool" pooling_param { pool: AVE global_pooling: true } }
layer { name: "drop" type: "Dropout" bottom: "pool" top: "pool" exclude { phase: TEST } }
layer { name: "fc" type: "InnerProduct" bottom: "pool" top: "fc" param { lr_mult: 1 } param { lr_mult: 2 } inner_product_param { num_output: 9 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" include { phase: TRAIN } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" include { phase: TEST } }
"""
PHASES = {"train": 0, "test": 1, "both": None}


@pytest.fixture
def caffe_module(engine: str) -> Any:
    caffe = backend.module(engine)
    return caffe if engine == "torch" else import_module("caffe.draw") and caffe


def message(caffe: Any, text: str) -> Any:
    return text_format.Parse(text, caffe.proto.caffe_pb2.NetParameter())


def read(dot: str) -> tuple[dict[str, str], set[tuple[str, str, str]]]:
    """Names and labels of nodes, and edges with theirs, as Graphviz reads them."""
    command = [graphviz.program(), "-Tdot_json"]
    graph = json.loads(subprocess.run(command, input=dot.encode(), capture_output=True, check=True).stdout)
    nodes = {node["_gvid"]: node["label"] for node in graph["objects"]}
    names = {node["name"]: node["label"] for node in graph["objects"]}
    edges = {(nodes[e["tail"]], nodes[e["head"]], e.get("label", "")) for e in graph["edges"]}
    return names, edges


def recorded(caffe: Any, net: Any, phase: int | None) -> tuple[set[str], set[tuple[str, str]]]:
    """What Caffe's own file gives to pydot: first lines of labels, and edges between them."""
    patch, pydot = pytest.MonkeyPatch(), types.ModuleType("pydot")

    class Dot(list):
        def __init__(self, *given: Any, **settings: Any) -> None:
            super().__init__()

        add_node = add_edge = list.append

    pydot.Dot = Dot
    pydot.Node = lambda label, **look: label.strip('"').split("\\n")[0]
    pydot.Edge = lambda tail, head, label: (tail, head)
    with patch.context() as patched:
        patched.setitem(sys.modules, "pydot", pydot)
        patched.setitem(sys.modules, "pydotplus", pydot)
        graph = import_module("caffe.original.draw").get_pydot_graph(net, "LR", phase=phase)
    return {x for x in graph if isinstance(x, str)}, {x for x in graph if isinstance(x, tuple)}


def firsts(edges: set[tuple[str, str, str]]) -> set[tuple[str, str]]:
    return {(tail.split("\\n")[0], head.split("\\n")[0]) for tail, head, _ in edges}


@pytest.mark.parametrize("phase", PHASES)
def test_nodes_and_edges_are_those_of_caffe(phase: str, caffe_module: Any, caffe: Any) -> None:
    dot = caffe_module.draw.get_pydot_graph(message(caffe_module, TRAINING), "LR", phase=PHASES[phase])
    nodes, edges = read(dot.to_string())
    labels, pairs = recorded(
        caffe,
        message(caffe, TRAINING),
        PHASES[phase],
    )
    assert {label.split("\\n")[0] for label in nodes.values()} == labels
    assert firsts(edges) == pairs


def test_labels(caffe_module: Any) -> None:
    net = message(caffe_module, TRAINING)
    nodes, edges = read(caffe_module.draw.get_pydot_graph(net, "TB", display_lrm=True).to_string())
    said = set(nodes.values())
    assert r"conv\nConvolution\nkernel 3x5, stride 2, pad 0\nlr mult 0.5, 1" in said
    assert r"wide\nConvolution\nkernel 1x7, stride 1, pad 0x3\nlr mult 1, 1" in said
    assert {r"pool\nPooling AVE\nglobal", r"fc\nInnerProduct\nlr mult 1, 2", r"relu\nReLU", "data"} <= said
    words = {(tail.split("\\n")[0], head): label for tail, head, label in edges}
    assert (words["conv", "conv"], words["fc", "fc"], words["pool", "pool"]) == ("4", "9", "")
    assert words["d", "data"] in ("batch 7", "")
    bare = caffe_module.draw.get_pydot_graph(net, "TB", label_edges=False).to_string()
    assert {label for *_, label in read(bare)[1]} == {""}
    assert "lr mult" not in bare


def test_names_of_files_may_hold_anything(caffe_module: Any) -> None:
    pb = caffe_module.proto.caffe_pb2
    net = pb.NetParameter(name=HOSTILE)
    net.layer.add(name=HOSTILE, type=HOSTILE, top=[HOSTILE])
    net.layer.add(name="x", type="ReLU", bottom=[HOSTILE], top=["y"])
    nodes, edges = read(caffe_module.draw.get_pydot_graph(net, "LR").to_string())
    assert len(nodes) == 4
    assert len(edges) == 3
    assert any("<b>" in label and "{x|y}" in label for label in nodes.values())


def test_old_files_are_drawn_too(caffe_module: Any) -> None:
    text = """
    layers { name: "c" type: CONVOLUTION bottom: "data" top: "c" blobs_lr: 1 blobs_lr: 3 convolution_param { num_output: 4 kernel_size: 3 } }
    layers { name: "f" type: INNER_PRODUCT bottom: "c" top: "f" inner_product_param { num_output: 2 } }
    """
    dot = caffe_module.draw.get_pydot_graph(message(caffe_module, text), "LR", display_lrm=True)
    nodes, edges = read(dot.to_string())
    assert {
        r"c\nConvolution\nkernel 3, stride 1, pad 0\nlr mult 1, 3",
        r"f\nInnerProduct\nlr mult 1, 1",
    } <= set(nodes.values())
    assert {label for *_, label in edges} == {"", "4", "2"}


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("net.png", b"\x89PNG"),
        ("net.svg", b"<?xml"),
        ("net.JPG", b"\xff\xd8"),
        ("net.dot", b"digraph"),
        ("net.raw", b"digraph"),
    ],
)
def test_files(caffe_module: Any, tmp_path: Path, name: str, head: bytes) -> None:
    net = message(caffe_module, TRAINING)
    caffe_module.draw.draw_net_to_file(net, str(tmp_path / name), "BT", caffe_module.TEST)
    data = (tmp_path / name).read_bytes()
    assert data.startswith(head)
    form = Path(name).suffix[1:].lower()
    assert caffe_module.draw.draw_net(net, "BT", form, caffe_module.TEST) == data
    graph = caffe_module.draw.get_pydot_graph(net, "BT", phase=caffe_module.TEST)
    assert graph.write(tmp_path / "again", format=form)
    assert (tmp_path / "again").read_bytes() == data == graph.create(form)


def test_as_pydot_and_in_a_notebook(caffe_module: Any, tmp_path: Path) -> None:
    graph = caffe_module.draw.get_pydot_graph(message(caffe_module, TRAINING), "LR")
    assert graph.write_png(tmp_path / "x.png")
    assert graph.write_svg(tmp_path / "x.svg")
    assert (tmp_path / "x.svg").read_text() == graph._repr_svg_()


WRONG = {
    "direction": ("net.png", "left", "rankdir 'left' is unknown"),
    "ending": ("net", "LR", r"net: the name must end in \.png"),
    "format": ("net.wmf2", "LR", "Graphviz failed .*wmf2"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_and_no_file_is_left(
    case: str, caffe_module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, direction, words = WRONG[case]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Exception, match=words) as caught:
        caffe_module.draw.draw_net_to_file(message(caffe_module, TRAINING), name, direction)
    assert "CaffeVizError" in [kind.__name__ for kind in type(caught.value).__mro__]
    assert list(tmp_path.iterdir()) == []
