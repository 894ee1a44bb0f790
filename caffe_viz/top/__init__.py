"""For each filter of a layer, the places in many images that activate it most."""

from caffe_viz.top.result import Place, Top
from caffe_viz.top.search import Progress, Search

__all__ = ["Place", "Progress", "Search", "Top"]
