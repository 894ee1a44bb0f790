"""Convert one file of weights to another, and measure what converting back would lose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from caffe_viz.converting.formats import FORMATS, format_of, read_tensors
from caffe_viz.converting.tensors import Tensor, Tensors
from caffe_viz.errors import InputError, RunError
from caffe_viz.files import whole
from caffe_viz.netdef import NetParameter

PART = 2**20  # values that are compared at a time


@dataclass(frozen=True)
class Converted:
    """What was written; `complete` says whether the layers of the net were written too.

    `difference` is the largest between a weight before and after converting there and back, `where` its blob,
    or "" if all are exact, and `largest` the largest weight of that blob.
    """

    path: Path
    layers: int
    blobs: int
    values: int
    size: int
    complete: bool
    difference: float
    where: str = ""
    largest: float = 0.0


def convert(
    weights: Path, output: Path, to: str | None = None, net: NetParameter | None = None, *, half: bool = False
) -> Converted:
    """Write `weights`, of any format, to `output`, and compare them with what can be read from it.

    Raises:
        InputError: `weights` cannot be read, `to` is not a format, or it cannot hold them.
        RunError: `output` cannot be written, or a library that a format needs is not installed.
    """
    form = format_of(output, to)
    if output.exists() and weights.exists() and output.samefile(weights):
        raise InputError(f"{output} is the input file: choose another one with --output.")
    if half and not form.half:
        able = ", ".join(name for name, one in FORMATS.items() if one.half)
        raise InputError(f"{output}: this format does not support half precision; {able} do.")
    source = read_tensors(weights, net)
    if net is not None and {x.name for x in net.layer}.isdisjoint(one.layer for one in source.every):
        raise InputError(f"net {net.name!r} has none of the layers of the weights in {weights}.")
    with whole(output) as partial:
        form.write(source.halved if half else source, partial)
        found = form.read(partial, None)
        difference, where, largest = _difference(source, found)
        size = partial.stat().st_size
    values = sum(one.count for one in source.every)
    layers = len({one.layer for one in source.every})
    return Converted(
        path=output,
        layers=layers,
        blobs=len(source.every),
        values=values,
        size=size,
        complete=found.net is not None,
        difference=difference,
        where=where,
        largest=largest,
    )


def _difference(before: Tensors, after: Tensors) -> tuple[float, str, float]:
    """The largest over all blobs, and in which it is; NaN and infinity must be where they were."""
    again = {one.name: one for one in after.every}
    worst, where, largest = 0.0, "", 0.0
    for one in before.every:
        other = again.get(one.name)
        if other is None or other.shape != one.shape:
            raise RunError(f"{one.name} of shape {one.shape} does not come back from what was written.")
        found, size = _between(one, other)
        if found > worst:
            worst, where, largest = found, one.name, size
    return worst, where, largest


def _between(one: Tensor, other: Tensor) -> tuple[float, float]:
    """The largest difference, infinity where NaN or infinity is not what it was; and the largest weight."""
    a, b = one.array().reshape(-1), other.array().reshape(-1)
    found, largest = 0.0, 0.0
    for start in range(0, a.size, PART):
        x, y = (part[start : start + PART].astype(np.float64) for part in (a, b))
        good = np.isfinite(x)
        if not np.array_equal(x[~good], y[~good], equal_nan=True):
            return float("inf"), float("inf")
        found = max(found, float(np.abs(x[good] - y[good]).max(initial=0)))
        largest = max(largest, float(np.abs(x[good]).max(initial=0)))
    return found, largest
