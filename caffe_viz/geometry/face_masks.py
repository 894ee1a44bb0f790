"""The rule of masks around the landmarks of a face."""

from __future__ import annotations

import math

from caffe_viz.geometry.receptive_fields import LayoutEffect
from caffe_viz.geometry.table import INT_MAX, Out, Shapes, need, rule, text
from caffe_viz.netdef import LayerParameter

UNITS, LANDMARKS = 12, 49  # of the Facial Action Coding System; of a face


@rule("AUMaskBasedLand", tops=UNITS + 1, fork=True)
def _au_mask(layer: LayerParameter, bottoms: Shapes) -> Out:
    """Landmarks (N, 2 x 49 or more), x before y; a mask for each action unit, and that of all."""
    p, (shape,) = layer.au_mask_based_land_param, bottoms
    enough = len(shape) >= 2 and math.prod(shape[1:]) >= 2 * LANDMARKS
    need(enough, f"takes {2 * LANDMARKS} values for each image, x and y of landmarks, not {text(shape[1:])}")
    need(p.fill_type == "manhattan", f"fill_type {p.fill_type!r}: give manhattan")
    product = p.img_size * p.spatial_scale
    need(
        0.5 <= product <= INT_MAX,
        "au_mask_based_land_param needs img_size and spatial_scale, whose product is the size of the masks",
    )
    size = mask_size(layer)
    return Out(((shape[0], 1, size, size),) * (UNITS + 1), views=(LayoutEffect.WHOLE,))


def mask_size(layer: LayerParameter) -> int:
    """Height and width of the masks."""
    p = layer.au_mask_based_land_param
    return math.floor(p.img_size * p.spatial_scale + 0.5)
