"""Layers that make an image larger or smaller, or put a border around it."""

import numpy as np
from geometry_toys import GOOD, Toy

from layer_cases import LayerCase, cases, labels

SIZES = [
    "height: 9 width: 8",
    "height: 18 width: 24",
    "height: 4 width: 3",
    "height: 1 width: 1",
    "height: 13 width: 5",
]
SIZES += ["height: 31 width: 47", "is_pyramid_test: true out_height_scale: 2.5 out_width_scale: 0.4"]
TARGETS = [
    "dst_h: 9 dst_w: 8",
    "dst_h: 18 dst_w: 24",
    "dst_h: 4 dst_w: 3",
    "dst_h: 31 dst_w: 47",
    "scale_factor: 0.5",
    "scale_factor: 3",
]
PADS = ["pad_u: 2", "pad_l: 3 pad_r: 1 pad_d: 4", "pad_u: 1 pad_d: 2 pad_l: 3 pad_r: 4 pad_value: -1.5", ""]
KINDS = ["CONSTANT", "REPLICATE", "REFLECT"]
# Pooling windows that overlap name a place more than once; here also with different values, of which the last stays.
PLACES = {
    "b": np.concatenate(
        [
            labels((2, 1, 4, 5), 80),
            np.arange(20).reshape(4, 5)[None, None].repeat(2, 0),
            np.zeros((2, 1, 4, 5)),
        ],
        1,
    )
}

CASES = [
    *[
        LayerCase(t, gradient=False)
        for t in GOOD
        if t.type in ("Upsample", "PixelShuffle", "BilinearInterpolate", "Pad")
    ],
    *[LayerCase(t) for t in GOOD if t.type == "Resize"],
    *[LayerCase(t, PLACES, gradient=False) for t in GOOD if t.type == "MaxUnPool"],
    *cases("Upsample", "upsample_param", "", "scale: 7", on="2 3 5 4", gradient=False),
    *cases("Upsample", "upsample_param", "scale: 2 dims_num: 3", on="3 2 7", gradient=False),
    *cases(
        "PixelShuffle",
        "pixelshuffle_param",
        "upscale_factor: 1",
        "upscale_factor: 3",
        on="2 18 3 4",
        gradient=False,
    ),
    *cases("Resize", "resize_param", *SIZES),
    *cases("Resize", "resize_param", "height: 3 width: 4", on="1 2 1 1"),
    *cases("Resize", "resize_param", "height: 3 width: 2", on="2 3 5"),
    *cases("Resize", "resize_param", "height: 300 width: 300", on="1 2 38 19"),
    *[
        case
        for corners in ("true", "false")
        for case in cases(
            "BilinearInterpolate",
            "bilinear_interpolate_param",
            *[f"{s} align_corners: {corners}" for s in TARGETS],
            gradient=False,
        )
    ],
    *cases(
        "BilinearInterpolate",
        "bilinear_interpolate_param",
        "dst_h: 1 dst_w: 1",
        "dst_h: 1 dst_w: 5",
        "dst_h: 1 dst_w: 5 align_corners: false",
        gradient=False,
    ),
    *cases(
        "BilinearInterpolate",
        "bilinear_interpolate_param",
        "dst_h: 4",
        "dst_w: 20 align_corners: false",
        on="2 3 5",
        gradient=False,
    ),
    *[
        case
        for kind in KINDS
        for case in cases(
            "Pad", "pad_param", *[f"{s} pad_type: {kind}" for s in PADS], on="2 3 5 6", gradient=False
        )
    ],
    *cases(
        "Pad",
        "pad_param",
        "pad_u: -1 pad_d: -2 pad_l: -1 pad_r: -1 pad_type: REFLECT",
        "pad_u: 4 pad_d: 4 pad_l: 5 pad_r: 5 pad_type: REFLECT",
        on="2 3 5 6",
        gradient=False,
    ),
    LayerCase(Toy("Pad", ["1 1 1 1"], "pad_param { pad_type: REPLICATE pad_u: 2 pad_r: 3 }"), gradient=False),
]
