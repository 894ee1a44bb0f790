"""Position-sensitive RoI pooling: each bin has its own channels (R-FCN, Dai et al. 2016)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from caffe_viz.engine import regions
from caffe_viz.engine.table import Call, layer


# Caffe has code for the GPU only; this is what it computes there.
@layer("PSROIPooling")
def _psroi_pooling(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """(R, output_dim, G, G): each bin is the mean over its part of the region, in channels of its own."""
    p, x = call.param.psroi_pooling_param, bottoms[0]
    size, (images, boxes) = p.group_size, regions.split(call, x, bottoms[1])
    corners = (boxes.abs() + 0.5).floor() * boxes.sign()
    begin, end = corners[:, :2] * p.spatial_scale, (corners[:, 2:] + 1) * p.spatial_scale
    bins = ((end - begin).clamp(min=0.1) / size)[..., None]
    steps, begin = torch.arange(size, device=x.device), begin[..., None]
    room = torch.tensor([[x.shape[3]], [x.shape[2]]], device=x.device)
    low = torch.minimum((steps * bins + begin).floor().clamp(min=0).to(torch.int64), room)
    high = torch.minimum(((steps + 1) * bins + begin).ceil().clamp(min=0).to(torch.int64), room)
    (left, top), (right, bottom) = low.unbind(1), high.unbind(1)
    # Sums over rectangles from sums over all that lies above and to the left.
    sums = F.pad(x.to(torch.float64).cumsum(2).cumsum(3), (1, 0, 1, 0))
    sums = sums.unflatten(1, (p.output_dim, size, size))
    image = torch.tensor(images, device=x.device)[:, None, None, None]
    output = torch.arange(p.output_dim, device=x.device)[:, None, None]

    def upto(rows: Tensor, columns: Tensor) -> Tensor:
        y, x = rows[:, None, :, None], columns[:, None, None, :]
        return torch.as_tensor(sums[image, output, steps[:, None], steps, y, x])

    totals = upto(bottom, right) - upto(top, right) - upto(bottom, left) + upto(top, left)
    counts = ((bottom - top).clamp(min=0)[:, :, None] * (right - left).clamp(min=0)[:, None])[:, None]
    return torch.where(counts > 0, totals / counts.clamp(min=1), 0).to(x.dtype)


@layer("PSROIAlign")
def _psroi_align(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """(R, output_dim, G, G) Each bin is the mean of interpolated values, in channels of its own.

    afantideng/R-FCN-PSROIAlign: caffe/src/caffe/layers/psroi_align_layer.cu
    """
    p, maps = call.param.psroi_align_param, bottoms[0]
    images, boxes = regions.split(call, maps, bottoms[1])
    start, group, found = boxes[:, :2] * p.spatial_scale, p.group_size, []
    sizes = ((boxes[:, 2:] + 1) * p.spatial_scale - start).clamp(min=0.1)
    for axis, room in zip((1, 0), maps.shape[2:], strict=True):
        steps = torch.arange(group + 1, dtype=boxes.dtype, device=boxes.device)
        pace = sizes[:, axis, None] / group
        edges = (steps * pace + start[:, axis, None]).clamp(0, room - 1)
        inner = torch.arange(1, p.sample_num + 1, device=boxes.device) * (pace / (p.sample_num + 1))
        places = edges[:, :-1, None] + inner[:, None]
        found.append(regions.shares(places, places < edges[:, 1:, None], room).to(maps.dtype))
    each = maps.unflatten(1, (p.output_dim, group, group)).unbind()
    pairs = zip(images, *found, strict=True)
    return torch.stack([torch.einsum("ih,oijhw,jw->oij", down, each[i], across) for i, down, across in pairs])
