"""InnerProduct, Embed, Scale, Bias."""

from geometry_toys import GOOD
from layer_cases import LayerCase, labels

CASES = [
    *[LayerCase(t) for t in GOOD if t.type in ("InnerProduct", "Scale", "Bias")],
    *[LayerCase(t, {"a": labels((4, 2), 10)}) for t in GOOD if t.type == "Embed"],
]
