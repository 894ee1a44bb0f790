"""Results as tables: plain text, HTML for notebooks, rows for JSON. Nothing here touches a net."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from caffe_viz.geometry import Geometry
from caffe_viz.geometry.results import shape_text
from caffe_viz.markup import html_table
from caffe_viz.parity import COLUMNS, Parity
from caffe_viz.timing import Timing


@dataclass(frozen=True, repr=False)
class Table:
    """Rows of values under named columns; `formats` says how to write the floats of a column."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    formats: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """Aligned plain text, with numbers to the right and thousands separators."""
        cells = [self.columns, *self._cells()]
        widths = [max(len(row[i]) for row in cells) for i in range(len(self.columns))]
        sides = list(zip(widths, self._right, strict=True))
        lines = [
            "  ".join(c.rjust(w) if r else c.ljust(w) for c, (w, r) in zip(row, sides, strict=True)).rstrip()
            for row in cells
        ]
        return "\n".join([self.title, *lines])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return html_table(self.title, self.columns, self._cells(), self._right)

    def _cells(self) -> list[list[str]]:
        specs = [self.formats.get(column, "") for column in self.columns]
        return [[text(x, spec) for x, spec in zip(row, specs, strict=True)] for row in self.rows]

    @property
    def _right(self) -> list[bool]:
        """Which columns hold numbers."""
        return [any(isinstance(row[i], int | float) for row in self.rows) for i in range(len(self.columns))]

    def to_json(self) -> list[dict[str, Any]]:
        """One object for each row; numbers stay numbers."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def text(value: Any, spec: str = "") -> str:
    """Format a cell. `spec` applies to floats; a missing value in their columns is a dash."""
    if value is None:
        return "-" if spec else ""
    if spec and isinstance(value, float):
        return format(value, spec)
    return f"{value:,}" if isinstance(value, int) else str(value)


def blob_table(geometry: Geometry) -> Table:
    """List blobs and shapes in the order of the layers, without Caffe's hidden split blobs."""
    shapes = dict[str, Any]()
    for layer in geometry.layers:
        if layer.type != "Split":
            shapes.update(zip(layer.tops, map(shape_text, layer.top_shapes), strict=True))
    return Table("blobs", ("blob", "shape"), tuple(shapes.items()))


def parameter_table(geometry: Geometry) -> Table:
    """List the shapes of each layer's parameters: weights, bias, and any further blobs."""
    layers = [layer for layer in geometry.layers if layer.param_shapes]
    most = max([2, *(len(layer.param_shapes) for layer in layers)])
    columns = ("parameter", "weights", "bias", *(f"blob {i}" for i in range(2, most)))
    rows = tuple(
        (x.name, *map(shape_text, x.param_shapes), *[""] * (most - len(x.param_shapes))) for x in layers
    )
    return Table("parameters", columns, rows)


def layer_table(geometry: Geometry) -> Table:
    """List the layers by their index in `net.layers`: bottoms, tops and shapes, cost, receptive field."""
    rows = []
    for layer in geometry.layers:
        f = layer.field
        rows.append(
            (
                layer.index,
                layer.name,
                layer.type,
                " ".join(layer.bottoms),
                " ".join(layer.tops),
                ", ".join(map(shape_text, layer.top_shapes)),
                ", ".join(map(shape_text, layer.param_shapes)),
                None if layer.unknown else layer.macs,
                None if f is None else " / ".join(f"{h:g}x{w:g}" for h, w in (f.size, f.stride, f.offset)),
            )
        )
    columns = (
        "index", "layer", "type", "bottoms", "tops", "data and diff", "parameters", "multiply-adds",
        "field size / stride / offset",
    )  # fmt: skip
    return Table("layers", columns, tuple(rows))


def totals(geometry: Geometry, timing: Timing | None = None) -> Table:
    """List parameters, multiply-adds of one image, memory and time; gradients need as much memory again.

    What is not known does not count; the last row says how many layers that are.
    """
    unknown = len(geometry.unknown_layers)
    rows = (
        ("parameters", geometry.params, ""),
        ("multiply-adds", geometry.macs, "one image"),
        ("parameter memory", geometry.param_bytes, "bytes"),
        ("blob memory", geometry.blob_bytes, "bytes, data only"),
        *([("layers not counted", unknown, "of unknown shape")] if unknown else []),
        *([] if timing is None else _time_totals(timing)),
    )
    return Table("totals", ("total", "value", "unit"), rows, {"value": ",.3f"})


SPLITS, TOTAL = "(hidden Splits)", "total"


def time_table(timing: Timing) -> Table:
    """List the layers of the file with cost, milliseconds per batch, and share of sgemm; then the total."""
    rows: list[tuple[Any, ...]] = []
    for one in timing.layers:
        x = one.layer
        size = "x".join(f"{n:g}" for n in x.field.size) if x.field else None
        macs = None if x.unknown else x.macs
        rows.append(
            (x.name, x.type, macs, size, *_times(timing, x.macs, one.forward, one.backward), one.note)
        )
    if timing.hidden:
        layers = f"{timing.hidden} layers" if timing.hidden > 1 else "1 layer"
        rows.append((SPLITS, "Split", 0, None, *_times(timing, 0, *timing.splits), layers))
    times = _times(timing, timing.macs, timing.forward, timing.backward)
    rows.append((TOTAL, "", timing.macs, None, *times, ""))
    columns = (
        "layer", "type", "multiply-adds", "field size", "forward ms", "backward ms", "% of sgemm", "note",
    )  # fmt: skip
    formats = {"forward ms": ",.3f", "backward ms": ",.3f", "% of sgemm": ".0f"}
    return Table("time", columns, tuple(rows), formats)


def _times(timing: Timing, macs: int, forward: float | None, backward: float | None) -> tuple[Any, ...]:
    share = timing.share(macs, forward)
    return forward, backward, None if share is None else 100 * share


def _time_totals(timing: Timing) -> list[tuple[Any, ...]]:
    """What was timed, for the table of totals."""
    batch = f"{timing.batch} images" if timing.batch != 1 else "one image"
    where = f"{timing.engine}, {timing.device}"
    return [
        ("forward", timing.forward, f"ms, {batch} ({where})"),
        ("backward", timing.backward, f"ms, {batch} ({where})"),
        ("sgemm", round(timing.sgemm), f"multiply-adds a second, {timing.side} x {timing.side} ({where})"),
        ("passes", timing.passes, "of which times are medians"),
    ]


def parity_table(parity: Parity) -> Table:
    """List how far the engines differ in each layer, relative to its largest value; without Split layers."""
    return Table(f"parity of {parity.name}", COLUMNS, parity.rows)


@dataclass(frozen=True)
class Shapes:
    """The tables of a network: blobs, parameters, layers, the time of each layer if measured, totals.

    They end with remarks on shapes that data layers do not tell, if there are any.
    """

    geometry: Geometry
    timing: Timing | None = None

    @property
    def tables(self) -> tuple[Table, ...]:
        g, t = self.geometry, self.timing
        times = [] if t is None else [time_table(t)]
        remarks = [Table("remarks", ("remark",), tuple((line,) for line in g.remarks))] if g.remarks else []
        return blob_table(g), parameter_table(g), layer_table(g), *times, totals(g, t), *remarks

    def to_json(self) -> dict[str, Any]:
        """The rows of each table, by its title."""
        return {table.title: table.to_json() for table in self.tables}

    def __str__(self) -> str:
        return "\n\n".join(map(str, self.tables))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return "".join(table._repr_html_() for table in self.tables)
