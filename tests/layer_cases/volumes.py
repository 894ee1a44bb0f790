"""Layers of volumes (N, C, L, H, W), as far as Caffe takes five axes."""

from layer_cases import cases

ON = "2 3 4 3 5"

CASES = [
    *[
        case
        for kind, field, settings in (
            ("BatchNorm", "batch_norm_param", ["", "use_global_stats: false"]),
            ("Concat", "concat_param", ["", "axis: 2", "axis: -1"]),
            ("Convolution", "convolution_param", ["num_output: 2 kernel_size: [1, 3, 3] pad: [0, 1, 1]"]),
            ("Deconvolution", "convolution_param", ["num_output: 2 kernel_size: 2 stride: 2"]),
            ("Dropout", "dropout_param", [""]),
            ("Eltwise", "eltwise_param", ["", "operation: MAX"]),
            ("ReLU", "relu_param", ["", "negative_slope: 0.1"]),
            ("Scale", "scale_param", ["bias_term: true", "axis: 2 num_axes: 2"]),
            ("Slice", "slice_param", ["axis: 2"]),
            ("Softmax", "softmax_param", ["", "axis: 2"]),
        )
        for case in cases(
            kind,
            field,
            *settings,
            on=f"{ON}, {ON}" if kind in ("Concat", "Eltwise") else ON,
            tops=2 if kind == "Slice" else 1,
        )
    ],
    *cases("Crop", "crop_param", "offset: 1", "offset: [0, 1, 2]", on=f"{ON}, 2 3 2 2 3"),
]
