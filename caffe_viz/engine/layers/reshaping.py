"""Layers that move, join, cut or reduce values; those that share memory in Caffe share it in the net."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from caffe_viz.engine.table import Call, layer
from caffe_viz.geometry.table import TABLE
from caffe_viz.netdef import net_pb2


def _shapes(call: Call, bottoms: list[Tensor]) -> Sequence[tuple[int, ...]]:
    """The shapes of the tops, by the rule of geometry."""
    return TABLE[call.param.type].function(call.param, tuple(tuple(b.shape) for b in bottoms)).tops


@layer("Input", "Silence", "Parameter")
def _nothing(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Sequence[Tensor]:
    return ()


@layer("Split")
def _split(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Sequence[Tensor]:
    return bottoms * call.tops


@layer("Flatten", "Reshape")
def _regroup(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    factor = call.param.reshape_param.pixelshuffler
    if factor != 1:  # foss-for-synopsys-dwc-arc-processors/synopsys-caffe: src/caffe/layers/reshape_layer.cpp
        return F.pixel_shuffle(bottoms[0], factor)
    p, (x,) = call.param.reshape_param, bottoms
    if torch.compiler.is_compiling() and p.shape.dim and not p.axis and p.num_axes == -1:
        # Of a number of images that is not known, the rule's questions would make one.
        return x.reshape([x.shape[i] if size == 0 else size for i, size in enumerate(p.shape.dim)])
    return x.reshape(_shapes(call, bottoms)[0])


@layer("Concat")
def _concat(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    p = call.param.concat_param
    if p.per_fla_fuse and bottoms[0].ndim > 1:  # intel/caffe: src/caffe/layers/mkldnn_concat_layer.cpp
        top = _shapes(call, bottoms)[0]
        return torch.cat([x.flatten(1) for x in bottoms], 1).reshape(top)
    return torch.cat(bottoms, p.concat_dim if p.HasField("concat_dim") else p.axis)


@layer("Slice")
def _slice(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Sequence[Tensor]:
    p = call.param.slice_param
    axis = p.slice_dim if p.HasField("slice_dim") else p.axis
    sizes = [shape[axis] for shape in _shapes(call, bottoms)]
    parts: Sequence[Tensor] = torch.split(bottoms[0], sizes, axis)
    return parts


@layer("Crop")
def _crop(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    p, x = call.param.crop_param, bottoms[0]
    axis = p.axis % x.ndim
    offsets = list(p.offset) or [0]
    offsets = offsets if len(offsets) > 1 else offsets * (x.ndim - axis)
    for i, (offset, size) in enumerate(zip(offsets, _shapes(call, bottoms)[0][axis:], strict=True), axis):
        x = x.narrow(i, offset, size)
    return x


@layer("Tile")
def _tile(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    p, (x,) = call.param.tile_param, bottoms
    times = [1] * x.ndim
    times[p.axis] = p.tiles
    return x.repeat(times)


@layer("Eltwise")
def _eltwise(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    p = call.param.eltwise_param
    if p.HasField("axis"):
        bottoms = [
            x.reshape(*x.shape, *[1] * (bottoms[0].ndim - p.axis % bottoms[0].ndim - x.ndim)) for x in bottoms
        ]
    first, *others = bottoms
    if p.operation == p.PROD:
        for other in others:
            first = first * other
        return first
    if p.operation == p.MAX:
        return _largest(bottoms)
    if p.operation in (p.DIV, p.MIN, p.SORT):
        return _of_forks(p.operation, bottoms)
    factors = list(p.coeff) or [1.0] * len(bottoms)
    total = first if factors[0] == 1 else first * factors[0]
    for other, factor in zip(others, factors[1:], strict=True):
        total = torch.add(total, other, alpha=factor)
    return total


def _of_forks(operation: int, bottoms: list[Tensor]) -> Tensor:
    """Quotient and smallest of foss-for-synopsys-dwc-arc-processors/synopsys-caffe; the product of 1 + x of
    happynear/caffe-windows: src/caffe/layers/eltwise_layer.cpp."""
    kinds = net_pb2.EltwiseParameter
    if operation == kinds.SORT:
        return torch.stack([x + 1 for x in bottoms]).prod(0)
    first, *others = bottoms
    for other in others:
        first = first / other if operation == kinds.DIV else torch.where(other < first, other, first)
    return first


def _largest(bottoms: list[Tensor]) -> Tensor:
    """Where values are equal the gradient goes to one: the second of the first two, else the earlier."""
    largest = torch.where(bottoms[0] > bottoms[1], bottoms[0], bottoms[1])
    for other in bottoms[2:]:
        largest = torch.where(other > largest, other, largest)
    return largest


@layer("Reduction")
def _reduction(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    p, (x,) = call.param.reduction_param, bottoms
    rows = x.flatten(p.axis % x.ndim)
    terms = {p.SUM: rows, p.MEAN: rows, p.ASUM: rows.abs(), p.SUMSQ: rows * rows}[p.operation]
    return terms.sum(-1) * (p.coeff / rows.shape[-1] if p.operation == p.MEAN else p.coeff)


@layer("ArgMax", gradient=False)
def _argmax(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    p, (x,) = call.param.argmax_param, bottoms
    whole = not p.HasField("axis")
    rows, axis = (x.flatten(1), 1) if whole else (x, p.axis % x.ndim)
    # Of equal values Caffe puts the later one first.
    if torch.onnx.is_in_onnx_export():  # whose operator puts the earlier one first, too
        values, places = torch.topk(rows.flip(axis), p.top_k, axis)
    else:
        values, places = torch.sort(rows.flip(axis), dim=axis, descending=True, stable=True)
    values, places = values.narrow(axis, 0, p.top_k), rows.shape[axis] - 1 - places.narrow(axis, 0, p.top_k)
    if not whole:
        return values if p.out_max_val else places.to(torch.float32)
    parts = [places.to(torch.float32), values] if p.out_max_val else [places.to(torch.float32)]
    return torch.stack(parts, 1).reshape(_shapes(call, bottoms)[0])


@layer("BatchReindex", labels=(1,))
def _batch_reindex(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    return bottoms[0][bottoms[1].to(torch.int64)]


@layer("Filter", labels=(-1,))
def _filter(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Sequence[Tensor]:
    *blobs, selector = bottoms
    kept = selector.reshape(-1).nonzero().reshape(-1)
    return [blob[kept] for blob in blobs]
