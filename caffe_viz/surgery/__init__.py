"""Functions from message to message: the auxiliary net, nets for other batches or without in-place layers."""

from caffe_viz.surgery.auxiliary import Auxiliary, auxiliary_net
from caffe_viz.surgery.batch_layout import BatchLayout, batch_layout_for
from caffe_viz.surgery.cutting import NO_GRADIENT, ONLY_FORWARD_IN_CAFFE
from caffe_viz.surgery.inputs import (
    Shape,
    as_input,
    defaults,
    describe_defaults,
    fitted,
    held,
    image_input,
    input_shapes,
    leading_to,
    likely_images,
    with_batch,
)
from caffe_viz.surgery.out_of_place import OutOfPlaceNet, out_of_place_net
from caffe_viz.surgery.parameters import parameter_as_input
from caffe_viz.surgery.shaping import with_inputs

__all__ = [
    "NO_GRADIENT",
    "ONLY_FORWARD_IN_CAFFE",
    "Auxiliary",
    "BatchLayout",
    "OutOfPlaceNet",
    "Shape",
    "as_input",
    "auxiliary_net",
    "batch_layout_for",
    "defaults",
    "describe_defaults",
    "fitted",
    "held",
    "image_input",
    "input_shapes",
    "leading_to",
    "likely_images",
    "out_of_place_net",
    "parameter_as_input",
    "with_batch",
    "with_inputs",
]
