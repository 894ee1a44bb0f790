"""Losses and Accuracy."""

import numpy as np
from geometry_toys import GOOD, Toy

from layer_cases import LayerCase, cases, labels, positive

EXTREME = np.array([[0, 200, -200], [-100, 3, 3], [1, 1, 1], [88, 0, -88]], np.float32)
TIES = np.array([[1, 1, 0, 1], [2, 2, 2, 2], [0, 3, 3, 1], [5, 4, 5, 4], [0, 0, 0, 1]], np.float32)
WITH_IGNORED = np.array([1, 2, 0, 2], np.float32)
MODES = ["FULL", "VALID", "BATCH_SIZE", "NONE"]


def probabilities(shape: tuple[int, ...]) -> np.ndarray:
    """Of each image, sum 1; some are 0 or below 1e-20, where Caffe stops counting."""
    rows = positive(shape, 1).reshape(shape[0], -1)
    rows = rows / rows.sum(1, keepdims=True)
    rows[0, :3] = [0, 1e-30, -0.5]
    return rows.reshape(shape)


def softmax(*settings: str, on: str = "4 5, 4", classes: int = 5, **more: object) -> list[LayerCase]:
    """Cases on labels below `classes`."""
    shape = [int(d) for d in on.split(", ")[1].split()]
    return cases("SoftmaxWithLoss", "", *settings, on=on, inputs={"b": labels(shape, classes)}, **more)


SOFTMAX = [
    *[
        LayerCase(t, {"b": labels([int(d) for d in t.shapes[1].split()], 3)})
        for t in GOOD
        if t.type == "SoftmaxWithLoss"
    ],
    *softmax(*[f"loss_param {{ ignore_label: 2 normalization: {m} }}" for m in MODES]),
    *softmax(
        *[f"loss_param {{ ignore_label: 2 normalization: {m} }} loss_weight: -0.5" for m in MODES],
        on="3 5 4 2, 3 1 4 2",
        train=True,
    ),
    *softmax(*[f"loss_param {{ normalization: {m} }}" for m in MODES], on="3 5 4 2, 3 4 2"),
    *softmax(
        "loss_param { normalize: false ignore_label: 1 }",
        "loss_param { normalize: true ignore_label: 1 }",
        on="3 5 4, 3 4",
    ),
    *softmax("loss_param { normalize: false normalization: NONE ignore_label: 1 }", on="3 5 4, 3 4"),
    *softmax("loss_param { ignore_label: 255 }", on="3 5 4, 3 4"),
    *softmax("softmax_param { axis: 0 }", on="3 3, 3", classes=3),
    *softmax("softmax_param { axis: -2 } loss_param { normalization: BATCH_SIZE }", on="3 2 5 4, 3 2 4"),
    *cases(
        "SoftmaxWithLoss", "loss_param", "ignore_label: 1", on="4 5, 4", inputs={"b": [1, 1, 1, 1]}
    ),  # none is left
    *cases(
        "SoftmaxWithLoss", "loss_param", "ignore_label: -1", on="4 5, 4", inputs={"b": [-1, 4.9, -0.5, 2]}
    ),
    *cases("SoftmaxWithLoss", "", "", on="4 3, 4", inputs={"a": EXTREME, "b": [2, 0, 1, 2]}),
    *cases(
        "SoftmaxWithLoss",
        "",
        "propagate_down: true propagate_down: false",
        on="4 5, 4",
        inputs={"b": labels([4], 5)},
    ),
]

OTHERS = [
    *cases(
        "EuclideanLoss",
        "",
        "",
        "loss_weight: 3",
        "propagate_down: false propagate_down: true",
        on="4 6 2, 4 2 2 3",
    ),
    *cases("EuclideanLoss", "", "", on="5, 5"),
    *[LayerCase(t) for t in GOOD if t.type == "EuclideanLoss"],
    *cases(
        "SigmoidCrossEntropyLoss",
        "",
        "",
        "loss_weight: 2",
        on="4 6, 4 2 3",
        inputs={"b": labels((4, 2, 3), 2)},
    ),
    *cases("SigmoidCrossEntropyLoss", "", "", on="4 3, 4 3", inputs={"a": EXTREME, "b": labels((4, 3), 2)}),
    *cases("SigmoidCrossEntropyLoss", "", "", on="2 3 4, 2 3 4", inputs={"b": positive((2, 3, 4)) / 1.5}),
    # Later versions of Caffe have these settings; this one reads none of them.
    *cases(
        "SigmoidCrossEntropyLoss",
        "loss_param",
        "ignore_label: 1",
        "normalization: FULL",
        on="4 6, 4 6",
        inputs={"b": labels((4, 6), 2)},
    ),
    *cases("HingeLoss", "hinge_loss_param", "", "norm: L2", on="4 6, 4", inputs={"b": labels((4,), 6)}),
    *cases(
        "HingeLoss",
        "hinge_loss_param",
        "norm: L1",
        "norm: L2",
        on="3 2 2 3, 3 1",
        inputs={"b": labels((3, 1), 12)},
    ),
    *cases(
        "HingeLoss",
        "hinge_loss_param",
        "norm: L1",
        "norm: L2",
        on="2 3, 2",
        inputs={"a": [[-1, 1, 0], [1, -1, -3]], "b": [1, 0]},
    ),  # corners
    *cases("HingeLoss", "", "loss_weight: -2", on="4 6, 4 2", inputs={"b": labels((4, 2), 3)}),
    *cases(
        "MultinomialLogisticLoss",
        "",
        "",
        "loss_weight: 2",
        on="4 6, 4 1",
        inputs={"a": positive((4, 6)) / 6, "b": labels((4, 1), 6)},
    ),
    *cases(
        "MultinomialLogisticLoss",
        "",
        "",
        on="3 2 3 1, 3",
        inputs={"a": positive((3, 2, 3, 1)) / 6, "b": labels((3,), 6)},
    ),
    *[
        LayerCase(Toy("MultinomialLogisticLoss", ["2 6", "2"]), {"a": probabilities((2, 6)), "b": [place, 4]})
        for place in range(3)
    ],
    LayerCase(Toy("InfogainLoss", ["3 6", "3 1", "1 1 6 6"]), {"b": [[1], [5], [0]]}, forced=False),
    *[
        LayerCase(
            Toy("InfogainLoss", ["3 6", "3", "1 1 6 6"], f"loss_weight: {w}"),
            {"a": probabilities((3, 6)), "b": [1, 5, 0]},
            gradient=False,
        )
        for w in (1, -2)
    ],
    *cases(
        "ContrastiveLoss",
        "contrastive_loss_param",
        "",
        "margin: 3",
        "margin: 9 legacy_version: true",
        "margin: 50 legacy_version: true",
        on="6 4, 6 4 1 1, 6",
        inputs={"c": [0, 1, 0, 0.5, 0, 2]},
    ),
    *cases(
        "ContrastiveLoss",
        "",
        "",
        "loss_weight: 2",
        on="4 2, 4 2, 4 1 1",
        inputs={
            "a": [[1, 1], [1, 1], [0, 0], [0, 0]],
            "b": [[1, 1], [1, 1], [0.6, 0.8], [0.003, -0.004]],
            "c": [[[0]], [[1]], [[0]], [[0]]],
        },
    ),  # no distance, exactly the margin, a small distance
    *cases("SmoothL1Loss", "", "", "loss_weight: 2", on="4 6 2, 4 6 2 1"),
    *cases(
        "SmoothL1Loss",
        "",
        "",
        on="2 3, 2 3",
        inputs={"a": [[1, -1, 0], [0.5, 3, -3]], "b": [[0, 0, 0], [1.5, 0, 0]]},
    ),
]

ACCURACY = [
    *cases(
        "Accuracy",
        "accuracy_param",
        "",
        "top_k: 2",
        "top_k: 3",
        "top_k: 4",
        on="5 4, 5",
        inputs={"a": TIES, "b": [0, 2, 2, 0, 1]},
        gradient=False,
    ),
    *cases(
        "Accuracy",
        "accuracy_param",
        "",
        "top_k: 2",
        "ignore_label: 2",
        "top_k: 2 ignore_label: 0",
        on="9 4, 9",
        tops=2,
        inputs={"b": labels((9,), 4)},
        gradient=False,
    ),
    *cases(
        "Accuracy",
        "accuracy_param",
        "axis: -1",
        "axis: 3 top_k: 2",
        "axis: 3 ignore_label: 1",
        on="4 6 2 3, 4 6 2",
        tops=2,
        inputs={"b": labels((4, 6, 2), 3)},
        gradient=False,
    ),
    *cases(
        "Accuracy",
        "accuracy_param",
        "top_k: 3",
        "ignore_label: 255",
        on="2 6 5 4, 2 1 5 4",
        inputs={"b": np.where(labels((2, 1, 5, 4), 2, 3) == 1, 255, labels((2, 1, 5, 4), 6))},
        gradient=False,
    ),
    *cases(
        "Accuracy",
        "accuracy_param",
        "axis: 0",
        on="3 4, 1 4",
        inputs={"b": labels((1, 4), 3)},
        gradient=False,
    ),
    *cases(
        "Accuracy", "accuracy_param", "ignore_label: 1", on="3 4, 3", inputs={"b": [1, 1, 1]}, gradient=False
    ),  # 0 / 0
    *cases(
        "Accuracy", "", "", on="3 4, 3", inputs={"b": [-1, 9, 2]}, gradient=False
    ),  # classes that are none
    *cases(
        "Accuracy", "accuracy_param", "top_k: 0", on="3 4, 3", inputs={"b": labels((3,), 4)}, gradient=False
    ),
]

CASES = [*SOFTMAX, *OTHERS, *ACCURACY]
