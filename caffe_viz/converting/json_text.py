"""Weights as JSON: {"prototxt": .., "layers": {NAME: [{"shape": [..], "values": [..]}, ..]}}."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_viz.converting.tensors import PROTOTXT, Tensor, Tensors, in_order, net_of
from caffe_viz.errors import InputError
from caffe_viz.netdef import NetParameter

PART = 2**16  # values that are written at a time
NOT_FINITE = {"nan": '"NaN"', "inf": '"Infinity"', "-inf": '"-Infinity"'}  # JSON has no such numbers


def write_json(tensors: Tensors, path: Path) -> None:
    """Nine digits of each value, which are all that float32 has."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(_written(tensors))


def _written(tensors: Tensors) -> Iterator[str]:
    yield f'{{"{PROTOTXT}": {json.dumps(tensors.text)},\n"layers": {{'
    for k, (layer, blobs) in enumerate(groupby(tensors.every, lambda one: one.layer)):
        yield f"{',' * (k > 0)}\n{json.dumps(layer)}: ["
        for one in blobs:
            yield f'{", " * (one.number > 0)}{{"shape": {json.dumps(list(one.shape))}, "values": ['
            values = one.array().reshape(-1)
            for start in range(0, values.size, PART):
                yield ", " * (start > 0) + _numbers(values[start : start + PART])
            yield "]}"
        yield "]"
    yield "\n}}\n"


def _numbers(values: NDArray[np.float32]) -> str:
    text = ", ".join(["%.9g"] * len(values)) % tuple(values.tolist())
    if np.isfinite(values).all():
        return text
    return ", ".join(NOT_FINITE.get(one, one) for one in text.split(", "))


def read_json(path: Path, net: NetParameter | None) -> Tensors:
    """Read JSON; all values are in memory.

    Raises:
        InputError: It is not JSON of weights.
    """
    try:
        found = json.loads(path.read_bytes())
        layers, text = found["layers"], found.get(PROTOTXT)
        tensors = [
            _tensor(name, number, blob, path)
            for name, blobs in layers.items()
            for number, blob in enumerate(blobs)
        ]
    except RecursionError:
        raise InputError(f"{path} is JSON that is nested too deeply.") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"{type(error).__name__}: {error}" if not isinstance(error, KeyError) else f"it has no {error}"
        raise InputError(f"{path} is not a JSON file of weights: {' '.join(what.split())[:160]}.") from None
    if not tensors:
        raise InputError(f"{path} holds no weights.")
    return in_order(tensors, net or net_of(text if isinstance(text, str) else None, path), path)


def _tensor(layer: str, number: int, blob: Any, path: Path) -> Tensor:
    shape = tuple(int(extent) for extent in blob["shape"])
    # "NaN" and "Infinity" are texts; a list of lists is refused by reshape.
    values = np.array([float(value) for value in blob["values"]], np.float32)
    if min(shape, default=0) < 0 or values.size != np.prod(shape, dtype=np.float64):
        raise ValueError(f"{layer}/{number} of shape {shape} has {values.size} values")
    return Tensor(layer, number, shape, lambda: values)
