"""`caffe.draw`: layers and blobs of a net as a picture, by Graphviz.

`caffe_viz.show_structure` is the drawing that has shapes and folds modules.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from caffe_viz.errors import InputError, near
from caffe_viz.files import write_whole
from caffe_viz.structure.graphviz import run
from caffe_viz.structure.palette import COLOURS, family

DIRECTIONS = ("LR", "RL", "TB", "BT")
AS_TEXT = ("raw", "dot", "gv")  # these need no Graphviz
BLOB = "shape=octagon"
LAYER = 'shape=box style="rounded,filled"'
# Layer type -> the field of its window.
WINDOWS = {
    "Convolution": "convolution_param",
    "Deconvolution": "convolution_param",
    "Pooling": "pooling_param",
}
# .. of its number of outputs.
LEARNING = {
    "Convolution": "convolution_param",
    "Deconvolution": "convolution_param",
    "InnerProduct": "inner_product_param",
}
UNSET = {"kernel": 1, "stride": 1, "pad": 0}


@dataclass(frozen=True)
class Dot:
    """A graph in Graphviz's language, with the methods of pydot's that scripts use."""

    text: str

    def to_string(self) -> str:
        """The text of a .dot file."""
        return self.text

    def create(self, format: str = "png") -> bytes:
        """Return the picture in a format that Graphviz writes: png, svg, jpg; or as text: raw, dot.

        Raises:
            RunError: Graphviz is not installed, or does not write this format.
        """
        return self.text.encode() if format in AS_TEXT else run(self.text, format)

    def write(self, path: str | os.PathLike[str], format: str = "raw") -> bool:
        """Write a file, whole or not at all."""
        write_whole(os.fspath(path), self.create(format))
        return True

    def write_png(self, path: str | os.PathLike[str]) -> bool:
        """Write a PNG."""
        return self.write(path, "png")

    def write_svg(self, path: str | os.PathLike[str]) -> bool:
        """Write an SVG."""
        return self.write(path, "svg")

    def _repr_svg_(self) -> str:
        return self.create("svg").decode()


def get_pydot_graph(
    caffe_net: Any,
    rankdir: str,
    label_edges: bool = True,
    phase: int | None = None,
    display_lrm: bool = False,
) -> Dot:
    """Return the graph of a NetParameter: boxes are layers, octagons blobs.

    `rankdir` is the direction from the input: LR, RL, TB or BT. `label_edges` shows how many channels a layer
    makes. `phase` leaves out layers of the other phase. `display_lrm` shows learning rate multipliers.

    Raises:
        InputError: No such direction.
    """
    if rankdir not in DIRECTIONS:
        raise InputError(f"rankdir {rankdir!r} is unknown.{near(rankdir, DIRECTIONS)}")
    layers = [x for x in caffe_net.layer or caffe_net.layers if phase is None or _takes_part(x, phase)]
    lines = [
        f"digraph {_quoted(caffe_net.name or 'net')} {{",
        f"rankdir={rankdir};",
        "node [fontname=Helvetica];",
        "edge [fontname=Helvetica];",
    ]
    blobs = dict.fromkeys(name for x in layers for name in (*x.bottom, *x.top))
    lines += [f"{_quoted('blob ' + name)} [label={_quoted(name)} {BLOB}];" for name in blobs]
    for index, layer in enumerate(layers):
        lines += _drawn(f"layer{index}", layer, label_edges, display_lrm)
    return Dot("\n".join([*lines, "}", ""]))


def draw_net(
    caffe_net: Any, rankdir: str, ext: str = "png", phase: int | None = None, display_lrm: bool = False
) -> bytes:
    """Return the graph of `get_pydot_graph` as a file: png, svg, jpg; raw is its text.

    Raises:
        InputError: No such direction.
        RunError: Graphviz is not installed, or does not write this format.
    """
    return get_pydot_graph(caffe_net, rankdir, phase=phase, display_lrm=display_lrm).create(ext)


def draw_net_to_file(
    caffe_net: Any,
    filename: str | os.PathLike[str],
    rankdir: str = "LR",
    phase: int | None = None,
    display_lrm: bool = False,
) -> None:
    """Write `draw_net` to a file; its suffix is the format.

    Raises:
        InputError, RunError: As `draw_net`, or the file cannot be written.
    """
    ext = os.path.splitext(filename)[1][1:].lower()
    if not ext:
        raise InputError(f"{os.fspath(filename)}: the name must end in .png, .svg, .jpg or .dot.")
    write_whole(os.fspath(filename), draw_net(caffe_net, rankdir, ext, phase, display_lrm))


def _takes_part(layer: Any, phase: int) -> bool:
    if layer.include:
        return any(not rule.HasField("phase") or rule.phase == phase for rule in layer.include)
    return not any(rule.HasField("phase") and rule.phase == phase for rule in layer.exclude)


def _drawn(key: str, layer: Any, label_edges: bool, display_lrm: bool) -> Iterator[str]:
    colour = COLOURS[family(_kind(layer))][0]
    yield f'{key} [label={_quoted(*_words(layer, display_lrm))} {LAYER} fillcolor="{colour}"];'
    for bottom in layer.bottom:
        yield f"{_quoted('blob ' + bottom)} -> {key};"
    made = _quoted(_amount(layer) if label_edges else "")
    for top in layer.top:
        yield f"{key} -> {_quoted('blob ' + top)} [label={made}];"


def _kind(layer: Any) -> str:
    """The type; of files before 2014, which number them, the name by today's rule."""
    if isinstance(layer.type, str):
        return layer.type
    return str(layer.LayerType.Name(layer.type)).title().replace("_", "")


def _words(layer: Any, display_lrm: bool) -> Iterator[str]:
    kind = _kind(layer)
    yield layer.name
    if kind == "Pooling":
        yield f"{kind} {layer.pooling_param.PoolMethod.Name(layer.pooling_param.pool)}"
    else:
        yield kind
    if kind in WINDOWS:
        yield _window(getattr(layer, WINDOWS[kind]))
    if display_lrm and kind in LEARNING:
        given = [p.lr_mult for p in layer.param] if isinstance(layer.type, str) else [*layer.blobs_lr]
        rates = [*given, *[1.0] * (2 - len(given))]  # weights and biases
        yield f"lr mult {', '.join(f'{rate:g}' for rate in rates)}"


def _window(param: Any) -> str:
    if getattr(param, "global_pooling", False):
        return "global"
    return ", ".join(f"{word} {'x'.join(map(str, _sides(param, word)))}" for word in UNSET)


def _sides(param: Any, word: str) -> list[int]:
    height, width = f"{word}_h", f"{word}_w"
    if param.HasField(height) or param.HasField(width):
        return [getattr(param, height), getattr(param, width)]
    given = getattr(param, "kernel_size" if word == "kernel" else word)
    return [given] if isinstance(given, int) else list(given) or [UNSET[word]]


def _amount(layer: Any) -> str:
    """How much leaves a layer: its channels, or the images that a data layer hands out at once."""
    kind = _kind(layer)
    if kind == "Data":
        return f"batch {layer.data_param.batch_size}"
    return str(getattr(layer, LEARNING[kind]).num_output) if kind in LEARNING else ""


def _quoted(*lines: str) -> str:
    """Lines as one string of Graphviz's language, whatever names hold."""
    words = ("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line) for line in lines)
    return '"' + "\\n".join(word.replace("\\", "\\\\").replace('"', '\\"') for word in words) + '"'
