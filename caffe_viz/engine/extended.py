"""What forks of SSD add to its detections: split bottoms, refined priors, polygons.

N images, P priors, L kinds of locations (1 or the classes), C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from caffe_viz.engine.boxes import decode
from caffe_viz.geometry.detectors import POLYGON, ROTATED, pieces
from caffe_viz.netdef import LayerParameter
from caffe_viz.netdef.net_pb2 import DetectionOutputParameter


def joined(layer: LayerParameter, bottoms: list[Tensor]) -> list[Tensor]:
    """Locations (N, P * 4), confidences (N, P * C) and priors from a bottom for each scale; or as they are.

    `no_permute`: confidences are (N, C, R, H * W) and locations (N, R * 4, H, W), R boxes at each unit, while
    priors stay by unit.

    foss-for-synopsys-dwc-arc-processors/synopsys-caffe: src/caffe/layers/detection_output_layer.cpp
    """
    scales = pieces(layer)
    if not scales:
        return bottoms
    sure, where, priors = bottoms[:scales], bottoms[scales : 2 * scales], bottoms[2 * scales :]
    if layer.detection_output_param.no_permute:
        sure = [x.transpose(1, 3) for x in sure]
        where = [x.reshape(len(x), x.shape[1] // 4, 4, -1).permute(0, 3, 1, 2) for x in where]
    flat = [torch.cat([x.flatten(1) for x in part], 1) for part in (where, sure)]
    return [*flat, torch.cat(priors, 2)]


def refined(
    p: DetectionOutputParameter, scores: Tensor, priors: Tensor, variances: Tensor, more: list[Tensor]
) -> tuple[Tensor, Tensor]:
    """Scores (N, C, P) of the priors that a first stage calls objects, others 0; and priors as it moved them.

    `more` are the first stage's confidences (N, P * 2) and locations (N, P * 4). A fourth bottom of another
    size is the image, which SSD only draws on.

    sfzhang15/RefineDet: src/caffe/layers/detection_output_layer.cpp
    """
    if not more or more[0].numel() != 2 * len(scores) * len(priors):
        return scores, priors
    objects = more[0].reshape(len(scores), 1, -1, 2)[..., 1]
    scores = torch.where(objects < p.objectness_score, 0, scores)
    if len(more) > 1:
        moves = more[1].reshape(len(scores), 1, -1, 4)
        priors = decode(moves, priors, variances, p.code_type, p.variance_encoded_in_target)
    return scores, priors


def decode_places(codes: Tensor, priors: Tensor, variances: Tensor, kind: int, in_target: bool) -> Tensor:
    """Boxes (N, L, P, 4) of codes (N, L, P, 4); of more codes also the corners of polygons, or rotated boxes.

    Corners (8): x and y of the upper left, upper right, lower right, lower left one, each from the prior's.
    Rotated (5): x and y of the two ends of the upper side, from the prior's centre, and the height.

    MhLiao/TextBoxes_plusplus: src/caffe/util/bbox_util.cpp, whose CPU code writes two corners over the others
    """
    boxes = decode(codes[..., :4], priors, variances, kind, in_target)
    if codes.shape[-1] not in (POLYGON, ROTATED):
        return boxes
    sides, more = priors[..., 2:] - priors[..., :2], codes[..., 4:]
    variances = torch.ones_like(variances) if in_target else variances
    scale = variances[..., :2] * sides
    if codes.shape[-1] == POLYGON:
        corners = priors[..., [0, 1, 2, 1, 2, 3, 0, 3]]
        return torch.cat([boxes, more * scale.repeat(1, 4) + corners], -1)
    centres = (priors[..., :2] + priors[..., 2:]) / 2
    ends = more[..., :4] * scale.repeat(1, 2) + centres.repeat(1, 2)
    height = (more[..., 4:] * variances[..., 3:]).exp() * sides[..., 1:]
    return torch.cat([boxes, ends, height], -1)
