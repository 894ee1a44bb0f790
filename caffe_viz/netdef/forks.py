"""What is known of forks of Caffe beyond the fields and types that are computed."""

from __future__ import annotations

# Scalars that forks give once per axis: those after the first are kept beside the schema, which rules read.
PER_AXIS = frozenset(f"PoolingParameter.{name}" for name in ("kernel_size", "pad", "stride"))
# Fields that change nothing of what a net computes at TEST, by message and name; and why.
QUIET: dict[str, str] = {
    "AnnotatedDataParameter.yolo_data_jitter": "eric612/MobileNet-YOLO: how a data layer changes images",
    "AnnotatedDataParameter.yolo_data_type": "eric612/MobileNet-YOLO: how a data layer writes boxes",
    "Convolution3DParameter.filter_group": "facebook/C3D: how many filters at a time",
    "ConvolutionParameter.engine": "which library computes it",
    "ConvolutionParameter.filter_group": "facebook/C3D: how many filters at a time",
    "DetectionOutputParameter.label_map_file": "gklz1982/caffe-yolov2: names of classes",
    "FillerParameter.alpha": "of a filler, before training",
    "ImageDataParameter.sampling_rate": "facebook/C3D: which frames are read",
    "ImageDataParameter.show_data": "facebook/C3D: windows on a screen",
    "ImageDataParameter.use_image": "facebook/C3D: how frames are stored",
    "ImageDataParameter.use_temporal_jitter": "facebook/C3D: which frames are read",
    "LayerParameter.quantization_param": "a record of how values were quantised",
    "LayerParameter.region_loss_param": "gklz1982/caffe-yolov2: of a loss",
    "LayerParameter.yolov3_param": "eric612/MobileNet-YOLO: of a loss",
    "MultiBoxLossParameter.objectness_score": "sfzhang15/RefineDet: of a loss",
    "MultiBoxLossParameter.use_polygon": "MhLiao/TextBoxes_plusplus: of a loss",
    "NetParameter.default_backward_math": "NVIDIA/caffe: the precision of the gradient",
    "NetParameter.default_backward_type": "NVIDIA/caffe: the precision of the gradient",
    "NetParameter.default_forward_math": "NVIDIA/caffe: the precision it was trained in",
    "NetParameter.default_forward_type": "NVIDIA/caffe: the precision it was trained in",
    "NetParameter.mem_param": "yjxiong/caffe: which memory is shared",
    "NetParameter.richness": "yjxiong/caffe: how much memory convolutions may take",
    "PoolingParameter.kernel_size": "of a further axis, which is taken into account",
    "PoolingParameter.pad": "of a further axis, which is taken into account",
    "PoolingParameter.stride": "of a further axis, which is taken into account",
    "RegionParameter.anchors": "quhezheng/caffe_yolo_v2: sizes of boxes, which another program decodes",
    "RegionParameter.biases": "quhezheng/caffe_yolo_v2: sizes of boxes, which another program decodes",
    "SaveOutputParameter.resize_param": "weiliu89/caffe: of files that are written",
    "TransformationParameter.distort_param": "weiliu89/caffe: how a data layer changes images",
    "TransformationParameter.expand_param": "weiliu89/caffe: how a data layer changes images",
    "TransformationParameter.resize_param": "weiliu89/caffe: how a data layer changes images",
    "YoloDetectionOutputParameter.label_map_file": "eric612/MobileNet-YOLO: names of classes",
}
