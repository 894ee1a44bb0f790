"""Rules of fork layers that move, cut or join values."""

from __future__ import annotations

from caffe_viz.geometry.receptive_fields import SAME, LayoutEffect, window
from caffe_viz.geometry.table import Out, Shapes, axis_of, checked, four_axes, need, rule, text
from caffe_viz.geometry.windows import repeat_view
from caffe_viz.netdef import LayerParameter


@rule("ShuffleChannel", fork=True)
def _shuffle_channel(layer: LayerParameter, bottoms: Shapes) -> Out:
    (shape,), groups = bottoms, layer.shuffle_channel_param.group
    need(len(shape) >= 2, "takes a blob of at least 2 axes (N, C)")
    need(groups > 0 and shape[1] % groups == 0, f"{shape[1]} channels do not divide into {groups} groups")
    return Out((shape,))


@rule("Flip", fork=True)
def _flip(layer: LayerParameter, bottoms: Shapes) -> Out:
    four_axes(bottoms[0])
    p = layer.flip_param
    return Out(bottoms, views=(LayoutEffect.LOST if p.flip_width or p.flip_height else SAME,))


@rule("Squeeze", in_place=False, fork=True)
def _squeeze(layer: LayerParameter, bottoms: Shapes) -> Out:
    """Removes axes of size 1: those named, or all."""
    (shape,) = bottoms
    named = {axis_of(shape, axis) for axis in layer.squeeze_param.axis}
    for axis in sorted(named):
        need(shape[axis] == 1, f"axis {axis} has size {shape[axis]}; only axes of size 1 can be removed")
    gone = named or {i for i, size in enumerate(shape) if size == 1}
    top = tuple(size for i, size in enumerate(shape) if i not in gone)
    kept = len(top) >= 4 and gone.isdisjoint((len(shape) - 2, len(shape) - 1))
    return Out((top,), views=(SAME if kept else LayoutEffect.LOST,), aliases=True)


@rule("Division", tops=(1, None), fork=True)
def _division(layer: LayerParameter, bottoms: Shapes) -> Out:
    """Cuts a rectangle for each top, all of one size."""
    p, (n, c, h, w), count = layer.division_param, four_axes(bottoms[0]), len(layer.top)
    need(p.width > 0 and p.height > 0, "division_param needs width and height, at least 1")
    starts = _corners(p.ycoord, p.xcoord, count, "top")
    for y, x in starts:
        inside = y + p.height <= h and x + p.width <= w
        need(inside, f"{p.height}x{p.width} from row {y}, column {x} on goes past the {h}x{w} of the bottom")
    return Out(
        ((n, c, p.height, p.width),) * count, views=tuple(window((1, 1), (1, 1), start) for start in starts)
    )


@rule("Combination", bottoms=(1, None), fork=True)
def _combination(layer: LayerParameter, bottoms: Shapes) -> Out:
    """Puts each bottom at its place; the last one ends where the top does."""
    shapes = [four_axes(shape) for shape in bottoms]
    starts = _corners(layer.combination_param.ycoord, layer.combination_param.xcoord, len(shapes), "bottom")
    (n, c, *_), (last_y, last_x) = shapes[0], starts[-1]
    height, width = last_y + shapes[-1][2], last_x + shapes[-1][3]
    for shape, (y, x) in zip(shapes, starts, strict=True):
        need(shape[:2] == (n, c), f"all bottoms must begin with {n}x{c}, as the first; one is {text(shape)}")
        inside = y + shape[2] <= height and x + shape[3] <= width
        need(inside, f"{text(shape)} at row {y}, column {x} goes past the {height}x{width} of the top")
    return Out(
        (checked((n, c, height, width), "the top"),), views=(LayoutEffect.LOST if len(shapes) > 1 else SAME,)
    )


def _corners(rows: object, columns: object, count: int, what: str) -> list[tuple[int, int]]:
    """(row, column) of each of `count` rectangles."""
    y, x = list(rows), list(columns)  # type: ignore[call-overload]
    need(len(y) >= count and len(x) >= count, f"needs an xcoord and a ycoord for each {what} ({count})")
    return list(zip(y, x, strict=False))[:count]


@rule("CropCenter", fork=True)
def _crop_center(layer: LayerParameter, bottoms: Shapes) -> Out:
    """Cuts crop_size values off at both ends of each axis."""
    (shape,), sizes = bottoms, list(layer.crop_center_param.crop_size)
    need(len(sizes) == len(shape), f"takes a crop_size for each of the {len(shape)} axes, not {len(sizes)}")
    top = tuple(size - 2 * cut for size, cut in zip(shape, sizes, strict=True))
    checked(top, "the top", "lower crop_size")
    return Out((top,), views=(window((1, 1), (1, 1), (0, 0, *sizes)[-2:]),))


@rule("Tiling", fork=True)
def _tiling(layer: LayerParameter, bottoms: Shapes) -> Out:
    return pixel_shuffled(layer.tiling_param.tile_dim, bottoms, "tiling_param", "tile_dim")


def pixel_shuffled(factor: int, bottoms: Shapes, param: str, name: str) -> Out:
    """(N, r * r * C, H, W) to (N, C, r * H, r * W): the channels of a pixel become a square of pixels."""
    n, c, h, w = four_axes(bottoms[0])
    need(factor > 0, f"{param} needs {name}, at least 1")
    need(c % factor**2 == 0, f"{c} channels do not divide by {name} squared ({factor**2})")
    return Out(((n, c // factor**2, h * factor, w * factor),), views=(repeat_view((factor, factor)),))


@rule("HyperColumns", bottoms=(2, None), tops=2, fork=True)
def _hyper_columns(layer: LayerParameter, bottoms: Shapes) -> Out:
    """For each place of the first bottom, the values there of all others; and its own, (places, K)."""
    shapes, p = [four_axes(shape) for shape in bottoms], layer.hypercolumns_param
    n, k, h, w = shapes[0]
    need(p.skip_ratio > 0, "skip_ratio must be at least 1")
    for shape in shapes[1:]:
        need(shape[0] == n and shape[2] <= h, f"{text(shape)} must begin with {n} and be at most {h} high")
    places = n * (p.sample_num if p.is_train else h * w // hyper_step(layer, h * w))
    return Out(((places, sum(s[1] for s in shapes[1:]), 1, 1), (places, k)), views=(LayoutEffect.LOST,))


def hyper_step(layer: LayerParameter, places: int) -> int:
    """Return the step between places of HyperColumns: skip_ratio, or the next smaller divisor of `places`."""
    step = min(layer.hypercolumns_param.skip_ratio, places)
    return next(s for s in range(step, 0, -1) if places % s == 0)


@rule("FlowWarp", bottoms=2, fork=True)
def _flow_warp(layer: LayerParameter, bottoms: Shapes) -> Out:
    """Each pixel is fetched from where the second bottom, (N, 2, H, W), says."""
    (n, _, h, w), flow = four_axes(bottoms[0]), bottoms[1]
    need(flow == (n, 2, h, w), f"the second bottom must be {text((n, 2, h, w))}, not {text(flow)}")
    return Out(bottoms[:1], views=(LayoutEffect.WHOLE,))


@rule("AttPooling", "PwAttend", bottoms=2, fork=True)
def _attention_window(layer: LayerParameter, bottoms: Shapes) -> Out:
    """Sums of windows of the first bottom, weighed by the channels of the second."""
    (n, c, h, w), weights = four_axes(bottoms[0]), four_axes(bottoms[1])
    kernel, stride, pad, dilation = attention_window(layer, w)
    extent = dilation * (kernel - 1) + 1
    if attends_globally(layer):
        need(h == w and stride == 1, "the global mode takes a square blob and stride 1")
        need(w + 2 * pad == extent, f"the global mode needs a kernel that covers the {w + 2 * pad} columns")
        view, size = LayoutEffect.WHOLE, weights[2:]
    else:
        need(min(h, w) + 2 * pad >= extent, "the kernel is larger than the padded input")
        size = ((h + 2 * pad - extent) // stride + 1, (w + 2 * pad - extent) // stride + 1)
        view = window((extent,) * 2, (stride,) * 2, (-pad, -pad))  # type: ignore[assignment]
    wanted = (n, kernel**2, *size)
    need(weights == wanted, f"the second bottom must be {text(wanted)}, not {text(weights)}")
    return Out(((n, c, *size),), macs=n * c * kernel**2 * size[0] * size[1], views=(view,), sees=1)


def attends_globally(layer: LayerParameter) -> bool:
    """Whether every place of the top depends on the whole first bottom."""
    p = layer.pw_attend_param if layer.type == "PwAttend" else layer.att_pooling_param
    return bool(p.att_mode == p.GLOBAL)


def attention_window(layer: LayerParameter, width: int) -> tuple[int, int, int, int]:
    """Kernel, stride, padding, dilation; in the global mode the kernel is as wide as the bottom."""
    p = layer.pw_attend_param if layer.type == "PwAttend" else layer.att_pooling_param
    given = p.HasField("kernel_size") or not attends_globally(layer)
    kernel = p.kernel_size if given else width
    need(kernel > 0 and p.stride > 0 and p.dilation > 0, "needs kernel_size, stride and dilation, at least 1")
    return kernel, p.stride, p.pad, p.dilation
