"""LSTM, RNN, LSTMUnit."""

import numpy as np
from geometry_toys import EXPOSED, GOOD, LSTM, Toy

from layer_cases import LayerCase, labels

STARTS = np.array([[0, 1], [1, 1], [1, 0], [1, 1]], np.float32)
GOING_ON = np.ones((4, 2))
BETWEEN = np.linspace(0, 1.5, 8).reshape(4, 2)
MANY = "recurrent_param { num_output: 7 }"

CASES = [
    *[
        LayerCase(t, {"b": labels([int(d) for d in t.shapes[1].split()], 2)})
        for t in GOOD
        if t.type in ("LSTM", "RNN")
    ],
    *[
        LayerCase(Toy(kind, shapes, settings, len(states) + 1), {"b": marks})
        for kind, states in (("LSTM", ["1 2 3"] * 2), ("RNN", ["1 2 3"]))
        for marks in (STARTS, GOING_ON, BETWEEN)
        for static in ([], ["2 2 2"])
        for shapes, settings, states in (
            (["4 2 5", "4 2", *static], LSTM, []),
            (["4 2 2 2", "4 2", *static, *states], EXPOSED, states),
        )
    ],
    *[
        LayerCase(Toy(kind, ["12 3 5", "12 3", "3 4"], MANY), {"b": labels([12, 3], 5) > 0}, train=True)
        for kind in ("LSTM", "RNN")
    ],
    *[LayerCase(Toy(kind, ["1 1 2", "1 1"], LSTM), {"b": [[1]]}) for kind in ("LSTM", "RNN")],
    *[LayerCase(t, {"c": marks}) for t in GOOD if t.type == "LSTMUnit" for marks in ([[0, 1]], [[0.5, -2]])],
    LayerCase(
        Toy("LSTMUnit", ["1 1 4", "1 1 16", "1 1"], "", 2), {"b": np.linspace(-60, 60, 16), "c": [[1]]}
    ),
]
