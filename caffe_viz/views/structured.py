"""Draw the structure of a network; needs no weights and no engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from caffe_viz.errors import InputError, near
from caffe_viz.figures import Picture
from caffe_viz.figures.structure import draw_structure
from caffe_viz.files import write_whole
from caffe_viz.netdef import AS_FILED, State
from caffe_viz.network import Network, PathLike
from caffe_viz.structure import Graph, Layout, lay_out, read_graph, svg
from caffe_viz.structure.boxes import short
from caffe_viz.structure.dot import dot
from caffe_viz.views.files import in_state

NAMED = 12  # modules that a summary names


@dataclass(frozen=True, repr=False)
class Structure:
    """The graph of a net's layers; a notebook draws it."""

    graph: Graph

    @cached_property
    def layout(self) -> Layout:
        """Where everything is drawn. Raises RunError if Graphviz is not installed."""
        return lay_out(self.graph)

    def svg(self, *, fold: bool = False) -> str:
        """Return a whole SVG file, light or dark like its viewer. `fold` draws each module as one box."""
        return svg.standalone(self.layout, fold=fold)

    def picture(self, *, fold: bool = False) -> Picture:
        """Draw the graph in light colours. `fold` draws each module as one box."""
        return draw_structure(self.layout, fold=fold)

    def fragment(self, link: Callable[[int], str | None] = lambda index: None) -> str:
        """Return SVG for a page with graph.css and graph.js; `link` maps a layer's index to its address."""
        return svg.fragment(self.layout, link)

    def save(self, folder: PathLike, formats: Iterable[str] = ("svg",), *, fold: bool = False) -> list[Path]:
        """Write structure.svg, .png or .dot into `folder`. Only .dot works without Graphviz.

        Raises:
            InputError: Another format.
            RunError: Graphviz is not installed, or a file cannot be written.
        """
        made = {
            "svg": lambda: self.svg(fold=fold).encode(),
            "png": lambda: self.picture(fold=fold)._repr_png_(),
            "dot": lambda: dot(self.graph, fold=fold).encode(),
        }
        paths = []
        for form in dict.fromkeys(formats):
            if form not in made:
                raise InputError(f"format {form!r} is unknown.{near(form, made)}")
            paths.append(Path(folder) / f"structure.{form}")
            write_whole(paths[-1], made[form]())
        return paths

    def to_json(self) -> dict[str, Any]:
        """The boxes with their layers, and the modules with theirs, for JSON."""
        boxes = [[layer.name for layer in node.layers] for node in self.graph.nodes]
        modules = {m.name: [name for n in m.nodes for name in boxes[n]] for m in self.graph.modules}
        return {"net": self.graph.name, "boxes": boxes, "modules": modules}

    def __repr__(self) -> str:
        names = [short(m.name) for m in self.graph.modules]
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        said = f", {len(names)} modules: {', '.join(names[:NAMED])}{more}" if names else ""
        return f"{short(self.graph.name) or 'net'}: {len(self.graph.nodes)} boxes{said}"

    def _repr_svg_(self) -> str:
        return self.svg()


def show_structure(
    net: Any, *, state: State = AS_FILED, input_shapes: Mapping[str, Sequence[int]] | None = None
) -> Structure:
    """Draw the graph of a net's layers.

    Args:
        net: A net from `load_net`, the path of a prototxt, or a message.
        state: Which layers of a file to use. Default: the file's own state, or TEST.
        input_shapes: Shapes of inputs and of the tops of data layers, by blob name.

    Raises:
        InputError: The prototxt cannot be read, or the bottom of a layer does not exist.

    Example::

        cv.show_structure("deploy.prototxt").save("out", ["svg", "png"])
    """
    return Structure(read_graph(in_state(Network.of(net, weights=False), state, input_shapes).whole))
