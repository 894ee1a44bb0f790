"""Functions from message to message: the auxiliary net, nets for other batches or without in-place layers."""

from caffe_viz.surgery.auxiliary import Auxiliary, auxiliary_net
from caffe_viz.surgery.batches import Room, room_for
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
from caffe_viz.surgery.parameters import parameter_as_input
from caffe_viz.surgery.separate import Separated, separated
from caffe_viz.surgery.shaping import with_inputs

__all__ = [
    "NO_GRADIENT",
    "ONLY_FORWARD_IN_CAFFE",
    "Auxiliary",
    "Room",
    "Separated",
    "Shape",
    "as_input",
    "auxiliary_net",
    "defaults",
    "describe_defaults",
    "fitted",
    "held",
    "image_input",
    "input_shapes",
    "leading_to",
    "likely_images",
    "parameter_as_input",
    "room_for",
    "separated",
    "with_batch",
    "with_inputs",
]
