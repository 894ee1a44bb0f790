"""Draw results as pictures. Nothing here touches a net, opens a window or changes matplotlib's settings."""

from caffe_viz.figures.heat import COLOURS, captioned, heat, heat_over, signed_colours
from caffe_viz.figures.inputs import bars, channels, draw_input, frames
from caffe_viz.figures.matrix import matrix
from caffe_viz.figures.picture import Picture
from caffe_viz.figures.plots import curves, prob_plot, vector_plot
from caffe_viz.figures.sheet import Sheet, map_sheet
from caffe_viz.figures.tiles import contact_sheet, kernel_tiles, map_tiles, strip

__all__ = [
    "COLOURS", "Picture", "Sheet", "bars", "captioned", "channels", "contact_sheet", "curves", "draw_input",
    "frames", "heat", "heat_over", "kernel_tiles", "map_sheet", "map_tiles", "matrix", "prob_plot",
    "signed_colours", "strip", "vector_plot",
]  # fmt: skip
