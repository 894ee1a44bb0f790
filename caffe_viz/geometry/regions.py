"""Rules of layers over regions of interest (R, 5), image and box: pooling in them, and finding them."""

from __future__ import annotations

import math

from caffe_viz.geometry.receptive_fields import SAME, LayoutEffect, Shape, window
from caffe_viz.geometry.table import Out, Shapes, checked, four_axes, legacy, need, rule, scaled, text
from caffe_viz.netdef import LayerParameter

REGION = 5  # values: the image, and the corners of the box


def _pooled(layer: LayerParameter, field: str, bottoms: Shapes, values: int = REGION) -> Out:
    """Pool feature maps (N, C, H, W) in regions (R, `values`): (R, C, pooled_h, pooled_w)."""
    p, (shape, regions) = getattr(layer, field), bottoms
    _, channels, _, _ = four_axes(shape)
    need(p.pooled_h > 0 and p.pooled_w > 0, f"{field} needs pooled_h and pooled_w, at least 1")
    # Some deploy nets declare fewer values than a region has; the program that runs them shapes the blob.
    need(regions, f"the regions must be (R, {values}), not a scalar")
    return Out(((regions[0], channels, p.pooled_h, p.pooled_w),), views=(LayoutEffect.LOST,))


def of_regions(shape: Shape, values: int = REGION) -> None:
    """Raise InputError unless each row of a blob is a region of so many values."""
    good = len(shape) >= 2 and math.prod(shape[1:]) == values
    need(good, f"the regions must be (R, {values}), not {text(shape)}")


@rule("ROIPooling", bottoms=2, fork=True)
def _roi_pooling(layer: LayerParameter, bottoms: Shapes) -> Out:
    return _pooled(layer, "roi_pooling_param", bottoms)


@rule("ROIAlignment", bottoms=2, fork=True)
def _roi_alignment(layer: LayerParameter, bottoms: Shapes) -> Out:
    return _pooled(layer, "roi_alignment_param", bottoms)


@rule("ROIWarping", bottoms=2, fork=True)
def _roi_warping(layer: LayerParameter, bottoms: Shapes) -> Out:
    return _pooled(layer, "roi_warping_param", bottoms)


@rule("RegionPooling", bottoms=2, fork=True)
def _region_pooling(layer: LayerParameter, bottoms: Shapes) -> Out:
    """A region is an outer box and an inner one, which is excluded."""
    return _pooled(layer, "region_pooling_param", bottoms, values=9)


@rule("ROIAlign", bottoms=2, fork=True)
def _roi_align(layer: LayerParameter, bottoms: Shapes) -> Out:
    """Means over bins with roi_align_param; mscnn's, with roi_pooling_param, has the corners of the bins."""
    if not layer.HasField("roi_pooling_param"):
        return _pooled(layer, "roi_align_param", bottoms)
    out = _pooled(layer, "roi_pooling_param", bottoms)
    count, channels, h, w = out.tops[0]
    return Out(((count, channels, h + 1, w + 1),), views=out.views)


@rule("PSROIAlign", bottoms=2, fork=True)
def _psroi_align(layer: LayerParameter, bottoms: Shapes) -> Out:
    p, (_, channels, _, _) = layer.psroi_align_param, four_axes(bottoms[0])
    sizes = (p.output_dim, p.group_size, p.sample_num)
    need(min(sizes) > 0, "psroi_align_param needs output_dim, group_size and sample_num, at least 1")
    want = p.output_dim * p.group_size**2
    need(channels == want, f"takes output_dim * group_size squared ({want}) channels, not {channels}")
    of_regions(bottoms[1])
    return Out(((bottoms[1][0], p.output_dim, p.group_size, p.group_size),), views=(LayoutEffect.LOST,))


@rule("MultiROIPooling", bottoms=2, tops=(1, None), fork=True)
def _multi_roi_pooling(layer: LayerParameter, bottoms: Shapes) -> Out:
    """Pool a window around each of `top_num` points (N, top_num, 2), each into its own top."""
    p, (n, c, _, _) = layer.multi_roi_pooling_param, four_axes(bottoms[0])
    need(p.pooled_h > 0 and p.pooled_w > 0, "multi_roi_pooling_param needs pooled_h and pooled_w, at least 1")
    need(len(layer.top) == p.top_num, f"top_num is {p.top_num}, but there are {len(layer.top)} tops")
    count, *rest = bottoms[1] or (0,)
    good = count == n and math.prod(rest) == 2 * p.top_num
    need(good, f"the points must be {text((n, p.top_num, 2))}, not {text(bottoms[1])}")
    return Out(((n, c, p.pooled_h, p.pooled_w),) * p.top_num, views=(LayoutEffect.LOST,))


@rule("MaskPooling", bottoms=2, fork=True)
def _mask_pooling(layer: LayerParameter, bottoms: Shapes) -> Out:
    n, _, h, w = four_axes(bottoms[0])
    need(bottoms[1] == (n, 1, h, w), f"the mask must be {text((n, 1, h, w))}, not {text(bottoms[1])}")
    return Out((bottoms[0],), views=(SAME,))


def resized(layer: LayerParameter, sides: Shape) -> Shape:
    """(H, W) that a MaskResize layer makes of masks (H, W)."""
    p = layer.mask_resize_param
    fixed, factors = (p.output_height, p.output_width), (p.factor_height, p.factor_width)
    return tuple(
        scaled(side, factor) if factor > 0 else size
        for side, size, factor in zip(sides, fixed, factors, strict=True)
    )


@rule("MaskResize", fork=True)
def _mask_resize(layer: LayerParameter, bottoms: Shapes) -> Out:
    n, c, h, w = four_axes(bottoms[0])
    size = resized(layer, (h, w))
    top = checked((n, c, *size), "the top", "mask_resize_param needs output_height and output_width")
    return Out((top,), views=(window((2, 2), (h / size[0], w / size[1]), (0, 0)),))


@rule("BoxAnnotatorOHEM", bottoms=4, tops=2, fork=True)
def _box_annotator(layer: LayerParameter, bottoms: Shapes) -> Out:
    """Labels and loss weights of the regions with the largest loss; those of the others are masked."""
    regions, losses, labels, weights = map(legacy, bottoms)
    param = layer.box_annotator_ohem_param
    need(param.roi_per_img > 0, "box_annotator_ohem_param needs roi_per_img, at least 1")
    need(regions[1] == REGION, f"the regions must have {REGION} channels, not {regions[1]}")
    alike = losses[1] == labels[1] == 1
    alike &= all((s[0], *s[2:]) == (regions[0], *regions[2:]) for s in (losses, labels, weights))
    need(alike, "losses and labels must have one channel, and all bottoms equally many regions")
    return Out((labels, weights), views=(LayoutEffect.LOST,))


# Boxes from feature maps: as many as the values say, so that a shape before the forward is a guess.


def _normalised(layer: LayerParameter) -> None:
    p = layer.bbox_reg_param
    need(
        (len(p.bbox_mean), len(p.bbox_std)) in ((0, 0), (4, 4)) and all(std > 0 for std in p.bbox_std),
        "bbox_reg_param needs 4 bbox_mean and 4 bbox_std, above 0",
    )


@rule("DecodeBBox", bottoms=(2, 3), fork=True)
def _decode_bbox(layer: LayerParameter, bottoms: Shapes) -> Out:
    _normalised(layer)
    codes, regions = map(legacy, bottoms[:2])
    of_regions(bottoms[1])
    need(codes == (regions[0], 8, 1, 1), f"the codes must be ({regions[0]}, 8), not {text(bottoms[0])}")
    return Out((bottoms[1],), views=(LayoutEffect.LOST,))


def _found(layer: LayerParameter) -> Out:
    """One region before a forward, which finds the real ones; also with their scores."""
    return Out(((1, REGION, 1, 1), (1, REGION + 1, 1, 1))[: len(layer.top)], views=(LayoutEffect.LOST,))


@rule("BoxOutput", bottoms=(1, None), tops=(1, 2), fork=True)
def _box_output(layer: LayerParameter, bottoms: Shapes) -> Out:
    p, shapes = layer.box_output_param, [four_axes(shape) for shape in bottoms]
    _normalised(layer)
    counts = {len(p.field_h), len(p.field_w), len(p.downsample_rate)}
    good = counts == {len(bottoms)} and min([*p.field_h, *p.field_w, *p.downsample_rate]) > 0
    need(good, "give field_h, field_w and downsample_rate once for each bottom, above 0")
    alike = len({shape[:2] for shape in shapes}) == 1 and shapes[0][1] > 5
    need(alike, "all bottoms must have the same images and channels: 2 classes or more, and 4 of the box")
    return _found(layer)


@rule("BoxGroupOutput", bottoms=(2, None), tops=(1, 2), fork=True)
def _box_group_output(layer: LayerParameter, bottoms: Shapes) -> Out:
    """Each group of K fields has probabilities (N * K, classes, H, W) and codes (N * K, 4, H, W)."""
    groups = layer.box_group_output_param.box_group_param
    _normalised(layer)
    need(
        len(bottoms) == 2 * len(groups),
        f"takes two bottoms for each box_group_param ({2 * len(groups)}), not {len(bottoms)}",
    )
    images = set()
    for group, scores, codes in zip(groups, bottoms[::2], bottoms[1::2], strict=True):
        (n, _, h, w), fields = four_axes(scores), len(group.field_h)
        need(fields == len(group.field_w) > 0, "give as many field_h as field_w, at least one")
        need(group.stride > 0, "box_group_param needs stride, at least 1")
        need(codes == (n, 4, h, w), f"the codes must be {text((n, 4, h, w))}, not {text(codes)}")
        need(n % fields == 0, f"{fields} fields do not divide the {n} maps of a bottom")
        images.add(n // fields)
    need(len(images) == 1, "all groups must have equally many images")
    return _found(layer)
