"""Turn snapshots of a training into a record: what a series of caffemodels tells without a recorder."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from caffe_viz.errors import InputError
from caffe_viz.geometry.receptive_fields import Shape
from caffe_viz.netdef import StoredLayer, stored_layers
from caffe_viz.recording.periods import BINS, Head, Parameter, Period, histogram
from caffe_viz.recording.record import Frame, Record, Values
from caffe_viz.recording.seen import seen_in_file


def of_snapshots(paths: Sequence[str | Path]) -> Record:
    """Make a record of caffemodels, in the order of their iterations (NAME_iter_500.caffemodel).

    It has the weights, their norms and histograms; what only a recorder sees is NaN. Files without an
    iteration in their name are numbered in the given order.

    Raises:
        InputError: Fewer than two files, one cannot be read, or they are not of one net.
    """
    if len(paths) < 2:
        raise InputError("a series of snapshots takes two caffemodels or more.")
    files = [Path(path) for path in paths]
    numbers = [_iteration(file) for file in files]
    known = [number for number in numbers if number is not None]
    named = len(known) == len(files)
    pairs = sorted(zip(known, files, strict=True)) if named else list(enumerate(files))
    layers = [stored_layers(file) for _, file in pairs]
    parameters = _parameters(layers[0], seen_in_file(pairs[0][1]))
    for (_, file), some in zip(pairs, layers, strict=True):
        if _parameters(some, {}) != parameters:
            raise InputError(
                f"{file} has other layers or shapes than {pairs[0][1]}: they are not of one net."
            )
    head = Head(pairs[0][1].stem, "", "", 0, parameters, ())
    return Record(head, tuple(_frame(number, file) for number, file in pairs))


def _iteration(file: Path) -> int | None:
    found = re.search(r"_iter_(\d+)\.", file.name)
    return int(found[1]) if found else None


def _parameters(layers: Sequence[StoredLayer], seen: Mapping[str, Shape]) -> tuple[Parameter, ...]:
    return tuple(
        Parameter(layer.name, i, tuple(blob.array().shape), True, () if i else seen.get(layer.name, ()))
        for layer in layers
        for i, blob in enumerate(layer.blobs)
    )


def _values(file: Path) -> Values:
    arrays = [blob.array() for layer in stored_layers(file) for blob in layer.blobs]
    return {f"w{k}": array for k, array in enumerate(arrays)}


def _frame(iteration: int, file: Path) -> Frame:
    arrays = list(_values(file).values())
    counts, low, high = zip(*map(histogram, arrays), strict=True)
    nothing = np.full(len(arrays), np.nan, np.float32)
    norms = np.array([np.linalg.norm(array) for array in arrays], np.float32)
    period = Period(
        iteration=iteration,
        losses=np.empty(0, np.float32),
        rate=np.nan,
        gradients=nothing,
        weights=norms,
        updates=nothing,
        counts=np.array(counts).reshape(-1, BINS),
        low=np.array(low, np.float32),
        high=np.array(high, np.float32),
        dead=np.empty(0, np.float32),
        scores={},
    )
    return Frame(period, lambda: _values(file))
