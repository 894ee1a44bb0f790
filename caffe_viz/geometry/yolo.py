"""Rules of YOLO's layers: of its networks, its detections, its losses."""

from __future__ import annotations

from caffe_viz.geometry.python_known import SHAPES
from caffe_viz.geometry.receptive_fields import LayoutEffect, window
from caffe_viz.geometry.table import Out, Shapes, four_axes, many, need, rule, text
from caffe_viz.geometry.windows import repeat_view
from caffe_viz.netdef import LayerParameter


@rule("Reorg", in_place=False, fork=True)
def _reorg(layer: LayerParameter, bottoms: Shapes) -> Out:
    """Units to channels: `stride` times smaller, or, up or in reverse, larger."""
    p, (n, c, h, w) = layer.reorg_param, four_axes(bottoms[0])
    side, plain = p.stride, p.HasField("up_down")
    need(side > 0, "reorg_param needs a stride, at least 1")
    up = p.up_down == p.UP if plain else p.reverse
    if up or not (plain or p.flatten):
        need(c % side**2 == 0, f"{c} channels do not divide by stride squared ({side**2})")
    if up:
        view = LayoutEffect.LOST if p.flatten else repeat_view((side, side))
        return Out(((n, c // side**2, h * side, w * side),), views=(view,))
    need(h % side == w % side == 0, f"{h}x{w} does not divide by stride {side}")
    # In darknet's order the units of a channel come from anywhere.
    view = window((side, side), (side, side), (0, 0)) if plain else LayoutEffect.LOST
    return Out(((n, c * side**2, h // side, w // side),), views=(view,))


def _python_reorg(layer: LayerParameter, bottoms: Shapes) -> Out:
    return _reorg(LayerParameter(type="Reorg"), bottoms)


SHAPES["yolov2", "darknet_reorg"] = _python_reorg


@rule("Region", in_place=False, fork=True)
def _region(layer: LayerParameter, bottoms: Shapes) -> Out:
    """The top has the bottom's shape, but not its order: by unit, box and value."""
    p, (n, c, h, w) = layer.region_param, four_axes(bottoms[0])
    boxes = region_boxes(layer)
    wanted = boxes * (p.coords + 1 + p.classes)
    need(c == wanted, f"takes {wanted} channels for {_boxes(boxes, p.classes)}, not {c}")
    return Out(((n, c, h, w),), views=(LayoutEffect.LOST,))


def _boxes(count: int, classes: int) -> str:
    return f"{many(count, 'box', 'boxes')} of {many(classes, 'class', 'classes')}"


def region_boxes(layer: LayerParameter) -> int:
    """Boxes of each unit of Region."""
    p = layer.region_param
    return p.num if p.HasField("num") else p.boxes_of_each_grid


def rows(columns: int) -> Out:
    """Detections before a forward: one; a forward lengthens the third axis to those found."""
    return Out(((1, 1, 1, columns),), views=(LayoutEffect.LOST,))


def need_yolo(classes: int, boxes: int, coords: int, biases: int, bottoms: Shapes) -> None:
    """Each unit's channels must be those of its boxes: coordinates, objectness, classes."""
    need(coords == 4, f"knows boxes of 4 coordinates, not {coords}")
    need(
        biases >= 2 * boxes,
        f"needs {2 * boxes} biases (width, height) for {many(boxes, 'box', 'boxes')}, not {biases}",
    )
    for bottom in bottoms:
        channels, wanted = four_axes(bottom)[1], boxes * (5 + classes)
        need(
            channels == wanted,
            f"takes {wanted} channels for {_boxes(boxes, classes)}, not {channels}: {text(bottom)}",
        )


@rule("YoloDetectionOutput", bottoms=(1, 2), fork=True)
def _yolo_detection_output(layer: LayerParameter, bottoms: Shapes) -> Out:
    p = layer.yolo_detection_output_param
    need_yolo(p.num_classes, p.num_box, p.coords, len(p.biases), bottoms)
    return rows(7)


@rule("Yolov3DetectionOutput", bottoms=(1, None), fork=True)
def _yolov3_detection_output(layer: LayerParameter, bottoms: Shapes) -> Out:
    p, scales = layer.yolov3_detection_output_param, len(bottoms)
    need(p.mask_group_num == scales, f"takes mask_group_num bottoms ({p.mask_group_num}), not {scales}")
    need(len(p.anchors_scale) >= scales, f"needs an anchors_scale for each of {many(scales, 'bottom')}")
    need(p.num_box > 0, "yolov3_detection_output_param needs num_box, at least 1")
    need(
        len(p.mask) // scales >= p.num_box,
        f"needs {p.num_box} masks for each of {many(scales, 'bottom')}, not {len(p.mask)} in all",
    )
    pairs = len(p.biases) // 2
    need(max(p.mask) < pairs, f"mask {max(p.mask)} is beyond the {many(pairs, 'pair')} of biases")
    need_yolo(p.num_classes, p.num_box, 4, len(p.biases), bottoms)
    return rows(7)


@rule("RegionLoss", "Yolov3", "GaussianYolov3", bottoms=2, tops=(1, 2), automatic=True, fork=True)
def _loss(layer: LayerParameter, bottoms: Shapes) -> Out:
    """A scalar."""
    four_axes(bottoms[0])
    return Out(((),) * max(1, len(layer.top)), views=(LayoutEffect.WHOLE,))


@rule("EvalDetection", bottoms=(2, 3), fork=True)
def _eval_detection(layer: LayerParameter, bottoms: Shapes) -> Out:
    """(N, ..) Of each image, boxes of the truth by class, then label, score, right, wrong of each box."""
    p, first = layer.eval_detection_param, bottoms[0]
    need(first, "the first bottom must have at least one axis")
    return Out(((first[0], p.num_class + p.side**2 * p.num_object * 4),), views=(LayoutEffect.LOST,))
