"""DetectionOutput of SSD and its descendants, and YOLO layers that return the same rows."""

from __future__ import annotations

from functools import partial

import numpy as np

from caffe_viz.detection.boxes import Found, Values, corners
from caffe_viz.detection.decoder import Classes, Decoder, last_layer, rows_of
from caffe_viz.geometry.detectors import is_yolo, yolo_classes
from caffe_viz.netdef import LayerParameter
from caffe_viz.network import Network


def detection_output(network: Network) -> Decoder | None:
    """Rows image, label, confidence, perhaps states, box, perhaps a polygon, of fractions of the input.

    gklz1982/caffe-yolov2 has a layer of the same name, whose rows are those of `region_detection_output`.
    """
    layer = last_layer(network, "DetectionOutput")
    if layer is None:
        return None
    param, said = layer.detection_output_param, f"DetectionOutput {layer.name!r}"
    if is_yolo(layer):
        classes, states = Classes(yolo_classes(param)), 0
    else:
        classes = Classes(param.num_classes, param.background_label_id)
        states = param.num_states if param.do_state_prediction else 0
    return Decoder(
        said, (layer.top[0],), classes, partial(_read, layer, 3 + states, is_yolo(layer)), alone=True
    )


def yolo_output(network: Network) -> Decoder | None:
    """YoloDetectionOutput and Yolov3DetectionOutput: labels from 1 on."""
    layer = last_layer(network, "YoloDetectionOutput", "Yolov3DetectionOutput")
    if layer is None:
        return None
    own = layer.type == "YoloDetectionOutput"
    param = layer.yolo_detection_output_param if own else layer.yolov3_detection_output_param
    classes = Classes(param.num_classes + 1, 0)
    return Decoder(
        f"{layer.type} {layer.name!r}", (layer.top[0],), classes, partial(_read, layer, 3, False), alone=True
    )


def _read(layer: LayerParameter, start: int, centred: bool, values: Values) -> Found:
    """Boxes from column `start` on, as corners, or as centre, width and height; a label of -1 is none."""
    blob = values[layer.top[0]]
    rows = rows_of(blob, blob.shape[-1])
    rows = rows[(np.rint(rows[:, 0]) == 0) & (rows[:, 1] >= 0)]
    boxes = rows[:, start : start + 4]
    return Found.of(rows[:, 1], rows[:, 2], corners(boxes[:, :2], boxes[:, 2:]) if centred else boxes)
