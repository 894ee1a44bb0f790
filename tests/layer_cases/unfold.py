"""Im2col, SPP, Permute, Unsqueeze."""

import numpy as np
from geometry_toys import GOOD, Toy

from layer_cases import LayerCase, cases

EQUAL = {"a": np.ones((1, 2, 5, 7))}

CASES = [
    *[LayerCase(t) for t in GOOD if t.type in ("Im2col", "SPP", "Permute")],
    *[LayerCase(t, gradient=False) for t in GOOD if t.type == "Unsqueeze"],
    *cases(
        "Im2col",
        "convolution_param",
        "kernel_size: 1",
        "kernel_size: 2 stride: 3",
        "kernel_size: 3 dilation: 3 pad: 2 stride: 2",
        "kernel_size: 3 axis: 2 pad: 1",
        "kernel_size: 10 stride: 4",
    ),
    *cases(
        "Im2col",
        "convolution_param",
        "kernel_size: 3 pad: 1 stride: 2 force_nd_im2col: true",
        "kernel_size: 2 axis: 0",
    ),
    *cases(
        "Im2col",
        "convolution_param",
        "kernel_size: 2 pad: 1 dilation: 2",
        "kernel_size: 2 kernel_size: 1 kernel_size: 3 stride: 1 stride: 2 stride: 2 pad: 0 pad: 1 pad: 2",
        on="2 3 4 5 6",
    ),
    *cases(
        "SPP",
        "spp_param",
        *[f"pyramid_height: {n} pool: {pool}" for n in (1, 3) for pool in ("MAX", "AVE")],
        on="2 3 13 9",
    ),
    *cases("SPP", "spp_param", "pyramid_height: 2", on="1 2 5 7", inputs=EQUAL),
    *cases("Permute", "permute_param", "order: 1 order: 0", on="4 5"),
    *cases(
        "Permute", "permute_param", "order: 2", "order: 4 order: 3 order: 2 order: 1 order: 0", on="2 3 4 5 6"
    ),
    LayerCase(Toy("Unsqueeze", ["3"], "unsqueeze_param { dim: 1 }"), gradient=False),
]
