"""Message in, new message out: the auxiliary net, nets for other batches, nets with no layer in place."""

from caffe_viz.surgery.auxiliary import Auxiliary, auxiliary_net
from caffe_viz.surgery.cutting import NO_GRADIENT, ONLY_FORWARD_IN_CAFFE
from caffe_viz.surgery.inputs import Shape, image_input, with_batch
from caffe_viz.surgery.separate import Separated, separated

__all__ = [
    "NO_GRADIENT",
    "ONLY_FORWARD_IN_CAFFE",
    "Auxiliary",
    "Separated",
    "Shape",
    "auxiliary_net",
    "image_input",
    "separated",
    "with_batch",
]
