"""Convolution, Deconvolution, Pooling, LRN."""

from geometry_toys import GOOD

from layer_cases import LayerCase, cases

POOLS = [
    "kernel_size: 2 stride: 2",
    "kernel_size: 3 stride: 2 pad: 1",
    "kernel_size: 5 stride: 4 pad: 2",
    "kernel_size: 3 stride: 1 pad: 2",
]

CASES = [
    *[LayerCase(t) for t in GOOD if t.type in ("Convolution", "Deconvolution", "LRN")],
    # STOCHASTIC has no CPU code; with a stride over the kernel Caffe writes outside its array on backward.
    *[
        LayerCase(t)
        for t in GOOD
        if t.type == "Pooling"
        and "STOCHASTIC" not in t.settings
        and "kernel_size: 1 stride: 4" not in t.settings
        and "stride: 3 pad: 1" not in t.settings
    ],
    *cases("Pooling", "pooling_param", *[f"pool: AVE {s}" for s in POOLS], on="2 3 8 7"),
    *cases("Pooling", "pooling_param", *[f"pool: AVE ceil_mode: false {s}" for s in POOLS], on="2 3 8 7"),
    *cases("Pooling", "pooling_param", *[f"{s}" for s in POOLS], on="2 3 7 8", tops=2, gradient=False),
    *cases(
        "Pooling",
        "pooling_param",
        "kernel_size: 3 stride: 2",
        on="1 2 7 7",
        inputs={"a": [[[[1.0] * 7] * 7] * 2]},
    ),  # ties
    *cases(
        "Pooling",
        "pooling_param",
        "global_pooling: true",
        "kernel_h: 1 kernel_w: 5 stride_h: 1 stride_w: 2",
        "kernel_size: 1 stride: 1",
        on="8 8 7 9",
    ),
    *cases(
        "LRN",
        "lrn_param",
        "local_size: 5 alpha: 0.0001 beta: 0.75 k: 1",
        "local_size: 3 alpha: 2 beta: 0.5 k: 2",
        "local_size: 7 alpha: 0.1 beta: 1",
        "local_size: 3 norm_region: WITHIN_CHANNEL alpha: 0.5 beta: 0.6",
        on="2 6 5 4",
    ),
    *cases(
        "Convolution",
        "convolution_param",
        "num_output: 6 kernel_size: 1 group: 6",
        "num_output: 4 kernel_size: 3 stride: 2 dilation: 2 pad: 2",
        on="2 6 9 8",
        train=True,
    ),
    *cases(
        "Deconvolution",
        "convolution_param",
        "num_output: 6 kernel_size: 4 stride: 2 pad: 1 group: 6 bias_term: false weight_filler { type: 'bilinear' }",
    ),
]
