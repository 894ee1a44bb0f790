"""Results as pictures. Nothing here touches a net, opens a window or changes matplotlib's settings."""

from caffe_viz.figures.picture import Picture
from caffe_viz.figures.plots import curves, prob_plot, vector_plot
from caffe_viz.figures.tiles import contact_sheet, kernel_tiles, map_tiles

__all__ = ["Picture", "contact_sheet", "curves", "kernel_tiles", "map_tiles", "prob_plot", "vector_plot"]
