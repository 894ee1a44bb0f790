"""The embedded engine: pycaffe's interface on PyTorch, for where real Caffe cannot be installed.

`caffe_viz.engine.pycaffe` is what `from caffe_viz import caffe` then gives you. To add a layer type, register
a function with `layer`, and a shape rule that returns `Out`:

    @layer("Softsign")
    def softsign(call, bottoms, params):
        return bottoms[0] / (1 + bottoms[0].abs())
"""

from caffe_viz.engine.net import Net
from caffe_viz.engine.table import Call, layer
from caffe_viz.geometry.receptive_fields import SAME, LayoutEffect, window
from caffe_viz.geometry.table import Out, need

__all__ = ["SAME", "Call", "LayoutEffect", "Net", "Out", "layer", "need", "window"]
