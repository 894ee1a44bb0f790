"""Rules of layers that decode and evaluate detections: SSD's, and what forks made of its fields."""

from __future__ import annotations

from caffe_viz.geometry.receptive_fields import LayoutEffect
from caffe_viz.geometry.table import Out, Shapes, legacy, need, rule
from caffe_viz.geometry.yolo import need_yolo, rows
from caffe_viz.netdef import LayerParameter
from caffe_viz.netdef.net_pb2 import DetectionOutputParameter

POLYGON, ROTATED = 12, 9  # TextBoxes++: codes of each prior, the first four of its box


def is_yolo(layer: LayerParameter) -> bool:
    """Whether a DetectionOutput is YOLO's, which decodes one blob, and not SSD's."""
    param = layer.detection_output_param
    return bool(param.biases) or param.HasField("classes")


def yolo_classes(param: DetectionOutputParameter) -> int:
    """Classes of a DetectionOutput of YOLO, whose forks name them differently."""
    return param.num_classes if param.HasField("num_classes") else param.classes


def pieces(layer: LayerParameter) -> int:
    """Return how many bottoms hold confidences and locations, one for each scale; 0 if joined, as in SSD."""
    param = layer.detection_output_param
    given = param.no_permute or param.HasField("nbottom") or len(layer.bottom) > 5
    return param.nbottom if given else 0


def codes(layer: LayerParameter, bottoms: Shapes) -> int:
    """Return how many values locate one prior: 4, or more if a polygon or a rotated box comes with it."""
    param = layer.detection_output_param
    if param.use_polygon:
        return POLYGON
    kinds = 1 if param.share_location else param.num_classes
    count = kinds * (legacy(bottoms[2])[2] // 4)
    rotated = not pieces(layer) and legacy(bottoms[0])[1] == count * ROTATED
    return ROTATED if rotated or param.HasField("use_polygon") else 4


def need_boxes(classes: int, share: bool, bottoms: Shapes, each: int = 4) -> None:
    """Check that locations and confidences match the number of priors."""
    locations, confidences, boxes = (legacy(b) for b in bottoms[:3])
    count, kinds = boxes[2] // 4, 1 if share else classes
    need(locations[0] == confidences[0], "locations and confidences must have the same first dimension")
    need(
        locations[1] == count * kinds * each,
        f"{count} priors need {count * kinds * each} locations, not {locations[1]}",
    )
    need(
        confidences[1] == count * classes,
        f"{count} priors need {count * classes} confidences, not {confidences[1]}",
    )


@rule("DetectionOutput", bottoms=(1, None))
def _detection_output(layer: LayerParameter, bottoms: Shapes) -> Out:
    """Shape before a forward: one detection; a forward lengthens the third axis to those found."""
    param, count = layer.detection_output_param, len(bottoms)
    if is_yolo(layer):
        need(count == 1, f"takes one bottom where it has biases, not {count}")
        need_yolo(yolo_classes(param), param.num_box, param.coords, len(param.biases), bottoms)
        return rows(7)
    need(param.num_classes, "detection_output_param needs num_classes")
    scales = pieces(layer)
    if scales:
        _need_pieces(layer, scales, bottoms)
        return rows(7)
    need(3 <= count <= 5, f"takes 3 to 5 bottoms, not {count}")
    each = codes(layer, bottoms)
    need_boxes(param.num_classes, param.share_location, bottoms, each)
    states = param.num_states if param.do_state_prediction else 0
    need(not states or count >= 4, "do_state_prediction needs a fourth bottom with the states")
    return rows({POLYGON: 15, ROTATED: 12}.get(each, 7 + states))


def _need_pieces(layer: LayerParameter, scales: int, bottoms: Shapes) -> None:
    """Confidences of each scale, then its locations, then all priors, or those of each scale."""
    param, count = layer.detection_output_param, len(bottoms)
    need(param.share_location, "share_location: false is not known with a bottom for each scale")
    wanted = (2 * scales + 1, 3 * scales)
    need(
        count in wanted,
        f"nbottom {scales} needs {wanted[0]} bottoms, or {wanted[1]} with priors in pieces, not {count}",
    )
    locations = [legacy(b) for b in bottoms[scales : 2 * scales]]
    found = sum(c * h * w for _, c, h, w in locations) // 4
    boxes = sum(legacy(b)[2] for b in bottoms[2 * scales :]) // 4
    need(found == boxes, f"{boxes} priors need {4 * boxes} locations, not {4 * found}")
    sure = sum(c * h * w for _, c, h, w in map(legacy, bottoms[:scales]))
    need(
        sure == boxes * param.num_classes,
        f"{boxes} priors need {boxes * param.num_classes} confidences, not {sure}",
    )


@rule("DetectionEvaluate", bottoms=2)
def _detection_evaluate(layer: LayerParameter, bottoms: Shapes) -> Out:
    param, (found, truth) = layer.detection_evaluate_param, [legacy(b) for b in bottoms]
    need(param.num_classes, "detection_evaluate_param needs num_classes")
    need(param.overlap_threshold > 0, "overlap_threshold must be above 0")
    need((*found[:2], found[3]) == (1, 1, 7), "the first bottom must be (1, 1, D, 7)")
    need((*truth[:2], truth[3]) == (1, 1, 8), "the second bottom must be (1, 1, T, 8)")
    return Out(((1, 1, param.num_classes - 1 + found[2], 5),), views=(LayoutEffect.LOST,))
