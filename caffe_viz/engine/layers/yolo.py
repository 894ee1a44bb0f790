"""YOLO's layers: space to depth, activations of the grid, detections of the grid.

N images, H x W units, B boxes at each unit, C classes; the channels of one box are x, y, width, height,
objectness, classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from caffe_viz.engine.boxes import nothing, suppress
from caffe_viz.engine.layers.python_known import KNOWN
from caffe_viz.engine.table import LEFT_OUT, Call, layer
from caffe_viz.geometry.yolo import region_boxes
from caffe_viz.netdef.net_pb2 import DetectionOutputParameter

_LOSS = "it is there to train with; take it out, or give it an include with phase: TRAIN"
LEFT_OUT |= dict.fromkeys(("EvalDetection", "GaussianYolov3", "RegionLoss", "Yolov3"), _LOSS)


@layer("Reorg")
def _reorg(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """(N, C, H, W) to (N, C s s, H / s, W / s), or, in reverse, to (N, C / s s, H s, W s).

    Forward in darknet's order: the bottom's memory is read as (C / s s, H s, W s), whose units in steps of s
    make the channels, in memory again. `flatten`: only channels behind units in memory. With `up_down` a
    unit's channels stay together, those of one bottom channel in a row.

    gklz1982/caffe-yolov2, MSRCCS/Caffe (flatten): src/caffe/layers/reorg_layer.cpp
    """
    p, (x,) = call.param.reorg_param, bottoms
    (n, c, h, w), s = x.shape, p.stride
    if p.HasField("up_down"):
        return F.pixel_shuffle(x, s) if p.up_down == p.UP else F.pixel_unshuffle(x, s)
    top = (n, c // s**2, h * s, w * s) if p.reverse else (n, c * s**2, h // s, w // s)
    if p.flatten:
        rows = x.reshape(n, h * w, c) if p.reverse else x.flatten(2)
        return rows.transpose(1, 2).reshape(top)
    if p.reverse:
        return x.reshape(n, s, s, c // s**2, h, w).permute(0, 3, 4, 1, 5, 2).reshape(top)
    return _darknet(x, s)


def _darknet(x: Tensor, s: int) -> Tensor:
    n, c, h, w = x.shape
    parts = x.reshape(n, c // s**2, h, s, w, s).permute(0, 3, 5, 1, 2, 4)
    return parts.reshape(n, c * s**2, h // s, w // s)


def _python_reorg(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """Reorg of stride 2: darknet_reorg of foss-for-synopsys-dwc-arc-processors/synopsys-caffe-models."""
    return _darknet(bottoms[0], 2)


KNOWN["yolov2", "darknet_reorg"] = _python_reorg


@layer("Region")
def _region(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """(N, B (5 + C), H, W), in memory (N, H, W, B, 5 + C): sigmoid of objectness, softmax if asked.

    BirdeeChen/caffe_yolo_v2: src/caffe/layers/region_layer.cpp
    """
    p, (x,) = call.param.region_param, bottoms
    size = p.coords + 1 + p.classes
    values = x.flatten(2).transpose(1, 2).reshape(len(x), -1, region_boxes(call.param), size)
    places, objects, classes = values.split([p.coords, 1, p.classes], -1)
    classes = classes.softmax(-1) if p.softmax else classes
    return torch.cat([places, objects.sigmoid(), classes], -1).reshape(x.shape)


@layer("YoloDetectionOutput", gradient=False)
def _yolo_detection_output(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """(1, 1, D, 7): image, label from 1 on, confidence, corners of the box; by image, the best first.

    The box overlaps none before it, of whatever class.

    eric612/MobileNet-YOLO: src/caffe/layers/yolo_detection_output_layer.cpp, which takes a batch for one
    image; here each image has its own detections.
    """
    p = call.param.yolo_detection_output_param
    grids = [_grid(x, p.biases, range(p.num_box)) for x in bottoms]
    boxes, objects, classes = (torch.cat(parts, 1) for parts in zip(*grids, strict=True))
    scores, labels = (objects * classes.softmax(-1)).max(-1)
    return _rows(_corners(boxes), scores, labels + 1, scores >= p.confidence_threshold, p.nms_threshold)


@layer("Yolov3DetectionOutput", gradient=False)
def _yolov3_detection_output(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Tensor:
    """As YoloDetectionOutput, with classes that do not exclude each other and boxes in pixels of the image.

    Of a box the best class stays: with it, the others overlap.

    eric612/MobileNet-YOLO: src/caffe/layers/yolov3_detection_output_layer.cpp
    """
    p = call.param.yolov3_detection_output_param
    group = len(p.mask) // len(bottoms)
    grids = [
        _grid(x, p.biases, p.mask[i * group : i * group + p.num_box], p.anchors_scale[i])
        for i, x in enumerate(bottoms)
    ]
    boxes, objects, classes = (torch.cat(parts, 1) for parts in zip(*grids, strict=True))
    scores, labels = (objects * classes.sigmoid()).max(-1)
    return _rows(_corners(boxes), scores, labels + 1, scores > p.confidence_threshold, p.nms_threshold)


def region_detections(p: DetectionOutputParameter, classes: int, x: Tensor) -> Tensor:
    """(1, 1, D, 7): image, label from 0 on, confidence, centre, width and height, in the order of the grid.

    A box goes that overlaps, within the image, one that is before it in the grid.

    gklz1982/caffe-yolov2: src/caffe/layers/detection_output_layer.cpp, which takes one image
    """
    limit = p.confidence_threshold if p.HasField("confidence_threshold") else 0.01
    boxes, objects, logits = _grid(x, p.biases, range(p.num_box))
    scores, labels = (objects * logits[..., :classes].softmax(-1)).max(-1)
    return _rows(boxes, scores, labels, scores >= limit, p.nms_threshold, grid=True)


def _grid(
    x: Tensor, biases: Sequence[float], mask: Sequence[int], scale: int = 1
) -> tuple[Tensor, Tensor, Tensor]:
    """Of (N, B (5 + C), H, W): boxes (N, K, 4) as fractions, objectness (N, K, 1), classes' values (N, K, C).

    K boxes by row, column, B. Width and height are a pair of `biases`, in units of the grid, of which each is
    `scale` large, times what the network says.
    """
    n, _, h, w = x.shape
    values = x.reshape(n, len(mask), -1, h, w).permute(0, 3, 4, 1, 2)
    y, column = (torch.arange(count, device=x.device, dtype=x.dtype) for count in (h, w))
    units = torch.stack(torch.meshgrid(column, y, indexing="xy"), -1)[:, :, None]
    room = x.new_tensor([w, h])
    anchors = x.new_tensor([biases[2 * i : 2 * i + 2] for i in mask])
    centres = (values[..., :2].sigmoid() + units) / room
    sides = values[..., 2:4].exp() * anchors / (room * scale)
    boxes = torch.cat([centres, sides], -1)
    parts = boxes, values[..., 4:5].sigmoid(), values[..., 5:]
    first, second, third = (part.flatten(1, 3) for part in parts)
    return first, second, third


def _corners(boxes: Tensor) -> Tensor:
    """(.., 4) xmin, ymin, xmax, ymax of centre, width and height."""
    return torch.cat([boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2], -1)


def _rows(
    boxes: Tensor, scores: Tensor, labels: Tensor, alive: Tensor, limit: float, *, grid: bool = False
) -> Tensor:
    """(1, 1, D, 7) Of boxes (N, K, 4) those `alive` (N, K) that overlap none before them by `limit` or more.

    Boxes are corners, the most confident is the first; `grid`: centre and sides, in their own order.
    """
    most = int(alive.sum(1).max())
    first = torch.zeros_like(scores) if grid else -scores
    order = torch.where(alive, first, torch.inf).sort(stable=True).indices[:, :most]
    images = torch.arange(len(order), device=order.device)[:, None]
    corners = _corners(boxes).clamp(0, 1) if grid else boxes
    # `suppress` lets a box stay that overlaps by its limit.
    below = float(np.nextafter(np.float32(limit), np.float32(-np.inf)))
    kept = suppress(corners[images, order], alive[images, order], most, below)
    image, rank = kept.nonzero().unbind(1)
    if not len(image):
        return nothing(scores)
    place = order[image, rank]
    columns = torch.stack([image, labels[image, place], scores[image, place]], 1)
    return torch.cat([columns, boxes[image, place]], 1).reshape(1, 1, -1, 7)
