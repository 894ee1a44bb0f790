"""Write a graph in Graphviz's language, for other programs."""

from __future__ import annotations

from collections.abc import Iterator

from caffe_viz.structure.boxes import clean
from caffe_viz.structure.descriptions import dims
from caffe_viz.structure.graph import Edge, Graph, Node
from caffe_viz.structure.modules import Module
from caffe_viz.structure.palette import COLOURS, family

LOOK = 'node [shape=box style="rounded,filled" fontname=Helvetica];'


def dot(graph: Graph, *, fold: bool = False) -> str:
    """Return the text of a .dot file: boxes coloured by type; modules are clusters, or one box each."""
    folded = {n: f"m{m.nodes[0]}" for m in graph.modules for n in m.nodes} if fold else {}
    keys = [folded.get(n, _key(n)) for n in range(len(graph.nodes))]
    lines = [f"digraph {quoted(graph.name)} {{", LOOK]
    lines += [f"{keys[n]} {_box(node)};" for n, node in enumerate(graph.nodes) if n not in folded]
    for module in graph.modules:
        lines += [_one(module, graph)] if fold else _cluster(module)
    pairs = [(keys[e.tail], keys[e.head], e) for e in graph.edges]
    lines += dict.fromkeys(
        f"{tail} -> {head} [label={_shape(e)}];" for tail, head, e in pairs if tail != head
    )
    return "\n".join([*lines, "}", ""])


def quoted(*lines: str) -> str:
    """Quote lines as one string of the language, whatever they contain."""
    text = "\\n".join(clean(line).replace("\\", "\\\\").replace('"', '\\"') for line in lines)
    return f'"{text}"'


def _shape(edge: Edge) -> str:
    return quoted("" if edge.blob.shape is None else dims(edge.blob.shape))


def _key(node: int) -> str:
    return f"n{node}"


def _box(node: Node) -> str:
    head, *stacked = node.layers
    words = [head.name, f"{head.type} {head.words}", *(f"{x.name} {x.type}" for x in stacked)]
    return f'[label={quoted(*words)} fillcolor="{COLOURS[family(head.type)][0]}"]'


def _one(module: Module, graph: Graph) -> str:
    count = sum(len(graph.nodes[n].layers) for n in module.nodes)
    label = quoted(module.name, f"{count} layers")
    return f'm{module.nodes[0]} [label={label} fillcolor="{COLOURS["module"][0]}"];'


def _cluster(module: Module) -> Iterator[str]:
    nodes = " ".join(map(_key, module.nodes))
    yield f"subgraph cluster_{module.nodes[0]} {{ label={quoted(module.name)}; style=dashed; {nodes} }}"
