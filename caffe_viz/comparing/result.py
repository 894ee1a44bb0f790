"""The result of `compare`: frozen, saved as npz or JSON, drawn again without the two files."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_viz.errors import InputError
from caffe_viz.files import write_whole

Array = NDArray[np.float32]
ARRAYS = ("first", "second")


@dataclass(frozen=True)
class Pair:
    """Two filters of one layer that point in the same direction."""

    first: int
    second: int
    cosine: float


@dataclass(frozen=True)
class Side:
    """A layer in one of the files.

    `zeros` is the share of its weights that are 0; `not_finite` counts NaN and infinity in all blobs.
    `filters` is 0 if the weights are a vector. `pairs` counts the duplicated pairs, and `duplicates` are
    those of highest cosine; `copies` counts the filters that repeat an earlier one.
    """

    name: str
    type: str
    shapes: tuple[tuple[int, ...], ...]
    zeros: float
    not_finite: int
    filters: int
    dead: tuple[int, ...]
    copies: int
    pairs: int
    duplicates: tuple[Pair, ...]


@dataclass(frozen=True)
class FilterChange:
    """||b - a|| / ||a|| of one filter, its cosine, its largest change; None if there is no such number."""

    filter: int
    relative: float | None
    cosine: float | None
    largest: float


@dataclass(frozen=True)
class Change:
    """From A's weights to B's: ||B - A|| / ||A||, cosine, largest change; None if there is no such number.

    `others` are the relative changes of the further blobs, such as the bias. `filters` are those that changed
    most, by ||b - a||, and `changed` counts all that changed.
    """

    same: bool
    relative: float | None
    cosine: float | None
    largest: float | None
    others: tuple[float | None, ...]
    changed: int
    filters: tuple[FilterChange, ...]


@dataclass(frozen=True)
class LayerDiff:
    """A layer of A and its counterpart in B. One may be missing; `change` is None if shapes differ.

    If only the number of filters differs, `kept` says how many of B's filters A has too, pruned or copied.
    """

    a: Side | None
    b: Side | None
    change: Change | None
    kept: int | None = None

    @property
    def name(self) -> str:
        """Its name in B, or in A if B has no such layer."""
        side = self.b or self.a
        assert side is not None
        return side.name

    @property
    def state(self) -> str:
        """One of: same, changed, not finite, other shape, only in A, only in B."""
        if self.a is None or self.b is None:
            return "only in B" if self.a is None else "only in A"
        if self.a.not_finite or self.b.not_finite:
            return "not finite"
        if self.change is None:
            return "other shape"
        return "same" if self.change.same else "changed"

    @property
    def renamed(self) -> bool:
        """Whether A has it under another name."""
        return self.a is not None and self.b is not None and self.a.name != self.b.name


@dataclass(frozen=True)
class FilterComparison:
    """N filters of one layer beside N others, each (N, I, kh, kw) or (N, K); `kind`: changed, duplicates.

    Duplicates are scaled to norm 1. `file` is A, B, or "A and B".
    """

    layer: str
    kind: str
    file: str
    titles: tuple[str, ...]
    first: Array
    second: Array


@dataclass(frozen=True)
class Diff:
    """All layers with weights of the files `a` and `b`, in the order of the nets, and filters to look at."""

    a: str
    b: str
    channel_order: str
    layers: tuple[LayerDiff, ...]
    shown: tuple[FilterComparison, ...]

    @property
    def ranked(self) -> tuple[LayerDiff, ...]:
        """The layers that changed, most changed first; a change from zero counts as most."""
        changed = [x for x in self.layers if x.state == "changed"]
        return tuple(sorted(changed, key=lambda x: -_size(x.change)))

    def to_json(self) -> dict[str, Any]:
        """Everything except the filters' weights, for JSON; no NaN."""
        layers = [{"name": x.name, "state": x.state, **asdict(x)} for x in self.layers]
        return {"a": self.a, "b": self.b, "channel_order": self.channel_order, "layers": layers}

    def save(self, path: str | Path) -> None:
        """Write everything as npz."""
        facts = self.to_json()
        facts["shown"] = [{k: v for k, v in vars(x).items() if k not in ARRAYS} for x in self.shown]
        arrays = {f"{name}{k}": getattr(x, name) for k, x in enumerate(self.shown) for name in ARRAYS}
        stream = io.BytesIO()
        np.savez_compressed(stream, facts=np.array(json.dumps(facts)), **arrays)
        write_whole(path, stream.getvalue())

    @classmethod
    def load(cls, path: str | Path) -> Diff:
        """Read what `save` wrote.

        Raises:
            InputError: The file is missing or of another kind.
        """
        try:
            with np.load(path, allow_pickle=False) as saved:
                facts = json.loads(str(saved["facts"]))
                shown = tuple(
                    FilterComparison(
                        x["layer"], x["kind"], x["file"], tuple(x["titles"]),
                        *(saved[f"{name}{k}"] for name in ARRAYS),
                    )
                    for k, x in enumerate(facts["shown"])
                )  # fmt: skip
            layers = tuple(map(_layer, facts["layers"]))
            return cls(facts["a"], facts["b"], facts["channel_order"], layers, shown)
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"{path} is not a saved comparison: {str(error).rstrip('.')}.") from None


def _size(change: Change | None) -> float:
    assert change is not None
    found = [x for x in (change.relative, *change.others) if x is not None]
    return np.inf if change.relative is None else max(found)


def _layer(facts: dict[str, Any]) -> LayerDiff:
    change = facts["change"]
    if change is not None:
        filters = tuple(FilterChange(**x) for x in change["filters"])
        change = Change(**change | {"others": tuple(change["others"]), "filters": filters})
    return LayerDiff(_side(facts["a"]), _side(facts["b"]), change, facts["kept"])


def _side(facts: dict[str, Any] | None) -> Side | None:
    if facts is None:
        return None
    shapes: Sequence[Sequence[int]] = facts["shapes"]
    pairs = tuple(Pair(**x) for x in facts["duplicates"])
    exact = {"shapes": tuple(map(tuple, shapes)), "dead": tuple(facts["dead"]), "duplicates": pairs}
    return Side(**facts | exact)
