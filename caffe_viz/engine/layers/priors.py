"""Prior boxes of SSD and its forks, as fractions of the image."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from caffe_viz.engine.table import Call, layer
from caffe_viz.netdef.net_pb2 import PriorBoxParameter
from caffe_viz.netdef.priors import priors


@layer("PriorBox", "PriorBoxClustered")
def _prior_box(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """(1, 2, H * W * boxes of a unit * 4): boxes, then variances. No bottom gets a gradient, as in Caffe.

    Clusters: openvinotoolkit/training_toolbox_caffe: src/caffe/layers/prior_box_clustered_layer.cpp; for what
    other forks do see `priors`.
    """
    p, device = call.param.prior_box_param, call.device
    (height, width), (image_h, image_w) = _room(bottoms[0]), _image(p, bottoms)
    step_h, step_w = (p.step, p.step) if p.HasField("step") else (p.step_h, p.step_w)
    if not (step_h and step_w):
        step_h, step_w = image_h / height, image_w / width
    w, h, offset_x, offset_y, right, down, inside = torch.tensor(priors(call.param), device=device).unbind(1)
    y = (torch.arange(height, device=device)[:, None] + offset_y) * step_h + down
    x = (torch.arange(width, device=device)[:, None] + offset_x) * step_w + right
    shape = height, width, len(w)
    centres = torch.stack([x.expand(shape), y[:, None].expand(shape)], -1)
    halves = torch.stack([w, h], -1) / 2
    boxes = torch.cat([centres - halves, centres + halves], -1)
    boxes = boxes / torch.tensor([image_w, image_h, image_w, image_h], device=device)
    # Where a box must stay inside, its near sides are not below 0 and its far ones not above 1.
    low, high = (
        torch.tensor(v, device=device) for v in ((0, 0, -math.inf, -math.inf), (math.inf, math.inf, 1, 1))
    )
    boxes = torch.where(inside[:, None] > 0, torch.minimum(torch.maximum(boxes, low), high), boxes)
    boxes = boxes.clamp(0, 1) if p.clip else boxes
    variances = torch.tensor(list(p.variance) or [0.1], device=device).expand_as(boxes)
    return torch.stack([boxes, variances]).reshape(1, 2, -1)


def _room(x: Tensor) -> tuple[int, int]:
    """Height and width, 1 if there is no such axis."""
    height, width = (*x.shape, 1, 1, 1)[2:4]
    return height, width


def _image(p: PriorBoxParameter, bottoms: list[Tensor]) -> tuple[int, int]:
    """Height and width of the image, in pixels."""
    height, width = (p.img_size, p.img_size) if p.HasField("img_size") else (p.img_h, p.img_w)
    return (height, width) if height and width else _room(bottoms[1])
