"""What is known of forks of Caffe beyond the fields and types that are computed."""

from __future__ import annotations

# Fields that change nothing of what a net computes at TEST, by message and name; and why.
QUIET: dict[str, str] = {
    "ConvolutionParameter.engine": "which library computes it",
    "FillerParameter.alpha": "of a filler, before training",
    "LayerParameter.quantization_param": "a record of how values were quantised",
    "NetParameter.default_backward_math": "NVIDIA/caffe: the precision of the gradient",
    "NetParameter.default_backward_type": "NVIDIA/caffe: the precision of the gradient",
    "NetParameter.default_forward_math": "NVIDIA/caffe: the precision it was trained in",
    "NetParameter.default_forward_type": "NVIDIA/caffe: the precision it was trained in",
    "NetParameter.mem_param": "yjxiong/caffe: which memory is shared",
    "NetParameter.richness": "yjxiong/caffe: how much memory convolutions may take",
}
