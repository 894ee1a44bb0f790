"""Object detection. Confidences are all different: Caffe's order of equal ones is not defined."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from geometry_toys import GOOD, Toy

from layer_cases import LayerCase, cases

P = 40  # priors


def some_boxes(count: int, seed: int) -> np.ndarray:
    """(count, 4) Some reach over the border of the image."""
    rng = np.random.default_rng(seed)
    centres, halves = rng.uniform(0, 1, (count, 2)), rng.uniform(0.05, 0.2, (count, 2))
    return np.concatenate([centres - halves, centres + halves], 1)


def priors(count: int = P, seed: int = 1) -> np.ndarray:
    """(1, 2, count * 4) Boxes, then variances."""
    boxes = some_boxes(count, seed).reshape(-1)
    return np.stack([boxes, np.tile([0.1, 0.2, 0.3, 0.4], count)])[None]


def confidences(images: int, classes: int, count: int = P, seed: int = 2) -> np.ndarray:
    """(images, count * classes) Of each prior sum 1."""
    values = np.exp(2 * np.random.default_rng(seed).normal(size=(images, count, classes)))
    return (values / values.sum(2, keepdims=True)).reshape(images, -1)


def codes(*shape: int) -> np.ndarray:
    return 0.7 * np.random.default_rng(3).normal(size=shape)


def truth(*images: int, labels: int = 2, seed: int = 4) -> np.ndarray:
    """(1, 1, T, 8) One row for each of `images`, most near a prior, every third difficult."""
    rng = np.random.default_rng(seed)
    boxes = some_boxes(P, 1)[rng.permutation(P)[: len(images)]] + rng.normal(0, 0.01, (len(images), 4))
    rows = [
        [n, 1 + i % labels, 0, *box, i % 3 == 2] for i, (n, box) in enumerate(zip(images, boxes, strict=True))
    ]
    return np.array(rows)[None, None]


def outputs(settings: str, images: int = 2, classes: int = 3, kinds: int = 1, **more: object) -> LayerCase:
    shapes = [f"{images} {P * kinds * 4}", f"{images} {P * classes}", f"1 2 {P * 4}"]
    inputs = {"a": codes(images, P * kinds * 4), "b": confidences(images, classes), "c": priors(), **more}
    toy = Toy("DetectionOutput", shapes, f"detection_output_param {{ num_classes: {classes} {settings} }}")
    return LayerCase(toy, inputs, gradient=False)


NMS = "nms_param { nms_threshold: 0.3 }"
CODES = [
    f"code_type: {c} variance_encoded_in_target: {v}"
    for c in ("CORNER", "CENTER_SIZE", "CORNER_SIZE")
    for v in ("false", "true")
]
SSD = "background_label_id: 0 code_type: CENTER_SIZE confidence_threshold: 0.01 keep_top_k: 20 nms_param { nms_threshold: 0.45 top_k: 400 }"

OUTPUTS = [
    *[outputs(f"{c} {NMS}") for c in CODES],
    outputs("code_type: CENTER_SIZE"),
    outputs("code_type: CENTER_SIZE keep_top_k: 7"),
    outputs("code_type: CENTER_SIZE keep_top_k: 1000"),
    outputs("code_type: CENTER_SIZE confidence_threshold: 0.9"),
    outputs(SSD, images=3, classes=21),
    outputs(f"{SSD} save_output_param {{ output_name_prefix: 'x' output_format: 'VOC' }} visualize: true"),
    outputs(f"code_type: CENTER_SIZE share_location: false {NMS}", kinds=3),
    outputs(f"code_type: CORNER_SIZE share_location: false background_label_id: -1 {NMS}", kinds=3),
    outputs(f"code_type: CENTER_SIZE background_label_id: 2 confidence_threshold: 0.3 {NMS}"),
    outputs(f"code_type: CENTER_SIZE background_label_id: 7 {NMS}", images=1),
    *[
        outputs(f"code_type: CENTER_SIZE nms_param {{ nms_threshold: {s} }}")
        for s in (
            "0",
            "0.1 top_k: 5",
            "0.3 top_k: 0",
            "0.9 eta: 0.8",
            "0.7 eta: 0.95 top_k: 30",
            "0.3 top_k: -1",
        )
    ],
    outputs(f"{SSD} keep_top_k: 0".replace("keep_top_k: 20", "")),
    # Equal confidences, and any sign.
    outputs(f"code_type: CENTER_SIZE {NMS}", b=np.round(confidences(2, 3), 1)),
    outputs(f"code_type: CENTER_SIZE {NMS}", b=np.log(confidences(2, 3))),
    # The first image, and then no image, has anything.
    outputs(f"{SSD}", b=confidences(2, 3) * [[0], [0.001]]),
    outputs(f"{SSD}", images=3, b=confidences(3, 3) * 0.001),
    outputs(f"{SSD}", images=1, classes=1),
]

ROWS = np.concatenate(
    [truth(0, 0, 0, 1, 1, 1, 2, 2), truth(*[0] * 6, labels=1, seed=5), truth(1, 4, 4, seed=6)], 2
)


def found(count: int, seed: int) -> np.ndarray:
    """(1, 1, count, 7) Detections, some twice on one box, some on none, some of an image or label without truth, some none."""
    rng = np.random.default_rng(seed)
    near = ROWS[0, 0][rng.integers(0, len(ROWS[0, 0]), count)]
    labels = np.where(rng.random(count) < 0.2, 3, near[:, 1])
    images = np.where(rng.random(count) < 0.1, 3, np.where(rng.random(count) < 0.1, -1, near[:, 0]))
    boxes = near[:, 3:7] + rng.normal(0, 0.02, (count, 4))
    return np.concatenate([images[:, None], labels[:, None], rng.random((count, 1)), boxes], 1)[None, None]


EVALUATE = [
    "",
    "overlap_threshold: 0.7",
    "evaluate_difficult_gt: false",
    "overlap_threshold: 0.1 evaluate_difficult_gt: false",
    "background_label_id: 4",
]
EVALUATIONS = [
    LayerCase(
        Toy(
            "DetectionEvaluate",
            ["1 1 60 7", f"1 1 {ROWS.shape[2]} 8"],
            f"detection_evaluate_param {{ num_classes: 5 {s} }}",
        ),
        {"a": found(60, 7), "b": ROWS},
        gradient=False,
    )
    for s in EVALUATE
]
# The ground truth ends at the first row of image -1.
ENDED = np.where(np.arange(ROWS.shape[2])[:, None] == [5] + [99] * 7, -1, ROWS)
EVALUATIONS += [
    LayerCase(
        Toy(
            "DetectionEvaluate",
            ["1 1 30 7", f"1 1 {ROWS.shape[2]} 8"],
            "detection_evaluate_param { num_classes: 4 }",
        ),
        {"a": found(30, 8), "b": b},
        gradient=False,
    )
    for b in (ENDED, ENDED * 0 - 1)
]


@dataclass(frozen=True)
class Learned(LayerCase):
    """Its first two inputs come from parameters that learn, each through a layer that changes nothing."""

    def prototxt(self) -> str:
        text = self.toy.prototxt()
        for name in "ab":
            text = text.replace(
                f'"{name}" type: "Input" top: "{name}" input_param',
                f'"{name}0" type: "Parameter" top: "{name}0" parameter_param',
            )
        power = 'layer {{ name: "{0}" type: "Power" bottom: "{0}0" top: "{0}" }}\n'
        return text.replace('layer { name: "x"', power.format("a") + power.format("b") + 'layer { name: "x"')


def losses(
    settings: str,
    more: str = "",
    images: tuple[int, ...] = (0, 0, 0, 1, 2, 2),
    kinds: int = 1,
    rows: np.ndarray | None = None,
) -> LayerCase:
    rows = truth(*images) if rows is None else rows
    shapes = [f"3 {P * kinds * 4}", f"3 {P * 3}", f"1 2 {P * 4}", f"1 1 {rows.shape[2]} 8"]
    toy = Toy("MultiBoxLoss", shapes, f"multibox_loss_param {{ num_classes: 3 {settings} }} {more}")
    return Learned(toy, {"c": priors(), "d": rows}, forced=False)


DOWN = "propagate_down: true propagate_down: true propagate_down: false propagate_down: false"
CENTER = "code_type: CENTER_SIZE"
KINDS = ["mining_type: NONE", "mining_type: MAX_NEGATIVE", "mining_type: HARD_EXAMPLE sample_size: 12"]
OTHERS = truth(0, 0, 0, 1, 2, 2)
OTHERS[..., 1] = 2 * (OTHERS[..., 1] - 1)  # labels 0 and 2
OWN = f"{CENTER} mining_type: NONE share_location: false"
LOSSES = [
    losses(""),
    losses(
        f"loc_loss_type: SMOOTH_L1 conf_loss_type: SOFTMAX loc_weight: 1 share_location: true match_type: PER_PREDICTION overlap_threshold: 0.5 use_prior_for_matching: true background_label_id: 0 use_difficult_gt: true neg_pos_ratio: 3 neg_overlap: 0.5 {CENTER} ignore_cross_boundary_bbox: false mining_type: MAX_NEGATIVE",
        DOWN,
    ),
    *[
        losses(f"{c.replace('variance_encoded', 'encode_variance')} loc_loss_type: {kind}", DOWN)
        for c in CODES
        for kind in ("L2", "SMOOTH_L1")
    ],
    *[
        losses(f"{CENTER} {kind} conf_loss_type: {loss} {matching}", DOWN)
        for kind in KINDS
        for loss in ("SOFTMAX", "LOGISTIC")
        for matching in ("match_type: BIPARTITE", "overlap_threshold: 0.2 neg_overlap: 0.3")
    ],
    *[
        losses(f"{CENTER} {kind} {s}", DOWN)
        for kind in KINDS
        for s in (
            "bp_inside: true",
            "bp_inside: true use_prior_for_matching: false",
            "ignore_cross_boundary_bbox: true",
            "use_difficult_gt: false loc_weight: 0.5",
        )
    ],
    *[
        losses(f"{CENTER} {kind} background_label_id: 1 conf_loss_type: {loss}", DOWN, rows=OTHERS)
        for kind in KINDS
        for loss in ("SOFTMAX", "LOGISTIC")
    ],
    *[
        losses(f"{CENTER} loc_weight: 2", f"loss_param {{ {s} }} loss_weight: 0.3 {DOWN}")
        for s in (
            "normalization: FULL",
            "normalization: BATCH_SIZE",
            "normalization: NONE",
            "normalize: false",
            "normalize: true",
        )
    ],
    *[
        losses(f"{CENTER} {kind} nms_param {{ nms_threshold: {s} }}", DOWN)
        for kind in KINDS[1:]
        for s in ("0.2 top_k: 30", "0.5", "0.3 top_k: -1", "0")
    ],
    losses(f"{CENTER} nms_param {{ nms_threshold: 0.2 top_k: 30 }} use_prior_for_nms: true", DOWN),
    losses(f"{CENTER} neg_pos_ratio: 0.7", DOWN),
    losses(f"{CENTER} neg_pos_ratio: 30 neg_overlap: 0.1", DOWN),
    losses(
        "mining_type: HARD_EXAMPLE sample_size: 12 nms_param { nms_threshold: 0.3 top_k: 30 }", DOWN
    ),  # boxes inside out
    losses(f"{CENTER} bp_inside: true use_prior_for_matching: false overlap_threshold: 0.05", DOWN),
    # Each box twice.
    *[
        losses(f"{CENTER} match_type: {m}", DOWN, rows=truth(0, 0, 2).repeat(2, 2))
        for m in ("BIPARTITE", "PER_PREDICTION")
    ],
    losses(CENTER, "propagate_down: true propagate_down: false propagate_down: false propagate_down: false"),
    losses(CENTER, "propagate_down: false propagate_down: true propagate_down: false propagate_down: false"),
    *[
        losses(f"{CENTER} {kind}", DOWN, images=some)
        for kind in KINDS
        for some in ((1, 1, 1), (-1, -1, 2, 7), (-1,))
    ],
    *[
        losses(f"{OWN} {s}", DOWN, kinds=3)
        for s in (
            "",
            "use_prior_for_matching: false",
            "conf_loss_type: LOGISTIC",
            "conf_loss_type: LOGISTIC use_prior_for_matching: false overlap_threshold: 0.1",
        )
    ],
    losses(
        f"{OWN} use_prior_for_matching: false overlap_threshold: 0.05 ignore_cross_boundary_bbox: true",
        DOWN,
        kinds=3,
    ),
]
AGNOSTIC = "multibox_loss_param { num_classes: 2 map_object_to_agnostic: true code_type: CENTER_SIZE mining_type: %s }"
LOSSES += [
    Learned(
        Toy("MultiBoxLoss", [f"3 {P * 4}", f"3 {P * 2}", f"1 2 {P * 4}", "1 1 5 8"], AGNOSTIC % kind),
        {"c": priors(), "d": truth(0, 0, 1, 2, 2, labels=n)},
        forced=False,
    )
    for kind, n in (("NONE", 2), ("MAX_NEGATIVE", 1))
]


def proposals(
    settings: str,
    anchors: int,
    images: int = 1,
    room: tuple[int, int] = (9, 12),
    tops: int = 2,
    small: float = 0.5,
) -> LayerCase:
    rng, (h, w) = np.random.default_rng(9), room
    inputs = {
        "a": rng.permutation(images * 2 * anchors * h * w).reshape(images, -1, h, w) / 1000,
        "b": small * rng.normal(size=(images, 4 * anchors, h, w)),
        "c": [[16 * h, 15.5 * w, 1]] * images,
    }
    shapes = [f"{images} {2 * anchors} {h} {w}", f"{images} {4 * anchors} {h} {w}", f"{images} 3"]
    return LayerCase(Toy("Proposal", shapes, f"proposal_param {{ {settings} }}", tops), inputs)


RATIOS, SCALES = "ratio: 0.5 ratio: 1 ratio: 2", "scale: 64 scale: 128 scale: 256"
PROPOSALS = [
    *[LayerCase(t, {"c": [[64, 60, 1]]}) for t in GOOD if t.type == "Proposal"],
    proposals(f"{RATIOS} {SCALES}", 9),
    proposals(f"{RATIOS} {SCALES} pre_nms_topn: 100 post_nms_topn: 12 nms_thresh: 0.4", 9, tops=1),
    proposals(
        f"{RATIOS} scale: 16 scale: 22.5 base_size: 8 feat_stride: 16 min_size: 24 nms_thresh: 0.9", 6
    ),  # many score 0
    proposals("ratio: 1 scale: 16 min_size: 1000 nms_thresh: 0.2", 1),  # all score 0
    proposals(f"{RATIOS} scale: 64 pre_nms_topn: 40 nms_thresh: 0.4", 3, images=3, room=(5, 4), small=1.5),
    proposals(
        "ratio: 1 scale: 16 nms_thresh: 0 min_size: 1", 1, small=0.05
    ),  # less than a pixel between boxes
    proposals(
        f"{RATIOS} {SCALES} min_size: 90 nms_thresh: 0.95 pre_nms_topn: 600 post_nms_topn: 480",
        9,
        images=2,
        room=(12, 10),
    ),
]

BOX = "min_size: 4 min_size: 9.7 max_size: 10.2 max_size: 20.9 aspect_ratio: 2 aspect_ratio: 1 aspect_ratio: 0.5 aspect_ratio: 3"
PRIORS = [
    *[LayerCase(t) for t in GOOD if t.type == "PriorBox"],
    *cases(
        "PriorBox",
        "prior_box_param",
        f"{BOX} clip: false",
        f"{BOX} flip: false clip: false variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.3",
        "min_size: 8 aspect_ratio: 1.5 img_h: 31 img_w: 29 clip: false",
        "min_size: 8 step: 9.5 offset: 0.25 clip: false",
        "min_size: 8 step_h: 7 step_w: 3 offset: 0",
        "min_size: 60 max_size: 111 aspect_ratio: 2 flip: true clip: true step: 10",
        on="2 6 5 3, 2 3 33 40",
    ),
    *cases(
        "PriorBox",
        "prior_box_param",
        "min_size: 30 max_size: 60 aspect_ratio: 2 img_size: 300 variance: 0.3",
        on="2 6 38 37",
    ),
    *cases("PriorBox", "prior_box_param", "min_size: 3 clip: false", on="2 6 4, 2 3 20 30"),
]

CASES = [*PRIORS, *OUTPUTS, *EVALUATIONS, *LOSSES, *PROPOSALS]
