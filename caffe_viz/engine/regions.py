"""What layers over regions of interest share. Regions are constants to the gradient, as in Caffe.

The place of a region is computed in single precision, as in Caffe, whatever the precision of the feature
maps; otherwise a bin would sometimes begin one row later.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from caffe_viz.engine.table import Call
from caffe_viz.errors import InputError

MANY = 2**20  # Beyond the size of every feature map; larger numbers would not survive as C's int.


def split(call: Call, maps: Tensor, regions: Tensor, values: int = 5) -> tuple[list[int], Tensor]:
    """Return the image (R) of each of `regions` (R, values), and the boxes, which are the rest.

    Raises:
        InputError: There is no such image, or they have another number of values.
    """
    rows = regions.detach().reshape(len(regions), -1)
    if rows.shape[1] != values:
        raise InputError(
            f"layer {call.param.name!r} ({call.param.type}): the regions must be (R, {values}), not "
            f"{tuple(regions.shape)}: reshape the blob before the forward."
        )
    images = [int(i) if math.isfinite(i) else -1 for i in rows[:, 0].tolist()]
    for place, image in enumerate(images):
        if not 0 <= image < len(maps):
            raise InputError(
                f"layer {call.param.name!r} ({call.param.type}): region {place} is of image "
                f"{rows[place, 0].item():g}, and there are {len(maps)}: the first value of a region must be "
                f"the place of its image, from 0 on."
            )
    return images, rows[:, 1:].to(torch.float32)


def rounded(values: Tensor) -> Tensor:
    """To the nearest whole number, halves away from 0, as C's round."""
    exact = values.to(torch.float64)
    return ((exact.abs() + 0.5).floor() * exact.sign()).to(torch.float32)


def bins(start: Tensor, size: Tensor, count: int, room: int) -> Tensor:
    """(R, count, 2) Of R ranges of whole numbers `count` bins, which may overlap, cut to 0 .. `room`."""
    edges = torch.arange(count + 1, dtype=size.dtype, device=size.device) * (size / count)[:, None]
    start = start.clamp(-MANY, MANY)[:, None]
    ends = torch.stack([edges[:, :-1].floor() + start, edges[:, 1:].ceil() + start], 2)
    return ends.nan_to_num(0).clamp(0, room).to(torch.int64)


def rectangles(rows: Tensor, columns: Tensor) -> Tensor:
    """(R, P, Q, 4) Top, left, bottom and right of bins (R, P, 2) and (R, Q, 2)."""
    shape = (*rows.shape[:2], columns.shape[1], 2)
    both = torch.stack([rows[:, :, None].expand(shape), columns[:, None].expand(shape)], 4)
    return both.flatten(3)  # from (R, P, Q, end, axis)


def around(boxes: Tensor, holes: Tensor) -> Tensor:
    """(4, ..) What rectangles (.., 4) have above, below, left and right of others: together all but these."""
    top, left, bottom, right = boxes.unbind(-1)
    above, before, below, after = holes.unbind(-1)
    parts = [
        (top, left, torch.minimum(bottom, above), right),
        (torch.maximum(top, below), left, bottom, right),
        (top, left, bottom, torch.minimum(right, before)),
        (top, torch.maximum(left, after), bottom, right),
    ]
    return torch.stack([torch.stack(part, -1) for part in parts])


def largest(maps: Tensor, images: Sequence[int], bins: Tensor, above: float = -math.inf) -> Tensor:
    """Return the largest value in each bin of each region, (R, C, P, Q); 0 if none is above `above`.

    A bin is the union of K rectangles (K, R, P, Q, 4). The gradient goes to the first of equal values, in
    reading order.
    """
    with torch.no_grad():
        of = torch.tensor(images, device=maps.device)[:, None, None].expand(bins.shape[1:4]).reshape(-1)
        traced = maps.requires_grad
        best = _Best.nothing(of.numel(), maps, traced)
        for part in bins.flatten(1, 3):
            _look(maps, of, part, best)
        # (C, R, P, Q), and last what the top's order is.
        values = best.values.T.reshape(-1, *bins.shape[1:4]).transpose(0, 1)
        filled = values > above
        if best.places is None:
            return torch.where(filled, values, 0)
        channels, size = maps.shape[1], maps.shape[2:].numel()
        planes = of[:, None] * channels + torch.arange(channels, device=maps.device)
        places = (planes * size + best.places).T.reshape(values.transpose(0, 1).shape).transpose(0, 1)
    return torch.where(filled, maps.reshape(-1).take(places), 0)


@dataclass
class _Best:
    """Values (.., C), and where in H * W each stood if that is asked for."""

    values: Tensor
    places: Tensor | None

    @classmethod
    def nothing(cls, count: int, maps: Tensor, traced: bool) -> _Best:
        values = maps.new_full((count, maps.shape[1]), -math.inf)
        return cls(values, torch.zeros_like(values, dtype=torch.int32) if traced else None)

    def __getitem__(self, key: Any) -> _Best:
        return _Best(self.values[key], None if self.places is None else self.places[key])

    def put(self, key: Tensor, other: _Best) -> None:
        """At `key`, the better of both."""
        better = self[key].or_(other)
        self.values[key] = better.values
        if self.places is not None and better.places is not None:
            self.places[key] = better.places

    def or_(self, other: _Best) -> _Best:
        """The larger values; the first of equal ones."""
        if self.places is None or other.places is None:
            return _Best(torch.maximum(self.values, other.values), None)
        later = (other.values > self.values) | ((other.values == self.values) & (other.places < self.places))
        pairs = (other.values, self.values), (other.places, self.places)
        return _Best(*(torch.where(later, new, old) for new, old in pairs))


def _look(maps: Tensor, images: Tensor, boxes: Tensor, best: _Best) -> None:
    """Put into `best` the largest values (M, C) of maps (N, C, H, W) within rectangles (M, 4).

    Each is covered by four of a size that is a power of two, for which the largest values at all places are
    made from those of half the size: no pixel is looked at for each region again.
    """
    height, width = maps.shape[2:]
    values, places = maps.movedim(1, 3).contiguous(), None
    if best.places is not None:
        places = (
            torch.arange(height * width, dtype=torch.int32, device=maps.device)
            .reshape(1, height, width, 1)
            .expand_as(values)
        )
    lines = _Best(values, places)
    sides = boxes[:, 2:] - boxes[:, :2]
    powers = torch.where((sides > 0).all(1)[:, None], sides.clamp(min=1).log2().floor().to(torch.int64), -1)
    for tall in range(max(powers[:, 0].tolist(), default=-1) + 1):
        if tall:
            step = 2 ** (tall - 1)
            lines = lines[:, :-step].or_(lines[:, step:])
        cells, most = lines, max(powers[powers[:, 0] == tall, 1].tolist(), default=-1)
        for wide in range(most + 1):
            if wide:
                step = 2 ** (wide - 1)
                cells = cells[:, :, :-step].or_(cells[:, :, step:])
            mine = ((powers[:, 0] == tall) & (powers[:, 1] == wide)).nonzero()[:, 0]
            top, left, bottom, right = boxes[mine].T
            for y in (top, bottom - 2**tall):
                for x in (left, right - 2**wide):
                    best.put(mine, cells[images[mine], y, x])


def shares(places: Tensor, valid: Tensor, size: int) -> Tensor:
    """(.., P, size) Of linear interpolation at places (.., P, K) the mean, to which invalid ones add 0."""
    grid = torch.arange(size, dtype=places.dtype, device=places.device)
    near = (1 - (places.clamp(0, size - 1)[..., None] - grid).abs()).clamp(min=0)
    return (near * valid[..., None]).mean(-2)


def blended(maps: Tensor, images: Sequence[int], rows: Tensor, columns: Tensor) -> Tensor:
    """(R, C, P, Q) Of each region's maps the sums that shares (R, P, H) and (R, Q, W) weight."""
    rows, columns, each = rows.to(maps.dtype), columns.to(maps.dtype), maps.unbind()
    return torch.stack(
        [down @ each[i] @ across.T for i, down, across in zip(images, rows, columns, strict=True)]
    )


def small(call: Call, sizes: Tensor, maps: Tensor) -> None:
    """Raise InputError if a side of a region, in units of the maps, is too large to be sampled."""
    most = 4 * max(maps.shape[2:]) + 64
    if not bool((sizes <= most).all()):
        raise InputError(
            f"layer {call.param.name!r} ({call.param.type}): a region is {sizes.max().item():g} long, and "
            f"the maps are {max(maps.shape[2:])}: give boxes within the image, or another spatial_scale."
        )
