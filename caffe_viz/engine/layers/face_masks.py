"""Masks around landmarks of a face."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from caffe_viz.engine.table import Call, layer
from caffe_viz.geometry.face_masks import mask_size

# For each action unit its two centres: a landmark, and how far below it in rulers.
CENTRES = (
    ((4, -1 / 2), (5, -1 / 2)), ((1, -1 / 3), (8, -1 / 3)), ((2, 1 / 3), (7, 1 / 3)), ((24, 1), (29, 1)),
    ((21, 0), (26, 0)), ((43, 0), (45, 0)), *(((31, 0), (37, 0)),) * 3, ((39, 1 / 2), (41, 1 / 2)),
    *(((34, 0), (40, 0)),) * 2,
)  # fmt: skip
RULER = (22, 25)  # the inner corners of the eyes: their distance along x


@layer("AUMaskBasedLand")
def _au_mask(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Sequence[Tensor]:
    """Landmarks (N, 2 x 49) to 12 masks and their maximum, (N, 1, S, S): around two places each, 1 less the
    distance along both axes. It has no gradient. ZhiwenShao/JAANet: src/au_mask_based_land_layer.cpp."""
    p, size = call.param.au_mask_based_land_param, mask_size(call.param)
    points = bottoms[0].detach().flatten(1).unflatten(1, (-1, 2))
    ruler = (points[:, RULER[0], 0] - points[:, RULER[1], 0]).abs()
    masks = [points.new_full((len(points), size, size), p.fill_value) for _ in CENTRES]
    whole = masks[0]
    for unit, pair in enumerate(CENTRES):
        for landmark, below in pair:
            centre = points[:, landmark].clone()
            centre[:, 1] += ruler * below
            inside, values = _around(call, centre, size)
            masks[unit] = torch.where(inside, values, masks[unit])
            whole = torch.where(inside, torch.maximum(whole, values), whole)
    return [mask.unsqueeze(1) for mask in (*masks, whole)]


def _around(call: Call, centre: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Whether each place lies in the square around a centre (N, 2), and its value: (N, S, S) each."""
    p, steps = call.param.au_mask_based_land_param, torch.arange(size, device=centre.device)
    half = (p.img_size - 1) / 2 * p.spatial_ratio
    starts, ends = (
        _rounded((centre + side * half) * p.spatial_scale).clamp(0, size - 1).unsqueeze(2) for side in (-1, 1)
    )
    across, down = ((steps >= starts) & (steps <= ends)).unbind(1)
    far_x, far_y = (steps - (centre * p.spatial_scale).unsqueeze(2)).abs().unbind(1)
    slope = p.fill_coeff * 100 / (p.img_size * p.spatial_scale)
    values = (1 - (far_y.unsqueeze(2) + far_x.unsqueeze(1)) * slope).clamp(min=p.fill_value)
    return down.unsqueeze(2) & across.unsqueeze(1), values


def _rounded(values: Tensor) -> Tensor:
    """Round as C does: halves away from 0."""
    return (values.abs() + 0.5).floor() * values.sign()
