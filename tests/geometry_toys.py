"""One-layer nets for every layer type: those that real Caffe sets up, and those that it aborts on."""

from __future__ import annotations

from typing import NamedTuple


class Toy(NamedTuple):
    """Layer `x` of a type, its settings as prototxt, on inputs a, b, c, ... of the given shapes, or "scalar"."""

    type: str
    shapes: list[str]
    settings: str = ""
    tops: int = 1

    def prototxt(self) -> str:
        names = "abcdefgh"[: len(self.shapes)]
        inputs = "".join(_input(n, s) for n, s in zip(names, self.shapes, strict=True))
        bottoms = "".join(f'bottom: "{n}" ' for n in names)
        tops = "".join(f'top: "t{i}" ' for i in range(self.tops))
        return f'{inputs}layer {{ name: "x" type: "{self.type}" {bottoms}{tops}{self.settings} }}\n'

    def __str__(self) -> str:
        return f"{self.type} on {', '.join(self.shapes)}: {self.settings}"


def _input(name: str, shape: str) -> str:
    if shape == "scalar":
        return (
            f'layer {{ name: "{name}" type: "DummyData" top: "{name}" dummy_data_param {{ shape {{ }} }} }}\n'
        )
    dims = " ".join(f"dim: {d}" for d in shape.split())
    return f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {dims} }} }} }}\n'


def _conv(*settings: str, on: str = "2 6 9 8", kind: str = "Convolution") -> list[Toy]:
    return [Toy(kind, [on], f"convolution_param {{ {s} }}") for s in settings]


def _of(kind: str, field: str, *settings: str, on: str = "2 6 9 8", tops: int = 1) -> list[Toy]:
    return [Toy(kind, on.split(", "), f"{field} {{ {s} }}", tops) for s in settings]


NEURONS = ["AbsVal", "BNLL", "Dropout", "ELU", "Exp", "HardSigmoid", "HardSwish", "Log", "Power", "ReLU"]
NEURONS += ["ReLU6", "Sigmoid", "TanH", "Threshold"]
LSTM = "recurrent_param { num_output: 3 }"
EXPOSED = "recurrent_param { num_output: 3 expose_hidden: true }"
BOXES = "min_size: 4 min_size: 9 max_size: 10 max_size: 20 aspect_ratio: 2 aspect_ratio: 1 aspect_ratio: 0.5 aspect_ratio: 3"
DUMMY_OLD = "num: 2 channels: 3 channels: 1 height: 4 width: 5"

GOOD = [
    *[
        Toy(kind, ["2 3 4 5"])
        for kind in [*NEURONS, "Split", "Softmax", "MVN", "BatchNormKyle", "BatchNorm", "PReLU"]
    ],
    *_conv(
        "num_output: 4 kernel_size: 3",
        "num_output: 4 kernel_size: 3 pad: 1 stride: 2 bias_term: false",
        "num_output: 4 kernel_h: 1 kernel_w: 5 pad_h: 0 pad_w: 2 stride_h: 2 stride_w: 1",
        "num_output: 6 kernel_size: 3 group: 3 dilation: 2",
        "num_output: 2 kernel_size: [3, 2] dilation: [1, 3] pad: [0, 4] stride: [4, 1]",
        "num_output: 4 kernel_size: 3 pad_w: 1 stride_w: 2",
        "num_output: 4 kernel_size: 11 stride: 4",
        "num_output: 4 kernel_size: 2 axis: -3",
        "num_output: 4 kernel_size: 2 axis: 2",
        "num_output: 4 axis: 3",
        "num_output: 4 kernel_size: 2 axis: 0",
    ),
    *_conv("num_output: 4 kernel_size: 2 kernel_size: 3 kernel_size: 1 stride: 2", on="2 6 4 5 6"),
    *_conv("num_output: 4 kernel_size: 3 pad: 1", on="2 6 7"),
    *_conv("num_output: 4", on="2 6"),
    *_conv("num_output: 11 kernel_h: 1 kernel_w: 5", on="8 8 7 96"),
    Toy("Convolution", ["1 2 5 5", "1 2 5 5"], "convolution_param { num_output: 3 kernel_size: 2 }", 2),
    *_conv(
        "num_output: 4 kernel_size: 4 stride: 2 pad: 1",
        "num_output: 6 kernel_size: 3 group: 2 dilation: 2 bias_term: false",
        "num_output: 6 kernel_h: 2 kernel_w: 3 stride_h: 3 stride_w: 1",
        kind="Deconvolution",
    ),
    *_conv("kernel_size: 3 pad: 1 stride: 2", "kernel_h: 2 kernel_w: 3 dilation: 2", kind="Im2col"),
    *_of(
        "Pooling",
        "pooling_param",
        "kernel_size: 2 stride: 2",
        "kernel_size: 3 stride: 2",
        "kernel_size: 3 stride: 2 ceil_mode: false",
        "kernel_size: 3 stride: 2 pad: 1",
        "kernel_size: 2 stride: 2 pad: 1",
        "kernel_size: 2 stride: 3 pad: 1 pool: AVE",
        "kernel_size: 5 stride: 4 pad: 2 ceil_mode: false",
        "kernel_h: 2 kernel_w: 3 stride_h: 1 stride_w: 3 pad_h: 1 pad_w: 0",
        "global_pooling: true pool: AVE",
        "kernel_size: 12 stride: 5",
        "kernel_size: 1 stride: 4",
        "kernel_size: 2 pool: STOCHASTIC",
        "kernel_size: 2 pad_h: 1 pad_w: 1",
    ),
    *_of("Pooling", "pooling_param", "kernel_size: 3 stride: 2 pad: 1", tops=2),
    *[
        toy
        for on in ("1 2 7 7", "1 2 8 5", "1 2 13 16")
        for pad in (0, 1)
        for toy in _of("Pooling", "pooling_param", f"kernel_size: 3 stride: 2 pad: {pad}", on=on)
    ],
    *_of("SPP", "spp_param", "pyramid_height: 1", "pyramid_height: 2", "pyramid_height: 3 pool: AVE"),
    *_of("LRN", "lrn_param", "local_size: 3", "local_size: 5 norm_region: WITHIN_CHANNEL", "local_size: 1"),
    *_of("Upsample", "upsample_param", "scale: 2"),
    *_of("Upsample", "upsample_param", "scale: 3 dims_num: 3", on="2 6 9"),
    *_of("PixelShuffle", "pixelshuffle_param", "upscale_factor: 2", on="2 8 3 4"),
    *_of(
        "Resize",
        "resize_param",
        "height: 5 width: 20",
        "is_pyramid_test: true out_height_scale: 0.7 out_width_scale: 1.3",
        on="2 3 10 7",
    ),
    *_of(
        "BilinearInterpolate",
        "bilinear_interpolate_param",
        "dst_h: 5 dst_w: 20",
        "dst_w: 3",
        "scale_factor: 1.7",
    ),
    *_of("MaxUnPool", "max_unpool_param", "dst_h: 8 dst_w: 10", on="2 3 4 5, 2 3 4 5"),
    *_of("Pad", "pad_param", "pad_u: 1 pad_d: 2 pad_l: 3", "pad_u: -1 pad_d: -1 pad_l: -2 pad_r: -1"),
    *_of(
        "InnerProduct",
        "inner_product_param",
        "num_output: 7",
        "num_output: 7 bias_term: false transpose: true",
        "num_output: 7 axis: 2",
        "num_output: 7 axis: -1",
        "num_output: 7 axis: 0",
    ),
    *_of(
        "Embed",
        "embed_param",
        "num_output: 3 input_dim: 10",
        "num_output: 3 input_dim: 10 bias_term: false",
        on="4 2",
    ),
    Toy("BatchNorm", ["3 5"]),
    Toy("BatchNorm", ["3 5 4 4"], "batch_norm_param { use_global_stats: false }"),
    Toy("BatchNormKyle", ["3 5 4 4"], "batch_norm_param { use_alpha_beta: true }"),
    *_of(
        "Scale",
        "scale_param",
        "bias_term: true",
        "axis: 1 num_axes: 2",
        "axis: 0 num_axes: -1 bias_term: true",
        "axis: -2 num_axes: 1",
        "num_axes: 0 bias_term: true",
    ),
    *_of("Scale", "scale_param", "axis: 0 bias_term: true", on="2 6 9 8, 2 6"),
    *_of("Scale", "scale_param", "axis: 2", on="2 6 9 8, 9 8"),
    *_of("Bias", "bias_param", "axis: 1 num_axes: 2", "axis: 0 num_axes: -1"),
    *_of("Bias", "bias_param", "axis: 1", on="2 6 9 8, 6 9"),
    *_of("PReLU", "prelu_param", "channel_shared: true"),
    *_of("Normalize", "norm_param", "across_spatial: false channel_shared: false", "channel_shared: true"),
    Toy("LSTM", ["4 2 5", "4 2"], LSTM),
    Toy("LSTM", ["4 2 5 3", "4 2", "2 7"], LSTM),
    Toy("LSTM", ["4 2 5", "4 2", "1 2 3", "1 2 3"], EXPOSED, 3),
    Toy("LSTM", ["4 2 5", "4 2", "2 7", "1 2 3", "1 2 3"], EXPOSED, 3),
    Toy("RNN", ["4 2 5", "4 2"], LSTM),
    Toy("RNN", ["1 2 5", "1 2", "2 7 2"], LSTM),
    Toy("RNN", ["4 2 5", "4 2", "1 2 3"], EXPOSED, 2),
    Toy("LSTMUnit", ["1 2 3", "1 2 12", "1 2"], "", 2),
    *_of("Softmax", "softmax_param", "axis: -1"),
    Toy("MVN", ["2 3"]),
    *_of(
        "Eltwise",
        "eltwise_param",
        "operation: PROD",
        "coeff: 1 coeff: -1",
        "operation: MAX",
        on="2 3 4 5, 2 3 4 5",
    ),
    *_of("Concat", "concat_param", "axis: 1", "concat_dim: 1", "axis: -3", on="2 3 4 5, 2 1 4 5, 2 2 4 5"),
    *_of("Concat", "concat_param", "axis: -1", on="2 3 4 5, 2 3 4 1"),
    Toy("Concat", ["2 3"]),
    *_of(
        "Slice",
        "slice_param",
        "slice_point: 1 slice_point: 4",
        "axis: 2",
        "axis: -3 slice_point: 2 slice_point: 3",
        tops=3,
    ),
    *_of("Slice", "slice_param", "slice_dim: 1", "axis: 1", tops=1),
    *_of(
        "Crop",
        "crop_param",
        "offset: 1",
        "offset: 2 offset: 0",
        "axis: 3 offset: 1",
        "",
        on="2 6 9 8, 1 1 7 5",
    ),
    *_of("Crop", "crop_param", "axis: -4 offset: 0 offset: 1 offset: 2 offset: 3", on="2 6 9 8, 1 2 3 4"),
    *_of(
        "Flatten", "flatten_param", "", "axis: 2", "axis: 0 end_axis: 1", "axis: 2 end_axis: -3", "axis: -2"
    ),
    *_of(
        "Reshape",
        "reshape_param",
        "shape { dim: 0 dim: -1 }",
        "shape { dim: 2 dim: 3 dim: 2 dim: 72 }",
        "shape { dim: 0 dim: 0 dim: -1 dim: 1 dim: 4 }",
        "shape { dim: 3 dim: 2 } axis: 1 num_axes: 1",
        "shape { dim: 1 } axis: -1 num_axes: 0",
        "shape { dim: -1 } axis: -3",
        "shape { dim: -1 dim: 2 } axis: 1 num_axes: 2",
        "shape { } axis: 4",
    ),
    *_of("Permute", "permute_param", "order: 0 order: 2 order: 3 order: 1", "order: 1", ""),
    *_of("Unsqueeze", "unsqueeze_param", "dim: 0", "dim: -1", "dim: 2", "dim: 4"),
    *_of("Tile", "tile_param", "tiles: 3", "axis: -1 tiles: 2", "axis: 0 tiles: 1"),
    Toy("BatchReindex", ["2 6 9 8", "5"]),
    Toy("Filter", ["4 2", "4 3 2", "4 1"], "", 2),
    *_of(
        "Reduction", "reduction_param", "", "axis: 1 operation: MEAN", "axis: 3", "axis: -2 operation: ASUM"
    ),
    *_of(
        "ArgMax",
        "argmax_param",
        "",
        "top_k: 3 out_max_val: true",
        "axis: 1 top_k: 2",
        "axis: -1 out_max_val: true",
    ),
    *_of("ArgMax", "argmax_param", "top_k: 2", on="3 9"),
    *_of("ArgMax", "argmax_param", "", on="2 3 4 5 6"),
    Toy("Silence", ["2 3", "4"], "", 0),
    Toy("Input", [], "input_param { shape { dim: 2 dim: 3 } }", 3),
    Toy("Input", [], "input_param { shape { dim: 2 dim: 3 } shape { dim: 5 } }", 2),
    Toy("Parameter", [], "parameter_param { shape { dim: 2 dim: 3 } }"),
    Toy("DummyData", [], "dummy_data_param { shape { dim: 2 dim: 3 } }", 2),
    Toy("DummyData", [], f"dummy_data_param {{ {DUMMY_OLD} }}", 2),
    Toy("MemoryData", [], "memory_data_param { batch_size: 2 channels: 3 height: 4 width: 5 }", 2),
    Toy("SoftmaxWithLoss", ["4 5", "4"]),
    Toy("SoftmaxWithLoss", ["4 5", "4"], "", 0),
    Toy("SoftmaxWithLoss", ["4 5 2 3", "4 2 3"], "loss_weight: 2"),
    Toy("SoftmaxWithLoss", ["4 5 2 3", "4 5 2"], "softmax_param { axis: -1 }"),
    Toy("EuclideanLoss", ["4 6", "4 2 3"]),
    Toy("EuclideanLoss", ["4 6", "4 6"], "", 0),
    Toy("SigmoidCrossEntropyLoss", ["4 6", "4 2 3"]),
    Toy("HingeLoss", ["4 6", "4"]),
    Toy("MultinomialLogisticLoss", ["4 6", "4 1"]),
    Toy("InfogainLoss", ["4 6", "4", "1 1 6 6"]),
    Toy("ContrastiveLoss", ["4 6", "4 6 1 1", "4"]),
    Toy("SmoothL1Loss", ["4 6", "4 6"]),
    Toy("Accuracy", ["4 6", "4"], "accuracy_param { top_k: 6 }"),
    Toy("Accuracy", ["4 6 2 3", "4 6 2"], "accuracy_param { axis: -1 }", 2),
    *_of(
        "PriorBox", "prior_box_param", BOXES, f"{BOXES} flip: false", "min_size: 3", on="2 6 3 4, 2 3 30 40"
    ),
    *_of("PriorBox", "prior_box_param", "min_size: 3 img_size: 30 variance: 0.1", on="2 6 3 4"),
    Toy("DetectionOutput", ["2 80", "2 60", "1 2 80"], "detection_output_param { num_classes: 3 }"),
    Toy(
        "DetectionOutput",
        ["1 240", "1 60", "1 2 80"],
        "detection_output_param { num_classes: 3 share_location: false }",
    ),
    Toy("DetectionEvaluate", ["1 1 5 7", "1 1 2 8"], "detection_evaluate_param { num_classes: 3 }"),
    Toy("MultiBoxLoss", ["2 80", "2 60", "1 2 80", "1 1 4 8"], "multibox_loss_param { num_classes: 3 }"),
    Toy(
        "Proposal",
        ["1 18 4 4", "1 36 4 4", "1 3"],
        "proposal_param { ratio: 1 scale: 8 post_nms_topn: 9 }",
        2,
    ),
    Toy("Proposal", ["1 18 4 4", "1 36 4 4", "1 3"], "proposal_param { ratio: 1 scale: 8 }"),
    *_of(
        "PSROIPooling",
        "psroi_pooling_param",
        "spatial_scale: 0.1 output_dim: 2 group_size: 3",
        on="1 18 9 9, 5 5",
    ),
]

# Shapes that real Caffe aborts on.
BAD = [
    *_conv(
        "num_output: 4 kernel_size: 12",
        "num_output: 4",
        "kernel_size: 3",
        "num_output: 4 kernel_size: 3 group: 4",
        "num_output: 5 kernel_size: 3 group: 3",
        "num_output: 4 kernel_size: 3 kernel_h: 2 kernel_w: 2",
        "num_output: 4 kernel_h: 3",
        "num_output: 4 kernel_size: 3 stride: 0",
        "num_output: 4 kernel_size: 3 dilation: 1 dilation: 1 dilation: 1",
        "num_output: 4 kernel_size: 3 kernel_size: 3 kernel_size: 3",
        "num_output: 4 kernel_size: 3 axis: 4",
        "num_output: 4 kernel_size: 3 pad: 1 pad_h: 1 pad_w: 1",
        "num_output: 4 kernel_size: 3 group: 0",
        "num_output: 4 kernel_size: 3 stride_h: 0",
        "num_output: 400000000 kernel_size: 3",
    ),
    Toy("Convolution", ["1 2 5 5", "1 2 5 4"], "convolution_param { num_output: 3 kernel_size: 2 }", 2),
    Toy("Convolution", ["1 2 5 5", "1 2 5 5"], "convolution_param { num_output: 3 kernel_size: 2 }"),
    *_conv("num_output: 4 kernel_size: 3 pad: 9", kind="Deconvolution"),
    *_conv("", "kernel_size: 3 axis: 3", kind="Im2col"),
    *_of(
        "Pooling",
        "pooling_param",
        "",
        "kernel_size: 3 global_pooling: true",
        "kernel_size: 3 kernel_h: 2 kernel_w: 2",
        "kernel_h: 3",
        "kernel_size: 0",
        "kernel_size: 3 pad: 3",
        "kernel_size: 2 stride: 9 pad: 1 stride_h: 2",
        "kernel_size: 2 pad_h: 1",
        "global_pooling: true stride: 2",
        "kernel_size: 3 pad: 1 pool: STOCHASTIC",
        "kernel_size: 12",
    ),
    *_of("Pooling", "pooling_param", "kernel_size: 2 pool: AVE", tops=2),
    *_of("Pooling", "pooling_param", "kernel_size: 2", on="2 6 9"),
    *_of("SPP", "spp_param", "pyramid_height: 3", on="2 6 3 3"),
    *_of("LRN", "lrn_param", "local_size: 4"),
    *_of("LRN", "lrn_param", "local_size: 3", on="2 6"),
    *_of("Upsample", "upsample_param", "scale: 2 dims_num: 2"),
    *_of("PixelShuffle", "pixelshuffle_param", "upscale_factor: 4"),
    *_of("Resize", "resize_param", "height: 3", "is_pyramid_test: true"),
    *_of("MaxUnPool", "max_unpool_param", "dst_h: 8", on="2 3 4 5, 2 3 4 5"),
    *_of("Pad", "pad_param", "pad_u: -10 pad_d: -1 pad_l: -1 pad_r: -1"),
    *_of("InnerProduct", "inner_product_param", "num_output: 7 axis: 4", "num_output: 7 axis: -5"),
    *_of("Embed", "embed_param", "num_output: 3", "input_dim: 3", on="4 2"),
    Toy("BatchNorm", ["3"]),
    *_of("Scale", "scale_param", "axis: 2 num_axes: 3", "num_axes: -2", "axis: 4"),
    *_of("Scale", "scale_param", "axis: 2", on="2 6 9 8, 2 6 9"),
    *_of("Bias", "bias_param", "axis: 0", on="2 6 9 8, 6"),
    Toy("PReLU", ["3"]),
    Toy("Normalize", ["3"]),
    Toy("LSTM", ["4 2", "4 2"], LSTM),
    Toy("LSTM", ["4 2 5", "4 3"], LSTM),
    Toy("LSTM", ["4 2 5", "4 2", "3 7"], LSTM),
    Toy("LSTM", ["4 2 5", "4 2"], "recurrent_param { }"),
    Toy("LSTM", ["4 2 5", "4 2", "1 2 3"], EXPOSED, 3),
    Toy("LSTM", ["4 2 5", "4 2", "1 2 3", "1 2 4"], EXPOSED, 3),
    Toy("LSTM", ["4 2 5", "4 2"], LSTM, 2),
    Toy("LSTMUnit", ["1 2 3", "1 2 10", "1 2"], "", 2),
    *_of("Softmax", "softmax_param", "axis: 4"),
    Toy("MVN", ["1 2 3 4 5"]),
    *_of("Eltwise", "eltwise_param", "coeff: 1", "operation: PROD coeff: 1 coeff: 1", on="2 3 4 5, 2 3 4 5"),
    Toy("Eltwise", ["2 3"]),
    *_of("Concat", "concat_param", "axis: 0", "axis: 1 concat_dim: 1", "axis: 5", on="2 3 4 5, 2 1 4 5"),
    Toy("Concat", ["2 3 4", "2 3"]),
    *_of(
        "Slice",
        "slice_param",
        "slice_point: 1",
        "axis: 3",
        "slice_point: 3 slice_point: 3",
        "slice_dim: 4",
        tops=3,
    ),
    *_of("Slice", "slice_param", "slice_point: 1 slice_point: 9", "axis: 1 slice_dim: 1", tops=3),
    *_of(
        "Crop", "crop_param", "offset: 3", "offset: 1 offset: 1 offset: 1", "axis: 4", on="2 6 9 8, 1 1 7 5"
    ),
    *_of("Crop", "crop_param", "", on="2 6 9 8, 1 1 7"),
    *_of("Flatten", "flatten_param", "axis: 3 end_axis: 1", "axis: 4"),
    *_of(
        "Reshape",
        "reshape_param",
        "shape { dim: 0 dim: 7 dim: -1 }",
        "shape { dim: -1 dim: -1 }",
        "shape { dim: 5 }",
        "shape { dim: 1 dim: 1 dim: 1 dim: 1 dim: 0 }",
        "shape { dim: 0 } axis: 5",
        "shape { dim: 0 } num_axes: 5",
        "shape { dim: 0 } num_axes: -2",
        "shape { dim: -2 dim: -432 }",
    ),
    *_of("Permute", "permute_param", "order: 4", "order: 1 order: 1"),
    *_of("Unsqueeze", "unsqueeze_param", "dim: 5", "dim: -6"),
    *_of("Tile", "tile_param", "", "tiles: 0", "tiles: 2 axis: 4"),
    Toy("BatchReindex", ["2 6", "5 1"]),
    Toy("Filter", ["4 2", "4 2"], "", 1),
    Toy("Filter", ["3 2", "4"], "", 1),
    Toy("Filter", ["4 2", "4"], "", 2),
    *_of("Reduction", "reduction_param", "axis: 4"),
    *_of("ArgMax", "argmax_param", "top_k: 0", "axis: 1 top_k: 7", "top_k: 433", "axis: 4"),
    Toy("Silence", ["2 3"], "", 1),
    Toy("ReLU", ["2 3", "2 3"]),
    Toy("ReLU", ["2 3"], "", 2),
    Toy("ReLU", ["2 3"], "propagate_down: true propagate_down: true"),
    Toy("ReLU", ["2 3"], "loss_weight: 1 loss_weight: 1"),
    Toy("ReLU", ["2 3"], "param { lr_mult: 1 }"),
    Toy("ReLU", ["2 99999 99999"]),
    Toy("ReLU", ["2 -3"]),
    Toy("Input", [], "input_param { shape { dim: 2 } shape { dim: 3 } }", 3),
    Toy("DummyData", [], "dummy_data_param { shape { dim: 2 } num: 1 }"),
    Toy("DummyData", [], "dummy_data_param { num: 1 channels: 2 height: 3 }"),
    Toy("MemoryData", [], "memory_data_param { batch_size: 2 channels: 3 height: 4 }", 2),
    Toy("MemoryData", [], "memory_data_param { batch_size: 2 height: 4 width: 5 }", 2),
    Toy("SoftmaxWithLoss", ["4 5", "3"]),
    Toy("SoftmaxWithLoss", ["4 5 2", "4"]),
    Toy("EuclideanLoss", ["4 5", "4 6"]),
    Toy("SigmoidCrossEntropyLoss", ["4 5", "4 6"]),
    Toy("HingeLoss", ["4 5", "5"]),
    Toy("MultinomialLogisticLoss", ["4 6", "4 2"]),
    Toy("InfogainLoss", ["4 6", "4"]),
    Toy("InfogainLoss", ["4 6", "4", "1 1 5 6"]),
    Toy("ContrastiveLoss", ["4 6", "4 5", "4"]),
    Toy("SmoothL1Loss", ["4 6", "4 5"]),
    Toy("Accuracy", ["4 6", "4"], "accuracy_param { top_k: 7 }"),
    Toy("Accuracy", ["4 6", "5"]),
    *_of(
        "PriorBox", "prior_box_param", "", "min_size: 0", "min_size: 4 max_size: 3", on="2 6 3 4, 2 3 30 40"
    ),
    *_of("PriorBox", "prior_box_param", "min_size: 4 variance: 1 variance: 1", on="2 6 3 4, 2 3 30 40"),
    Toy("DetectionOutput", ["2 80", "2 59", "1 2 80"], "detection_output_param { num_classes: 3 }"),
    Toy("DetectionOutput", ["2 80", "2 60", "1 2 80"]),
    Toy("DetectionEvaluate", ["1 1 5 6", "1 1 2 8"], "detection_evaluate_param { num_classes: 3 }"),
    Toy("MultiBoxLoss", ["2 81", "2 60", "1 2 80", "1 1 4 8"], "multibox_loss_param { num_classes: 3 }"),
    *_of(
        "PSROIPooling",
        "psroi_pooling_param",
        "spatial_scale: 0.1 output_dim: 2 group_size: 2",
        on="1 18 9 9, 5 5",
    ),
]

# Shapes that this build of Caffe takes, but computes rubbish or leaves its memory on.
WORSE = [
    Toy("Dropout", ["2 3"], "dropout_param { dropout_ratio: 1.5 }"),
    Toy("Dropout", ["2 3"], "dropout_param { dropout_ratio: -0.1 }"),
    Toy("Eltwise", ["2 3 4 5", "2 3 4 4"]),
    Toy("Scale", ["2 3 4 5", "4"]),
    Toy("Slice", ["2 6"], "slice_param { slice_point: 6 }", 2),
    Toy("PixelShuffle", ["2 6 3 4"], "pixelshuffle_param { upscale_factor: 2 }"),
    Toy("BilinearInterpolate", ["2 3 4 5"]),
    Toy("Upsample", ["2 3 4 5"], "upsample_param { scale: 2 dims_num: 3 }"),
    Toy("Pad", ["2 3 4 5"], "pad_param { pad_u: 1 pad_d: -1 }"),
    Toy("Pad", ["3 4 5"], "pad_param { pad_u: 1 }"),
    Toy("ReLU", ["2 0 4"]),
    Toy("Convolution", ["1 1 5 5"], "convolution_param { num_output: 1 kernel_size: 6 }"),
    Toy("Pooling", ["2 3 4 5"], "pooling_param { kernel_size: 2 stride: 0 }"),
    Toy("InnerProduct", ["2 3"], "inner_product_param { }"),
    Toy("PriorBox", ["2 6 3 4"], "prior_box_param { min_size: 4 }"),
    Toy("Input", [], "input_param { shape { } }"),
]
