"""Rules of prior boxes, those of SSD and of forks."""

from __future__ import annotations

from caffe_viz.geometry.table import Out, Shapes, legacy, need, rule
from caffe_viz.netdef import LayerParameter
from caffe_viz.netdef.priors import priors


@rule("PriorBox", bottoms=(1, 2))
def _prior_box(layer: LayerParameter, bottoms: Shapes) -> Out:
    p = layer.prior_box_param
    need(p.min_size or p.fixed_size or p.box_width, "prior_box_param needs min_size, above 0")
    need(min([*p.min_size, *p.fixed_size], default=1) > 0, "min_size and fixed_size must be above 0")
    need(min([*p.box_width, *p.box_height], default=1) > 0, "box_width and box_height must be above 0")
    need(min([*p.aspect_ratio, *p.fixed_ratio], default=1) > 0, "each aspect_ratio must be above 0")
    dense = len(p.density) >= len(p.fixed_size) and min(p.density, default=1) >= 1
    need(dense, "give a density for each fixed_size, at least 1")
    need(len(p.box_width) == len(p.box_height), "give as many box_height as box_width")
    need(bool(p.offset_w) == bool(p.offset_h), "give offset_w and offset_h, or neither")
    need(
        not p.offset_w or (p.min_size and p.aspect_ratio),
        "offset_w and offset_h need min_size and aspect_ratio",
    )
    if p.max_size:
        need(len(p.max_size) == len(p.min_size), "give as many max_size as min_size")
        need(
            all(b > a for a, b in zip(p.min_size, p.max_size, strict=True)),
            "each max_size must be above its min_size",
        )
    return _boxes(layer, bottoms)


@rule("PriorBoxClustered", bottoms=(1, 2), fork=True)
def _prior_box_clustered(layer: LayerParameter, bottoms: Shapes) -> Out:
    p = layer.prior_box_param
    need(len(p.width) == len(p.height) > 0, "prior_box_param needs width, and as many height")
    need(min([*p.width, *p.height]) > 0, "width and height must be above 0")
    return _boxes(layer, bottoms)


def _boxes(layer: LayerParameter, bottoms: Shapes) -> Out:
    """Boxes (1, 2, H * W * priors * 4) that depend on sizes only, so they see nothing of the image."""
    p, (_, _, h, w) = layer.prior_box_param, legacy(bottoms[0])
    sized = p.img_size > 0 or (p.img_h > 0 and p.img_w > 0)
    need(len(bottoms) == 2 or sized, "needs the image as second bottom, or img_size")
    need(
        len(p.variance) in (0, 1, 4) and all(v > 0 for v in p.variance),
        "give variance once or 4 times, above 0",
    )
    return Out(((1, 2, h * w * len(priors(layer)) * 4),), sees=0)
