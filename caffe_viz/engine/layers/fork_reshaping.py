"""Layers of forks that move, cut or join values. (N, C, H, W) unless said."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from caffe_viz.engine.table import Call, layer
from caffe_viz.geometry.fork_reshaping import attends_globally, attention_window, hyper_step
from caffe_viz.geometry.table import TABLE


def _shapes(call: Call, bottoms: list[Tensor]) -> Sequence[tuple[int, ...]]:
    """The shapes of the tops, by the rule of geometry."""
    return TABLE[call.param.type].function(call.param, tuple(tuple(b.shape) for b in bottoms)).tops


@layer("ShuffleChannel")
def _shuffle_channel(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """Channels laid out as `group` rows and read column by column; (N, C, ..). farmingyard/ShuffleNet,
    anlongstory/ShuffleNet_V2-caffe: shuffle_channel_layer.cpp."""
    x, groups = bottoms[0], call.param.shuffle_channel_param.group
    rows = x.reshape(x.shape[0], groups, -1, *x.shape[2:])
    return rows.transpose(1, 2).reshape(x.shape)


@layer("Flip")
def _flip(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """Mirror left and right, or top and bottom. happynear/caffe-windows:
    src/caffe/layers/flip_layer.cpp."""
    p = call.param.flip_param
    return bottoms[0].flip([2] * p.flip_height + [3] * p.flip_width)


@layer("Squeeze")
def _squeeze(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """Remove axes of size 1. foss-for-synopsys-dwc-arc-processors/synopsys-caffe:
    src/caffe/layers/squeeze_layer.cpp."""
    return bottoms[0].reshape(_shapes(call, bottoms)[0])


@layer("Division")
def _division(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Sequence[Tensor]:
    """Cut a rectangle of the bottom for each top. ZhiwenShao/ARL: src/division_layer.cpp."""
    p = call.param.division_param
    corners = list(zip(p.ycoord, p.xcoord, strict=False))[: call.tops]
    return [bottoms[0][..., y : y + p.height, x : x + p.width] for y, x in corners]


@layer("Combination")
def _combination(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """Paste each bottom at its place in the top, later ones over earlier ones. ZhiwenShao/ARL:
    src/combination_layer.cpp, which leaves what no bottom covers as it was; it is 0 here."""
    p = call.param.combination_param
    top = bottoms[0].new_zeros(_shapes(call, bottoms)[0])
    for part, y, x in zip(bottoms, p.ycoord, p.xcoord, strict=False):
        top[..., y : y + part.shape[2], x : x + part.shape[3]] = part
    return top


@layer("CropCenter")
def _crop_center(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """Crop both ends of each axis; any shape. lltcggie/caffe:
    src/caffe/layers/crop_center_layer.cpp."""
    (x,) = bottoms
    for axis, cut in enumerate(call.param.crop_center_param.crop_size):
        x = x.narrow(axis, cut, x.shape[axis] - 2 * cut)
    return x


@layer("Tiling")
def _tiling(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """Depth to space: the channels of a pixel become a square of pixels. SeokjuLee/VPGNet:
    caffe/src/caffe/layers/tiling_layer.cpp."""
    return F.pixel_shuffle(bottoms[0], call.param.tiling_param.tile_dim)


@layer("HyperColumns")
def _hyper_columns(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Sequence[Tensor]:
    """At places of the first bottom, the values of all others that lie there, mixed of the four around; then
    its own: (places, C, 1, 1), (places, K). JiangQH/caffe: src/caffe/layers/hypercolumns_layer.cpp, which in
    training draws places whose values are not all 0."""
    first, *others = bottoms
    n, _, h, w = first.shape
    if call.param.hypercolumns_param.is_train:
        places = _drawn(call, first)
    else:
        step = hyper_step(call.param, h * w)
        places = (torch.arange(h * w // step, device=first.device) * step).expand(n, -1)
    columns = [_sampled(x, places // w, places % w, h // x.shape[2]) for x in others]
    own = first.flatten(2).gather(2, places.unsqueeze(1).expand(-1, first.shape[1], -1))
    rows = [x.transpose(1, 2).flatten(0, 1) for x in (torch.cat(columns, 1), own)]
    return [rows[0][..., None, None], rows[1]]


def _drawn(call: Call, first: Tensor) -> Tensor:
    """Random places of each image, (N, places); if possible, those whose values are finite and not all 0."""
    bad = first.isnan().any(1).flatten(1) | (first == 0).all(1).flatten(1)
    order = torch.rand(bad.shape, generator=call.generator, device=first.device) + bad
    count = call.param.hypercolumns_param.sample_num
    found = order.argsort(1)
    return found.repeat(1, -(-count // found.shape[1]))[:, :count]


def _sampled(x: Tensor, rows: Tensor, columns: Tensor, scale: int) -> Tensor:
    """Values of `x`, 1 / `scale` as large, under pixels (N, places): (N, C, places)."""
    _, c, h, w = x.shape
    flat, total = x.flatten(2), None
    axes = []
    for pixels, size in ((rows, h), (columns, w)):
        place = (pixels.to(x.dtype) - (scale - 1) / 2) / scale
        low, high = place.floor().clamp(min=0), place.ceil().clamp(min=0)
        high = torch.where(high < size, high, low)
        share = torch.where(high == low, 0, place - low)
        axes.append(((low.clamp(max=size - 1), 1 - share), (high.clamp(max=size - 1), share)))
    for y, weight_y in axes[0]:
        for left, weight_x in axes[1]:
            index = (y * w + left).to(torch.int64).unsqueeze(1).expand(-1, c, -1)
            part = flat.gather(2, index) * (weight_y * weight_x).unsqueeze(1)
            total = part if total is None else total + part
    assert total is not None
    return total


@layer("FlowWarp")
def _flow_warp(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """Pixels fetched from where the flow (N, 2, H, W) points, along x and y, mixed of the four there; those
    from outside are 0 or NaN. lmb-freiburg/flownet2: src/caffe/layers/flow_warp_layer.cpp."""
    (x, flow), p = bottoms, call.param.flow_warp_param
    n, c, h, w = x.shape
    rows, columns = (torch.arange(size, device=x.device, dtype=x.dtype) for size in (h, w))
    across, down = columns + flow[:, 0], rows.unsqueeze(1) + flow[:, 1]
    inside = (across >= 0) & (down >= 0) & (across < w) & (down < h)
    left, above = (place.detach().floor() for place in (across, down))
    flat, total = x.flatten(2), torch.zeros_like(x)
    for dy, weight_y in ((0, 1 - (down - above)), (1, down - above)):
        for dx, weight_x in ((0, 1 - (across - left)), (1, across - left)):
            y, z = (above + dy).clamp(0, h - 1), (left + dx).clamp(0, w - 1)
            index = (y * w + z).to(torch.int64).flatten(1).unsqueeze(1).expand(-1, c, -1)
            total = total + flat.gather(2, index).view(n, c, h, w) * (weight_y * weight_x).unsqueeze(1)
    outside = 0.0 if p.fill_value == p.ZERO else float("nan")
    return total.masked_fill(~inside.unsqueeze(1), outside)


@layer("AttPooling", "PwAttend")
def _attention_window(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """For each place, its window of x (N, C, H, W) weighed by its channels of a (N, K * K, H', W'); in the
    global mode the window is all of x. Mhaiyang/TMM2018_DRFN: caffe/src/caffe/layers/att_pooling_layer.cu;
    of PwAttend there are only nets, with the same fields and bottoms."""
    x, weights = bottoms
    n, c, _, w = x.shape
    kernel, stride, pad, dilation = attention_window(call.param, w)
    columns = F.unfold(x, kernel, dilation, pad, stride).view(n, c, kernel * kernel, -1)
    flat = weights.flatten(2)
    found = columns[..., 0] @ flat if attends_globally(call.param) else (columns * flat.unsqueeze(1)).sum(2)
    return found.view(n, c, *weights.shape[2:])
