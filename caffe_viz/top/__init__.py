"""Find, for each filter of a layer, the places in many images that activate it most."""

from caffe_viz.streaming import Progress
from caffe_viz.top.gradients import GRADIENTS
from caffe_viz.top.result import Top, TopActivation
from caffe_viz.top.search import Search

__all__ = ["GRADIENTS", "Progress", "Search", "Top", "TopActivation"]
