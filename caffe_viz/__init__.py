"""Look inside Caffe networks: from a prototxt and a caffemodel to numbers and pictures.

>>> import caffe_viz as cv
>>> cv.measure(cv.read_net("deploy.prototxt"), batch=50).blob("conv1")  # doctest: +SKIP
(50, 96, 55, 55)
>>> net = cv.load_net("deploy.prototxt", "net.caffemodel")  # a caffe.Net, checked first  # doctest: +SKIP
"""

from caffe_viz.backend import load_net
from caffe_viz.check import check
from caffe_viz.errors import CaffeVizError, InputError, RunError
from caffe_viz.geometry import measure
from caffe_viz.netdef import read_net, read_weights

__version__ = "0.1.0"
__all__ = [
    "CaffeVizError",
    "InputError",
    "RunError",
    "check",
    "load_net",
    "measure",
    "read_net",
    "read_weights",
]
