"""InnerProduct, Embed, Scale, Bias."""

from geometry_toys import GOOD

from layer_cases import LayerCase, cases, labels

CASES = [
    *cases(
        "Scale",
        "scale_param",
        "bias_term: true",
        "axis: 0 num_axes: 2 bias_term: true",
        "num_axes: 0",
        on="1 3 2 2",
    ),
    *cases("Scale", "scale_param", "axis: 0 num_axes: 1", "axis: 0 num_axes: 0", on="1 5"),
    *[LayerCase(t) for t in GOOD if t.type in ("InnerProduct", "Scale", "Bias")],
    *[LayerCase(t, {"a": labels((4, 2), 10)}, forced=False) for t in GOOD if t.type == "Embed"],
]
