"""Layers that pool feature maps (N, C, H, W) in regions of interest (R, 5): image, and box in its pixels."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from caffe_viz.engine import regions
from caffe_viz.engine.table import Call, layer
from caffe_viz.geometry.regions import resized
from caffe_viz.geometry.table import legacy

AXES = (1, 0)  # of the corners x, y in a region: vertical, horizontal


def _widened(boxes: Tensor, ratio: float) -> Tensor:
    """Boxes (R, 4) with a margin of `ratio` of each side, in pixels that count both ends."""
    margin = (boxes[:, 2:] - boxes[:, :2] + 1) * ratio
    return torch.cat([boxes[:, :2] - margin, boxes[:, 2:] + margin], 1)


@layer("ROIPooling")
def _roi_pooling(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """(R, C, P, Q) The largest value in each bin of a region, which is widened by pad_ratio.

    rbgirshick/caffe-fast-rcnn and zhaoweicai/mscnn: src/caffe/layers/roi_pooling_layer.cpp
    """
    p, maps = call.param.roi_pooling_param, bottoms[0]
    images, boxes = regions.split(call, maps, bottoms[1])
    corners = regions.rounded(_widened(boxes, p.pad_ratio) * p.spatial_scale)
    sizes = (corners[:, 2:] - corners[:, :2] + 1).clamp(min=1)
    rows, columns = (
        regions.bins(corners[:, axis], sizes[:, axis], count, maps.shape[2 + place])
        for place, (axis, count) in enumerate(zip(AXES, (p.pooled_h, p.pooled_w), strict=True))
    )
    return regions.largest(maps, images, regions.rectangles(rows, columns)[None])


@layer("RegionPooling")
def _region_pooling(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """(R, C, P, Q) The largest value above 0 in each bin of an outer box, without those within an inner one.

    A region is image, outer and inner box. By S. Gidaris (gidariss/caffe_LocNet); read in
    liuyuisanai/CaffeMex_v2: src/caffe/layers/region_pooling_layer.cpp
    """
    p, maps = call.param.region_pooling_param, bottoms[0]
    images, boxes = regions.split(call, maps, bottoms[1], values=9)
    outer, inner = (_shrunk(box, p) for box in boxes.split(4, 1))
    sizes = outer[:, 2:] - outer[:, :2] + 1
    rows, columns = (
        regions.bins(outer[:, axis], sizes[:, axis], count, maps.shape[2 + place])
        for place, (axis, count) in enumerate(zip(AXES, (p.pooled_h, p.pooled_w), strict=True))
    )
    # The outermost pixels of an inner box count.
    holes = torch.cat([inner[:, :2] + 1, inner[:, 2:]], 1)[:, [1, 0, 3, 2]].nan_to_num(0)
    holes = torch.maximum(holes, holes[:, [0, 1, 0, 1]]).clamp(-regions.MANY, regions.MANY).to(torch.int64)
    bins = regions.around(regions.rectangles(rows, columns), holes[:, None, None])
    return regions.largest(maps, images, bins, above=0)


def _shrunk(boxes: Tensor, p: Any) -> Tensor:
    """Boxes (R, 4) in whole places of the maps, less `offset` pixels on each side, but never empty."""
    low = ((boxes[:, :2] + 1 + p.offset) * p.spatial_scale).to(torch.float64)
    high = ((boxes[:, 2:] + 1 - p.offset) * p.spatial_scale).to(torch.float64)
    low, high = (low + 0.5).floor(), (high - 0.5).ceil()
    middle = ((low + high) / 2).trunc()
    empty = low > high
    return torch.cat([torch.where(empty, middle, low), torch.where(empty, middle, high)], 1).to(torch.float32)


@layer("ROIAlign")
def _roi_align(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """(R, C, P, Q) The mean of interpolated values in each bin, or (R, C, P + 1, Q + 1) at the bins' corners.

    The first, with roi_align_param, is Mask R-CNN's (facebookresearch/Detectron); the second, with
    roi_pooling_param, zhaoweicai/cascade-rcnn: src/caffe/layers/roi_align_layer.cpp
    """
    maps = bottoms[0]
    images, boxes = regions.split(call, maps, bottoms[1])
    shares = _corner_shares if call.param.HasField("roi_pooling_param") else _bin_shares
    rows, columns = shares(call, boxes, maps)
    return regions.blended(maps, images, rows, columns)


def _corner_shares(call: Call, boxes: Tensor, maps: Tensor) -> list[Tensor]:
    p = call.param.roi_pooling_param
    corners = _widened(boxes, p.pad_ratio) * p.spatial_scale - 0.5
    sizes, found = corners[:, 2:] - corners[:, :2], []
    whole = (sizes > 0).all(1)
    for axis, count, room in zip(AXES, (p.pooled_h, p.pooled_w), maps.shape[2:], strict=True):
        steps = torch.arange(count + 1, dtype=boxes.dtype, device=boxes.device)
        places = corners[:, axis, None] + steps * (sizes[:, axis, None] / count)
        valid = whole[:, None] & (places >= -0.5) & (places <= room - 0.5)
        found.append(regions.shares(places[..., None], valid[..., None], room))
    return found


def _bin_shares(call: Call, boxes: Tensor, maps: Tensor) -> list[Tensor]:
    p = call.param.roi_align_param
    start = boxes[:, :2] * p.spatial_scale
    sizes = (boxes[:, 2:] * p.spatial_scale - start).clamp(min=1)
    regions.small(call, sizes, maps)
    fixed, found = max(p.sampling_ratio, p.sample_ratio), []
    for axis, count, room in zip(AXES, (p.pooled_h, p.pooled_w), maps.shape[2:], strict=True):
        pace = sizes[:, axis] / count
        many = torch.full_like(pace, fixed) if fixed > 0 else pace.ceil()
        most = int(many.max())
        steps = torch.arange(most, dtype=boxes.dtype, device=boxes.device)
        within = (steps + 0.5) * (pace / many)[:, None]
        bins = torch.arange(count, dtype=boxes.dtype, device=boxes.device) * pace[:, None]
        places = (start[:, axis, None] + bins)[..., None] + within[:, None]
        valid = (steps < many[:, None])[:, None] & (places >= -1) & (places <= room)
        found.append(regions.shares(places, valid, room) * (most / many)[:, None, None])
    return found


@layer("ROIAlignment")
def _roi_alignment(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """(R, C, P, Q) The mean of interpolated values one apart, from the first corner of each bin on.

    GuohongWu/caffe-windows: src/caffe/layers/roi_alignment_layer.cpp
    """
    p, maps = call.param.roi_alignment_param, bottoms[0]
    images, boxes = regions.split(call, maps, bottoms[1])
    corners, found = boxes * p.spatial_scale, []
    sizes = (corners[:, 2:] - corners[:, :2] + 1).clamp(min=1)
    for axis, count, room in zip(AXES, (p.pooled_h, p.pooled_w), maps.shape[2:], strict=True):
        steps = torch.arange(count + 1, dtype=boxes.dtype, device=boxes.device)
        pace = sizes[:, axis, None] / count
        edges = (steps * pace + corners[:, axis, None]).clamp(0, room)
        low, high = edges[:, :-1, None], edges[:, 1:, None]
        places = low + torch.arange(max(1, int((high - low).max().ceil())), device=boxes.device)
        valid = places < high
        parts = places.shape[2] / valid.sum(2, keepdim=True).clamp(min=1)
        found.append(regions.shares(places, valid, room) * parts)
    return regions.blended(maps, images, *found)


@layer("ROIWarping")
def _roi_warping(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """(R, C, P, Q) The largest of interpolated values in each bin: at its ends, and up to one apart between.

    daijifeng001/caffe-mnc: src/caffe/layers/roi_warping_layer.cu
    """
    p, maps = call.param.roi_warping_param, bottoms[0]
    images, boxes = regions.split(call, maps, bottoms[1])
    corners = regions.rounded(boxes * p.spatial_scale)
    sizes = (corners[:, 2:] - corners[:, :2]).clamp(min=0)
    regions.small(call, sizes, maps)
    each, found = maps.unbind(), []
    for image, start, size in zip(images, corners[:, :2].cpu().numpy(), sizes.cpu().numpy(), strict=True):
        places = [
            torch.from_numpy(
                start[axis] + _steps(count, size[axis]) * np.float32(size[axis] / np.float32(count))
            )
            for axis, count in zip(AXES, (p.pooled_h, p.pooled_w), strict=True)
        ]
        # What lies between is many times larger than the top: computed again for the gradient.
        found.append(checkpoint(_warped, each[image], *places, use_reentrant=False, preserve_rng_state=False))
    return torch.stack(found)


def _warped(maps: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """(C, P, Q) The largest interpolated value of maps (C, H, W) at (P, K) x (Q, L) places; nan: none."""
    found = []
    for axis, places in enumerate((down, across), 1):
        room, places = maps.shape[axis], places.to(maps.device).reshape(-1)
        valid = (places >= -0.5) & (places <= room - 0.5)
        places = places.nan_to_num(0).clamp(0, room - 1)
        first, last = int(places.min()), int(places.max().ceil())  # of the maps, what the region sees
        maps = maps.narrow(axis, first, last - first + 1)
        share = regions.shares((places - first)[:, None], valid[:, None], last - first + 1)
        found.append((share.to(maps.dtype), valid))
    (rows, tall), (columns, wide) = found
    values = (rows @ maps @ columns.T).masked_fill(~(tall[:, None] & wide), -torch.inf)
    values = values.unflatten(2, across.shape).unflatten(1, down.shape)  # (C, P, K, Q, L)
    best = values.transpose(2, 3).flatten(3).max(3).values
    return torch.where(best == -torch.inf, 0, best)


@lru_cache(maxsize=1024)
def _steps(count: int, size: float) -> Any:
    """(count, K) From each of 0 .. count - 1 to the next, as steps in single precision add up; nan: none."""
    ratio = int(np.ceil(np.float32(size) / np.float32(count)))
    found = np.full((count, ratio + 1), np.nan, np.float32)
    for start in range(count):
        at = np.float32(start)
        for k in range(ratio + 1):
            if at <= start + 1:
                found[start, k] = at
            at = at + np.float32(1 / max(ratio, 1))
    return found


@layer("MultiROIPooling")
def _multi_roi_pooling(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> list[Tensor]:
    """For each of T points of an image the window (N, C, P, Q) around it, 0 beyond the border.

    mysee1989/PG-CNN: src/multi_roi_pooling_layer.cu
    """
    p, maps = call.param.multi_roi_pooling_param, bottoms[0]
    points = bottoms[1].detach().to(torch.float32).reshape(len(maps), p.top_num, 2) * p.spatial_scale
    sides, found = (p.pooled_h, p.pooled_w), []
    for axis, side, room in zip(AXES, sides, maps.shape[2:], strict=True):
        start = (
            regions.rounded(points[..., axis] - side // 2).nan_to_num(0).clamp(-side, room).to(torch.int64)
        )
        found.append(start[..., None] + side + torch.arange(side, device=maps.device))
    rows, columns = found
    padded = F.pad(maps, (p.pooled_w,) * 2 + (p.pooled_h,) * 2).movedim(1, 3)
    image = torch.arange(len(maps), device=maps.device)[:, None, None, None]
    windows = padded[image, rows[..., None], columns[..., None, :]]  # (N, T, P, Q, C)
    return list(windows.movedim(4, 2).unbind(1))


@layer("MaskPooling")
def _mask_pooling(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """Maps (N, C, H, W) times a mask (N, 1, H, W).

    daijifeng001/caffe-mnc: src/caffe/layers/mask_pooling_layer.cu
    """
    return bottoms[0] * bottoms[1]


@layer("MaskResize")
def _mask_resize(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """(N, C, H, W) to another size, linearly, the first pixel on the first; 0 beyond half of the last.

    daijifeng001/caffe-mnc and BestSonny/SSTD: src/caffe/layers/mask_resize_layer.cu
    """
    (x,), found = bottoms, []
    for old, new in zip(x.shape[2:], resized(call.param, tuple(x.shape[2:])), strict=True):
        places = (torch.arange(new, device=x.device) * (old / new))[:, None]
        found.append(regions.shares(places, places <= old - 0.5, old).to(x.dtype))
    rows, columns = found
    return rows @ x @ columns.T


@layer("BoxAnnotatorOHEM")
def _box_annotator(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> list[Tensor]:
    """Labels and weights of the roi_per_img regions of each image with the largest losses; the rest is blank.

    To the gradient they are constants. daijifeng001/caffe-rfcn: src/caffe/layers/box_annotator_ohem_layer.cu
    """
    p, tops = call.param.box_annotator_ohem_param, [legacy(tuple(b.shape)) for b in bottoms]
    boxes, losses, labels, weights = (b.detach().reshape(s) for b, s in zip(bottoms, tops, strict=True))
    images = boxes[:, 0].reshape(-1).to(torch.int64)
    order = losses.reshape(-1).sort(descending=True, stable=True).indices
    mine = images[order] == images.unique()[:, None]
    chosen = (mine & (mine.cumsum(1) <= p.roi_per_img)).any(0)
    kept = torch.zeros_like(chosen).index_put((order,), chosen).reshape(labels.shape)
    return [torch.where(kept, labels, p.ignore_label), weights * kept]
