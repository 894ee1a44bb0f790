"""Run nets over any number of inputs, and fill MemoryData layers with arrays."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Protocol

import numpy as np
import torch

from caffe_viz.engine.blobs import Array, Blob
from caffe_viz.engine.layer import Layer
from caffe_viz.errors import InputError

Arrays = Mapping[str, Array]


class Runnable(Protocol):
    """A net, as far as it is run on arrays."""

    name: str

    @property
    def inputs(self) -> list[str]: ...

    @property
    def outputs(self) -> list[str]: ...

    @property
    def blobs(self) -> OrderedDict[str, Blob]: ...

    @property
    def layers(self) -> list[Layer]: ...

    def forward(
        self, blobs: Sequence[str] | None, start: str | None, end: str | None, **inputs: Array
    ) -> dict[str, Array]: ...

    def backward(
        self, diffs: Sequence[str] | None, start: str | None, end: str | None, **tops: Array
    ) -> dict[str, Array]: ...


def forward_all(net: Runnable, blobs: Sequence[str] | None, inputs: Arrays) -> dict[str, Array]:
    """Run `net.forward` over batches of `inputs`; rows that pad the last batch are cut off."""
    found: dict[str, list[Array]] = {}
    for batch in _batches(net, inputs):
        _collect(found, net.forward(blobs, None, None, **batch))
    return _cut(found, inputs)


def forward_backward_all(
    net: Runnable, blobs: Sequence[str] | None, diffs: Sequence[str] | None, arrays: Arrays
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Run `net.forward` and `net.backward` over batches; `arrays` are inputs, and outputs' diffs."""
    data: dict[str, list[Array]] = {}
    back: dict[str, list[Array]] = {}
    inputs = {name: a for name, a in arrays.items() if name in net.inputs}
    tops = {name: a for name, a in arrays.items() if name in net.outputs}
    nothing: dict[str, Array] = {}
    for batch, seeds in zip_longest(_batches(net, inputs), _batches(net, tops), fillvalue=nothing):
        _collect(data, net.forward(blobs, None, None, **batch))
        _collect(back, net.backward(diffs, None, None, **seeds))
    return _cut(data, arrays), _cut(back, arrays)


def set_input_arrays(net: Runnable, data: Array, labels: Array) -> None:
    """Set (N, C, H, W) and (N) or (N, 1, 1, 1) as data of the net's MemoryData layer.

    Raises:
        InputError: There is no such layer, or the arrays do not fit it.
    """
    layer = next((x for x in net.layers if x.type == "MemoryData"), None)
    if layer is None:
        raise InputError(f"net {net.name!r} has no MemoryData layer: give the arrays to its inputs.")
    p = layer.param.memory_data_param
    data, labels = np.ascontiguousarray(data, np.float32), np.ascontiguousarray(labels, np.float32)
    if data.shape[1:] != (p.channels, p.height, p.width) or labels.size != len(data):
        raise InputError(
            f"layer {layer.name!r} takes arrays (N, {p.channels}, {p.height}, {p.width}) and (N), "
            f"not {data.shape} and {labels.shape}."
        )
    if not len(data) or len(data) % p.batch_size:
        raise InputError(f"{len(data)} images do not divide by the batch size {p.batch_size}.")
    layer.call.state["arrays"] = torch.from_numpy(data), torch.from_numpy(labels.reshape(-1))
    layer.call.state.pop("position", None)


def _batches(net: Runnable, arrays: Arrays) -> Iterator[dict[str, Array]]:
    """Arrays cut into batches; the last is filled up with zeros.

    Raises:
        InputError: they are not equally many.
    """
    counts = {len(array) for array in arrays.values()}
    if len(counts) > 1:
        given = ", ".join(f"{name} {len(array)}" for name, array in arrays.items())
        raise InputError(f"the arrays must have equal lengths: {given}.")
    size = next(iter(net.blobs.values())).num
    for first in range(0, max(counts, default=0), size):
        some = {name: np.asarray(a[first : first + size]) for name, a in arrays.items()}
        yield {
            n: np.concatenate([a, np.zeros((size - len(a), *a.shape[1:]), a.dtype)]) for n, a in some.items()
        }


def _collect(found: dict[str, list[Array]], batch: Arrays) -> None:
    for name, values in batch.items():
        found.setdefault(name, []).extend(values.copy())


def _cut(found: dict[str, list[Array]], arrays: Arrays) -> dict[str, Array]:
    count = len(next(iter(arrays.values()))) if arrays else None
    return {name: np.asarray(rows)[:count] for name, rows in found.items()}
