"""Layers that move, join, cut or reduce values."""

import numpy as np
from geometry_toys import GOOD, Toy

from layer_cases import LayerCase, cases, labels

PLAIN = (
    "Concat",
    "Crop",
    "Eltwise",
    "Flatten",
    "Input",
    "Parameter",
    "Reduction",
    "Reshape",
    "Silence",
    "Slice",
    "Split",
    "Tile",
)
EQUAL = {"a": np.ones((2, 3)), "b": np.ones((2, 3)), "c": np.ones((2, 3))}

CASES = [
    *[LayerCase(t) for t in GOOD if t.type in PLAIN],
    *[LayerCase(t, gradient=False) for t in GOOD if t.type == "ArgMax"],
    LayerCase(
        Toy("ArgMax", ["2 6"], "argmax_param { top_k: 3 out_max_val: true }"),
        {"a": [[1, 2, 2, 1, 2, 0], [0, 0, 0, 0, 0, 0]]},
        gradient=False,
    ),
    *cases(
        "Eltwise",
        "eltwise_param",
        "",
        "coeff: 2 coeff: 0 coeff: -0.5",
        "operation: PROD",
        "operation: PROD stable_prod_grad: false",
        "operation: MAX",
        on="2 3, 2 3, 2 3",
    ),
    *cases("Eltwise", "eltwise_param", "operation: MAX", on="2 3, 2 3, 2 3", inputs=EQUAL),
    *cases(
        "Reduction",
        "reduction_param",
        "operation: SUMSQ coeff: 0.5",
        "operation: ASUM axis: 2 coeff: -3",
        "operation: MEAN axis: 1 coeff: 2",
        "axis: -1",
    ),
    *cases("Reduction", "", "reduction_param { operation: SUM axis: 1 } loss_weight: 0.25", on="3 4 2"),
    LayerCase(Toy("BatchReindex", ["5 2 3", "7"]), {"b": [0, 4, 4, 1, 0, 0, 2]}, forced=False),
    LayerCase(Toy("Filter", ["4 2", "4 3 2", "4 1"], "", 2), {"c": [[1], [0], [0], [1]]}, forced=False),
    LayerCase(Toy("Filter", ["6 2", "6"]), {"b": labels([6], 2)}, forced=False),
]
