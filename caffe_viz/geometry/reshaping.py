"""Rules of layers that move, join, cut or reduce values without parameters."""

from __future__ import annotations

import math

from caffe_viz.geometry.fork_reshaping import pixel_shuffled
from caffe_viz.geometry.receptive_fields import SAME, LayoutEffect, ReceptiveField, Shape, View, window
from caffe_viz.geometry.table import Out, Shapes, axis_of, legacy, many, need, rule, text
from caffe_viz.netdef import LayerParameter


@rule(
    *("AbsVal", "BNLL", "ELU", "HardSigmoid", "HardSwish", "Power", "ReLU", "ReLU6", "Sigmoid", "TanH"),
    "Threshold",
)
def _neuron(layer: LayerParameter, bottoms: Shapes) -> Out:
    return Out(bottoms)


@rule("Exp", "Log")
def _exponential(layer: LayerParameter, bottoms: Shapes) -> Out:
    """Base -1 stands for e."""
    base = (layer.exp_param if layer.type == "Exp" else layer.log_param).base
    need(base == -1 or 0 < base < math.inf, f"base is {base:g}: give a number above 0, or -1 for e")
    need(base != 1 or layer.type == "Exp", "there are no logarithms with base 1: give another")
    return Out(bottoms)


@rule("Dropout")
def _dropout(layer: LayerParameter, bottoms: Shapes) -> Out:
    """Real Caffe checks the ratio in debug builds only."""
    ratio = layer.dropout_param.dropout_ratio
    need(0 <= ratio <= 1, f"dropout_ratio is {ratio:g}: give a number from 0 to 1")
    return Out(bottoms)


@rule("Split", tops=(1, None), in_place=False)
def _split(layer: LayerParameter, bottoms: Shapes) -> Out:
    return Out(bottoms * len(layer.top), aliases=True)


@rule("Silence", bottoms=(1, None), tops=0)
def _silence(layer: LayerParameter, bottoms: Shapes) -> Out:
    return Out(())


def _along(shape: Shape, axis: int) -> View:
    """View of a layer that lets every unit see all of one axis."""
    back = len(shape) - axis
    if len(shape) < 4 or back > 2:
        return SAME
    size, stride = [1, 1], [1, 1]
    size[2 - back], stride[2 - back] = shape[axis], 0
    return window(size, stride, (0, 0))


@rule("Softmax")
def _softmax(layer: LayerParameter, bottoms: Shapes) -> Out:
    return Out(bottoms, views=(_along(bottoms[0], axis_of(bottoms[0], layer.softmax_param.axis)),))


@rule("MVN")
def _mvn(layer: LayerParameter, bottoms: Shapes) -> Out:
    return Out((legacy(bottoms[0]),), views=(LayoutEffect.WHOLE,))


@rule("Eltwise", bottoms=(2, None))
def _eltwise(layer: LayerParameter, bottoms: Shapes) -> Out:
    """Real Caffe of this build does not compare the shapes, and reads past the end of the smaller blob."""
    param, count = layer.eltwise_param, len(bottoms)
    need(len(param.coeff) in (0, count), f"takes one coeff per bottom ({count}), not {len(param.coeff)}")
    need(not (param.operation == param.PROD and param.coeff), "coeff is for the operation SUM only")
    need(param.operation != param.DIV or count == 2, f"the operation DIV takes 2 bottoms, not {count}")
    if param.HasField("axis"):  # synopsys-caffe lets a shorter second bottom count for the axes after it
        start = axis_of(bottoms[0], param.axis)
        for shape in bottoms[1:]:
            part = bottoms[0][start : start + len(shape)]
            fits = shape in (bottoms[0], part)
            need(fits, f"a bottom is {text(shape)}, not {text(part)}, the axes from {start} on: set axis")
        return Out(bottoms[:1])
    need(
        len(set(bottoms)) == 1,
        "all bottoms must have the same shape: check padding and strides of the branches",
    )
    return Out(bottoms[:1])


def _old_axis(shape: Shape, axis: int, old: int, old_given: bool, both: bool, names: tuple[str, str]) -> int:
    need(not both, f"give {names[0]} or {names[1]}, not both")
    return axis_of(shape, old, names[1]) if old_given else axis_of(shape, axis)


def _spatial(shape: Shape, axis: int) -> bool:
    return len(shape) >= 4 and axis >= len(shape) - 2


@rule("Concat", bottoms=(1, None))
def _concat(layer: LayerParameter, bottoms: Shapes) -> Out:
    param, first = layer.concat_param, bottoms[0]
    old = param.HasField("concat_dim")
    axis = _old_axis(
        first, param.axis, param.concat_dim, old, old and param.HasField("axis"), ("axis", "concat_dim")
    )
    if param.per_fla_fuse and axis == 1:  # intel/caffe flattens the bottoms first
        need(
            len({(len(s), s[:1]) for s in bottoms}) == 1, "all bottoms must have equally many axes and items"
        )
        values = sum(math.prod(shape[1:]) for shape in bottoms)
        return Out(((first[0], values, *[1] * (len(first) - 2)),), views=(LayoutEffect.LOST,))
    for shape in bottoms[1:]:
        same = len(shape) == len(first) and all(
            a == b for i, (a, b) in enumerate(zip(first, shape, strict=True)) if i != axis
        )
        need(
            same, f"all bottoms must have the same shape except along axis {axis}: check padding and strides"
        )
    top = (*first[:axis], sum(s[axis] for s in bottoms), *first[axis + 1 :])
    alone = len(bottoms) == 1
    return Out(
        (top,), views=(LayoutEffect.LOST if _spatial(first, axis) and not alone else SAME,), aliases=alone
    )


@rule("Slice", tops=(1, None))
def _slice(layer: LayerParameter, bottoms: Shapes) -> Out:
    param, (shape,), count = layer.slice_param, bottoms, len(layer.top)
    old = param.HasField("slice_dim")
    axis = _old_axis(
        shape, param.axis, param.slice_dim, old, old and param.HasField("axis"), ("axis", "slice_dim")
    )
    size, points = shape[axis], tuple(param.slice_point)
    if points:
        need(len(points) == count - 1, f"takes {count - 1} slice_points for {count} tops, not {len(points)}")
        rising = all(a < b for a, b in zip((0, *points), (*points, size), strict=True))
        need(rising, f"slice_points {list(points)} must rise between 0 and {size}, the size of axis {axis}")
    else:
        need(size % count == 0, f"axis {axis} ({size}) does not divide into {count} tops: give slice_points")
        points = tuple(size // count * i for i in range(1, count))
    starts, ends = (0, *points), (*points, size)
    tops = tuple((*shape[:axis], b - a, *shape[axis + 1 :]) for a, b in zip(starts, ends, strict=True))
    return Out(tops, views=tuple(_from(shape, axis, a) for a in starts), aliases=count == 1)


def _from(shape: Shape, axis: int, start: int) -> ReceptiveField:
    """View of a top that begins at `start` along one axis of its bottom."""
    offset = [0, 0]
    if _spatial(shape, axis):
        offset[axis - len(shape)] = start
    return window((1, 1), (1, 1), offset)


@rule("Crop", bottoms=2)
def _crop(layer: LayerParameter, bottoms: Shapes) -> Out:
    param, (shape, like) = layer.crop_param, bottoms
    axis = axis_of(shape, param.axis)
    cut = len(shape) - axis
    need(
        len(like) >= len(shape),
        f"the second bottom {text(like)} must have the {len(shape)} axes of the first",
    )
    need(
        len(param.offset) in (0, 1, cut),
        f"takes 1 or {cut} offsets (axes from {axis} on), not {len(param.offset)}",
    )
    offsets = tuple(param.offset) or (0,)
    offsets = offsets if len(offsets) == cut else offsets * cut
    sizes = like[axis : len(shape)]
    for room, size, offset in zip(shape[axis:], sizes, offsets, strict=True):
        need(
            offset + size <= room,
            f"{size} from offset {offset} on goes past the end of {room}: lower the offset",
        )
    moved = ((0,) * len(shape) + offsets)[-2:]
    return Out(((*shape[:axis], *sizes),), views=(window((1, 1), (1, 1), (0, 0, *moved)),), sees=1)


def _regrouped(shape: Shape, top: Shape) -> View:
    """View of a layer that keeps the order of values: the layout is kept if the last two axes are."""
    return SAME if len(shape) >= 4 and len(top) >= 4 and shape[-2:] == top[-2:] else LayoutEffect.LOST


@rule("Flatten", in_place=False)
def _flatten(layer: LayerParameter, bottoms: Shapes) -> Out:
    (shape,) = bottoms
    start, end = (
        axis_of(shape, layer.flatten_param.axis),
        axis_of(shape, layer.flatten_param.end_axis, "end_axis") + 1,
    )
    need(start <= end, f"axis {start} lies after end_axis {end - 1}")
    top = (*shape[:start], math.prod(shape[start:end]), *shape[end:])
    return Out((top,), views=(_regrouped(shape, top),), aliases=True)


@rule("Reshape", in_place=False)
def _reshape(layer: LayerParameter, bottoms: Shapes) -> Out:
    """Dimension 0 copies the bottom's, one -1 takes what is left; `axis`, `num_axes` say what is replaced."""
    param, (shape,) = layer.reshape_param, bottoms
    if param.pixelshuffler != 1:  # synopsys-caffe, intel/caffe
        return pixel_shuffled(param.pixelshuffler, bottoms, "reshape_param", "pixelshuffler")
    start = param.axis if param.axis >= 0 else len(shape) + param.axis + 1
    axes = many(len(shape), "axis", "axes")
    need(0 <= start <= len(shape), f"axis {param.axis} is out of range for {axes}")
    need(param.num_axes >= -1, "num_axes must be at least -1")
    end = len(shape) if param.num_axes == -1 else start + param.num_axes
    need(end <= len(shape), f"axis {start} plus num_axes {param.num_axes} is more than the {axes}")
    wanted = list(param.shape.dim)
    need(wanted.count(-1) <= 1, f"only one dimension may be -1, not {wanted.count(-1)}")
    for i, dim in enumerate(wanted):
        if dim == 0:
            need(start + i < len(shape), f"dimension {i} is 0 (copy), but the bottom has no axis {start + i}")
            wanted[i] = shape[start + i]
    rest = math.prod(shape[:start]) * math.prod(d for d in wanted if d != -1) * math.prod(shape[end:])
    count = math.prod(shape)
    if -1 in wanted:
        fits = rest > 0 and count % rest == 0
        need(fits, f"{count} values do not divide by the other dimensions ({rest})")
        wanted[wanted.index(-1)] = count // rest
    top = (*shape[:start], *wanted, *shape[end:])
    need(min(top, default=1) > 0, f"the shape {text(top)} has a dimension below 1")
    need(math.prod(top) == count, f"{text(top)} holds {math.prod(top)} values, the bottom {count}")
    return Out((top,), views=(_regrouped(shape, top),), aliases=True)


@rule("Permute")
def _permute(layer: LayerParameter, bottoms: Shapes) -> Out:
    (shape,), order = bottoms, list(layer.permute_param.order)
    need(
        all(o < len(shape) for o in order),
        f"order {order} names an axis that the {len(shape)} axes do not have",
    )
    need(len(set(order)) == len(order), f"order {order} names an axis twice")
    order += [i for i in range(len(shape)) if i not in order]
    kept = len(shape) >= 4 and order[-2:] == [len(shape) - 2, len(shape) - 1]
    top, same = tuple(shape[o] for o in order), order == sorted(order)
    return Out((top,), views=(SAME if kept else LayoutEffect.LOST,), aliases=same)


@rule("Unsqueeze")
def _unsqueeze(layer: LayerParameter, bottoms: Shapes) -> Out:
    (shape,), dim = bottoms, layer.unsqueeze_param.dim
    need(layer.unsqueeze_param.HasField("dim"), "unsqueeze_param needs dim")
    place = dim if dim >= 0 else dim + len(shape) + 1
    need(0 <= place <= len(shape), f"dim {dim} is out of range for {many(len(shape), 'axis', 'axes')}")
    top = (*shape[:place], 1, *shape[place:])
    return Out((top,), views=(SAME if len(shape) >= 4 and place <= len(shape) - 2 else LayoutEffect.LOST,))


@rule("Tile")
def _tile(layer: LayerParameter, bottoms: Shapes) -> Out:
    (shape,), tiles = bottoms, layer.tile_param.tiles
    axis = axis_of(shape, layer.tile_param.axis)
    need(tiles > 0, "tile_param needs tiles, at least 1")
    top = (*shape[:axis], shape[axis] * tiles, *shape[axis + 1 :])
    return Out((top,), views=(LayoutEffect.LOST if _spatial(shape, axis) and tiles > 1 else SAME,))


@rule("BatchReindex", bottoms=2)
def _batch_reindex(layer: LayerParameter, bottoms: Shapes) -> Out:
    shape, index = bottoms
    need(shape, "the first bottom must have at least one axis")
    need(len(index) == 1, "the second bottom (the index) must have one axis")
    return Out(((*index, *shape[1:]),), sees=1)


@rule("Filter", bottoms=(2, None), tops=(1, None))
def _filter(layer: LayerParameter, bottoms: Shapes) -> Out:
    """Shapes before a forward: every item passes; a forward shortens the first axis to the selected ones."""
    *shapes, selector = bottoms
    need(
        len(layer.top) == len(shapes),
        f"takes one top per bottom but the selector ({len(shapes)}), not {len(layer.top)}",
    )
    need(
        selector and all(d == 1 for d in selector[1:]),
        "the last bottom (the selector) must be (N) or (N, 1, ...)",
    )
    need(
        all(s and s[0] == selector[0] for s in shapes),
        f"all bottoms must begin with {selector[0]}, as the selector",
    )
    return Out(tuple((shapes[0][0], *s[1:]) for s in shapes), sees=len(shapes))


@rule("Reduction")
def _reduction(layer: LayerParameter, bottoms: Shapes) -> Out:
    (shape,), axis = bottoms, axis_of(bottoms[0], layer.reduction_param.axis)
    return Out(
        (shape[:axis],),
        views=(
            LayoutEffect.LOST if _spatial(shape, axis) and axis == len(shape) - 1 else LayoutEffect.WHOLE,
        ),
    )


@rule("ArgMax")
def _arg_max(layer: LayerParameter, bottoms: Shapes) -> Out:
    param, (shape,) = layer.argmax_param, bottoms
    need(param.top_k >= 1, "top_k must be at least 1")
    if not param.HasField("axis"):
        need(shape, "takes a blob of at least one axis")
        need(
            param.top_k <= math.prod(shape[1:]),
            f"top_k {param.top_k} is more than the {math.prod(shape[1:])} values of an image",
        )
        top = (shape[0], 2 if param.out_max_val else 1, param.top_k, *[1] * (len(shape) - 3))
        return Out((top,), views=(LayoutEffect.WHOLE,))
    axis = axis_of(shape, param.axis)
    need(
        param.top_k <= shape[axis],
        f"top_k {param.top_k} is more than the {shape[axis]} values of axis {axis}",
    )
    top = (*shape[:axis], param.top_k, *shape[axis + 1 :])
    return Out((top,), views=(_along(shape, axis),))
