"""Layers that invert pooling: values go back to where they came from, or to every place of their window."""

from __future__ import annotations

import torch
from torch import Tensor

from caffe_viz.engine.table import Call, layer
from caffe_viz.errors import InputError
from caffe_viz.geometry.table import TABLE
from caffe_viz.geometry.unpooling import Unpool, scales_of, unpool_of
from caffe_viz.geometry.windows import Window
from caffe_viz.netdef.net_pb2 import UnpoolingParameter


@layer("Upsample")
def _upsample(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """Each value `scale` times along each axis after the channels; or, by a mask, at its place among zeros.

    With a mask: alexgkendall/caffe-segnet: src/caffe/layers/upsample_layer.cpp
    """
    if len(bottoms) == 2:
        return _at_places(call, bottoms[0], bottoms[1], _size(call, bottoms))
    (x,) = bottoms
    lead, room = x.shape[:2], x.shape[2:]
    scales = scales_of(call.param) if len(room) == 2 else (call.param.upsample_param.scale,)
    spaced = x.reshape(*lead, *(n for size in room for n in (size, 1)))
    repeated = spaced.expand(*lead, *(n for pair in zip(room, scales, strict=True) for n in pair))
    return repeated.reshape(*lead, *(size * scale for size, scale in zip(room, scales, strict=True)))


def _size(call: Call, bottoms: list[Tensor]) -> tuple[int, ...]:
    """Height and width of the top, by the rule of geometry."""
    return TABLE[call.param.type].function(call.param, tuple(tuple(b.shape) for b in bottoms)).tops[0][2:]


@layer("MaxUnPool")
def _max_unpool(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    return _at_places(call, bottoms[0], bottoms[1], _size(call, bottoms))


def _at_places(call: Call, values: Tensor, mask: Tensor, size: tuple[int, ...]) -> Tensor:
    """Values go to the places in their image that the mask names; of several the last stays."""
    x, places = values.flatten(2), mask.detach().flatten(2).to(torch.int64)
    height, width = size
    wrong = (places < 0) | (places >= height * width)
    if x.shape != places.shape or wrong.any():
        given = f"a place is {int(places[wrong][0])}" if wrong.any() else f"{tuple(mask.shape)}"
        raise InputError(
            f"layer {call.param.name!r} ({call.param.type}): the second bottom must be {tuple(values.shape)} "
            f"with places from 0 to {height * width - 1}; {given}."
        )
    order = torch.arange(x.shape[2], device=x.device).expand_as(places)
    latest = order.new_full((*x.shape[:2], height * width), -1).scatter_reduce(2, places, order, "amax")
    top = torch.where(latest < 0, 0, x.gather(2, latest.clamp(min=0)))
    return top.reshape(*x.shape[:2], height, width)


@layer("Unpooling", "UnPooling")
def _unpooling(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """HyeonwooNoh/caffe, xiamenwcy/extended-caffe and others: src/caffe/layers/unpooling_layer.cpp

    MAX puts a value at its place, or where its window begins, FIXED in the middle of its window. All others
    fill the window: TILE adds up, REP takes the mean of what falls on a place, AVE and DIV are TILE and REP
    of values divided by their window.
    """
    unpool, x = unpool_of(call.param, tuple(tuple(b.shape) for b in bottoms)), bottoms[0]
    p = UnpoolingParameter
    if unpool.masked:
        return _at_places(call, x, bottoms[1], unpool.room)
    if unpool.method in (p.MAX, p.FIXED):
        return _at_places(call, x, _points(x, unpool, unpool.method == p.FIXED), unpool.room)
    axes = list(zip(unpool.windows, x.shape[2:], unpool.room, strict=True))
    down, across = (_cover(x, *axis) for axis in axes)
    if unpool.method in (p.AVE, p.DIV):
        rows, columns = (_inside(x, *axis) for axis in axes)
        x = x / (rows[:, None] * columns)
    top = down.T @ x @ across
    if unpool.method in (p.DIV, p.REP):
        top = top / (down.sum(0)[:, None] * across.sum(0)).clamp(min=1)
    return top


def _firsts(x: Tensor, w: Window, count: int) -> Tensor:
    return torch.arange(count, device=x.device) * w.stride - w.before


def _points(x: Tensor, unpool: Unpool, middle: bool) -> Tensor:
    """Where each value is placed in the top: at the start or in the middle of its window."""
    along = []
    for w, count, size in zip(unpool.windows, x.shape[2:], unpool.room, strict=True):
        first = _firsts(x, w, count)
        place = (2 * first + w.kernel - 1) // 2 if middle else first
        along.append(place.clamp(0, size - 1))
    return (along[0][:, None] * unpool.room[1] + along[1]).expand(x.shape)


def _cover(x: Tensor, w: Window, count: int, size: int) -> Tensor:
    """(count, size): 1 where a window covers a place of the top."""
    first = _firsts(x, w, count)[:, None]
    place = torch.arange(size, device=x.device)
    return ((place >= first) & (place < first + w.kernel)).to(x.dtype)


def _inside(x: Tensor, w: Window, count: int, size: int) -> Tensor:
    """(count): places of each window on the top and its padding."""
    first = _firsts(x, w, count)
    return ((first + w.kernel).clamp(max=size + w.before) - first).to(x.dtype)
