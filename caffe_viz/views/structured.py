"""The structure of a network as a picture; needs no weights and no engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from caffe_viz.netdef import NetParameter, read_net
from caffe_viz.structure import Graph, Layout, lay_out, read_graph, svg


@dataclass(frozen=True, repr=False)
class Structure:
    """The graph of a net's layers, which a notebook draws."""

    graph: Graph

    @cached_property
    def layout(self) -> Layout:
        """Where everything stands. Raises RunError where there is no Graphviz."""
        return lay_out(self.graph)

    def svg(self, *, fold: bool = False) -> str:
        """A whole SVG file, in light or dark as its viewer is; `fold` draws each module as one box."""
        return svg.standalone(self.layout, fold=fold)

    def fragment(self, link: Callable[[int], str | None] = lambda index: None) -> str:
        """The drawing for a page with graph.css and graph.js; `link` gives the address of a layer's index."""
        return svg.fragment(self.layout, link)

    def _repr_svg_(self) -> str:
        return self.svg()


def show_structure(net: Any) -> Structure:
    """The graph of the layers of `net`: a net of `load_net`, a `Network`, a message, or a prototxt's path.

    Raises:
        InputError: the prototxt cannot be read, or a layer's bottom does not exist.
    """
    given = net.prototxt if hasattr(net, "prototxt") else net
    return Structure(read_graph(given if isinstance(given, NetParameter) else read_net(given)))
