"""The layers of a net as a graph to draw: in-place layers are stacked, hidden Split layers removed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from caffe_viz.errors import InputError
from caffe_viz.geometry import Geometry, measure, with_splits
from caffe_viz.geometry.opaque import why_opaque
from caffe_viz.geometry.receptive_fields import Shape
from caffe_viz.geometry.results import LayerGeometry, count
from caffe_viz.netdef import LayerParameter, NetParameter, for_phase
from caffe_viz.structure.descriptions import describe
from caffe_viz.structure.modules import Module, find_modules


@dataclass(frozen=True)
class Layer:
    """One layer: its index in `net.layers`, its main settings, and how many parameters it stores.

    `known` says whether its type is known; if it is not, shapes that depend on it are not known either.
    """

    index: int
    name: str
    type: str
    words: str
    params: int
    known: bool = True


@dataclass(frozen=True)
class Blob:
    """A blob's name, and its shape without the batch: None if that is `unknown`, or was not measured."""

    name: str
    shape: Shape | None
    unknown: bool = False


@dataclass(frozen=True)
class Node:
    """A layer with the layers that work in place on its top, in their order, and the blobs that leave it."""

    layers: tuple[Layer, ...]
    tops: tuple[Blob, ...]


@dataclass(frozen=True)
class Edge:
    """A blob that goes from node `tail` to node `head`."""

    tail: int
    head: int
    blob: Blob


@dataclass(frozen=True)
class Graph:
    """Nodes in the order of the file, so that edges point forward; `modules` are nodes that fold into one.

    `batch` is the first dimension, which shapes leave out. `unmeasured` says why there are no shapes,
    `remarks` what data layers do not tell about theirs.
    """

    name: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    modules: tuple[Module, ...]
    batch: int | None
    unmeasured: str | None
    remarks: tuple[str, ...] = ()


def read_graph(net: NetParameter) -> Graph:
    """Return the graph of `net` in its state; unknown shapes are left out.

    Raises:
        InputError: A bottom that no earlier layer makes.
    """
    whole = with_splits(for_phase(net))
    geometry, unmeasured = None, None
    try:
        geometry = measure(net)
    except InputError as error:
        unmeasured = str(error)
    remarks = geometry.remarks if geometry else ()
    walk = _Walk(geometry)
    for index, layer in enumerate(whole.layer):
        walk.add(index, layer)
    nodes, edges = tuple(walk.finished()), tuple(walk.edges)
    names = [node.layers[0].name for node in nodes]
    kinds = [tuple(layer.type for layer in node.layers) for node in nodes]
    modules = find_modules(names, kinds, [(edge.tail, edge.head) for edge in edges])
    return Graph(
        name=whole.name,
        nodes=nodes,
        edges=edges,
        modules=modules,
        batch=walk.batch,
        unmeasured=unmeasured,
        remarks=remarks,
    )


@dataclass
class _Walk:
    """The state while layers are added."""

    geometry: Geometry | None
    nodes: list[list[Layer]] = field(default_factory=list)
    tops: list[list[str]] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    makers: dict[str, int] = field(default_factory=dict)  # blob -> the node that it leaves
    origins: dict[str, str] = field(default_factory=dict)  # a hidden Split's blob -> the one it copies
    shapes: dict[str, Shape] = field(default_factory=dict)
    batch: int | None = None

    def add(self, index: int, layer: LayerParameter) -> None:
        measured = self.geometry.layers[index] if self.geometry else None
        self._measure(layer, measured)
        if layer.type == "Split":
            (bottom,) = layer.bottom
            for top in layer.top:
                self.makers[top] = self.makers[bottom]
                self.origins[top] = self.origins.get(bottom, bottom)
            return
        words, known = describe(layer, self._axes(layer)), not why_opaque(layer)
        row = Layer(
            index, layer.name, layer.type, words if known else "(unknown type)", _params(measured), known
        )
        if list(layer.bottom) == list(layer.top) and len(layer.top) == 1:
            node = self.makers[layer.top[0]]
            if len(self.tops[node]) == 1:
                self.nodes[node].append(row)
                return
        self._enter(row, layer)

    def finished(self) -> Iterator[Node]:
        for layers, tops in zip(self.nodes, self.tops, strict=True):
            yield Node(tuple(layers), tuple(map(self._blob, tops)))

    def _enter(self, row: Layer, layer: LayerParameter) -> None:
        node = len(self.nodes)
        self.nodes.append([row])
        self.tops.append(list(layer.top))
        for bottom in layer.bottom:
            name = self.origins.get(bottom, bottom)
            self.edges.append(Edge(self.makers[bottom], node, self._blob(name)))
        self.makers.update(dict.fromkeys(layer.top, node))

    def _measure(self, layer: LayerParameter, measured: LayerGeometry | None) -> None:
        if measured is None or measured.unknown:
            return
        self.shapes.update(zip(layer.top, measured.shapes, strict=False))
        if self.batch is None and not layer.bottom and measured.shapes and measured.shapes[0]:
            self.batch = measured.shapes[0][0]

    def _blob(self, name: str) -> Blob:
        shape = self.shapes.get(name)
        if shape and len(shape) > 1 and shape[0] == self.batch:
            shape = shape[1:]
        return Blob(name, shape, self.geometry is not None and name in self.geometry.unknown)

    def _axes(self, layer: LayerParameter) -> int:
        """Spatial axes of what the layer works on; 2 where that is not known."""
        shape = self.shapes.get(layer.bottom[0]) if layer.bottom else None
        return 2 if shape is None else max(len(shape) - 2, 0)


def _params(measured: LayerGeometry | None) -> int:
    return sum(map(count, measured.param_shapes)) if measured else 0
