"""Show two sets of weights side by side."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from caffe_viz import comparing, netdef, shipped
from caffe_viz.comparing import Diff, FilterComparison, LayerDiff, Side
from caffe_viz.deploying import preprocess_near
from caffe_viz.errors import InputError, near
from caffe_viz.figures import Picture
from caffe_viz.figures.changes import change_bars, filters_beside
from caffe_viz.figures.picture import clean
from caffe_viz.files import safe_name, write_whole
from caffe_viz.geometry.results import shape_text
from caffe_viz.images import Preprocess
from caffe_viz.netdef import NetParameter
from caffe_viz.network import Network, PathLike
from caffe_viz.tables import Table
from caffe_viz.views.rich import Display, Rich

NAMED = 6  # layers or filters in a line of the summary
LONGEST = 80  # characters of a layer's name that are shown
HEADS = {"changed": ("A", "B", "B - A"), "duplicates": ("first", "second", "difference")}


@dataclass(frozen=True, repr=False)
class Compared(Rich):
    """What changed between two sets of weights; the numbers are in `diff`.

    `Compared(Diff.load(file)).bars` needs neither of the two files.
    """

    diff: Diff

    @property
    def summary(self) -> tuple[str, ...]:
        """The main findings, one line each."""
        return tuple(_summary(self.diff))

    @property
    def table(self) -> Table:
        """One row for each layer, in the order of the nets; `A -> B` where the two differ."""
        rows = tuple(_row(x) for x in self.diff.layers)
        columns = (
            "layer", "weights", "state", "change", "cosine", "largest", "bias, ..", "filters changed",
            "zeros", "dead", "duplicated pairs",
        )  # fmt: skip
        return Table("layers", columns, rows)

    @property
    def bars(self) -> Picture:
        """Draw how much each layer changed: ||B - A|| / ||A|| of its weights."""
        layers = self.diff.layers
        values = [x.change.relative if x.change and x.state in ("same", "changed") else None for x in layers]
        title = "change of weights, |B - A| / |A|"
        return change_bars([_title(x) for x in layers], values, [_note(x) for x in layers], title)

    def filters(self, layer: str, kind: str = "changed") -> tuple[Picture, ...]:
        """Draw the filters of `layer` that were kept: `changed` ones in A and B, or pairs of `duplicates`.

        Raises:
            InputError: None of them were kept.
        """
        found = [x for x in self.diff.shown if (x.layer, x.kind) == (layer, kind)]
        if not found:
            kept = sorted({x.layer for x in self.diff.shown if x.kind == kind})
            raise InputError(f"no {kind} filters of a layer {layer!r} were kept.{near(layer, kept)}")
        return tuple(map(self._drawn, found))

    def save(self, folder: PathLike) -> list[Path]:
        """Write diff.npz, diff.json, the bars, and a picture for each layer whose filters were kept."""
        folder = Path(folder)
        paths = [folder / name for name in ("diff.npz", "diff.json", "diff.png")]
        self.diff.save(paths[0])
        write_whole(paths[1], (json.dumps(self.to_json(), indent=1) + "\n").encode())
        self.bars.save(paths[2])
        for one in self.diff.shown:
            stem = f"{safe_name(one.layer)[:LONGEST]}_{one.kind}" + (
                f"_{one.file}" if len(one.file) == 1 else ""
            )
            path = folder / f"{stem}.png"
            if path in paths:  # two names that differ only in what a file name cannot have
                path = folder / f"{stem}_{len(paths)}.png"
            self._drawn(one).save(path)
            paths.append(path)
        return paths

    def to_json(self) -> dict[str, Any]:
        """The summary and all numbers, for JSON."""
        return {"summary": list(self.summary), **self.diff.to_json()}

    def _drawn(self, one: FilterComparison) -> Picture:
        said = f"{_short(one.layer)}: " + (
            "the filters that changed most"
            if one.kind == "changed"
            else f"filters of one direction in {one.file}, scaled to norm 1"
        )
        order = self.diff.channel_order
        return filters_beside(
            one.first, one.second, one.titles, HEADS[one.kind], channel_order=order, caption=said
        )

    def __repr__(self) -> str:
        return "\n".join([*self.summary, "", str(self.table)])

    def _look(self) -> Display:
        return Display([self.bars], self.summary, [self.table])


def compare_weights(
    a: Any,
    b: Any,
    prototxt: PathLike | NetParameter | None = None,
    layers: Sequence[str] | None = None,
    *,
    count: int = 8,
    channel_order: str | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Compared:
    """Compare two sets of weights, layer by layer and filter by filter.

    Args:
        a: A caffemodel, a message, or a net from `load_net`.
        b: The same, to compare with `a`.
        prototxt: Gives the types and groups of layers if the caffemodels do not.
        layers: The layers whose filters to keep. Default: those that changed most.
        count: How many filters of a layer to keep, and how many duplicated pairs.
        channel_order: Of kernels with 3 input channels: "BGR" or "RGB". Default: as preprocess.toml beside
            the prototxt says, or else BGR.
        on_progress: Called with (layers done, total).

    Raises:
        InputError: A file is missing or damaged or not a caffemodel, or the prototxt or the layers do not
            match the weights.

    Example::

        cv.compare_weights("before.caffemodel", "after.caffemodel").bars
    """
    prototxt, _ = shipped.files(prototxt)
    if isinstance(prototxt, str | Path):
        channel_order = channel_order or preprocess_near(prototxt).channel_order
        prototxt = netdef.read_net(prototxt)
    before, after = (
        shipped.weights(x) if isinstance(x, str | Path | NetParameter) else Network.of(x).trained
        for x in (a, b)
    )  # fmt: skip
    found = comparing.compare(
        before, after, prototxt, layers,
        count=count, channel_order=channel_order or Preprocess().channel_order, on_progress=on_progress,
    )  # fmt: skip
    return Compared(found)


def _summary(diff: Diff) -> Iterator[str]:
    for letter, path, sides in (
        ("A", diff.a, [x.a for x in diff.layers if x.a]),
        ("B", diff.b, [x.b for x in diff.layers if x.b]),
    ):
        size = sum(prod(shape) for side in sides for shape in side.shapes)
        yield f"{letter}: {clean(path)}, {len(sides)} layers with weights, {size:,} parameters"
    states: dict[str, list[LayerDiff]] = {}
    for x in diff.layers:
        states.setdefault(x.state, []).append(x)
    bad = states.get("not finite", [])
    if bad:
        yield f"NaN or infinity: {_names([_title(x) for x in bad])}"
    same, total = states.get("same", []), len(diff.layers)
    if len(same) == total:
        yield f"the same: all {total} layers, value for value"
    elif same:
        yield f"the same: {len(same)} of {total}: {_names([_title(x) for x in same])}"
    if diff.ranked:
        most = [f"{_title(x)} {_changed(x)}" for x in diff.ranked]
        yield f"changed: {len(most)} of {total}, most first: {_names(most)}"
    renamed = [x for x in diff.layers if x.renamed]
    if renamed:
        yield f"renamed: {_names([_title(x) for x in renamed])}"
    for state in ("other shape", "only in A", "only in B"):
        if state in states:
            yield f"{state}: {_names([f'{_title(x)} ({_shapes(x)}{_kept(x)})' for x in states[state]])}"
    if not any(x.a and x.b for x in diff.layers):
        yield "no layer is in both: are they two networks, or are all layers renamed and trained again?"
    yield from _filter_lines(diff)


def _filter_lines(diff: Diff) -> Iterator[str]:
    """Zeros, dead and duplicated filters."""
    both = [(x.a, x.b) for x in diff.layers]
    zeros = [_share_of_zeros([pair[k] for pair in both]) for k in (0, 1)]
    if max(zeros) >= 0.001:
        yield f"zeros among the weights: {_arrow(*(f'{100 * z:.1f} %' for z in zeros))}"
    for what, one in (("dead filters", _dead), ("duplicated pairs of filters", _pairs)):
        counts = [sum(one(side) for pair in both if (side := pair[k])) for k in (0, 1)]
        if any(counts):
            yield f"{what}: {_arrow(*counts)}: {'; '.join(_where(diff, one))}"


def _where(diff: Diff, one: Callable[[Side], int]) -> Iterator[str]:
    """The layers that have some, how many, and which in B, or in A where B has none."""
    for x in diff.layers:
        found = [side for side in (x.a, x.b) if side is not None and one(side)]
        if found:
            last = found[-1]
            pairs = [f"{p.first} and {p.second}" for p in last.duplicates]
            which = _names(list(map(str, last.dead)) if one is _dead else pairs, one(last))
            counts = _arrow(*(one(side) if side else None for side in (x.a, x.b)))
            yield f"{_title(x)} {counts} ({which})"


def _share_of_zeros(sides: Sequence[Side | None]) -> float:
    found = [(side.zeros, prod(side.shapes[0])) for side in sides if side is not None]
    return sum(share * size for share, size in found) / max(1, sum(size for _, size in found))


def _row(x: LayerDiff) -> tuple[Any, ...]:
    c, sides = x.change, (x.a, x.b)
    found = [side for side in sides if side is not None]
    return (
        _title(x),
        _shapes(x),
        x.state,
        *([None] * 4 if c is None else [_changed(x), _number(c.cosine), _number(c.largest), _others(x)]),
        f"{c.changed} of {found[0].filters}" if c and found[0].filters else "",
        _arrow(*(f"{100 * side.zeros:.1f} %" for side in found)) if any(s.zeros for s in found) else "",
        *(
            _arrow(*map(one, found)) if any(map(one, found)) else ""
            for one in (_dead, _pairs)
        ),
    )  # fmt: skip


def _note(x: LayerDiff) -> str:
    """The text beside the bar of a layer."""
    found = [side for side in (x.a, x.b) if side is not None]
    words = [x.state if x.state not in ("same", "changed") else _changed(x)]
    if x.state == "same":
        words = ["the same"]
    elif x.state == "other shape":
        words.append(_shapes(x))
    elif x.change and x.change.cosine is not None:
        words.append(f"cosine {x.change.cosine:.4g}")
    for one, what in ((_dead, "dead"), (_pairs, "duplicated pairs")):
        if any(map(one, found)):
            words.append(f"{what} {_arrow(*map(one, found))}")
    return ", ".join(words)


def _dead(side: Side) -> int:
    return len(side.dead)


def _pairs(side: Side) -> int:
    return side.pairs


def _title(x: LayerDiff) -> str:
    return " -> ".join(map(_short, [x.a.name, x.name] if x.renamed and x.a else [x.name]))


def _short(name: str) -> str:
    """A layer's name, which a file may make endless."""
    words = clean(name)
    return words if len(words) <= LONGEST else f"{words[: LONGEST - 1]}…"


def _shapes(x: LayerDiff) -> str:
    return _arrow(*(shape_text(side.shapes[0]) for side in (x.a, x.b) if side is not None))


def _kept(x: LayerDiff) -> str:
    return f"; A has {x.kept} of B's {x.b.filters} filters" if x.kept is not None and x.b else ""


def _changed(x: LayerDiff) -> str:
    return "from zero" if x.change is None or x.change.relative is None else _number(x.change.relative)


def _others(x: LayerDiff) -> str:
    return " ".join("-" if v is None else _number(v) for v in (x.change.others if x.change else ()))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _arrow(*values: Any) -> str:
    """One value where A and B agree, else both."""
    words = ["-" if v is None else str(v) for v in values]
    return words[0] if len(set(words)) == 1 else " -> ".join(words)


def _names(words: Sequence[str], count: int | None = None) -> str:
    more = (count or len(words)) - min(len(words), NAMED)
    return ", ".join(words[:NAMED]) + (f" and {more} more" if more > 0 else "")
