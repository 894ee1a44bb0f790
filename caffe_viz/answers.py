"""Find what a net answers with: its heads, and for each class the score behind its probability."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from caffe_viz.deploying.losses import LOSSES, compared, measures
from caffe_viz.netdef import LayerParameter, NetParameter
from caffe_viz.objectives import Channel, Neuron

Shapes = Mapping[str, tuple[int, ...]]
Places = NDArray[np.intp]
# Layers that squash scores into an answer: where they saturate, it has no gradient.
SQUASHES = frozenset({"HardSigmoid", "LogSoftmax", "Sigmoid", "Softmax"})
# Behind them, the values of a blob stay in their order, and whichever was larger stays so.
ORDERLY = frozenset({"Dropout", "Flatten", "Log", "Reshape", "Split", "Squeeze", "Unsqueeze"})
JUDGES = frozenset({"ArgMax", "InfogainLoss", "MultinomialLogisticLoss"})


class Source(NamedTuple):
    """Where the scores of some classes are: in the first top of `layer`, of `shape` (C, ..) for one image."""

    layer: str
    shape: tuple[int, ...]
    places: Places  # in the flattened top, one for each class


@dataclass(frozen=True, eq=False)
class Head(Sequence[Channel | Neuron]):
    """An answer of a net: the blob `answer`; as a sequence, the units that hold the scores of its classes.

    The scores are those before a Softmax or Sigmoid, `squash`; if that is "", the answer itself holds the
    scores. `names` are the layers and blobs by which users may call it.
    """

    answer: str
    shape: tuple[int, ...]  # of the answer for one image
    squash: str
    trained_by: str  # what a loss that reads it would put in place of `squash`: Softmax, Sigmoid or ""
    names: tuple[str, ...]
    sources: tuple[Source, ...]

    @property
    def values(self) -> str:
        """What the numbers of the answer are, in words."""
        logs = "log " if self.squash.startswith("Log") else ""
        return f"{logs}probabilities" if self.squash else "scores"

    @property
    def kind(self) -> str:
        """The kind of answer, such as Softmax or Sigmoid, in the net or in a loss; "" for neither."""
        return self.squash or self.trained_by

    @property
    def single(self) -> bool:
        """Whether it has one unit that says how likely a thing is: of two classes, the second."""
        return len(self) == 1 and "Sigmoid" in self.kind

    @property
    def of_classes(self) -> bool:
        """Whether an image has one value for each class."""
        return (
            len(self.shape) > 0 and len(self) == int(np.prod(self.shape)) and (len(self) > 1 or self.single)
        )

    @property
    def probable(self) -> bool:
        """Whether its values are probabilities, or can be turned into them."""
        return bool(self.kind) or len(self) > 1

    def probabilities(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """Convert the answer's values (N, K, ..) to probabilities (N, K); plain scores get a softmax."""
        rows = values.reshape(len(values), len(self), -1).mean(2, dtype=np.float64)
        if self.squash.startswith("Log"):
            return np.asarray(np.exp(rows))
        if self.squash:
            return np.asarray(rows)
        if "Sigmoid" in self.trained_by:
            return np.asarray(1 / (1 + np.exp(-rows)))
        powers = np.exp(rows - rows.max(1, keepdims=True))
        return np.asarray(powers / powers.sum(1, keepdims=True))

    def __len__(self) -> int:
        return self.shape[0] if self.shape else 1

    def __getitem__(self, number: int) -> Channel | Neuron:  # type: ignore[override]  # no slices
        return self._units[number]

    @cached_property
    def _units(self) -> list[Channel | Neuron]:
        return [unit for source in self.sources for unit in self._of(source)]

    def _of(self, source: Source) -> Iterator[Channel | Neuron]:
        """A channel where the classes have maps, or the scores one place each."""
        if not source.shape:
            yield Channel(source.layer, 0)
            return
        maps = int(np.prod(self.shape)) > len(self) or int(np.prod(source.shape[1:])) == 1
        for channel, *place in np.transpose(np.unravel_index(source.places, source.shape)).tolist():
            yield Channel(source.layer, channel) if maps else Neuron(source.layer, channel, tuple(place))


def heads(net: NetParameter, shapes: Shapes) -> tuple[Head, ...]:
    """Return the answers of a net, the main one first: the last Softmax, else Sigmoid, else the last.

    `shapes` are those of the blobs (C, ..) for one image. A net without any top has no answer.
    """
    layers, trained_by = list(net.layer), _losses(net)
    found = [_head(layers, shapes, blob, trained_by.get(blob, "")) for blob in ends(net)]
    if not found:
        return ()
    best = max(range(len(found)), key=lambda i: (_rank(found[i]), i))
    if not _rank(found[best]):
        last = next(layer.top[0] for layer in reversed(layers) if layer.top)
        best = next((i for i, head in enumerate(found) if head.answer == last), best)
    return (found[best], *(head for i, head in enumerate(found) if i != best))


def ends(net: NetParameter) -> list[str]:
    """Return the blobs that a net ends in: only losses and accuracy layers read them."""
    layers = [layer for layer in net.layer if layer.type not in JUDGES and not measures(layer)]
    losses = [layer for layer in layers if _squash_of(layer)]
    others = [layer for layer in layers if layer not in losses]
    read = {bottom for layer in others for bottom in layer.bottom if bottom not in layer.top}
    labels = compared(net.layer) if losses else ()
    made = dict.fromkeys(top for layer in others if layer.bottom for top in layer.top)
    found = [top for top in made if top not in read and top not in labels]
    return found or [layer.top[0] for layer in net.layer if layer.top][-1:]


def _rank(head: Head) -> int:
    return 2 if "Softmax" in head.kind else 1 if head.kind else 0


def _squash_of(loss: LayerParameter) -> str:
    """The function that a loss applies to the scores it reads; "" if unknown, or if it is not a loss."""
    known = LOSSES.get(loss.type)
    return known.shown if known is not None else ""


def _losses(net: NetParameter) -> dict[str, str]:
    return {layer.bottom[0]: kind for layer in net.layer if (kind := _squash_of(layer)) and layer.bottom}


def _head(layers: Sequence[LayerParameter], shapes: Shapes, blob: str, trained_by: str) -> Head:
    shape = tuple(shapes.get(blob, (1,)))
    count = shape[0] if shape else 1
    # Of maps, the first place stands for all: they are squashed place by place.
    places = np.arange(count) * (int(np.prod(shape)) // max(count, 1))
    way = _Way(layers, shapes, count)
    found = way.back(blob, places, len(layers))
    squash = way.squashes[0] if found else ""
    if not squash:
        found = way.made_by(blob, places, len(layers))
    others = {layer.name for layer in layers}.difference(way.names)
    blobs = [name for name in way.blobs if name not in others] if squash else []
    names = [blob, *way.names, *blobs] if squash else [blob, *(source.layer for source in found)]
    return Head(blob, shape, squash, trained_by, tuple(dict.fromkeys(names)), tuple(found))


class _Way:
    """Trace an answer back to the layers that compute its scores."""

    def __init__(self, layers: Sequence[LayerParameter], shapes: Shapes, count: int) -> None:
        self.layers, self.shapes, self._count = layers, shapes, count
        self.names = list[str]()  # of layers that every class has on its way
        self.blobs = list[str]()
        self.squashes = list[str]()
        self._writers = defaultdict[str, list[int]](list)
        for i, layer in enumerate(layers):
            for top in dict.fromkeys(layer.top):
                self._writers[top].append(i)

    def back(self, blob: str, places: Places, before: int, log: str = "") -> list[Source]:
        """Find the scores of `places` of `blob`, as a layer reads it; [] if nothing squashed them."""
        at = self._writer(blob, before)
        if at is None or not self.layers[at].bottom:
            return []
        layer = self.layers[at]
        bottom = layer.bottom[0]
        if len(places) == self._count:
            self.names.append(layer.name)
            self.blobs += [blob, bottom] if layer.type in SQUASHES else [blob]
        if layer.type in SQUASHES:
            self.squashes.append(log + layer.type)
            return self.made_by(bottom, places, at)
        if layer.type in ORDERLY and self._size(bottom) == self._size(blob):
            return self.back(bottom, places, at, "Log" if layer.type == "Log" else log)
        if layer.type == "Concat":
            parts = [self.back(name, own, at, log) for name, own in self._joined(layer, places)]
            return [source for part in parts for source in part] if all(parts) else []
        return []

    def made_by(self, blob: str, places: Places, before: int) -> list[Source]:
        """Return the layer that makes `blob`; for a top of Slice, the layer before it."""
        at = self._writer(blob, before)
        if at is None:
            return []
        layer = self.layers[at]
        if layer.type == "Slice" and (axis := self._axis(layer.slice_param, "slice_dim", blob)) is not None:
            return self.made_by(layer.bottom[0], self._whole(layer, blob, places, axis), at)
        return [Source(layer.name, tuple(self.shapes.get(blob, (1,))), places)]

    def _writer(self, blob: str, before: int) -> int | None:
        places = self._writers.get(blob, [])
        i = bisect_left(places, before)
        return places[i - 1] if i else None

    def _joined(self, layer: LayerParameter, places: Places) -> Iterator[tuple[str, Places]]:
        """The bottoms of a Concat, and which of their values are at `places` of its top."""
        axis, first = self._axis(layer.concat_param, "concat_dim", layer.top[0]), 0
        known = self.shapes.keys() >= {*layer.bottom}
        if axis is None or layer.concat_param.per_fla_fuse or not known:
            return
        where = np.stack(np.unravel_index(places, self.shapes[layer.top[0]]))
        for bottom in layer.bottom:
            own = self.shapes[bottom]
            inside = (where[axis] >= first) & (where[axis] < first + own[axis])
            part = where[:, inside]
            part[axis] -= first
            first += own[axis]
            if inside.any():
                yield bottom, np.ravel_multi_index(tuple(part), own)

    def _whole(self, layer: LayerParameter, top: str, places: Places, axis: int) -> Places:
        """The places in the bottom of a Slice of the values at `places` of one of its tops."""
        where = np.stack(np.unravel_index(places, self.shapes[top]))
        where[axis] += sum(self.shapes[name][axis] for name in layer.top[: list(layer.top).index(top)])
        return np.asarray(np.ravel_multi_index(tuple(where), self.shapes[layer.bottom[0]]))

    def _axis(self, param: Any, old: str, blob: str) -> int | None:
        """The axis of a Concat or Slice, without the batch; None if it is the batch."""
        axis = int(getattr(param, old) if param.HasField(old) else param.axis)
        count = 1 + len(self.shapes.get(blob, ()))
        axis = axis + count if axis < 0 else axis
        return axis - 1 if 0 < axis < count else None

    def _size(self, blob: str) -> int:
        """The number of values for one image; one row of the batch is one image."""
        return int(np.prod(self.shapes.get(blob, (0,))))
