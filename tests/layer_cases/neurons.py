"""Layers that work on each value by itself, and Softmax."""

import numpy as np
from geometry_toys import NEURONS, Toy

from layer_cases import LayerCase, cases, positive

NO_GRADIENT = ("HardSigmoid", "HardSwish", "Threshold")
POSITIVE = {"a": positive((2, 3, 4, 5))}
CORNERS = {"a": np.array([[0, -0.0, 1, -1, 6, 7, -50, 50, 1e-20, -1e-20]], np.float32)}

CASES = [
    *[
        LayerCase(Toy(kind, ["2 3 4 5"]), POSITIVE if kind == "Log" else {}, gradient=kind not in NO_GRADIENT)
        for kind in NEURONS
    ],
    *[
        LayerCase(Toy(kind, ["1 10"], " "), CORNERS, gradient=kind not in NO_GRADIENT)
        for kind in NEURONS
        if kind not in ("Log", "Exp")
    ],
    *cases("ReLU", "relu_param", "negative_slope: 0.1", on="2 3 4"),
    *cases("ReLU6", "relu6_param", "threshold: 1", on="2 3 4"),
    *cases("ELU", "elu_param", "alpha: 0.3", on="2 3 4"),
    *cases("Exp", "exp_param", "base: 2 scale: 0.5 shift: 1", on="2 3 4"),
    *cases("Log", "log_param", "base: 10 scale: 2 shift: 1", on="2 3 4 5", inputs=POSITIVE),
    *cases(
        "Power",
        "power_param",
        "power: 2",
        "power: 3 scale: -0.5 shift: 2",
        "scale: 3 shift: 1",
        "power: 0",
        "power: 1 scale: 0 shift: 4",
        on="2 3 4",
    ),
    *cases(
        "Power", "power_param", "power: -0.5 scale: 2 shift: 0.1", "power: 1.7", on="2 3 4 5", inputs=POSITIVE
    ),
    *cases("Threshold", "threshold_param", "threshold: 0.5", on="2 3 4", gradient=False),
    *cases("HardSigmoid", "hardsigmoid_param", "alpha: 0.3 beta: 0.4", on="2 3 4", gradient=False),
    *cases("PReLU", "prelu_param", "", "channel_shared: true"),
    *cases("PReLU", "prelu_param", "", on="3 5"),
    *cases("Softmax", "softmax_param", "", "axis: -1", "axis: 0", "axis: 2", on="2 3 4 5"),
    *cases("Dropout", "dropout_param", "dropout_ratio: 0.7", on="2 3 4"),
]
